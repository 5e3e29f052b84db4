"""Outages: one incident for all devices that a place took down, with the devices as its children.

Devices join while they are silent and leave when they are back. The incident of a single device that the outage explains is taken in:
it closes and names the outage as its parent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire.base import Severity
from sqlalchemy import Connection

from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import peripherals
from prahari_hub.fleet.tree import ROOT
from prahari_hub.incidents import of_place
from prahari_hub.incidents.of_place import Held, close_into, held_in, parts_of
from prahari_hub.incidents.rules import FLEET_OUTAGE, OFFLINE, OUTAGE, RANK
from prahari_hub.incidents.tables import incident_children, incidents
from prahari_hub.store import Unit

KINDS = (OUTAGE, FLEET_OUTAGE)
_OUTAGES = sa.select(incidents.c.id).where(incidents.c.kind.in_(KINDS))


class Silent(NamedTuple):
    """A device and when it was last heard."""

    device: str
    since: datetime | None


def holding(conn: Connection) -> dict[str, Held]:
    """Every outage whose cause holds, by place. It counts the place's devices, and those that are silent in it."""
    return {one.node: one for one, _ in of_place.holding(conn, KINDS)}


def begin(unit: Unit, node: str, silent: Sequence[Silent], *, devices: int) -> str:
    """Open the outage of a place, or let the one that is open there hold again; its id. Takes in what it explains."""
    since = min((one.since for one in silent if one.since), default=unit.now)
    incident, new = of_place.begin(
        unit,
        node,
        f"outage/{node}",
        kind=FLEET_OUTAGE if node == ROOT else OUTAGE,
        severity=Severity.MAJOR,
        detail={
            "place": topology.names(unit.conn, [node])[node],
            "devices": devices,
            "silent": 0,
            "peak": 0,
            "caused_at": since.isoformat(),
        },
    )
    join(unit, incident, silent)
    if new:
        _as_bad_as_its_children(unit, incident, node)
    return incident


def _as_bad_as_its_children(unit: Unit, incident: str, node: str) -> None:
    """Major; critical for the whole fleet, or when a call box is out of reach."""
    boxes = (
        sa.select(incident_children.c.device_id)
        .join(peripherals, peripherals.c.device_id == incident_children.c.device_id)
        .where(incident_children.c.incident_id == incident, peripherals.c.type == "callbox")
        .limit(1)
    )
    if node == ROOT or unit.conn.execute(boxes).first() is not None:
        values = {"severity": str(Severity.CRITICAL), "rank": RANK[Severity.CRITICAL]}
        unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))


def join(unit: Unit, incident: str, silent: Sequence[Silent]) -> None:
    """Devices that the outage explains: its children from now on. Those of another outage move over."""
    ids = [one.device for one in silent]
    emptied = _leave(unit, ids, incident)
    of_place.add(unit, incident, silent)
    take_in(unit, incident, ids)
    close_into(unit, [one for one in sorted(emptied) if _is_empty(unit.conn, one)], incident)
    _count(unit, incident)


def _is_empty(conn: Connection, outage: str) -> bool:
    """Whether it is open and nothing is silent in it any more."""
    left = sa.select(incident_children.c.device_id).where(held_in(outage))
    still_open = sa.select(incidents.c.id).where(incidents.c.id == outage, incidents.c.resolved_at.is_(None))
    return conn.execute(left.limit(1)).first() is None and conn.execute(still_open).first() is not None


def _leave(unit: Unit, ids: Sequence[str], for_: str | None = None) -> set[str]:
    """End the devices' part in the outages that hold them, but not in ``for_``; which outages these are."""
    touched: set[str] = set()
    for part in parts_of(ids):
        here = sa.and_(
            incident_children.c.device_id.in_(part),
            incident_children.c.left_at.is_(None),
            incident_children.c.incident_id.in_(_OUTAGES),
        )
        if for_ is not None:
            here = sa.and_(here, incident_children.c.incident_id != for_)
        found = unit.conn.scalars(sa.select(incident_children.c.incident_id).where(here).distinct()).all()
        if found:
            of_place.let_go(unit, here)
            touched |= set(found)
    return touched


def take_in(unit: Unit, incident: str, ids: Sequence[str]) -> None:
    """Close the open incidents of the devices' own silence in favour of this one."""
    found: list[str] = []
    for part in parts_of(ids):
        found += unit.conn.scalars(
            sa.select(incidents.c.id).where(
                incidents.c.device_id.in_(part),
                incidents.c.kind == OFFLINE,
                incidents.c.resolved_at.is_(None),
                incidents.c.cleared_at.is_(None),
            )
        )
    close_into(unit, found, incident)


def back(unit: Unit, ids: Sequence[str]) -> None:
    """Devices that speak again leave the outages that held them."""
    for incident in sorted(_leave(unit, ids)):
        _count(unit, incident)


def held(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` that are children of an outage that is open."""
    found: set[str] = set()
    for part in parts_of(ids):
        query = (
            sa.select(incident_children.c.device_id)
            .join(incidents, incidents.c.id == incident_children.c.incident_id)
            .where(
                incident_children.c.device_id.in_(part),
                incident_children.c.left_at.is_(None),
                incidents.c.resolved_at.is_(None),
                incidents.c.kind.in_(KINDS),
            )
        )
        found |= set(conn.scalars(query))
    return found


def _count(unit: Unit, incident: str) -> None:
    of_place.count(unit, incident, "silent", title)


def title(kind: str, detail: Mapping[str, Any]) -> str:
    many = f"{detail['silent']} of {detail['devices']} devices silent"
    if kind == FLEET_OUTAGE:
        return f"{many} at once: look at the hub's network and uplink first"
    return f"{detail['place']}: {many}"
