"""Which share of requests is fulfilled, how fast, why the rest failed, and which cameras' gaps cost most: what to repair first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.evidence.private import OWNERS
from prahari_hub.evidence.reasons import Outcome
from prahari_hub.evidence.tables import footage_requests, request_cameras
from prahari_hub.fleet import places

GROUPS = ("month", "zone", "authority", "camera")
WORST = 20


@dataclass
class Tally:
    """Requests of one month, zone, authority or camera. Those that still run are counted as ``open`` and in no share."""

    key: str
    name: str
    fulfilled: int = 0
    partial: int = 0
    impossible: int = 0
    refused: int = 0
    open: int = 0
    hours: list[float] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """Those that could have been fulfilled and have ended: a refusal is no miss."""
        return self.fulfilled + self.partial + self.impossible

    @property
    def share(self) -> float | None:
        """Of the ended ones that were not refused; None where there is none."""
        return self.fulfilled / self.asked if self.asked else None

    @property
    def median_h(self) -> float | None:
        return percentile(self.hours, 0.5)

    @property
    def p95_h(self) -> float | None:
        return percentile(self.hours, 0.95)

    def count(self, row: Row[Any]) -> None:
        match row.outcome:
            case None:
                self.open += 1
            case Outcome.FULFILLED:
                self.fulfilled += 1
            case Outcome.PARTIAL:
                self.partial += 1
            case Outcome.IMPOSSIBLE:
                self.impossible += 1
            case _:
                self.refused += 1
        if row.outcome in (Outcome.FULFILLED, Outcome.PARTIAL):
            self.hours.append((row.ended_at - row.submitted_at).total_seconds() / 3600)


@dataclass(frozen=True)
class Costly:
    """A camera whose gaps cost ``requests`` their fulfilment; ``missing_h`` hours of what was asked were not there."""

    device: str
    camera: str
    requests: int
    missing_h: float
    reason: str


@dataclass(frozen=True)
class Figures:
    """``causes``: reason and how many requests ended without being fulfilled for it."""

    since: datetime
    until: datetime
    total: Tally
    rows: list[Tally]
    causes: list[tuple[str, int]]
    worst: list[Costly]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of the values does not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def figures(
    conn: Connection, since: datetime, until: datetime, *, group: str = "month", zone: ZoneInfo
) -> Figures:
    """Of the requests that were submitted in the interval; ``zone`` is the city's, whose months count."""
    within = footage_requests.c.submitted_at.between(since, until)
    rows = conn.execute(sa.select(footage_requests).where(within).order_by(footage_requests.c.id)).all()
    total = Tally("", "")
    for row in rows:
        total.count(row)
    missed = [row for row in rows if row.outcome in (Outcome.PARTIAL, Outcome.IMPOSSIBLE)]
    causes = Counter(str(row.reason) for row in missed if row.reason)
    return Figures(
        since,
        until,
        total,
        _grouped(conn, rows, group, zone),
        sorted(causes.items(), key=lambda each: (-each[1], each[0])),
        _worst(conn, since, until),
    )


def _grouped(conn: Connection, rows: Sequence[Row[Any]], group: str, zone: ZoneInfo) -> list[Tally]:
    if group == "camera":
        return _by_camera(conn, rows)
    names = places.zone_names(conn) if group == "zone" else {}
    keys: dict[str, Callable[[Row[Any]], str]] = {
        "month": lambda row: row.submitted_at.astimezone(zone).strftime("%Y-%m"),
        "zone": lambda row: row.zone_id or "",
        "authority": lambda row: row.authority,
    }
    found: dict[str, Tally] = {}
    for row in rows:
        key = keys[group](row)
        found.setdefault(key, Tally(key, names.get(key, key))).count(row)
    if group == "month":
        return [found[key] for key in sorted(found, reverse=True)]
    return sorted(found.values(), key=lambda tally: (-tally.asked, tally.key))


def _by_camera(conn: Connection, rows: Sequence[Row[Any]]) -> list[Tally]:
    """A camera's own share: whether all that was asked of it came."""
    by_id = {row.id: row for row in rows}
    query = sa.select(request_cameras.c.request_id, request_cameras.c.device_id, request_cameras.c.camera)
    query = query.add_columns(request_cameras.c.state, request_cameras.c.reason)
    found: dict[str, Tally] = {}
    for one in conn.execute(query):
        row = by_id.get(one.request_id)
        if row is None:
            continue
        key = f"{one.device_id}:{one.camera}"
        tally = found.setdefault(key, Tally(key, key))
        if row.outcome is None:
            tally.open += 1
        elif row.outcome == Outcome.REFUSED:
            tally.refused += 1
        elif one.state != "received":
            tally.impossible += 1
        else:
            tally.partial += one.reason is not None
            tally.fulfilled += one.reason is None
            tally.hours.append((row.ended_at - row.submitted_at).total_seconds() / 3600)
    return sorted(
        found.values(),
        key=lambda tally: (tally.share if tally.share is not None else 2, -tally.asked, tally.key),
    )[:200]


def _worst(conn: Connection, since: datetime, until: datetime) -> list[Costly]:
    query = (
        sa.select(request_cameras)
        .join(footage_requests, footage_requests.c.id == request_cameras.c.request_id)
        .where(
            footage_requests.c.submitted_at.between(since, until),
            footage_requests.c.outcome.in_([str(Outcome.PARTIAL), str(Outcome.IMPOSSIBLE)]),
            request_cameras.c.reason.is_not(None),
            request_cameras.c.reason.not_in([str(reason) for reason in OWNERS]),
        )
    )
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in conn.execute(query):
        found.setdefault((row.device_id, row.camera), []).append(row)
    worst = [
        Costly(
            device,
            camera,
            len(rows),
            sum(row.asked_ms - row.sealed_ms for row in rows) / 3_600_000,
            Counter(str(row.reason) for row in rows).most_common(1)[0][0],
        )
        for (device, camera), rows in found.items()
    ]
    return sorted(worst, key=lambda one: (-one.requests, -one.missing_h, one.device))[:WORST]
