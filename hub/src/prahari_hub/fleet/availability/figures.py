"""Figures of a month: what the closed days sum up to, of the fleet by zone, vendor or day, and of single devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet import registry
from prahari_hub.fleet.availability.calculus import KINDS, Share, in_service, share
from prahari_hub.fleet.availability.days import days, next_month, span_of
from prahari_hub.fleet.availability.past import Surroundings, counted, first_online, partition_of, pasts
from prahari_hub.fleet.tables import (
    availability_closed,
    availability_days,
    availability_months,
    availability_sums,
    devices,
    sites,
    zones,
)

GROUPS = ("zone", "vendor", "day")
MONTHS = 24
"""How many months the page offers."""


@dataclass(frozen=True)
class Chosen:
    """Part of the fleet: a zone with those below it, a vendor (empty: devices without one); everything where None."""

    zone: str | None = None
    vendor: str | None = None


ALL = Chosen()


@dataclass(frozen=True)
class Figure:
    """One row. ``key`` is a zone's id, a vendor's name, a date or a device's id; empty for what has none."""

    key: str
    name: str
    devices: float
    share: Share


@dataclass(frozen=True)
class Month:
    """``until`` is the last day that is counted, None if none is: the running day is not, nor one that is being closed."""

    month: date
    until: date | None
    total: Figure
    rows: list[Figure]


def month(conn: Connection, first: date, *, group: str = "zone", chosen: Chosen = ALL) -> Month:
    """``group`` is one of GROUPS. By zone: those right below the chosen one, each with all below it."""
    closed = closed_days(conn, first)
    key = availability_sums.c[{"zone": "zone_id", "vendor": "vendor", "day": "day"}[group]]
    query = (
        sa.select(key.label("key"), sa.func.sum(availability_sums.c.devices).label("days"))
        .add_columns(*[sa.func.sum(availability_sums.c[kind]).label(kind) for kind in KINDS])
        .where(availability_sums.c.day.in_(closed), *_of_sums(conn, chosen))
        .group_by(key)
    )
    number = max(len(closed), 1)
    found = [
        Figure(str(row.key), str(row.key), row.days / (1 if group == "day" else number), _share(row))
        for row in conn.execute(query)
    ]
    total = Share()
    for one in found:
        total = total.plus(one.share)
    total_devices = sum(one.devices for one in found) / (number if group == "day" else 1)
    rows = _by_zone(conn, found, chosen.zone) if group == "zone" else sorted(found, key=lambda one: one.key)
    return Month(first, max(closed, default=None), Figure("", "", total_devices, total), rows)


def closed_days(conn: Connection, first: date) -> list[date]:
    """The days of a month that are closed, in order."""
    query = sa.select(availability_closed.c.day).where(
        availability_closed.c.day >= first,
        availability_closed.c.day < next_month(first),
        availability_closed.c.closed_at.is_not(None),
    )
    return list(conn.scalars(query.order_by(availability_closed.c.day)))


def months(conn: Connection) -> list[date]:
    """Months of which a day is closed, newest first."""
    row = conn.execute(
        sa.select(
            sa.func.min(availability_closed.c.day).label("first"),
            sa.func.max(availability_closed.c.day).label("last"),
        ).where(availability_closed.c.closed_at.is_not(None))
    ).one()
    found: list[date] = []
    at = row.first and row.first.replace(day=1)
    while at and at <= row.last:
        found.append(at)
        at = next_month(at)
    return found[::-1][:MONTHS]


def vendors(conn: Connection, day: date | None) -> list[str]:
    """Those that a closed day names."""
    table = availability_sums
    query = sa.select(table.c.vendor).where(table.c.day == day, table.c.vendor != "").distinct()
    return list(conn.scalars(query.order_by(table.c.vendor))) if day is not None else []


def worst(
    conn: Connection, first: date, *, zone: ZoneInfo, chosen: Chosen = ALL, limit: int = 20
) -> list[Figure]:
    """The devices that were down longest in a month."""
    table = availability_months
    query = (
        sa.select(table.c.device_id)
        .where(table.c.month == first, table.c.down_s > 0)
        .order_by(table.c.down_s.desc(), table.c.device_id)
        .limit(limit)
    )
    if chosen.zone is not None or chosen.vendor is not None:
        joined = table.join(devices, devices.c.id == table.c.device_id).outerjoin(
            sites, sites.c.id == devices.c.site_id
        )
        query = query.select_from(joined).where(*_of_devices(conn, chosen))
    ids = list(conn.scalars(query))
    named = sa.select(devices.c.id, devices.c.name).where(devices.c.id.in_(ids))
    names = {row.id: row.name for row in conn.execute(named)}
    found = of_devices(conn, ids, closed_days(conn, first), zone)
    return [Figure(device, names.get(device) or "", 1, total_of(found[device].values())) for device in ids]


def of_devices(
    conn: Connection, ids: Sequence[str], closed: Sequence[date], zone: ZoneInfo
) -> dict[str, dict[date, Share]]:
    """What was closed of each device, by day; days on which it was not counted are left out."""
    found: dict[str, dict[date, Share]] = {device: {} for device in ids}
    if not ids or not closed:
        return found
    written = _written(conn, ids, closed)
    known = pasts(conn, counted(conn, ids=ids), span_of(closed[0], zone)[0], kinds=("service",))
    rows = sa.select(availability_closed).where(availability_closed.c.day.in_(closed))
    plain = {row.day: [Share(*one) for one in row.plain] for row in conn.execute(rows)}
    for device, past in known.items():
        for day in closed:
            if (device, day) in written:
                found[device][day] = written[device, day]
            elif in_service(past, span_of(day, zone)[0]):
                found[device][day] = plain[day][partition_of(device)]
    return found


def device_days(
    conn: Connection, device: str, first: date, until: date, *, zone: ZoneInfo, now: datetime
) -> dict[date, Share]:
    """One device from ``first`` to before ``until``: closed days as they were written, the newest others as they stand now."""
    registry.require_device(conn, device)
    asked = days(first, until)
    query = sa.select(availability_closed.c.day).where(
        availability_closed.c.day.in_(asked), availability_closed.c.closed_at.is_not(None)
    )
    closed = sorted(conn.scalars(query))
    found = of_devices(conn, [device], closed, zone)[device]
    open_ = [day for day in asked if day not in closed and span_of(day, zone)[0] < now]
    for day in open_[-2:]:
        of_day = _now(conn, device, day, zone, now)
        if of_day.counted_s:
            found[day] = of_day
    return dict(sorted(found.items()))


def total_of(shares: Iterable[Share]) -> Share:
    return (
        Share(*(sum(column) for column in zip(*shares, strict=True))) if (shares := list(shares)) else Share()
    )


def _now(conn: Connection, device: str, day: date, zone: ZoneInfo, now: datetime) -> Share:
    """A day that runs, or is over and not closed yet: up to now."""
    start, end = span_of(day, zone)
    span = start, min(end, now)
    (chosen,) = counted(conn, ids=[device])
    if chosen.counted_from is None:
        chosen = replace(chosen, counted_from=first_online(conn, [device]).get(device))
    past = pasts(conn, [chosen], start)[device]
    if past.counted_from is None:
        return Share()
    return share(span, past, Surroundings(conn, span).of(device, chosen.site))


def _written(conn: Connection, ids: Sequence[str], closed: Sequence[date]) -> dict[tuple[str, date], Share]:
    table = availability_days
    query = sa.select(table).where(table.c.day.in_(closed), table.c.device_id.in_(ids))
    return {(row.device_id, row.day): _share(row) for row in conn.execute(query)}


def _share(row: Any) -> Share:
    return Share(*(int(getattr(row, kind)) for kind in KINDS))


def _of_sums(conn: Connection, chosen: Chosen) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if chosen.zone is not None:
        found.append(availability_sums.c.zone_id.in_(registry.below(conn, chosen.zone)))
    if chosen.vendor is not None:
        found.append(availability_sums.c.vendor == chosen.vendor)
    return found


def _of_devices(conn: Connection, chosen: Chosen) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if chosen.zone is not None:
        found.append(sites.c.zone_id.in_(registry.below(conn, chosen.zone)))
    if chosen.vendor is not None:
        found.append(sa.func.coalesce(devices.c.vendor, "") == chosen.vendor)
    return found


def _by_zone(conn: Connection, found: Sequence[Figure], top: str | None) -> list[Figure]:
    """Each zone right below ``top`` with all that is below it; ``top`` itself for what stands in it directly."""
    rows = {row.id: row for row in conn.execute(sa.select(zones.c.id, zones.c.name, zones.c.parent_id))}
    sums: dict[str, Figure] = {}
    for one in found:
        key = one.key
        while key in rows and key != top and rows[key].parent_id not in (top, None):
            key = rows[key].parent_id
        stood = sums.get(key, Figure(key, rows[key].name if key in rows else "", 0, Share()))
        sums[key] = replace(stood, devices=stood.devices + one.devices, share=stood.share.plus(one.share))
    return sorted(sums.values(), key=lambda one: (one.key == "", one.name))
