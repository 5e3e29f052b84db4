"""Closing a day: each device's seconds, written once, from what happened.

A day is closed some devices at a time, in the order of their ids, each piece in one transaction with the cursor that says how far it
is: killed anywhere it goes on there. A device-day is written only where it differs from the day's plain one, that of a device that was
online whenever the hub could see it; the sums by day, zone and vendor count all. ``reopen`` takes a day back, so that it is made anew from
the log of transitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from prahari_wire.topics import PARTITIONS
from sqlalchemy import Connection

from prahari_hub.errors import Invalid
from prahari_hub.fleet.availability.calculus import KINDS, Around, Past, Share, Span, share
from prahari_hub.fleet.availability.days import day_of, month_of, span_of
from prahari_hub.fleet.availability.past import (
    Chains,
    Counted,
    Surroundings,
    counted,
    first_online,
    partition_of,
    pasts,
)
from prahari_hub.fleet.tables import (
    availability_closed,
    availability_days,
    availability_months,
    availability_sums,
    devices,
    transitions,
)
from prahari_hub.store import Store, Unit
from prahari_hub.store.upsert import insert, upsert

DEVICES = 500
"""In one transaction: some tens of milliseconds; a state of 400,000 is closed within a quarter of an hour at one a second."""
SLACK = timedelta(minutes=30)
"""So long after midnight a day is closed: suspicions have been settled by then."""
FURTHEST = timedelta(days=62)
"""So far back the first closing begins, on a hub that ran before days were closed."""


@dataclass
class Piece:
    """What one transaction writes."""

    deviant: list[tuple[str, Share]] = field(default_factory=list)
    sums: dict[tuple[str, str], tuple[int, Share]] = field(default_factory=dict)

    def add(self, device: Counted, found: Share, plain: Share) -> None:
        if not found.counted_s:
            return
        if found != plain:
            self.deviant.append((device.id, found))
        number, total = self.sums.get((device.zone, device.vendor), (0, Share()))
        self.sums[device.zone, device.vendor] = number + 1, total.plus(found)


class Closer:
    """Closes days piece by piece, with the tree of places as it was when a day was begun."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._day: date | None = None
        self._chains = Chains()

    def __call__(self, unit: Unit) -> bool:
        """The next devices of the oldest day that is over and open; whether it found any."""
        day = open_day(unit, self._zone)
        if day != self._day:
            self._day, self._chains = day, Chains()
        return day is not None and close_devices(unit, day, self._zone, chains=self._chains)


def close_days(unit: Unit, zone: ZoneInfo, *, limit: int = DEVICES) -> bool:
    """The same, once."""
    day = open_day(unit, zone)
    return day is not None and close_devices(unit, day, zone, chains=Chains(), limit=limit)


def close_devices(unit: Unit, day: date, zone: ZoneInfo, *, chains: Chains, limit: int = DEVICES) -> bool:
    """The next devices of a day."""
    span = span_of(day, zone)
    surroundings = Surroundings(unit.conn, span, chains)
    row = unit.conn.execute(
        sa.select(availability_closed).where(availability_closed.c.day == day).with_for_update()
    ).one_or_none()
    plain = plain_shares(surroundings, span)
    chosen = counted(unit.conn, after=row.after if row else "", limit=limit)
    write(unit.conn, day, _shares(unit.conn, chosen, span, surroundings, plain))
    values = {
        "day": day,
        "after": chosen[-1].id if chosen else "",
        "plain": [list(one) for one in plain],
        "closed_at": unit.now if len(chosen) < limit else None,
    }
    upsert(unit.conn, availability_closed, values, keys=("day",))
    return True


def reopen(unit: Unit, day: date) -> None:
    """Forget what was closed of a day; ``close_days`` makes it anew. Invalid if it has not been closed."""
    if unit.conn.scalar(sa.select(availability_closed.c.day).where(availability_closed.c.day == day)) is None:
        raise Invalid(
            f"{day} has not been closed yet; only closed days are made anew", ("from", "a closed day")
        )
    gone = availability_days
    here = (gone.c.day == day) & (gone.c.device_id == availability_months.c.device_id)
    taken = {
        name: availability_months.c[name] - sa.select(gone.c[name]).where(here).scalar_subquery()
        for name in KINDS
    }
    unit.conn.execute(
        availability_months.update()
        .where(availability_months.c.month == month_of(day), sa.exists(sa.select(1).where(here)))
        .values(taken | {"days": availability_months.c.days - 1})
    )
    for table in (availability_days, availability_sums):
        unit.conn.execute(table.delete().where(table.c.day == day))
    back = {"after": "", "closed_at": None}
    unit.conn.execute(availability_closed.update().where(availability_closed.c.day == day).values(back))


def recompute(store: Store, wanted: Sequence[date], zone: ZoneInfo, *, keep_days: int | None) -> None:
    """Count days anew. Invalid for one that is not closed, or whose transitions may have been deleted after ``keep_days``."""
    oldest = store.clock() - timedelta(days=keep_days) if keep_days is not None else None
    for day in wanted:
        if oldest is not None and span_of(day, zone)[0] < oldest:
            raise Invalid(
                f"transitions of {day} have been deleted (keep_events_days is {keep_days}); its figures stay as they are",
                ("from", f"{day_of(oldest, zone) + timedelta(days=1)} or later"),
            )
    for day in wanted:
        store.write_sync(partial(reopen, day=day))
        close = Closer(zone)
        while store.write_sync(close):
            pass


def plain_shares(surroundings: Surroundings, span: Span) -> list[Share]:
    """By partition: a device that was online whenever the hub could see it."""
    online = Past("online", "active", span[0])
    return [share(span, online, Around(surroundings.blind(number))) for number in range(PARTITIONS)]


def open_day(unit: Unit, zone: ZoneInfo) -> date | None:
    closed = availability_closed
    half: date | None = unit.conn.scalar(
        sa.select(sa.func.min(closed.c.day)).where(closed.c.closed_at.is_(None))
    )
    if half is not None:
        return half
    last = unit.conn.scalar(sa.select(sa.func.max(closed.c.day)))
    day = last + timedelta(days=1) if last is not None else _first_day(unit, zone)
    if day is None or span_of(day, zone)[1] + SLACK > unit.now:
        return None
    return day


def _first_day(unit: Unit, zone: ZoneInfo) -> date | None:
    first: datetime | None = unit.conn.scalar(
        sa.select(transitions.c.at)
        .where(transitions.c.kind == "presence")
        .order_by(transitions.c.id)
        .limit(1)
    )
    if first is None:
        return None
    return max(day_of(first, zone), day_of(unit.now - FURTHEST, zone))


def _shares(
    conn: Connection,
    chosen: Sequence[Counted],
    span: Span,
    surroundings: Surroundings,
    plain: Sequence[Share],
) -> Piece:
    chosen = _with_beginnings(conn, chosen)
    known = pasts(conn, chosen, span[0])
    piece = Piece()
    for device in chosen:
        past = known[device.id]
        usual = plain[partition_of(device.id)]
        if not surroundings.touches and _was_plain(past, span):
            piece.add(device, usual, usual)
        elif past.counted_from is not None:
            around = surroundings.of(device.id, device.site)
            piece.add(device, share(span, past, around), usual)
    return piece


def _was_plain(past: Past, span: Span) -> bool:
    """Most devices on most days: nothing to calculate."""
    steps = past.presence or past.service
    began = past.counted_from is not None and past.counted_from <= span[0]
    return not steps and began and past.presence_now == "online" and past.service_now == "active"


def _with_beginnings(conn: Connection, chosen: Sequence[Counted]) -> list[Counted]:
    """Devices that have come online for the first time are counted from then on."""
    new = [device.id for device in chosen if device.counted_from is None and device.service != "registered"]
    found = first_online(conn, new) if new else {}
    for device, at in found.items():
        conn.execute(devices.update().where(devices.c.id == device).values(counted_from=at))
    return [
        Counted(**(vars(device) | {"counted_from": found.get(device.id, device.counted_from)}))
        for device in chosen
    ]


def write(conn: Connection, day: date, piece: Piece) -> None:
    found = piece.deviant
    rows = [{"day": day, "device_id": device} | one._asdict() for device, one in found]
    upsert(conn, availability_days, rows, keys=("day", "device_id"))
    month = month_of(day)
    rows = [{"month": month, "device_id": device, "days": 1} | one._asdict() for device, one in found]
    _accumulate(conn, availability_months, rows, keys=("month", "device_id"))
    rows = [
        {"day": day, "zone_id": zone, "vendor": vendor, "devices": number} | total._asdict()
        for (zone, vendor), (number, total) in piece.sums.items()
    ]
    _accumulate(conn, availability_sums, rows, keys=("day", "zone_id", "vendor"))


def _accumulate(
    conn: Connection, table: sa.Table, rows: Sequence[dict[str, object]], *, keys: Sequence[str]
) -> None:
    """Insert rows; where one stands already, the numbers are added to it."""
    if not rows:
        return
    statement = insert(conn, table)
    added = {name: table.c[name] + statement.excluded[name] for name in rows[0] if name not in keys}
    conn.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=added), list(rows))
