"""Partitions go from worker to worker while the others' devices go on speaking, and where a part of the move fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from nats.errors import FlushTimeoutError
from prahari_hub.broker.batches import Sink
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.tables import devices, transitions
from prahari_hub.ingest import read
from prahari_hub.ingest.commit import Birth
from prahari_hub.ingest.role import Ingest
from prahari_hub.main import numbers_of
from prahari_hub.roles import share as shares
from prahari_hub.roles.heard import Heard
from prahari_hub.roles.share import Share
from prahari_hub.store import Store, leases
from prahari_wire.topics import Up, inbound_subject, mapped_subject, partition

NAMES = [f"partition/{number}" for number in range(16)]
MOVES = sa.select(transitions.c.device_id, transitions.c.after).order_by(transitions.c.id)


@pytest.fixture
def other(new_box: Any, box: Any) -> Any:
    """A device of another partition than the box's."""
    found = new_box("pune-cam-01")
    assert partition(found.device) != partition(box.device)
    return found


@asynccontextmanager
async def events_without_end(hub: Any, box: Any) -> AsyncIterator[None]:
    """One comes before the one before it is committed, however quick that is."""
    said = json.dumps(box.batch(box.press())).encode()
    beat = mapped_subject(box.device, Up.HEALTH).encode(), json.dumps(box.heartbeat()).encode()

    async def feed() -> None:
        while True:
            if len(hub.ingest.queue) < 3:
                hub.time.pass_s(1)
                hub.ingest.receive([(mapped_subject(box.device, Up.EVENT).encode(), said), beat])
            await asyncio.sleep(0)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def test_a_partition_is_given_up_while_the_devices_of_others_never_stop_speaking(
    hub: Any, box: Any, other: Any
) -> None:
    for each in (box, other):
        await hub.say(each, Up.BIRTH, each.birth())
    async with events_without_end(hub, other), asyncio.timeout(10):
        await asyncio.sleep(0)
        await hub.ingest.give_up({partition(box.device)})
    assert box.device not in hub.ingest.memory.columns
    assert other.device in hub.ingest.memory.columns


async def test_health_that_changes_without_end_holds_up_no_hand_over(hub: Any, box: Any, other: Any) -> None:
    for each in (box, other):
        await hub.say(each, Up.BIRTH, each.birth())
    row = hub.ingest.memory.columns.row(other.device)

    async def change() -> None:
        while True:
            hub.ingest.memory.changed.add(row)
            await asyncio.sleep(0)

    changing = asyncio.create_task(change())
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
        await hub.ingest.give_up({partition(box.device)})
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)


async def test_nobody_is_called_silent_whom_the_hub_itself_stopped_hearing(
    hub: Any, box: Any, other: Any
) -> None:
    for each in (box, other):
        await hub.say(each, Up.BIRTH, each.birth())
    await hub.tick(1)
    async with hub.ingest.lane._busy:  # a commit that takes minutes
        giving = asyncio.create_task(hub.ingest.give_up({partition(box.device)}))
        await asyncio.sleep(0.01)
        hub.time.pass_s(20)  # also where the hub found that it stood still
        await hub.tick(200)
    await giving
    found = hub.rows(MOVES)
    assert [after for device, after in found if device == box.device] == ["online"]
    assert [after for device, after in found if device == other.device] == ["online", "suspect", "offline"]
    assert hub.scalar(sa.select(devices.c.presence).where(devices.c.id == box.device)) == "online"


async def test_a_device_that_is_being_looked_up_while_its_partition_goes_is_not_taken_in(
    hub: Any, box: Any
) -> None:
    new = "pune-ecb-07"
    await hub.store.write(
        lambda unit: unit.conn.execute(devices.insert().values(id=new, created_at=unit.now))
    )
    learning = asyncio.create_task(hub.ingest._learn({new}))
    await asyncio.sleep(0)
    hub.ingest._here.discard(partition(new))
    await learning
    assert new not in hub.ingest.memory.columns


async def test_what_ends_after_a_partition_was_given_up_brings_none_of_its_devices_back(
    hub: Any, box: Any, other: Any
) -> None:
    for each in (box, other):
        await hub.say(each, Up.BIRTH, each.birth())
    await hub.tick(1)
    await hub.say(box, Up.GONE, box.gone())
    await hub.say(other, Up.GONE, other.gone())
    steps = hub.ingest.memory.take_pending()
    assert {told.device for told in steps} == {box.device, other.device}
    births = [
        Birth(each.device, read.birth(json.dumps(each.birth()).encode()), hub.time.wall)
        for each in (box, other)
    ]
    await hub.ingest.give_up({partition(box.device)})
    hub.ingest.lane._put_back(steps)
    await hub.ingest.lane._refresh(births, [])
    assert [told.device for told in hub.ingest.memory.pending] == [other.device]
    assert box.device not in hub.ingest.memory.columns


# -- a broker that does not take a subscription


class Bus:
    """As a connection to the broker: ``fails`` are the subscriptions, counted from 1, that it does not take."""

    sees = True

    def __init__(self, fails: set[int]) -> None:
        self.fails = fails
        self.asked = 0
        self.heard: list[str] = []

    async def tap(self, subject: str, _sink: Sink) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if self.asked in self.fails:
            raise FlushTimeoutError
        self.heard.append(subject)
        return subject

    async def untap(self, subject: str) -> None:
        self.heard.remove(subject)


class Worker:
    """Ingest with its share of the partitions, as the hub's composition root puts them together."""

    def __init__(self, hub: Any, fails: set[int]) -> None:
        async def send(*_: Any) -> None: ...

        self.bus = Bus(fails)
        self.ingest = Ingest(
            hub.store, send, handlers=hub.ingest.lane._handlers, limits=Limits(45, 90), partitions=()
        )
        self.share = Share(hub.store, "ingest", NAMES)

    @property
    def hears(self) -> set[int]:
        heard = {number for number in range(16) if inbound_subject(number) in self.bus.heard}
        assert len(heard) == len(self.bus.heard) - 1  # the subject of last words
        return heard

    async def start(self) -> None:
        await self.ingest.start(self.bus)  # type: ignore[arg-type]
        try:
            await self.share.start(
                lambda names: self.ingest.take(numbers_of(names)),
                lambda names: self.ingest.give_up(numbers_of(names)),
            )
        except FlushTimeoutError:
            self.share._task = asyncio.create_task(self.share._run(shares.RENEW_S))

    async def stop(self) -> None:
        await self.share.stop()
        await self.ingest.stop()


@pytest.fixture
def real_time(hub: Any, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The hub's store by a clock that goes, and rounds that follow each other quickly."""
    monkeypatch.setattr(shares, "RENEW_S", 0.1)
    hub.store = Store.open(database_url)
    yield hub
    hub.store.close()


async def until(found: Any, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not found():
            await asyncio.sleep(0.02)


async def test_after_one_subscription_failed_the_next_round_hears_everything(real_time: Any) -> None:
    worker = Worker(real_time, {4})
    await worker.start()
    await until(lambda: len(worker.hears) == 16)
    assert worker.ingest.owned == set(range(16))
    assert set(worker.share.held) == set(NAMES)
    assert worker.bus.heard.count(inbound_subject(0)) == 1
    await worker.stop()


async def test_a_worker_that_cannot_subscribe_lets_others_have_what_it_took(
    real_time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=2))
    broken = Worker(real_time, set(range(4, 10_000)))
    await broken.start()
    now_s = 0.0
    heard = Heard(real_time.store, mono=lambda: now_s)
    await until(lambda: broken.share._failures > 1)
    await until(lambda: not broken.share.held)
    assert broken.share.rests and not broken.share.moves
    assert broken.hears == broken.ingest.owned == set()
    assert len(broken.ingest.memory) == 0
    await heard.look()
    now_s = 5.0
    await heard.look()
    assert "partitions all" in str(heard.missing())
    sound = Worker(real_time, set())
    await sound.start()
    await until(lambda: sound.hears == set(range(16)))
    for worker in (broken, sound):
        await worker.stop()
