"""What waits while work is planned: incidents under a window, or of a device in maintenance, are not told to anybody.

A press is never held. The time on hold does not count: escalation goes on afterwards where it stood.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.fleet import topology, windows
from prahari_hub.fleet.tables import devices
from prahari_hub.incidents.rules import ALWAYS, suppresses
from prahari_hub.incidents.service import tell, write_log
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit

MAINTENANCE = "maintenance"
ACTOR = "system:windows"


def reason(conn: Connection, row: Row[Any], now: datetime) -> str | None:
    """Why nobody is told of an incident now: the id of a window, or MAINTENANCE; None if somebody is."""
    if row.kind in ALWAYS:
        return None
    running = windows.holding(conn, now)
    service, site = None, row.scope_id if row.scope_type == "site" else None
    if row.device_id is not None:
        service, site = conn.execute(
            sa.select(devices.c.service, devices.c.site_id).where(devices.c.id == row.device_id)
        ).one()
    if service == "maintenance":
        return MAINTENANCE
    if not running:
        return None
    window = windows.first_of(
        [one for one in running if suppresses(one.kind, row.kind)], _places(conn, row, site)
    )
    return window.id if window else None


def _places(conn: Connection, row: Row[Any], site: str | None) -> list[str]:
    if row.device_id is not None:
        return [f"device/{row.device_id}", *topology.chain_of(conn, site)]
    if row.scope_type == "site":
        return topology.chain_of(conn, site)
    return list(topology.load(conn).chain(f"{row.scope_type}/{row.scope_id}"))


def is_held(conn: Connection, incident: str, now: datetime) -> bool:
    """Asked again when a step is planned and when it is sent, because a window may have begun since the last ``refresh``."""
    row = conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one_or_none()
    return row is not None and reason(conn, row, now) is not None


def refresh(unit: Unit) -> None:
    """Put open incidents on hold and take them off as windows begin and end and devices go into maintenance."""
    in_maintenance = sa.select(devices.c.id).where(devices.c.service == "maintenance")
    maybe: list[sa.ColumnElement[bool]] = [
        incidents.c.hold.is_not(None),
        incidents.c.device_id.in_(in_maintenance),
    ]
    if windows.holding(unit.conn, unit.now):
        maybe.append(sa.true())
    query = sa.select(incidents).where(
        incidents.c.resolved_at.is_(None), incidents.c.kind.not_in(ALWAYS), sa.or_(*maybe)
    )
    for row in unit.conn.execute(query).all():
        why = reason(unit.conn, row, unit.now)
        if why != row.hold:
            _set(unit, row, why)


def _set(unit: Unit, row: Row[Any], why: str | None) -> None:
    values: dict[str, Any] = {"hold": why, "version": row.version + 1}
    if row.hold is None:
        values["hold_since"] = unit.now
        write_log(unit, row.id, ACTOR, "held", text=_said(unit.conn, why))
    elif why is None:
        values["hold_since"] = None
        values["waits_since"] = (row.waits_since or row.opened_at) + (unit.now - row.hold_since)
        write_log(unit, row.id, ACTOR, "released")
    unit.conn.execute(incidents.update().where(incidents.c.id == row.id).values(values))
    tell(unit, row.id, "held" if why else "released")


def _said(conn: Connection, why: str | None) -> str | None:
    return windows.get(conn, why).reason if why not in (None, MAINTENANCE) else None
