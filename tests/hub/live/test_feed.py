"""The feed that browsers follow: numbered, encoded once a tick, bounded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prahari_hub.live.feed import QUEUE, Feed, Message, Subscription
from prahari_hub.store import Change


def changes(topic: str, *ids: str, **values: Any) -> list[Change]:
    return [Change(topic, {"id": id, **values}) for id in ids]


async def take(subscription: Subscription) -> Message:
    message = await asyncio.wait_for(subscription.get(), 5)
    assert message is not None
    return message


async def body(subscription: Subscription) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await take(subscription)).data)
    return found


async def test_a_new_subscriber_learns_the_feeds_id_and_the_number_of_each_topic() -> None:
    feed = Feed(tick_s=0.01)
    feed.publish(changes("devices", "pune-cam-01"))
    await asyncio.sleep(0.05)
    hello = await body(feed.subscribe(["devices", "incidents"]))
    assert hello == {"feed": feed.id, "n": {"devices": 1, "incidents": 0}}


async def test_a_subscriber_hears_only_its_topics_in_numbered_messages() -> None:
    feed = Feed(tick_s=0.01)
    subscription = feed.subscribe(["incidents"])
    await take(subscription)
    feed.publish(changes("devices", "pune-cam-01"))
    feed.publish(changes("incidents", "I1"))
    assert await body(subscription) == {"topic": "incidents", "n": 1, "changes": [{"id": "I1"}]}
    feed.publish(changes("incidents", "I2"))
    assert (await body(subscription))["n"] == 2


async def test_many_changes_of_one_device_within_a_tick_are_told_once_with_the_newest_values() -> None:
    feed = Feed(tick_s=0.2)
    subscription = feed.subscribe(["devices"])
    await take(subscription)
    feed.publish(changes("devices", "first"))
    await body(subscription)
    for presence in ("suspect", "offline", "online"):
        feed.publish(changes("devices", "pune-cam-01", presence=presence))
    told = await body(subscription)
    assert told["changes"] == [{"id": "pune-cam-01", "presence": "online"}]


async def test_a_quiet_topic_is_told_at_once_and_a_busy_one_once_a_tick() -> None:
    feed = Feed(tick_s=60)
    subscription = feed.subscribe(["devices"])
    await take(subscription)
    feed.publish(changes("devices", "first"))
    assert (await body(subscription))["changes"] == [{"id": "first"}]
    feed.publish(changes("devices", "second"))
    await asyncio.sleep(0.1)
    assert not subscription.queue


async def test_a_second_critical_incident_does_not_wait_for_the_tick() -> None:
    feed = Feed(tick_s=60)
    subscription = feed.subscribe(["incidents"])
    await take(subscription)
    feed.publish(changes("incidents", "I1"))
    await body(subscription)
    feed.publish(changes("incidents", "I2"))
    assert (await body(subscription))["changes"] == [{"id": "I2"}]


async def test_a_slow_subscriber_loses_the_oldest_and_sees_it_in_the_numbers() -> None:
    feed = Feed(tick_s=0.0)
    subscription = feed.subscribe(["devices"])
    for number in range(QUEUE + 5):
        feed.publish(changes("devices", f"d{number}"))
        await asyncio.sleep(0.002)
    assert len(subscription.queue) == QUEUE
    assert (await body(subscription))["n"] == 6


async def test_a_flood_is_told_as_fetch_everything() -> None:
    feed = Feed(tick_s=0.01)
    subscription = feed.subscribe(["devices"])
    await take(subscription)
    feed.publish(changes("devices", *(f"d{number}" for number in range(2001))))
    assert await body(subscription) == {"topic": "devices", "n": 1, "all": True}


async def test_closing_the_feed_ends_every_stream() -> None:
    feed = Feed()
    subscription = feed.subscribe(["devices"])
    await take(subscription)
    feed.close()
    assert await asyncio.wait_for(subscription.get(), 5) is None
