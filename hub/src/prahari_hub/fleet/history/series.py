"""One device's health over time, from the tier that answers in a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Table

from prahari_hub.fleet.cells import cell_of
from prahari_hub.fleet.history import legacy
from prahari_hub.fleet.history.block import Block, condensed, merged
from prahari_hub.fleet.history.codec import pick
from prahari_hub.fleet.history.rollup import BUCKET, bucket_start, starts
from prahari_hub.fleet.history.tiers import DAY, HOUR, day_of, hour_of, month_of
from prahari_hub.fleet.tables import health_buckets, health_days, health_hours, health_months

STEPS = {int(step.total_seconds()): step for step in (BUCKET, HOUR, DAY)}
FINE, MIDDLE = timedelta(hours=25), timedelta(days=32)
"""Spans up to which a chart is drawn in steps of five minutes, and of hours; beyond, of days."""
UNROLLED_DAYS = 3
"""Days of which the hours are looked at one by one when the day has not been rolled up."""
Found = list[tuple[datetime, Block]]


@dataclass(frozen=True)
class Series:
    """One value a step, None where the device said nothing: a gap is shown as a gap. ``times`` are the steps' starts."""

    step_s: int
    times: list[datetime]
    checks: dict[str, dict[str, list[float | None]]]


def step_for(span: timedelta) -> timedelta:
    return BUCKET if span <= FINE else HOUR if span <= MIDDLE else DAY


def series(
    conn: Connection,
    device: str,
    *,
    since: datetime,
    until: datetime,
    checks: Sequence[str] = (),
    step: timedelta | None = None,
) -> Series:
    """From ``since`` to before ``until``, in steps of five minutes, hours or days of UTC; of every check if none is named."""
    step = step or step_for(until - since)
    if step == BUCKET:
        first = bucket_start(since)
        found = _buckets(conn, device, hour_of(since), until)
    elif step == HOUR:
        first = hour_of(since)
        found = _hours(conn, device, day_of(since), until)
    else:
        first = day_of(since)
        found = _days(conn, device, month_of(since), until)
    times = starts(first, until, step)
    return Series(int(step.total_seconds()), times, _columns(found, times, step, checks))


def _buckets(conn: Connection, device: str, since: datetime, until: datetime) -> Found:
    """Packed hours, and the buckets of those that run or wait to be packed. Both may hold a part of one hour."""
    old = legacy.hours(conn, device, since=since, until=until)
    packed = _picked(conn, health_hours, starts(since, until, HOUR), device)
    oldest = conn.scalar(sa.select(sa.func.min(health_buckets.c.start)))
    running = (
        []
        if oldest is None
        else _picked(conn, health_buckets, starts(max(since, oldest), until, BUCKET), device)
    )
    return [*old.items(), *packed, *running]


def _hours(conn: Connection, device: str, since: datetime, until: datetime) -> Found:
    days = starts(since, until, DAY)
    packed = _picked(conn, health_days, days, device)
    rolled = {start for start, _ in packed}
    return packed + [part for day in _unrolled(days, rolled) for part in _by_hour(conn, device, day)]


def _by_hour(conn: Connection, device: str, day: datetime) -> Found:
    parts: dict[datetime, list[tuple[int, Block]]] = {}
    for start, block in _buckets(conn, device, day, day + DAY):
        hour = hour_of(start)
        parts.setdefault(hour, []).append(((start - hour) // BUCKET, block))
    return [(hour, condensed(merged(12, blocks))) for hour, blocks in parts.items()]


def _days(conn: Connection, device: str, since: datetime, until: datetime) -> Found:
    months = sorted({month_of(day) for day in starts(since, until, DAY)})
    packed = _picked(conn, health_months, months, device)
    rolled = {
        start + int(slot) * DAY
        for start, block in packed
        for slot in np.flatnonzero(block.count.any(axis=(0, 1)))
    }
    found = list(packed)
    for day in _unrolled(starts(since, until, DAY), rolled):
        hours = [((start - day) // HOUR, block) for start, block in _by_hour(conn, device, day)]
        if hours:
            found.append((day, condensed(merged(24, hours))))
    return found


def _unrolled(days: Sequence[datetime], rolled: set[datetime]) -> Iterable[datetime]:
    """The newest days that have no block yet: today's, and yesterday's until it is packed."""
    return [day for day in days[-UNROLLED_DAYS:] if day not in rolled]


def _picked(conn: Connection, table: Table, spans: Sequence[datetime], device: str) -> Found:
    query = sa.select(table.c.start, table.c.packed).where(
        table.c.start.in_(spans), table.c.cell == cell_of(device)
    )
    blocks = ((row.start, pick(row.packed, device)) for row in conn.execute(query))
    return [(start, block) for start, block in blocks if block is not None]


def _columns(
    found: Found, times: Sequence[datetime], step: timedelta, checks: Sequence[str]
) -> dict[str, dict[str, list[float | None]]]:
    """All parts laid onto the asked steps; of every check that was measured in them, or of ``checks``."""
    first = [(start - times[0]) // step for start, _ in found] if times else []
    parts = [(slot, _cut(block, slot, len(times))) for slot, (_, block) in zip(first, found, strict=False)]
    whole = merged(len(times), [(max(slot, 0), block) for slot, block in parts if block.slots])
    measured = {name for row, name in enumerate(whole.checks) if whole.count[row].any()}
    wanted = list(checks) or sorted(measured)
    return {name: _column(whole, name) for name in wanted}


def _cut(block: Block, first: int, size: int) -> Block:
    """The slots of a block that begins at slot ``first`` which lie within 0 to ``size``."""
    here = slice(max(-first, 0), max(min(size - first, block.slots), 0))
    least, mean, most = (array[:, :, here] for array in (block.least, block.mean, block.most))
    return Block(block.devices, block.checks, block.count[:, :, here], least, mean, most)


def _column(whole: Block, name: str) -> dict[str, list[float | None]]:
    columns = {"min": whole.least, "mean": whole.mean, "max": whole.most}
    if name not in whole.checks:
        return {kind: [None] * whole.slots for kind in columns}
    row = whole.checks.index(name)
    known = (whole.count[row, 0] > 0).tolist()
    return {
        kind: [
            value if said else None
            for value, said in zip(np.round(part[row, 0], 2).tolist(), known, strict=True)
        ]
        for kind, part in columns.items()
    }
