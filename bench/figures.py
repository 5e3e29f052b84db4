"""Figures of availability at full size: closing a day of the fleet, and asking a month of zones, vendors and days."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from prahari_hub.fleet.availability import closing, figures
from prahari_hub.fleet.availability.calculus import Share
from prahari_hub.fleet.tables import availability_closed, devices, sites, transitions, zones
from prahari_hub.store import Store, Unit
from prahari_wire.topics import PARTITIONS

from bench.results import Results, say
from bench.timing import compact, timed, times

FLEET = 400_000
DAY = datetime(2026, 3, 2, tzinfo=UTC)
KOLKATA = ZoneInfo("Asia/Kolkata")
MONTH = [date(2026, 1, 1) + timedelta(days=number) for number in range(31)]
CLOSED_DAYS = 1
"""Closed for real, to be timed; the month's others are written at once."""


def fill_fleet(store: Store) -> None:
    """400,000 devices of 300 zones and 8 vendors, online for a month."""
    began = DAY - timedelta(days=40)

    def places(unit: Unit) -> None:
        unit.conn.execute(
            zones.insert(), [{"id": f"z{n}", "name": f"Zone {n}", "parent_id": None} for n in range(10)]
        )
        below = [{"id": f"z{n}", "name": f"Zone {n}", "parent_id": f"z{n % 10}"} for n in range(10, 300)]
        unit.conn.execute(zones.insert(), below)
        rows = [
            {"id": f"s{n}", "name": f"Site {n}", "zone_id": f"z{n % 300}", "lat": 18.5, "lon": 73.8}
            for n in range(3000)
        ]
        unit.conn.execute(sites.insert(), rows)

    store.write_sync(places)
    for start in range(0, FLEET, 20_000):
        rows = [
            {
                "id": f"mh-cam-{n:06d}", "site_id": f"s{n % 3000}", "vendor": f"Vendor {n % 8}", "service": "active",
                "presence": "online", "created_at": began, "counted_from": began,
            }
            for n in range(start, start + 20_000)
        ]  # fmt: skip
        store.write_sync(lambda unit, rows=rows: unit.conn.execute(devices.insert(), rows))  # type: ignore[misc]


def outages(day: date, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Five of a hundred devices were down for a while."""
    start = datetime.combine(day, datetime.min.time(), KOLKATA).astimezone(UTC)
    for number in rng.choice(FLEET, FLEET // 20, replace=False).tolist():
        at = start + timedelta(seconds=float(rng.uniform(0, 70_000)))
        for before, after, later in (
            ("online", "suspect", 0),
            ("suspect", "offline", 45),
            ("offline", "online", 45 + float(rng.exponential(3000))),
        ):
            step = {"device_id": f"mh-cam-{number:06d}", "kind": "presence", "before": before, "after": after}
            yield step | {"at": at + timedelta(seconds=later)}


def write_day(unit: Unit, day: date, rng: np.random.Generator) -> None:
    """What closing writes of a day on which other devices were down."""
    piece = closing.Piece()
    for number in rng.choice(FLEET, FLEET // 20, replace=False).tolist():
        down_s = int(rng.exponential(3000)) % 80_000
        piece.deviant.append((f"mh-cam-{number:06d}", Share(86_400 - down_s, down_s)))
    whole = Share(86_400 * FLEET // 2400)
    for place in range(300):
        piece.sums |= {(f"z{place}", f"Vendor {vendor}"): (FLEET // 2400, whole) for vendor in range(8)}
    closing.write(unit.conn, day, piece)
    row = {"day": day, "after": "", "plain": [[86_400, 0, 0, 0, 0]] * PARTITIONS, "closed_at": DAY}
    unit.conn.execute(availability_closed.insert(), row)


def measure(store: Store) -> dict[str, Any]:
    """Close days of the whole fleet, write the rest of the month as closing would, then ask."""
    rng = np.random.default_rng(7)
    first = date(2026, 1, 1)
    took: list[float] = []
    a_day: list[float] = []
    plain = {"day": first - timedelta(days=1), "after": "", "plain": [], "closed_at": DAY}
    store.write_sync(lambda unit: unit.conn.execute(availability_closed.insert(), plain))
    for day in MONTH[:CLOSED_DAYS]:
        rows = list(outages(day, rng))
        store.write_sync(lambda unit, rows=rows: unit.conn.execute(transitions.insert(), rows))  # type: ignore[misc]
        before = len(took)
        now = datetime.combine(day, datetime.min.time(), KOLKATA) + timedelta(hours=26)
        compact(store, now, lambda unit: closing.close_days(unit, KOLKATA), took)
        a_day.append(sum(took[before:]))
    for day in MONTH[CLOSED_DAYS:]:
        store.write_sync(lambda unit, day=day: write_day(unit, day, rng))  # type: ignore[misc]
    everything = figures.ALL

    def ask(group: str) -> Callable[[], object]:
        return lambda: store.read_sync(
            lambda conn: figures.month(conn, first, group=group, chosen=everything)
        )

    return {
        "devices": FLEET,
        "days_closed": CLOSED_DAYS,
        "closing_a_day_cpu_s": round(statistics.median(a_day), 1),
        "closing_step_p50_cpu_ms": round(statistics.median(took) * 1000),
        "closing_step_max_cpu_ms": round(max(took) * 1000),
        "month_by_zone": timed(ask("zone"), 10),
        "month_by_vendor": timed(ask("vendor"), 10),
        "month_by_day": timed(ask("day"), 10),
        "worst_of_month": timed(
            lambda: store.read_sync(lambda conn: figures.worst(conn, first, zone=KOLKATA)), 10
        ),
    }


def fleet(results: Results, store: Store) -> None:
    fill_fleet(store)
    say("the fleet is filled in")
    found = results.details["figures"] = measure(store)
    for name in ("month_by_zone", "month_by_vendor", "month_by_day", "worst_of_month"):
        took = found[name]
        what = f"figures of a month, {name.replace('_', ' ')}, {FLEET:,} devices, by the clock"
        results.row(what, times(took), aim="≤ 1 s", met=took["p50_ms"] <= 1000)
    results.row(
        f"closing a day of {FLEET:,} devices, {FLEET // 20:,} of them down for a while",
        f"{found['closing_a_day_cpu_s']} s of CPU in steps of {found['closing_step_p50_cpu_ms']} ms "
        f"(max {found['closing_step_max_cpu_ms']} ms)",
    )
