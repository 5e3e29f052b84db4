"""Health history in the store: packed blocks, a row a cell and span of time, in tiers that follow from each other.

    ingest ── add ──▶ health_buckets      5 minutes, a row each, until its hour is over
                           │ compact_hours
                           ▼
                      health_hours        12 slots of 5 minutes, kept for days
                           │ compact_days
                           ├──▶ health_days      24 slots of an hour, kept for years
                           └──▶ health_months    31 slots of a day, kept as long

Each step is one transaction that takes a few cells, writes the result and removes or marks what it was made of: killed anywhere it
loses and doubles nothing. What comes late for an hour or a day that was packed already is merged into it by the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from prahari_hub.fleet.history.block import Block, condensed, from_rollup, merged
from prahari_hub.fleet.history.codec import pack, unpack
from prahari_hub.fleet.history.rollup import BUCKET, Rollup, starts
from prahari_hub.fleet.tables import health_blocks, health_buckets, health_days, health_hours, health_months
from prahari_hub.store import Unit, partitions
from prahari_hub.store.upsert import upsert

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SLOTS_A_MONTH = 31
SLACK = timedelta(minutes=10)
"""So long after its end an hour or a day is packed: what was measured in it has been written by then."""
CELLS = 4
"""Cells in one transaction: an event that waits behind it waits some tens of milliseconds. 4 a second are 14,400 an hour, of 4,096."""
AT_ONCE = 200
"""Rows that one transaction deletes."""


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: datetime) -> datetime:
    return hour_of(at).replace(hour=0)


def month_of(at: datetime) -> datetime:
    return day_of(at).replace(day=1)


def add(unit: Unit, rollups: Sequence[Rollup]) -> None:
    """Write finished buckets. One that stands already, of this worker before a restart or of another, is merged with it."""
    for start in sorted({rollup.start for rollup in rollups}):
        given: dict[int, list[Block]] = {}
        for rollup in rollups:
            if rollup.start == start:
                given.setdefault(rollup.cell, []).append(from_rollup(rollup))
        stood = _rows(unit.conn, health_buckets, [start], list(given))
        rows = []
        for cell, blocks in given.items():
            found = [unpack(stood[start, cell]), *blocks] if (start, cell) in stood else blocks
            block = found[0] if len(found) == 1 else merged(1, [(0, each) for each in found])
            rows.append({"start": start, "cell": cell, "packed": pack(block, quick=True)})
        upsert(unit.conn, health_buckets, rows, keys=("start", "cell"))


def compact_hours(unit: Unit, *, cells: int = CELLS) -> bool:
    """Pack the buckets of hours that are over, a few cells of the oldest; whether it found any."""
    table = health_buckets
    oldest = unit.conn.scalar(sa.select(sa.func.min(table.c.start)))
    if oldest is None or hour_of(oldest) + HOUR + SLACK > unit.now:
        return False
    hour = hour_of(oldest)
    some = sa.select(table.c.cell).where(table.c.start == oldest).order_by(table.c.cell).limit(cells)
    chosen = list(unit.conn.scalars(some))
    buckets = _rows(unit.conn, table, starts(hour, hour + HOUR, BUCKET), chosen)
    stood = _rows(unit.conn, health_hours, [hour], chosen)
    rows = []
    for cell in chosen:
        parts = [(0, unpack(stood[hour, cell]))] if (hour, cell) in stood else []
        parts += [
            ((start - hour) // BUCKET, unpack(buckets[start, of])) for start, of in buckets if of == cell
        ]
        rows.append({"start": hour, "cell": cell, "packed": pack(merged(12, parts)), "rolled": False})
    upsert(unit.conn, health_hours, rows, keys=("start", "cell"))
    gone = table.c.start.in_(starts(hour, hour + HOUR, BUCKET)) & table.c.cell.in_(chosen)
    unit.conn.execute(table.delete().where(gone))
    return True


def compact_days(unit: Unit, *, cells: int = 1) -> bool:
    """Roll the hours of days that are over up into the days' and months' blocks, a few cells of the oldest; whether it found any."""
    table = health_hours
    fresh = table.c.rolled == sa.false()
    oldest = unit.conn.scalar(sa.select(sa.func.min(table.c.start)).where(fresh))
    if oldest is None or day_of(oldest) + DAY + HOUR + 2 * SLACK > unit.now:
        return False
    some = sa.select(table.c.cell).where(fresh, table.c.start == oldest).order_by(table.c.cell).limit(cells)
    for cell in list(unit.conn.scalars(some)):
        _roll(unit.conn, cell, day_of(oldest))
    return True


def _roll(conn: Connection, cell: int, day: datetime) -> None:
    """Slots of which the hours are known are made anew, others stay: again gives the same."""
    hours = starts(day, day + DAY, HOUR)
    found = _rows(conn, health_hours, hours, [cell])
    fresh = [
        ((start - day) // HOUR, condensed(unpack(packed))) for (start, _), packed in sorted(found.items())
    ]
    of_day = _lay(conn, health_days, (day, cell), 24, fresh)
    month = month_of(day)
    _lay(conn, health_months, (month, cell), SLOTS_A_MONTH, [((day - month) // DAY, condensed(of_day))])
    marked = health_hours.c.start.in_(hours) & (health_hours.c.cell == cell)
    conn.execute(health_hours.update().where(marked).values(rolled=True))


def _lay(
    conn: Connection, table: Table, key: tuple[datetime, int], slots: int, fresh: list[tuple[int, Block]]
) -> Block:
    """Put slots into the block under ``key``; the whole block."""
    start, cell = key
    stood = _rows(conn, table, [start], [cell]).get(key)
    parts = ([(0, unpack(stood))] if stood else []) + fresh
    block = merged(slots, parts, replace=True)
    upsert(conn, table, {"start": start, "cell": cell, "packed": pack(block)}, keys=("start", "cell"))
    return block


def _rows(
    conn: Connection, table: Table, spans: Sequence[datetime], cells: Sequence[int]
) -> dict[tuple[datetime, int], bytes]:
    """{(start, cell): packed}"""
    query = sa.select(table.c.start, table.c.cell, table.c.packed).where(
        table.c.start.in_(spans), table.c.cell.in_(cells)
    )
    return {(row.start, row.cell): row.packed for row in conn.execute(query)}


def forget(unit: Unit, *, minutes_before: datetime, hours_before: datetime) -> bool:
    """Delete some blocks of five minutes, and of hours and days, that are older; whether there may be more."""
    more = _forget_old(unit.conn, minutes_before)
    more |= _forget(unit.conn, health_buckets, minutes_before)
    more |= _forget(unit.conn, health_hours, minutes_before)
    more |= _forget(unit.conn, health_days, hours_before)
    return _forget(unit.conn, health_months, hours_before - SLOTS_A_MONTH * DAY) or more


def _forget(conn: Connection, table: Table, before: datetime) -> bool:
    more = partitions.forget(conn, table, before)
    if more is not None:
        return more
    oldest = conn.scalar(sa.select(sa.func.min(table.c.start)))
    if oldest is None or oldest >= before:
        return False
    cells = list(conn.scalars(sa.select(table.c.cell).where(table.c.start == oldest).limit(AT_ONCE)))
    conn.execute(table.delete().where(table.c.start == oldest, table.c.cell.in_(cells)))
    return True


def _forget_old(conn: Connection, before: datetime) -> bool:
    table = health_blocks
    query = sa.select(table.c.device_id, table.c.hour).where(table.c.hour < before).limit(AT_ONCE)
    found = [tuple(row) for row in conn.execute(query)]
    if found:
        conn.execute(table.delete().where(sa.tuple_(table.c.device_id, table.c.hour).in_(found)))
    return len(found) == AT_ONCE
