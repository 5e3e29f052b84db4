"""One fault on many cameras of a place: one incident, with the devices as its children.

Lamps that are out, dust, fog or a switch that loses packets spoil many pictures at once. As with outages, the incident of a single
camera that the place explains is taken in: it closes and names the other as its parent. A device leaves when none of its cameras has
the fault any more, as its events and heartbeats say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire import events
from prahari_wire.base import Severity
from prahari_wire.ids import ulid
from sqlalchemy import Connection

from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.fleet.tree import scope_of
from prahari_hub.http.words import WORDS
from prahari_hub.incidents import outages
from prahari_hub.incidents.outages import parts_of
from prahari_hub.incidents.rules import PLACE_FAULT, RANK
from prahari_hub.incidents.service import HUB, tell, write_log
from prahari_hub.incidents.tables import incident_children, incidents
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert


class Alone(NamedTuple):
    """The open incident of one camera whose fault holds."""

    id: str
    device: str
    site: str | None
    fault: str
    since: datetime
    rank: int


@dataclass(frozen=True)
class Spread:
    """One that holds. ``devices``: how many of the place's serve cameras; ``children``: those with the fault."""

    id: str
    node: str
    fault: str
    children: int
    devices: int
    last_change: datetime


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


def holding(conn: Connection) -> dict[tuple[str, str], Spread]:
    """Every one that holds, by place and fault."""
    query = sa.select(incidents).where(
        incidents.c.kind == PLACE_FAULT, incidents.c.resolved_at.is_(None), incidents.c.cleared_at.is_(None)
    )
    found = {}
    for row in conn.execute(query):
        node, fault = f"{row.scope_type}/{row.scope_id or ''}", row.detail["fault"]
        last = datetime.fromisoformat(row.detail["last_change"])
        found[node, fault] = Spread(row.id, node, fault, row.children, row.detail["devices"], last)
    return found


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
    key = f"fault/{fault}/{node}"
    row = unit.conn.execute(
        sa.select(incidents).where(incidents.c.key == key, incidents.c.resolved_at.is_(None))
    ).first()
    if row is None:
        incident = _insert(unit, node, key, fault, found, of)
        write_log(unit, incident, HUB, "opened")
    else:
        incident = row.id
        values = {"cleared_at": None, "last_at": unit.now, "count": row._mapping["count"] + 1}
        unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
        write_log(unit, incident, HUB, "repeated")
    join(unit, incident, found)


def _insert(unit: Unit, node: str, key: str, fault: str, found: Sequence[Alone], of: int) -> str:
    incident = ulid(int(unit.now.timestamp() * 1000))
    kind, name = scope_of(node)
    place = topology.names(unit.conn, [node])[node] or WORDS["place"]["fleet"]
    rank = min(one.rank for one in found)
    detail = {"place": place, "fault": fault, "devices": of, "faulty": 0, "peak": 0}
    unit.conn.execute(
        incidents.insert().values(
            id=incident,
            key=key,
            kind=PLACE_FAULT,
            severity=str(next(severity for severity in Severity if RANK[severity] == rank)),
            rank=rank,
            site_id=name if kind == "site" else None,
            scope_type=kind,
            scope_id=name or None,
            title=place,
            detail=detail | {"caused_at": min(one.since for one in found).isoformat()},
            opened_at=unit.now,
            last_at=unit.now,
            count=1,
            version=1,
        )
    )
    return incident


def join(unit: Unit, incident: str, found: Sequence[Alone]) -> None:
    """Devices that the place explains: its children from now on."""
    rows = {
        one.device: {
            "incident_id": incident,
            "device_id": one.device,
            "silent_since": one.since,
            "joined_at": unit.now,
            "left_at": None,
        }
        for one in found
    }
    upsert(unit.conn, incident_children, list(rows.values()), keys=("incident_id", "device_id"))
    outages.close_into(unit, [one.id for one in found], incident)
    _count(unit, incident)


def let_go(unit: Unit, spread: Spread) -> None:
    """The devices whose cameras have the fault no more, and those out of service, leave."""
    here = sa.and_(incident_children.c.incident_id == spread.id, incident_children.c.left_at.is_(None))
    held = set(unit.conn.scalars(sa.select(incident_children.c.device_id).where(here)))
    well = sorted(held - faulty(unit.conn, held, spread.fault))
    for part in parts_of(well):
        gone = sa.and_(here, incident_children.c.device_id.in_(part))
        unit.conn.execute(incident_children.update().where(gone).values(left_at=unit.now))
    if well:
        _count(unit, spread.id)


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
    """Write how many devices have the fault now, and tell."""
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    here = sa.and_(incident_children.c.incident_id == incident, incident_children.c.left_at.is_(None))
    n = unit.conn.scalar(sa.select(sa.func.count()).select_from(incident_children).where(here)) or 0
    detail = row.detail | {
        "faulty": n,
        "devices": max(row.detail["devices"], n),
        "peak": max(row.detail["peak"], n),
        "last_change": unit.now.isoformat(),
    }
    values = {
        "children": n,
        "detail": detail,
        "title": title(detail),
        "last_at": unit.now,
        "version": row.version + 1,
    }
    unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
    tell(unit, incident, "opened" if row.version == 1 else "changed")


def title(detail: dict[str, Any]) -> str:
    fault = WORDS["fault"].get(detail["fault"], detail["fault"])
    return f"{detail['place']}: {fault} at {detail['faulty']} of {detail['devices']} devices with cameras"
