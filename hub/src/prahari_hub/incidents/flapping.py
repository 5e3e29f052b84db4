"""Flapping: a device that comes and goes is one incident with a count, told once, until it has been quiet for a while."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.facts import Transition
from prahari_hub.fleet.tables import devices
from prahari_hub.incidents import service
from prahari_hub.incidents.outages import take_in
from prahari_hub.incidents.rootcause import Flapping
from prahari_hub.incidents.rules import FLAPPING, Clear, flapping, flapping_key, flapping_title
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit


def holding(conn: Connection) -> set[str]:
    """The devices that flap."""
    return {str(device) for device in conn.scalars(_HOLDING.with_only_columns(incidents.c.device_id))}


_HOLDING = sa.select(incidents).where(
    incidents.c.kind == FLAPPING, incidents.c.resolved_at.is_(None), incidents.c.cleared_at.is_(None)
)


def begin(unit: Unit, transition: Transition, falls: int) -> None:
    """One incident for a device's coming and going; it takes in that of its last fall."""
    verdict = flapping(transition.device, falls, service.desired_of(unit.conn, transition.device))
    service.apply(unit, service.cause_of(transition), [verdict])
    found = unit.conn.scalar(
        sa.select(incidents.c.id).where(
            incidents.c.key == flapping_key(transition.device), incidents.c.resolved_at.is_(None)
        )
    )
    if found is not None:
        take_in(unit, found, [transition.device])


def again(unit: Unit, device: str, falls: int) -> None:
    """Another fall: counted, and told to nobody."""
    row = unit.conn.execute(_HOLDING.where(incidents.c.device_id == device)).first()
    if row is None:
        return
    falls = max(falls, 1)
    unit.conn.execute(
        incidents.update()
        .where(incidents.c.id == row.id)
        .values(
            last_at=unit.now,
            count=row._mapping["count"] + 1,
            detail=row.detail | {"falls": falls},
            title=flapping_title(falls),
            version=row.version + 1,
        )
    )
    service.tell(unit, row.id, "changed")


def quiet(conn: Connection, now: datetime, limits: Flapping) -> list[str]:
    """Those that flapped and have not fallen for long enough."""
    rows = conn.execute(_HOLDING.with_only_columns(incidents.c.device_id, incidents.c.last_at))
    return [str(device) for device, last in rows if limits.ends(last, now)]


def end(unit: Unit, device: str) -> bool:
    """It flaps no more. Whether it is offline now and needs an incident for that."""
    cause = service.Cause(device, None, None, unit.now)
    service.apply(unit, cause, [Clear(flapping_key(device))])
    presence = unit.conn.scalar(sa.select(devices.c.presence).where(devices.c.id == device))
    return presence == "offline"
