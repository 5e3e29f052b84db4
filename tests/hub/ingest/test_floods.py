"""A device that sends what nobody can use: shut out, said once, heard again when its time is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.fleet.tables import refusal_counts, transitions
from prahari_hub.ingest.floods import FIRST_S, FORGIVEN_S, MOST_S, UNUSABLE, Floods
from prahari_wire.topics import Up, gone_subject, mapped_subject

BURST = int(UNUSABLE[1])


def flood(floods: Floods, now_s: float) -> float | None:
    """As many messages at once as it takes."""
    for _ in range(BURST):
        assert floods.count("pune-ecb-01", now_s) is None
    return floods.count("pune-ecb-01", now_s)


def test_who_floods_again_is_shut_out_for_longer_and_who_behaves_is_forgiven() -> None:
    floods, now_s, took = Floods(), 1000.0, []
    for _ in range(6):
        for_s = flood(floods, now_s)
        assert for_s is not None
        took.append(for_s)
        now_s += for_s
    assert took == [60, 120, 240, 480, 900, 900] and took[0] == FIRST_S and took[-1] == MOST_S
    assert flood(floods, now_s + FORGIVEN_S + 1) == FIRST_S


def test_a_refusal_now_and_then_shuts_nobody_out() -> None:
    floods = Floods()
    assert all(floods.count("pune-ecb-01", 1000 + n / 90) is None for n in range(20_000))


@pytest.mark.parametrize("channel", [Up.HEALTH, Up.EVENT, Up.GONE])
def test_a_device_is_known_by_any_of_its_subjects_until_its_time_is_over(channel: Up) -> None:
    floods = Floods()
    for_s = flood(floods, 1000.0)
    assert for_s
    name = gone_subject if channel is Up.GONE else lambda device: mapped_subject(device, channel)
    own, other = name("pune-ecb-01").encode(), name("pune-ecb-02").encode()
    assert floods.holds(own, 1000.0 + for_s - 1) == b"pune-ecb-01"
    assert floods.holds(other, 1000.0) is None
    assert floods.holds(own, 1000.0 + for_s) is None and not floods.shut


async def test_a_device_that_floods_is_cut_and_reported_once_and_its_neighbour_is_heard(
    hub: Any, box: Any, new_box: Any
) -> None:
    cut: list[tuple[str, float]] = []

    async def shut_out(device: str, for_s: float) -> None:
        cut.append((device, for_s))

    hub.ingest.shut_out = shut_out
    await hub.say(box, Up.GONE, *[b"{"] * (BURST + 500))
    await hub.say(box, Up.HEALTH, box.heartbeat())
    other = new_box("pune-cam-01")
    assert await hub.say(other, Up.EVENT, other.batch(other.press()))
    await asyncio.sleep(0)
    assert cut == [(box.device, FIRST_S)]
    await hub.flush()
    told = hub.rows(sa.select(transitions.c.device_id).where(transitions.c.kind == "device.flood"))
    assert told == [(box.device,)]
    counted = hub.scalar(sa.select(refusal_counts.c.count).where(refusal_counts.c.reason == "flood"))
    assert counted >= 1, "what is not looked at is counted"
    hub.time.pass_s(FIRST_S)
    assert await hub.say(box, Up.EVENT, box.batch(box.press())), "it is heard again"


async def test_a_flood_of_good_heartbeats_shuts_its_device_out_as_well(
    hub: Any, box: Any, new_box: Any
) -> None:
    other = new_box("pune-cam-01")
    for _ in range(5):
        await hub.say(box, Up.HEALTH, *[box.heartbeat() for _ in range(400)])
        await hub.say(other, Up.HEALTH, other.heartbeat())
    assert list(hub.ingest._floods.shut) == [box.device.encode()]
