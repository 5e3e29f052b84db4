"""Shares of the partitions: fair, taken over from the dead, handed over by the living, and fenced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.roles import share
from prahari_hub.roles.share import Share, quota
from prahari_hub.store import FencedStore, Store, Unit
from prahari_hub.store import leases as statements
from prahari_hub.store.leases import LeaseLost
from prahari_hub.store.tables import leases

NAMES = [f"partition/{number}" for number in range(16)]


@given(st.lists(st.integers(0, 16), min_size=1, max_size=20).filter(lambda counts: sum(counts) <= 16))
def test_shares_become_fair_and_then_nothing_moves(counts: list[int]) -> None:
    for _ in range(100):
        for me in range(len(counts)):
            others = counts[:me] + counts[me + 1 :]
            fair = quota(counts[me], others, 16)
            counts[me] -= fair.surplus
            counts[me] += min(quota(counts[me], others, 16).room, 16 - sum(counts))
    assert sum(counts) == 16
    assert max(counts) - min(counts) <= 1
    assert not any(
        quota(count, counts[:me] + counts[me + 1 :], 16).surplus for me, count in enumerate(counts)
    )


def test_a_second_scheduler_does_not_take_the_first_ones_place() -> None:
    assert quota(1, [0], 1).surplus == 0
    assert quota(0, [1], 1).surplus == 0


class Worker:
    """A share whose work is to note what it has."""

    def __init__(self, url: str, nudge: Callable[[], Awaitable[None]]) -> None:
        self.store = Store.open(url)
        self.has: set[str] = set()
        self.share = Share(self.store, "ingest", NAMES, nudge=nudge)
        self.writes = FencedStore(self.store, self.share.guard)

    async def start(self) -> None:
        await self.share.start(self.take, self.give_up)

    async def take(self, names: set[str]) -> None:
        self.has |= names

    async def give_up(self, names: set[str]) -> None:
        self.has -= names

    async def die(self) -> None:
        """As kill -9: nothing is given back."""
        assert self.share._task
        self.share._task.cancel()
        await asyncio.gather(self.share._task, return_exceptions=True)
        self.has = set()


class Crew:
    def __init__(self, url: str) -> None:
        self.url = url
        self.workers: list[Worker] = []

    async def hire(self) -> Worker:
        worker = Worker(self.url, self.nudge)
        self.workers.append(worker)
        await worker.start()
        await self.nudge()
        return worker

    async def nudge(self) -> None:
        for worker in self.workers:
            worker.share.wake()

    async def until(self, found: Callable[[], bool], within_s: float = 15.0) -> float:
        begun = time.monotonic()
        while not found():
            assert time.monotonic() - begun < within_s, [sorted(worker.has) for worker in self.workers]
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    def counts(self) -> list[int]:
        return sorted(len(worker.has) for worker in self.workers)


@pytest.fixture
async def crew(database_url: str) -> AsyncIterator[Crew]:
    found = Crew(database_url)
    yield found
    for worker in found.workers:
        await worker.share.stop()
        worker.store.close()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url)
    yield found
    found.close()


async def test_a_worker_that_takes_long_keeps_what_it_takes(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "LEASE", timedelta(seconds=1.5))
    monkeypatch.setattr(share, "RENEW_S", 0.2)
    worker = Worker(crew.url, crew.nudge)
    crew.workers.append(worker)
    taking, ending = asyncio.Event(), asyncio.Event()

    async def slowly(names: set[str]) -> None:
        taking.set()
        await ending.wait()
        worker.has |= names

    worker.take = slowly  # type: ignore[method-assign]
    starting = asyncio.create_task(worker.start())
    await taking.wait()
    await asyncio.sleep(2.5)
    now = worker.store.clock()
    assert worker.store.read_sync(lambda conn: statements.unheld(conn, NAMES, now)) == set()
    ending.set()
    await starting
    assert worker.has == set(NAMES)


async def test_a_worker_that_loses_what_it_is_just_taking_begins_again(crew: Crew) -> None:
    worker = Worker(crew.url, crew.nudge)
    crew.workers.append(worker)
    given: list[set[str]] = []

    async def lost_once(names: set[str]) -> None:
        worker.has |= names
        if not given:
            raise LeaseLost("another worker was quicker")

    async def give_up(names: set[str]) -> None:
        worker.has -= names
        given.append(names)

    worker.take, worker.give_up = lost_once, give_up  # type: ignore[method-assign]
    await worker.start()
    await crew.until(lambda: worker.has == set(NAMES))
    assert given == [set(NAMES)]


async def test_the_first_worker_has_everything_when_it_has_started(crew: Crew) -> None:
    worker = await crew.hire()
    assert worker.has == set(NAMES)


async def test_three_workers_share_fairly_and_no_partition_has_two(crew: Crew) -> None:
    for _ in range(3):
        await crew.hire()
    await crew.until(lambda: crew.counts() == [5, 5, 6])
    assert set.union(*(worker.has for worker in crew.workers)) == set(NAMES)


async def test_a_worker_that_stops_hands_over_within_a_second(crew: Crew) -> None:
    first, second = await crew.hire(), await crew.hire()
    await crew.until(lambda: crew.counts() == [8, 8])
    await first.share.stop()
    assert await crew.until(lambda: second.has == set(NAMES)) < 1.0
    crew.workers.remove(first)
    first.store.close()


async def test_the_partitions_of_a_dead_worker_are_taken_over_within_ten_seconds(crew: Crew) -> None:
    first, second = await crew.hire(), await crew.hire()
    await crew.until(lambda: crew.counts() == [8, 8])
    await first.die()
    assert await crew.until(lambda: second.has == set(NAMES)) < 10.0


async def test_a_worker_that_lost_its_lease_commits_nothing_for_it(crew: Crew) -> None:
    worker = await crew.hire()
    check = worker.share.guard()
    await worker.store.write(lambda unit: _steal(unit, "partition/3"))

    def work(unit: Unit) -> None:
        check(unit)
        unit.conn.execute(leases.insert().values(name="written", holder="", epoch=0, until=unit.now))

    with pytest.raises(LeaseLost):
        await worker.store.write(work)
    assert (
        worker.store.read_sync(
            lambda conn: conn.scalar(sa.select(leases.c.name).where(leases.c.name == "written"))
        )
        is None
    )


async def test_a_worker_that_lost_a_lease_forgets_it_and_writes_on_for_the_others(crew: Crew) -> None:
    worker = await crew.hire()
    await worker.store.write(lambda unit: _steal(unit, "partition/3"))
    with pytest.raises(LeaseLost):
        await worker.writes.write(lambda unit: None)
    worker.share.wake()
    await crew.until(lambda: "partition/3" not in worker.has)
    await worker.writes.write(lambda unit: None)
    assert len(worker.has) == 15


@pytest.mark.parametrize("which_store", ["postgresql"], indirect=True)
async def test_a_take_over_waits_for_the_old_holders_transaction(database_url: str, store: Store) -> None:
    """What the old holder is committing is seen by the new one, or is refused: never in between."""
    old = Store.open(database_url)
    new = old.aside()
    held = await old.write(lambda unit: statements.claim(unit, "old", ["partition/0"]))
    await old.write(_expire)
    inside, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(unit: Unit) -> None:
        statements.fence(unit, "old", held)
        loop.call_soon_threadsafe(inside.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    writing = asyncio.create_task(old.write(slow))
    await inside.wait()
    assert await new.write(lambda unit: statements.claim(unit, "new", ["partition/0"])) == {}
    go_on.set()
    await writing
    assert await new.write(lambda unit: statements.claim(unit, "new", ["partition/0"])) == {"partition/0": 2}
    with pytest.raises(LeaseLost):
        await old.write(lambda unit: statements.fence(unit, "old", held))
    old.close()
    new.close()


def _steal(unit: Unit, name: str) -> None:
    until = statements.database_now(unit) + timedelta(minutes=1)
    unit.conn.execute(
        leases.update()
        .where(leases.c.name == name)
        .values(holder="thief", epoch=leases.c.epoch + 1, until=until)
    )


def _expire(unit: Unit) -> None:
    unit.conn.execute(leases.update().values(until=statements.LONG_AGO))
