"""The hub as its operator sees it: findings of the quick checks, figures of this moment, and who does what."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.incidents import queries as incidents
from prahari_hub.operations import sizes
from prahari_hub.operations.doctor import examine, worst
from prahari_hub.operations.doctor.findings import WORST, Finding, Level, Look, fail, ok, warn
from prahari_hub.settings import Settings
from prahari_hub.store import Store
from prahari_hub.store.leases import alive, clock_of
from prahari_hub.store.tables import leases
from prahari_hub.texts import N_

QUICK = ("database", "schema", "pictures", "backup", "disk", "clock", "settings", "authority", "certificates")
"""Checks that take no longer than a page may."""
LAGS_S, BLOCKED_S = 1.0, 5.0
LATE_S = 60.0
RATE_OVER_S = (5.0, 600.0)
EVERY_PARTITION = 16
KEPT_SAMPLES = 60


@dataclass(frozen=True)
class Process:
    """A process of the hub: which partitions it has, whether the scheduler runs there, until when its word holds."""

    id: str
    partitions: int
    schedules: bool
    until: datetime


@dataclass(frozen=True)
class Figures:
    """Of this process, but for the database and the disk. Rates are None until two looks lie RATE_OVER_S apart.

    ``free_bytes`` are of the home's disk; with ``database_elsewhere`` (PostgreSQL) the database grows on one that the hub does not see,
    and nobody tells ``days_left``.
    """

    heartbeats_s: float | None
    events_s: float | None
    waiting: int
    lag_s: float
    dropped: int
    writes_waiting: int
    broker_connections: int
    browsers: int
    memory_mib: float
    database_bytes: int
    database_a_day: float | None
    database_elsewhere: bool
    free_bytes: int
    days_left: float | None


@dataclass(frozen=True)
class Overview:
    """``ingests``: this process hears devices itself, so that its figures of traffic mean something."""

    level: Level
    findings: list[Finding]
    figures: Figures
    processes: list[Process]
    ingests: bool


class Rates:
    """Heartbeats and events a second, between the looks that somebody takes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float]] = deque(maxlen=KEPT_SAMPLES)

    def look(self, now_s: float) -> tuple[float | None, float | None]:
        beats = _total("prahari_messages_total", channel="health", outcome="taken")
        events = _total("prahari_events_total")
        least_s, most_s = RATE_OVER_S
        old = next((seen for seen in self._seen if least_s <= now_s - seen[0] <= most_s), None)
        if not self._seen or now_s - self._seen[-1][0] >= least_s:
            self._seen.append((now_s, beats, events))
        if old is None:
            return None, None
        span_s = now_s - old[0]
        return (beats - old[1]) / span_s, (events - old[2]) / span_s


RATES = Rates()


def take(
    settings: Settings,
    store: Store,
    *,
    notices: Mapping[str, str | None],
    rates: Rates = RATES,
) -> Overview:
    """Blocks for some reads of the store: for a thread. ``notices``: what readiness holds against the hub, by part."""
    now = store.clock()
    processes = store.read_sync(lambda conn: _processes(conn, now))
    figures = _figures(settings, store, rates)
    ingests = figures_are_ours()
    found = [
        *_held(notices),
        *_lag(figures),
        *_owners(processes),
        *_calls(store, now),
        *examine(Look(settings, now, store), QUICK),
    ]
    found.sort(key=lambda finding: -WORST[finding.level])
    return Overview(worst(found), found, figures, processes, ingests)


def figures_are_ours() -> bool:
    """Whether ingest runs in this process."""
    return _total("prahari_partitions_owned") > 0


def _held(notices: Mapping[str, str | None]) -> list[Finding]:
    found: list[Finding] = []
    for part, said in notices.items():
        if said is None or part == "ingest":  # what nobody hears is said by _owners
            continue
        if part == "broker":
            found += fail(
                "broker",
                N_(
                    "The hub does not see its broker: no event arrives, and no device is called offline meanwhile."
                ),
                N_("See that the broker runs; prahari-hub doctor says more."),
            )
        else:
            found += warn(
                part, "{said}", N_("Set the machine's clock right, then wait or restart the hub."), said=said
            )
    if not found:
        found = ok("broker", N_("The hub sees its broker."))
    return found


def _lag(figures: Figures) -> list[Finding]:
    lag = f"{figures.lag_s:.1f}"
    if figures.lag_s > BLOCKED_S:
        return fail(
            "traffic",
            N_("Messages wait {lag} s to be worked off."),
            N_("See whether the disk or the database is slow; add ingest workers if it stays."),
            lag=lag,
        )
    if figures.lag_s > LAGS_S:
        return warn(
            "traffic",
            N_("Messages wait {lag} s to be worked off."),
            N_("It passes after a storm of connections; if it stays, the machine is at its limit."),
            lag=lag,
        )
    return ok("traffic", N_("Messages are worked off as they come."))


def _owners(processes: list[Process]) -> list[Finding]:
    count = sum(process.partitions for process in processes)
    if count < EVERY_PARTITION:
        return fail(
            "processes",
            N_(
                "Only {count} of 16 partitions have an ingest worker: the devices of the others are not heard."
            ),
            N_("Start an ingest worker, or wait ten seconds after one ended: the others take over."),
            count=count,
        )
    if not any(process.schedules for process in processes):
        return fail(
            "processes",
            N_("No scheduler runs: nothing is told, sent or escalated."),
            N_("Start a process with the role scheduler."),
        )
    return ok("processes", N_("All 16 partitions are heard and the scheduler runs."))


def _calls(store: Store, now: datetime) -> list[Finding]:
    count, oldest = store.read_sync(lambda conn: incidents.calls_due(conn, now))
    late_s = 0.0 if oldest is None else (now - oldest).total_seconds()
    if late_s < LATE_S:
        return []
    return warn(
        "calls",
        N_("{count} calls about incidents are late, the oldest by {late} s."),
        N_(
            "Look through the open incidents: presses and the worst are told first. If it stays, the mail server or the webhook is slow."
        ),
        count=count,
        late=f"{late_s:.0f}",
    )


def _processes(conn: Connection, now: datetime) -> list[Process]:
    rows = conn.execute(sa.select(leases).where(alive(clock_of(conn, now)))).all()
    found = []
    for holder in sorted({row.holder for row in rows}):
        mine = [row for row in rows if row.holder == holder]
        partitions = sum(row.name.startswith("partition/") for row in mine)
        schedules = any(row.name == "scheduler" for row in mine)
        if partitions or schedules:
            found.append(Process(holder, partitions, schedules, max(row.until for row in mine)))
    return found


def _figures(settings: Settings, store: Store, rates: Rates) -> Figures:
    heartbeats, events = rates.look(time.monotonic())
    room = store.read_sync(lambda conn: sizes.room(settings, conn))
    return Figures(
        heartbeats_s=heartbeats,
        events_s=events,
        waiting=int(_total("prahari_queue_messages")),
        lag_s=max(_samples("prahari_queue_oldest_seconds"), default=0.0),
        dropped=int(_total("prahari_messages_total", outcome="dropped")),
        writes_waiting=int(_total("prahari_store_writes_waiting")),
        broker_connections=int(_total("prahari_broker_connections")),
        browsers=int(_total("prahari_live_subscribers")),
        memory_mib=_total("process_resident_memory_bytes") / 2**20,
        database_bytes=room.database,
        database_a_day=room.database_a_day,
        database_elsewhere=room.elsewhere,
        free_bytes=room.free,
        days_left=room.days,
    )


def _total(name: str, **labels: str) -> float:
    return sum(_samples(name, **labels))


def _samples(name: str, **labels: str) -> list[float]:
    wanted = labels.items()
    return [
        sample.value
        for family in metrics.REGISTRY.collect()
        if name.startswith(family.name)
        for sample in family.samples
        if sample.name == name and wanted <= sample.labels.items()
    ]
