"""Outages: one incident for all devices that a place took down, with the devices as its children.

Devices join while they are silent and leave when they are back. The incident of a single device that the outage explains is taken in:
it closes and names the outage as its parent. All of it is written in bulk: 100,000 children cost seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire.base import Severity
from prahari_wire.ids import ulid
from sqlalchemy import Connection

from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.fleet.tree import ROOT, scope_of
from prahari_hub.http import paging
from prahari_hub.http.paging import Page
from prahari_hub.incidents.rules import FLEET_OUTAGE, OFFLINE, OUTAGE, RANK
from prahari_hub.incidents.service import HUB, tell, write_log
from prahari_hub.incidents.tables import incident_children, incidents, notifications
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert

KINDS = (OUTAGE, FLEET_OUTAGE)
IN_CLAUSE = 900
TOLD_ONE_BY_ONE = 50
"""Rows that browsers patch one by one; of more they learn with the outage."""


_OUTAGES = sa.select(incidents.c.id).where(incidents.c.kind.in_(KINDS))


class Silent(NamedTuple):
    """A device and when it was last heard."""

    device: str
    since: datetime | None


@dataclass(frozen=True)
class Outage:
    """One that holds. ``devices``: how many the place has; ``children``: how many of them are silent in it."""

    id: str
    node: str
    children: int
    devices: int
    last_change: datetime


def holding(conn: Connection) -> dict[str, Outage]:
    """Every outage whose cause holds, by place."""
    query = sa.select(incidents).where(
        incidents.c.kind.in_(KINDS), incidents.c.resolved_at.is_(None), incidents.c.cleared_at.is_(None)
    )
    found = {}
    for row in conn.execute(query):
        node = f"{row.scope_type}/{row.scope_id or ''}"
        last = datetime.fromisoformat(row.detail["last_change"])
        found[node] = Outage(row.id, node, row.children, row.detail["devices"], last)
    return found


def begin(unit: Unit, node: str, silent: Sequence[Silent], *, devices: int) -> str:
    """Open the outage of a place, or let the one that is open there hold again; its id. Takes in what it explains."""
    key = f"outage/{node}"
    row = unit.conn.execute(
        sa.select(incidents).where(incidents.c.key == key, incidents.c.resolved_at.is_(None))
    ).first()
    since = min((one.since for one in silent if one.since), default=unit.now)
    if row is None:
        incident = _insert(unit, node, key, since, devices)
        write_log(unit, incident, HUB, "opened")
    else:
        incident = row.id
        values = {"cleared_at": None, "last_at": unit.now, "count": row._mapping["count"] + 1}
        unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
        write_log(unit, incident, HUB, "repeated")
    join(unit, incident, silent)
    if row is None:
        _as_bad_as_its_children(unit, incident, node)
    return incident


def _insert(unit: Unit, node: str, key: str, since: datetime, devices: int) -> str:
    incident = ulid(int(unit.now.timestamp() * 1000))
    kind, name = scope_of(node)
    place = topology.names(unit.conn, [node])[node]
    unit.conn.execute(
        incidents.insert().values(
            id=incident,
            key=key,
            kind=FLEET_OUTAGE if node == ROOT else OUTAGE,
            severity=str(Severity.MAJOR),
            rank=RANK[Severity.MAJOR],
            site_id=name if kind == "site" else None,
            scope_type=kind,
            scope_id=name or None,
            title=place,
            detail={
                "place": place,
                "devices": devices,
                "silent": 0,
                "peak": 0,
                "caused_at": since.isoformat(),
            },
            opened_at=unit.now,
            last_at=unit.now,
            count=1,
            version=1,
        )
    )
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
    rows = [
        {
            "incident_id": incident,
            "device_id": one.device,
            "silent_since": one.since,
            "joined_at": unit.now,
            "left_at": None,
        }
        for one in silent
    ]
    upsert(unit.conn, incident_children, rows, keys=("incident_id", "device_id"))
    take_in(unit, incident, ids)
    close_into(unit, [one for one in sorted(emptied) if _is_empty(unit.conn, one)], incident)
    _count(unit, incident)


def _is_empty(conn: Connection, outage: str) -> bool:
    """Whether it is open and nothing is silent in it any more."""
    left = sa.select(incident_children.c.device_id).where(
        incident_children.c.incident_id == outage, incident_children.c.left_at.is_(None)
    )
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
            unit.conn.execute(incident_children.update().where(here).values(left_at=unit.now))
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


def close_into(unit: Unit, found: Sequence[str], parent: str) -> None:
    """Close open incidents in favour of another."""
    if not found:
        return
    values = {"resolved_at": unit.now, "resolved_by": HUB, "parent_id": parent, "children": 0}
    for part in parts_of(found):
        unit.conn.execute(
            incidents.update()
            .where(incidents.c.id.in_(part))
            .values(**values, version=incidents.c.version + 1)
        )
        waiting = sa.and_(notifications.c.incident_id.in_(part), notifications.c.state == "waiting")
        unit.conn.execute(notifications.update().where(waiting).values(state="dropped"))
    for one in found:
        write_log(unit, one, HUB, "joined", text=parent)
    for one in found[:TOLD_ONE_BY_ONE]:
        tell(unit, one, "joined")
    write_log(unit, parent, HUB, "took in", text=str(len(found)))


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


def silent_in(conn: Connection, incident: str) -> set[str]:
    """The devices that an outage holds now."""
    here = sa.and_(incident_children.c.incident_id == incident, incident_children.c.left_at.is_(None))
    return set(conn.scalars(sa.select(incident_children.c.device_id).where(here)))


def end(unit: Unit, incident: str, *, still: str = "silent") -> list[Silent]:
    """The place is no longer the cause. What is ``still`` so, which from now on stands for itself."""
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    here = sa.and_(incident_children.c.incident_id == incident, incident_children.c.left_at.is_(None))
    rest = [
        Silent(*found)
        for found in unit.conn.execute(
            sa.select(incident_children.c.device_id, incident_children.c.silent_since).where(here)
        )
    ]
    unit.conn.execute(incident_children.update().where(here).values(left_at=unit.now))
    values: dict[str, Any] = {"cleared_at": unit.now, "children": 0, "version": row.version + 1}
    over = row.acked_at is not None
    if over:
        values |= {"resolved_at": unit.now, "resolved_by": HUB}
    unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
    write_log(unit, incident, HUB, "cleared", text=f"{len(rest)} still {still}" if rest else None)
    if over:
        write_log(unit, incident, HUB, "resolved")
    tell(unit, incident, "cleared")
    return rest


def _count(unit: Unit, incident: str) -> None:
    """Write how many children there are now, and tell."""
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    if row.resolved_at is not None:
        return
    here = sa.and_(incident_children.c.incident_id == incident, incident_children.c.left_at.is_(None))
    children = unit.conn.scalar(sa.select(sa.func.count()).select_from(incident_children).where(here)) or 0
    detail = row.detail | {
        "silent": children,
        "devices": max(row.detail["devices"], children),
        "peak": max(row.detail["peak"], children),
        "last_change": unit.now.isoformat(),
    }
    values = {
        "children": children,
        "detail": detail,
        "title": title(row.kind, detail),
        "last_at": unit.now,
        "version": row.version + 1,
    }
    unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
    tell(unit, incident, "opened" if row.version == 1 else "changed")


def title(kind: str, detail: dict[str, Any]) -> str:
    many = f"{detail['silent']} of {detail['devices']} devices silent"
    if kind == FLEET_OUTAGE:
        return f"{many} at once: look at the hub's network and uplink first"
    return f"{detail['place']}: {many}"


@dataclass(frozen=True)
class Child:
    """A device of an outage; ``left_at`` is None while it is silent in it."""

    device: str
    site: str | None
    silent_since: datetime | None
    joined_at: datetime
    left_at: datetime | None


def children(
    conn: Connection, incident: str, *, limit: int = 100, cursor: str | None = None, silent: bool = False
) -> Page[Child]:
    """By device; only those still silent on request."""
    query = (
        sa.select(
            incident_children.c.device_id,
            devices.c.site_id,
            incident_children.c.silent_since,
            incident_children.c.joined_at,
            incident_children.c.left_at,
        )
        .outerjoin(devices, devices.c.id == incident_children.c.device_id)
        .where(incident_children.c.incident_id == incident)
        .order_by(incident_children.c.device_id)
        .limit(limit + 1)
    )
    if silent:
        query = query.where(incident_children.c.left_at.is_(None))
    if cursor is not None:
        query = query.where(incident_children.c.device_id > paging.decode(cursor, str)[0])
    rows = [Child(*row) for row in conn.execute(query)]
    return Page(rows[:limit], paging.encode(rows[limit - 1].device) if len(rows) > limit else None)


def parts_of(ids: Iterable[str]) -> Iterator[list[str]]:
    """As many at once as one statement takes."""
    every = list(ids)
    for start in range(0, len(every), IN_CLAUSE):
        yield every[start : start + IN_CLAUSE]
