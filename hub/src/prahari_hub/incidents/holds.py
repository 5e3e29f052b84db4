"""What waits while work is planned: incidents under a window, or of a device in maintenance, are not told to anybody.

A press is never held. The time on hold does not count: escalation goes on afterwards where it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.fleet import topology, windows
from prahari_hub.fleet.tables import devices
from prahari_hub.fleet.tree import site_node
from prahari_hub.incidents.rules import ALWAYS, suppresses
from prahari_hub.incidents.service import tell, write_log
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit

MAINTENANCE = "maintenance"
ACTOR = "system:windows"
IN_CLAUSE = 500
AT_ONCE = 50


def held_among(conn: Connection, ids: Sequence[str], now: datetime) -> set[str]:
    """Those of ``ids`` (at most IN_CLAUSE) that wait for planned work now. Asked when steps are planned and when one is sent, because a
    window may have begun since the last ``Refresh``; the windows are read once."""
    reasons = _Reasons(conn, now)
    return {row.id for row in conn.execute(_OPEN.where(incidents.c.id.in_(ids))) if reasons.of(row)}


class Refresh:
    """Puts open incidents on hold and takes them off as windows begin and end and devices go into maintenance.

    ``prepare`` reads all that it concerns; ``run`` is one transaction, looks again at AT_ONCE of what was found, and says whether there is
    more. A window over a city may concern thousands, and no event is stored while a transaction lasts.
    """

    def __init__(self) -> None:
        self._found: list[str] = []

    def prepare(self, conn: Connection, now: datetime) -> None:
        if not self._found:
            reasons = _Reasons(conn, now)
            concerned = _concerned(conn, every=bool(reasons.running))
            self._found = [row.id for row in concerned if reasons.of(row) != row.hold]

    def run(self, unit: Unit) -> bool:
        now = self._found[:AT_ONCE]
        if not now:
            return False
        reasons = _Reasons(unit.conn, unit.now)
        for row in unit.conn.execute(_OPEN.where(incidents.c.id.in_(now), _UNRESOLVED)).all():
            why = reasons.of(row)
            if why != row.hold:
                _set(unit, row, why, reasons.said(why))
        unit.after(self._drop)  # not before it is on disk: PostgreSQL may want it a second time
        return len(self._found) > AT_ONCE

    def _drop(self) -> None:
        del self._found[:AT_ONCE]


def _concerned(conn: Connection, *, every: bool) -> list[Row[Any]]:
    """Open incidents: every one, or those on hold and those of devices in maintenance, which are found without reading the others."""
    some = _OPEN.where(incidents.c.kind.not_in(ALWAYS))
    if every:
        return list(conn.execute(some.where(_UNRESOLVED)))
    held = list(conn.execute(some.where(incidents.c.hold > "")))  # a range of an index: what is not null
    away = list(conn.scalars(sa.select(devices.c.id).where(devices.c.service == MAINTENANCE)))
    for start in range(0, len(away), IN_CLAUSE):
        mine = incidents.c.device_id.in_(away[start : start + IN_CLAUSE])
        held += [row for row in conn.execute(some.where(mine)) if row.hold is None]
    return [row for row in held if row.resolved_at is None]


_UNRESOLVED = incidents.c.resolved_at.is_(None)
_NEEDED = (
    "id",
    "kind",
    "device_id",
    "scope_type",
    "scope_id",
    "hold",
    "hold_since",
    "waits_since",
    "opened_at",
    "resolved_at",
    "version",
)
_OPEN: sa.Select[Any] = sa.select(
    *[incidents.c[name] for name in _NEEDED], devices.c.service, devices.c.site_id.label("stands_at")
).outerjoin(devices, devices.c.id == incidents.c.device_id)


class _Reasons:
    """Why nobody is told of an incident now: the id of a window, or MAINTENANCE. Places are looked up once each."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        self._conn = conn
        self.running = windows.holding(conn, now)
        self._chains: dict[str, list[str]] = {}

    def of(self, row: Row[Any]) -> str | None:
        if row.kind in ALWAYS:
            return None
        if row.service == MAINTENANCE:
            return MAINTENANCE
        running = [one for one in self.running if suppresses(one.kind, row.kind)]
        if not running:
            return None
        window = windows.first_of(running, self._places(row))
        return window.id if window else None

    def said(self, why: str | None) -> str | None:
        """What whoever planned the work has said of it."""
        return next((window.reason for window in self.running if window.id == why), None)

    def _places(self, row: Row[Any]) -> list[str]:
        if row.device_id is not None:
            return [f"device/{row.device_id}", *self._above(site_node(row.stands_at))]
        return self._above(f"{row.scope_type}/{row.scope_id or ''}")

    def _above(self, node: str) -> list[str]:
        if node not in self._chains:
            self._chains[node] = topology.chain_of(self._conn, node)
        return self._chains[node]


def _set(unit: Unit, row: Row[Any], why: str | None, said: str | None) -> None:
    values: dict[str, Any] = {"hold": why, "version": row.version + 1}
    if row.hold is None:
        values["hold_since"] = unit.now
        write_log(unit, row.id, ACTOR, "held", text=said)
    elif why is None:
        values["hold_since"] = None
        values["waits_since"] = (row.waits_since or row.opened_at) + (unit.now - row.hold_since)
        write_log(unit, row.id, ACTOR, "released")
    unit.conn.execute(incidents.update().where(incidents.c.id == row.id).values(values))
    tell(unit, row.id, "held" if why else "released")
