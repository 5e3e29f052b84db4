"""One fault on many cameras of a place: one incident, with the devices as its children.

Lamps that are out, dust, fog or a switch that loses packets spoil many pictures at once. As with outages, the incident of a single
camera that the place explains is taken in: it closes and names the other as its parent. A device leaves when none of its cameras has
the fault any more, as its events and heartbeats say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire import events
from prahari_wire.base import Severity
from sqlalchemy import Connection

from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.http.words import WORDS
from prahari_hub.incidents import of_place
from prahari_hub.incidents.of_place import Held, held_in, parts_of
from prahari_hub.incidents.rules import PLACE_FAULT, RANK
from prahari_hub.incidents.tables import incident_children, incidents
from prahari_hub.store import Unit


class Alone(NamedTuple):
    """The open incident of one camera whose fault holds."""

    id: str
    device: str
    site: str | None
    fault: str
    since: datetime
    rank: int


def alone(conn: Connection, since: datetime) -> list[Alone]:
    """Cameras that have an incident of their own, opened since then, for a fault that holds."""
    query = sa.select(incidents).where(
        incidents.c.kind == events.CAMERA_FAULT,
        incidents.c.resolved_at.is_(None),
        incidents.c.cleared_at.is_(None),
        incidents.c.opened_at >= since,
    )
    return [
        Alone(row.id, row.device_id, row.site_id, row.detail["fault"], row.opened_at, row.rank)
        for row in conn.execute(query)
    ]


def holding(conn: Connection) -> dict[tuple[str, str], Held]:
    """Every one that holds, by place and fault. It counts the place's devices that serve cameras, and those of them with the fault."""
    return {(one.node, detail["fault"]): one for one, detail in of_place.holding(conn, (PLACE_FAULT,))}


def with_cameras(conn: Connection) -> dict[str | None, int]:
    """How many devices in service at each site serve a camera."""
    query = (
        sa.select(devices.c.site_id, sa.func.count(sa.distinct(devices.c.id)))
        .join(peripherals, peripherals.c.device_id == devices.c.id)
        .where(peripherals.c.type == "camera", devices.c.service == "active")
        .group_by(devices.c.site_id)
    )
    return {site: int(n) for site, n in conn.execute(query)}


def begin(unit: Unit, node: str, fault: str, found: Sequence[Alone], *, of: int) -> None:
    """Open the incident of a place, or let the one that is open there hold again, and take in what it explains."""
    rank = min(one.rank for one in found)
    incident, _ = of_place.begin(
        unit,
        node,
        f"fault/{fault}/{node}",
        kind=PLACE_FAULT,
        severity=next(severity for severity in Severity if RANK[severity] == rank),
        detail={
            "place": topology.names(unit.conn, [node])[node] or WORDS["place"]["fleet"],
            "fault": fault,
            "devices": of,
            "faulty": 0,
            "peak": 0,
            "caused_at": min(one.since for one in found).isoformat(),
        },
    )
    join(unit, incident, found)


def join(unit: Unit, incident: str, found: Sequence[Alone]) -> None:
    """Devices that the place explains: its children from now on."""
    of_place.add(unit, incident, {one.device: one.since for one in found}.items())
    of_place.close_into(unit, [one.id for one in found], incident)
    _count(unit, incident)


def let_go(unit: Unit, incident: str, fault: str) -> None:
    """The devices whose cameras have the fault no more, and those out of service, leave."""
    held = of_place.devices_in(unit.conn, incident)
    well = sorted(held - faulty(unit.conn, held, fault))
    for part in parts_of(well):
        of_place.let_go(unit, sa.and_(held_in(incident), incident_children.c.device_id.in_(part)))
    if well:
        _count(unit, incident)


def faulty(conn: Connection, ids: Iterable[str], fault: str) -> set[str]:
    """Those of ``ids`` in service of which a camera has the fault now."""
    found: set[str] = set()
    for part in parts_of(ids):
        query = (
            sa.select(peripherals.c.device_id, peripherals.c.faults)
            .join(devices, devices.c.id == peripherals.c.device_id)
            .where(
                peripherals.c.device_id.in_(part),
                peripherals.c.type == "camera",
                peripherals.c.state == "fail",
                devices.c.service == "active",
            )
        )
        found |= {device for device, faults in conn.execute(query) if fault in faults}
    return found


def _count(unit: Unit, incident: str) -> None:
    of_place.count(unit, incident, "faulty", lambda _, detail: title(detail))


def title(detail: Mapping[str, Any]) -> str:
    fault = WORDS["fault"].get(detail["fault"], detail["fault"])
    return f"{detail['place']}: {fault} at {detail['faulty']} of {detail['devices']} devices with cameras"
