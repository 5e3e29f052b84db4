"""A feeder that goes dark with a quarter of the fleet on it: one incident, and nobody who needs help waits for its paper work."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from prahari_hub.fleet import topology
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.tables import devices, sites, transitions, zones
from prahari_hub.fleet.topology import Link
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import service
from prahari_hub.incidents.tables import incident_children, incidents
from prahari_hub.ingest.columns import ONLINE
from prahari_hub.ingest.handlers import table
from prahari_hub.ingest.role import Ingest
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate
from prahari_wire.ids import ulid
from prahari_wire.topics import Up, mapped_subject

from tests.faults.place import LONG, patience_s

pytestmark = pytest.mark.timeout(600)
DARK = 100_000 if LONG else 3_000
FLEET = 4 * DARK
A_SITE = 25
JOBS = ("transitions", "outages.settle", "incidents.hold")
LIMITS = Limits(suspect_s=45.0, offline_s=90.0)
ASHA = Actor("asha", Role.OPERATOR)
CPU_S = 60.0 * DARK / 100_000 + 15.0
"""About a minute for 100,000, and what is the same for any number."""


class Clock:
    """Time that jumps ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def mono(self) -> float:
        return time.monotonic() + self.ahead_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)


class State(NamedTuple):
    """The real ingest and scheduler on a real database, without a broker."""

    clock: Clock
    store: Store
    ingest: Ingest
    scheduler: Scheduler
    acks: list[tuple[str, float]]

    def hear(self, rows: Any) -> None:
        """The devices of these rows spoke."""
        columns = self.ingest.memory.columns
        columns.heard_s[rows] = self.clock.mono()
        columns.seen_at[rows] = self.clock.now().timestamp()

    def scalar(self, query: sa.Select[Any]) -> Any:
        return self.store.read_sync(lambda conn: conn.scalar(query))

    async def press(self, device: str) -> float:
        """Seconds from a press to its ack."""
        stamp = {
            "id": ulid(),
            "boot": str(uuid4()),
            "conn": 0,
            "at": self.clock.now().isoformat(),
            "mono_ms": 1,
        }
        event = stamp | {"clock": "synced", "seq": 0, "kind": "callbox.press", "peripheral": "box1",
                         "body": {"press": ulid(), "count": 1}}  # fmt: skip
        batch = {"v": 1, "id": ulid(), "journal": str(uuid4()), "low": 0, "events": [event]}
        begun, before = time.monotonic(), len(self.acks)
        self.ingest.receive([(mapped_subject(device, Up.EVENT).encode(), json.dumps(batch).encode())])
        while not any(who == device for who, _ in self.acks[before:]):
            await asyncio.sleep(0.002)
        return time.monotonic() - begun


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    clock = Clock()
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}", clock=clock.now)
    migrate(store.engine)
    store.write_sync(_build)
    acks: list[tuple[str, float]] = []

    async def send(device: str, _channel: Any, _ack: Any) -> None:
        acks.append((device, time.monotonic()))

    ingest = Ingest(store, send, handlers=table(service.on_event), limits=LIMITS, mono=clock.mono)
    due = [job for job in jobs(Settings(home=tmp_path)) if job.name in JOBS]
    scheduler = Scheduler(store, due, mono=clock.mono)
    store.on_changes = scheduler.on_changes
    yield State(clock, store, ingest, scheduler, acks)
    store.close()


def name(number: int) -> str:
    return f"{'dark' if number < DARK else 'far'}-{number:06d}"


def _build(unit: Unit) -> None:
    """A feeder of ten switches with all the dark devices; the others stand in three zones that have no feeder."""
    unit.conn.execute(zones.insert(), [{"id": f"z{n}", "name": f"Zone {n}"} for n in range(4)])
    of = range(0, FLEET, A_SITE)
    unit.conn.execute(
        sites.insert(),
        [
            {"id": f"s{n}", "name": f"Site {n}", "zone_id": f"z{n // DARK}", "lat": 18.5, "lon": 73.8}
            for n in of
        ],
    )
    links = [Link("f1", "feeder", "Feeder 1", None, "z0")]
    links += [Link(f"sw{n}", "switch", f"Switch {n}", "f1") for n in range(10)]
    topology.bring(unit, ASHA, links, {f"s{n}": f"sw{n // A_SITE % 10}" for n in of if n < DARK})
    rows = [
        {"id": name(n), "site_id": f"s{n - n % A_SITE}", "service": "active", "created_at": unit.now,
         "presence": "online", "presence_since": unit.now, "last_seen": unit.now}
        for n in range(FLEET)
    ]  # fmt: skip
    unit.conn.execute(devices.insert(), rows)


async def until(found: Callable[[], bool], what: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + 300 * DARK / 100_000 + 30
    while not found():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        await meanwhile()
        await asyncio.sleep(0.2)


async def test_a_feeder_that_goes_dark_is_one_incident_and_no_press_waits_for_it(state: State) -> None:
    await state.ingest.load()
    await state.ingest.on_sight(True)
    state.ingest.memory.sees(True, state.clock.mono())
    columns = state.ingest.memory.columns
    everybody = np.arange(len(columns.ids))
    dark = np.array([columns.row(name(n)) for n in range(DARK)])
    lit = np.setdiff1d(everybody, dark)
    columns.state[everybody] = columns.written[everybody] = ONLINE
    state.store.write_sync(lambda unit: unit.conn.execute(devices.update().values(presence="online")))
    state.hear(everybody)
    parts = [asyncio.create_task(state.ingest._work()), asyncio.create_task(state.ingest.flusher.run()),
             asyncio.create_task(state.scheduler.run())]  # fmt: skip
    took: list[float] = []
    begun_s, cpu_s = time.monotonic(), time.process_time()

    async def press() -> None:
        state.hear(lit)
        took.append(await state.press(name(DARK + len(took) % DARK)))

    def offline(which: str = "offline") -> int:
        return int(state.scalar(sa.select(sa.func.count()).where(devices.c.presence == which)))

    def children() -> int:
        here = incident_children.c.left_at.is_(None)
        return int(state.scalar(sa.select(sa.func.count()).select_from(incident_children).where(here)))

    async def ahead(seconds: float) -> None:
        """Time jumps; nobody stood still, so that the silence counts."""
        state.clock.ahead_s += seconds
        state.ingest.flusher._swept_s = state.clock.mono()
        state.hear(lit)

    await ahead(46)
    await until(lambda: offline("suspect") == DARK, "all to be suspect", press)
    suspect_s = time.monotonic() - begun_s
    await ahead(46)
    await until(lambda: offline() == DARK, "all to be offline", press)
    offline_s = time.monotonic() - begun_s
    await until(lambda: children() == DARK, "all to be children of one outage", press)
    cpu_s = time.process_time() - cpu_s
    print(f"{DARK} of {FLEET}: suspect after {suspect_s:.1f} s, offline {offline_s:.1f} s, one incident with all of them "
          f"{time.monotonic() - begun_s:.1f} s; {cpu_s:.1f} s of CPU; {len(took)} presses took at most {max(took):.2f} s")  # fmt: skip
    shown = sa.select(incidents.c.kind, incidents.c.scope_id, incidents.c.children).where(
        incidents.c.resolved_at.is_(None), incidents.c.kind != "callbox.press"
    )
    assert state.store.read_sync(lambda conn: conn.execute(shown).all()) == [("place.outage", "f1", DARK)]
    every = sa.select(sa.func.count()).where(transitions.c.after == "offline")
    assert state.scalar(every) == DARK, "each is called offline once"
    assert max(took) < patience_s() and cpu_s < CPU_S
    await _come_back(state, everybody, press, offline, children)
    for part in parts:
        part.cancel()


async def _come_back(
    state: State, everybody: Any, press: Any, offline: Callable[[str], int], children: Callable[[], int]
) -> None:
    """The power is there again: every device speaks, and the outage is over."""
    begun_s, cpu_s, memory = time.monotonic(), time.process_time(), state.ingest.memory
    for row in everybody:
        if row % 500 == 0:
            await asyncio.sleep(0)
        if memory.columns.state[row] != ONLINE:
            memory._speaks(int(row), str(uuid4()), 0, state.clock.mono(), state.clock.now())
    state.hear(everybody)
    await until(lambda: offline("online") == FLEET and children() == 0, "all to be back", press)
    cleared = sa.select(sa.func.count()).where(
        incidents.c.kind == "place.outage", incidents.c.cleared_at.is_not(None)
    )
    await until(lambda: state.scalar(cleared) == 1, "the outage to be over", press)
    print(f"back: {time.monotonic() - begun_s:.1f} s, {time.process_time() - cpu_s:.1f} s of CPU")
