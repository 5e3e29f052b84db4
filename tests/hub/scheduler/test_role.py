"""The scheduler: transitions told once and in order, jobs that cannot stop each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.fleet import intake
from prahari_hub.fleet.facts import Transition
from prahari_hub.fleet.presence import STILL_OFFLINE, Step
from prahari_hub.fleet.tables import cursors, devices
from prahari_hub.incidents.rootcause import Bars, Flapping
from prahari_hub.incidents.tables import incidents
from prahari_hub.scheduler.jobs import Job, jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.scheduler.silence import Silence
from prahari_hub.scheduler.transitions import tell_incidents
from prahari_hub.settings import Settings
from prahari_hub.store import Change, Store, Unit

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url, clock=lambda: START)
    found.write_sync(
        lambda unit: unit.conn.execute(
            devices.insert().values(id="pune-cam-01", created_at=START, service="active")
        )
    )
    yield found
    found.close()


def step(store: Store, *states: str) -> None:
    moves = [
        ("pune-cam-01", Step("presence", before, after, "test"), START) for before, after in pairwise(states)
    ]
    store.write_sync(lambda unit: intake.record_steps(unit, moves))


def tell(store: Store, silence: Silence | None = None) -> None:
    told = silence or Silence(Bars(), Flapping())
    store.write_sync(lambda unit: tell_incidents(unit, told))


def raised(store: Store) -> list[tuple[str, bool]]:
    """(kind, whether the cause holds) of every incident."""
    query = sa.select(incidents.c.kind, incidents.c.cleared_at.is_(None)).order_by(incidents.c.id)
    return [(kind, bool(active)) for kind, active in store.read_sync(lambda conn: conn.execute(query).all())]


def test_each_transition_is_told_once(store: Store) -> None:
    step(store, "unknown", "online", "suspect", "offline")
    tell(store)
    tell(store)
    assert raised(store) == [("device.offline", True)]
    step(store, "offline", "online")
    tell(store)
    assert raised(store) == [("device.offline", False)]
    count = store.read_sync(lambda conn: conn.scalar(sa.select(incidents.c.count)))
    assert count == 1


def test_a_fall_and_its_end_read_at_once_raise_nothing(store: Store) -> None:
    step(store, "unknown", "online", "suspect", "offline", "online")
    tell(store)
    assert raised(store) == []


class Broken(Silence):
    """Cannot handle devices together."""

    def fell(self, unit: Unit, told: Sequence[Transition]) -> None:
        unit.conn.execute(devices.update().values(name="half-done"))
        raise RuntimeError("cannot")


def test_what_cannot_be_handled_together_is_handled_one_by_one(store: Store) -> None:
    step(store, "unknown", "online", "suspect", "offline")
    tell(store, Broken(Bars(), Flapping()))
    assert raised(store) == [("device.offline", True)]
    assert store.read_sync(lambda conn: conn.scalar(sa.select(cursors.c.value))) == 3
    assert store.read_sync(lambda conn: conn.scalar(sa.select(devices.c.name))) is None


def test_what_was_offline_before_the_hub_was_blind_raises_nothing_again(store: Store) -> None:
    step(store, "offline", "unknown")
    still = ("pune-cam-01", Step("presence", "unknown", "offline", STILL_OFFLINE), START)
    store.write_sync(lambda unit: intake.record_steps(unit, [still]))
    tell(store)
    assert raised(store) == []


async def test_an_offline_device_becomes_an_incident_through_the_table_of_jobs(
    store: Store, tmp_path: Path
) -> None:
    scheduler = Scheduler(store, jobs(Settings(home=tmp_path)))
    await scheduler.run_due()
    step(store, "unknown", "online", "suspect", "offline")
    scheduler.on_changes([Change("transitions", {})])
    await scheduler.run_due()
    kinds = store.read_sync(lambda conn: conn.execute(sa.select(incidents.c.kind)).all())
    assert kinds == [("device.offline",)]


async def test_a_job_that_fails_stops_no_other_and_comes_again(store: Store) -> None:
    now = {"s": 0.0}
    ran: list[str] = []

    def fails(_unit: Any) -> None:
        ran.append("fails")
        raise RuntimeError("cannot")

    table = [Job("fails", 5, fails), Job("works", 10, lambda _unit: ran.append("works"))]
    scheduler = Scheduler(store, table, mono=lambda: now["s"])
    for now["s"] in (0.0, 4.0, 5.0, 10.0):
        await scheduler.run_due()
    assert ran == ["fails", "works", "fails", "fails", "works"]


@pytest.mark.parametrize("later", range(3))
async def test_a_scheduler_that_is_stopped_in_the_moment_of_news_stops(store: Store, later: int) -> None:
    """As a lease passes on, or the hub stops; ``asyncio.wait_for`` of Python 3.11 swallows a cancellation in that moment."""
    scheduler = Scheduler(store, [Job("news", 3600, lambda _unit: None, frozenset({"news"}))])
    running = asyncio.ensure_future(scheduler.run())
    await asyncio.sleep(0.3)
    scheduler.on_changes([Change("news", {})])
    for _ in range(later):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    assert done == {running}
    assert running.cancelled()


async def test_a_job_that_has_more_to_do_is_due_at_once(store: Store) -> None:
    left = [True, True, False]
    scheduler = Scheduler(store, [Job("more", 60, lambda _unit: left.pop(0))], mono=lambda: 1.0)
    for _ in range(5):
        await scheduler.run_due()
    assert left == []


def test_every_job_has_a_name_of_its_own_and_runs_on_an_empty_store(store: Store, tmp_path: Path) -> None:
    table = jobs(Settings(home=tmp_path))
    assert len({job.name for job in table}) == len(table)
    for job in table:
        assert job.every_s > 0
        store.write_sync(job.run)
    assert timedelta(seconds=min(job.every_s for job in table)) < timedelta(seconds=2)
