"""Incidents of a place: one for all devices that the place explains, with the devices as its children.

What silence (outages.py) and faults of pictures (spread.py) have in common. All of it is written in bulk: 100,000 children cost seconds,
not minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from prahari_wire.base import Severity
from prahari_wire.ids import ulid
from sqlalchemy import Connection

from prahari_hub.fleet.tables import devices
from prahari_hub.fleet.tree import Tree, scope_of, site_node
from prahari_hub.http import paging
from prahari_hub.http.paging import Page
from prahari_hub.incidents import rootcause
from prahari_hub.incidents.rootcause import Bars
from prahari_hub.incidents.rules import RANK
from prahari_hub.incidents.service import HUB, tell, write_log
from prahari_hub.incidents.tables import incident_children, incidents, notifications
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert

IN_CLAUSE = 900
TOLD_ONE_BY_ONE = 50
"""Rows that browsers patch one by one; of more they learn with the incident that took them in."""
T = TypeVar("T")


@dataclass(frozen=True)
class Held:
    """An incident whose place still is the cause. ``devices``: how many of the place's count; ``children``: how many of them it holds."""

    id: str
    node: str
    children: int
    devices: int
    last_change: datetime

    def is_over(self, now: datetime, bars: Bars) -> bool:
        return rootcause.is_over(
            self.node,
            children=self.children,
            of=self.devices,
            last_change=self.last_change,
            now=now,
            bars=bars,
        )


def holding(conn: Connection, kinds: Sequence[str]) -> Iterator[tuple[Held, Mapping[str, Any]]]:
    """Every incident of these kinds whose cause holds, with its detail."""
    query = sa.select(incidents).where(
        incidents.c.kind.in_(kinds), incidents.c.resolved_at.is_(None), incidents.c.cleared_at.is_(None)
    )
    for row in conn.execute(query):
        last = datetime.fromisoformat(row.detail["last_change"])
        node = f"{row.scope_type}/{row.scope_id or ''}"
        yield Held(row.id, node, row.children, row.detail["devices"], last), row.detail


def explained(
    tree: Tree, holding: Mapping[str, Held], found: Iterable[T], site: Callable[[T], str | None]
) -> tuple[dict[str, list[T]], list[T]]:
    """What ``holding``, by place, explains already, by the incident's id; and the rest. The nearest place counts."""
    joins: dict[str, list[T]] = defaultdict(list)
    rest = []
    for one in found:
        place = next((holding[node] for node in tree.chain(site_node(site(one))) if node in holding), None)
        if place is None:
            rest.append(one)
        else:
            joins[place.id].append(one)
    return joins, rest


def begin(
    unit: Unit, node: str, key: str, *, kind: str, severity: Severity, detail: Mapping[str, Any]
) -> tuple[str, bool]:
    """Open the incident of ``node``, or let the one that is open under ``key`` hold again; its id and whether it is new.

    ``detail`` names the ``place`` and counts its ``devices``, and 0 as the ``peak`` and as the field that ``count`` counts in.
    """
    row = unit.conn.execute(
        sa.select(incidents).where(incidents.c.key == key, incidents.c.resolved_at.is_(None))
    ).first()
    if row is not None:
        values = {"cleared_at": None, "last_at": unit.now, "count": row._mapping["count"] + 1}
        unit.conn.execute(incidents.update().where(incidents.c.id == row.id).values(values))
        write_log(unit, row.id, HUB, "repeated")
        return row.id, False
    incident = ulid(int(unit.now.timestamp() * 1000))
    scope, name = scope_of(node)
    unit.conn.execute(
        incidents.insert().values(
            id=incident,
            key=key,
            kind=kind,
            severity=str(severity),
            rank=RANK[severity],
            site_id=name if scope == "site" else None,
            scope_type=scope,
            scope_id=name or None,
            title=detail["place"],
            detail=dict(detail),
            opened_at=unit.now,
            last_at=unit.now,
            count=1,
            version=1,
        )
    )
    write_log(unit, incident, HUB, "opened")
    return incident, True


def add(unit: Unit, incident: str, found: Iterable[tuple[str, datetime | None]]) -> None:
    """Devices, each with the time since when it is so, are children from now on."""
    rows = [
        {
            "incident_id": incident,
            "device_id": device,
            "silent_since": since,
            "joined_at": unit.now,
            "left_at": None,
        }
        for device, since in found
    ]
    upsert(unit.conn, incident_children, rows, keys=("incident_id", "device_id"))


def held_in(incident: str) -> sa.ColumnElement[bool]:
    """The children that it holds now, as a condition."""
    return sa.and_(incident_children.c.incident_id == incident, incident_children.c.left_at.is_(None))


def devices_in(conn: Connection, incident: str) -> set[str]:
    """The devices that it holds now."""
    return set(conn.scalars(sa.select(incident_children.c.device_id).where(held_in(incident))))


def let_go(unit: Unit, which: sa.ColumnElement[bool]) -> None:
    """Children leave."""
    unit.conn.execute(incident_children.update().where(which).values(left_at=unit.now))


def count(unit: Unit, incident: str, field: str, title: Callable[[str, Mapping[str, Any]], str]) -> None:
    """Write how many children there are now and tell. ``field`` of the detail counts them; ``title`` is made of kind and detail.

    What an operator resolved stays as it was.
    """
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    if row.resolved_at is not None:
        return
    query = sa.select(sa.func.count()).select_from(incident_children).where(held_in(incident))
    n = unit.conn.scalar(query) or 0
    detail = row.detail | {
        field: n,
        "devices": max(row.detail["devices"], n),
        "peak": max(row.detail["peak"], n),
        "last_change": unit.now.isoformat(),
    }
    values = {
        "children": n,
        "detail": detail,
        "title": title(row.kind, detail),
        "last_at": unit.now,
        "version": row.version + 1,
    }
    unit.conn.execute(incidents.update().where(incidents.c.id == incident).values(values))
    tell(unit, incident, "opened" if row.version == 1 else "changed")


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


def end(unit: Unit, incident: str, *, still: str) -> list[str]:
    """The place is no longer the cause. The devices that are ``still`` so, each of which stands for itself from now on."""
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    rest = list(unit.conn.scalars(sa.select(incident_children.c.device_id).where(held_in(incident))))
    let_go(unit, held_in(incident))
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


@dataclass(frozen=True)
class Child:
    """A device of an incident of a place; ``left_at`` is None while it is held in it."""

    device: str
    site: str | None
    silent_since: datetime | None
    joined_at: datetime
    left_at: datetime | None


def children(
    conn: Connection, incident: str, *, limit: int = 100, cursor: str | None = None, silent: bool = False
) -> Page[Child]:
    """By device; only those still held on request."""
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
