"""Windows: planned power cuts and maintenance, for a device, a site, an asset with all that hangs on it, or a zone.

While one runs, and for a grace after it, what it covers raises no alarm and nobody is called; a press of a call box always does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.ids import ulid
from sqlalchemy import Connection, Table

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import assets, devices, sites, windows, zones
from prahari_hub.fleet.tree import Tree, asset_node, site_node, zone_node
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor
from prahari_hub.http.paging import Page
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Term

PLANNED_POWER, MAINTENANCE = "planned_power", "maintenance"
KINDS = (PLANNED_POWER, MAINTENANCE)
SCOPES: dict[str, Table] = {"device": devices, "site": sites, "asset": assets, "zone": zones}
LONGEST = timedelta(days=60)
GRACE = timedelta(minutes=5)
"""Boxes boot and connect after the power is back: for so long after a window its silence still raises nothing."""


@dataclass(frozen=True)
class Window:
    id: str
    kind: str
    scope_type: str
    scope_id: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str
    created_at: datetime
    cancelled_at: datetime | None
    followed_at: datetime | None

    @property
    def node(self) -> str:
        """The place that it covers, as the tree of places names it; ``device/x`` for a single device."""
        return f"{self.scope_type}/{self.scope_id}"

    def state(self, now: datetime) -> str:
        """planned, running, over or cancelled."""
        if self.cancelled_at is not None:
            return "cancelled"
        return "planned" if now < self.starts_at else "running" if now < self.ends_at else "over"


def plan(
    unit: Unit,
    actor: Actor,
    *,
    kind: str,
    scope: tuple[str, str],
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
) -> Window:
    """``scope`` is (device, site, asset or zone; its id). One that has begun already starts now: the past is not rewritten."""
    starts_at = max(starts_at, unit.now)
    _check(unit.conn, kind, scope, starts_at, ends_at, reason)
    window = ulid(int(unit.now.timestamp() * 1000))
    values = {
        "id": window,
        "kind": kind,
        "scope_type": scope[0],
        "scope_id": scope[1],
        "starts_at": starts_at,
        "ends_at": ends_at,
        "reason": reason.strip(),
        "created_by": actor.name,
        "created_at": unit.now,
    }
    unit.conn.execute(windows.insert().values(values))
    detail = {
        "kind": kind,
        "scope": "/".join(scope),
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
    }
    record(unit, actor, "window.plan", f"window:{window}", reason=reason.strip(), detail=detail)
    unit.tell("windows", id=window)
    return get(unit.conn, window)


def _check(
    conn: Connection, kind: str, scope: tuple[str, str], starts_at: datetime, ends_at: datetime, reason: str
) -> None:
    if kind not in KINDS:
        raise Invalid(
            N_("{kind!r} is no kind of window"), ("kind", f"one of {', '.join(KINDS)}"), kind=kind[:40]
        )
    _check_scope(conn, *scope)
    if ends_at <= starts_at:
        raise Invalid(
            N_("The window is over before it begins: choose an end in the future."),
            ("ends_at", "after starts_at"),
        )
    if ends_at - starts_at > LONGEST:
        raise Invalid(
            N_("A window lasts at most 60 days; plan the next one when it ends."),
            ("ends_at", "60 days at most"),
        )
    if not reason.strip():
        raise Invalid(
            N_("Say why: the reason stands in every incident that waits for it."),
            ("reason", "1 to 500 characters"),
        )


def end(unit: Unit, actor: Actor, window: str) -> Window:
    """Cancel one that has not begun; end one that runs now. Conflict when it is over."""
    found = get(unit.conn, window)
    match found.state(unit.now):
        case "planned":
            values: dict[str, Any] = {"cancelled_at": unit.now}
            action = "window.cancel"
        case "running":
            values, action = {"ends_at": unit.now}, "window.end"
        case over:
            raise Conflict(
                N_("This window is {state} already; there is nothing to end."),
                state=Term("window_state", over),
            )
    unit.conn.execute(windows.update().where(windows.c.id == window).values(values))
    record(unit, actor, action, f"window:{window}")
    unit.tell("windows", id=window)
    return get(unit.conn, window)


def get(conn: Connection, window: str) -> Window:
    row = conn.execute(sa.select(windows).where(windows.c.id == window)).first()
    if row is None:
        raise NotFound(N_("there is no window {window!r}"), window=window[:40])
    return Window(**row._mapping)


def page(
    conn: Connection, now: datetime, *, state: str = "current", limit: int = 50, cursor: str | None = None
) -> Page[Window]:
    """``current``: planned and running; ``past``: over and cancelled; ``all``. The newest plan first."""
    query = sa.select(windows).order_by(windows.c.id.desc()).limit(limit + 1)
    current = sa.and_(windows.c.ends_at > now, windows.c.cancelled_at.is_(None))
    if state != "all":
        query = query.where(current if state == "current" else sa.not_(current))
    if cursor is not None:
        query = query.where(windows.c.id < paging.decode(cursor, str)[0])
    rows = [Window(**row._mapping) for row in conn.execute(query)]
    return Page(rows[:limit], paging.encode(rows[limit - 1].id) if len(rows) > limit else None)


def holding(conn: Connection, now: datetime) -> list[Window]:
    """Those that suppress alarms now: they run, or ended less than GRACE ago."""
    query = sa.select(windows).where(
        windows.c.ends_at > now - GRACE, windows.c.starts_at <= now, windows.c.cancelled_at.is_(None)
    )
    return [Window(**row._mapping) for row in conn.execute(query.order_by(windows.c.id))]


def to_follow(conn: Connection, now: datetime) -> list[Window]:
    """Those whose grace is over and that nobody has looked after yet."""
    query = sa.select(windows).where(
        windows.c.ends_at <= now - GRACE, windows.c.followed_at.is_(None), windows.c.cancelled_at.is_(None)
    )
    return [Window(**row._mapping) for row in conn.execute(query.order_by(windows.c.id))]


def followed(unit: Unit, window: str) -> None:
    unit.conn.execute(windows.update().where(windows.c.id == window).values(followed_at=unit.now))


def covering(conn: Connection, device: str, now: datetime) -> list[Window]:
    """The windows that cover one device now."""
    running = holding(conn, now)
    if not running:
        return []
    site = conn.scalar(sa.select(devices.c.site_id).where(devices.c.id == device))
    places = {f"device/{device}", *topology.chain_of(conn, site_node(site))}
    return [window for window in running if window.node in places]


def first_of(running: Sequence[Window], nodes: Iterable[str]) -> Window | None:
    """The first window that covers one of ``nodes``."""
    places = set(nodes)
    return next((window for window in running if window.node in places), None)


class Cover:
    """Which of many devices are covered: windows by place, resolved along a tree that is at hand."""

    def __init__(self, running: Sequence[Window], tree: Tree) -> None:
        self._by_node = {window.node: window for window in reversed(running)}
        self._tree = tree

    def window(self, device: str, site: str | None) -> Window | None:
        if not self._by_node:
            return None
        found = self._by_node.get(f"device/{device}")
        return found or self.of_node(site_node(site))

    def of_node(self, node: str) -> Window | None:
        """The window over a place."""
        if not self._by_node:
            return None
        return next(
            (self._by_node[above] for above in self._tree.chain(node) if above in self._by_node), None
        )


def sites_under(tree: Tree, window: Window) -> set[str]:
    """Ids of the sites that a window over a site, asset or zone covers."""
    if window.scope_type == "site":
        return {window.scope_id}
    node = {"asset": asset_node, "zone": zone_node}[window.scope_type](window.scope_id)
    return {
        name.partition("/")[2]
        for name in tree.parent
        if name.startswith("site/") and node in tree.chain(name)
    }


def _check_scope(conn: Connection, scope_type: str, scope_id: str) -> None:
    table = SCOPES.get(scope_type)
    if table is None:
        raise Invalid(
            N_("{scope_type!r} is no scope"),
            ("scope_type", f"one of {', '.join(SCOPES)}"),
            scope_type=scope_type[:40],
        )
    if conn.scalar(sa.select(table.c.id).where(table.c.id == scope_id)) is None:
        raise NotFound(
            N_("there is no {scope_type} {scope_id!r}"),
            scope_type=Term("place", scope_type),
            scope_id=scope_id[:64],
        )


def follow_again(unit: Unit, later: datetime) -> int:
    """Windows that were looked after ``later`` than can be, by a clock that ran ahead, are looked after once they are over; how many."""
    where = windows.c.followed_at > later
    return unit.conn.execute(windows.update().where(where).values(followed_at=None)).rowcount
