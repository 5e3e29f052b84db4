"""How many devices stand where and how many of them are silent, as the search for a common cause needs it.

The tree and the number of devices by place are kept for a while, because reading them all takes a third of a second at 400,000; who is
silent is read anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet import topology, windows
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.fleet.tree import ROOT, Tree, site_node
from prahari_hub.fleet.windows import Cover
from prahari_hub.incidents.outages import Silent
from prahari_hub.incidents.rootcause import summed

KEPT = timedelta(minutes=5)
IN_CLAUSE = 900
SILENT = ("offline", "suspect")
_heard = sa.func.coalesce(devices.c.last_seen, devices.c.presence_since, type_=devices.c.last_seen.type)
_counts = sa.and_(devices.c.service == "active", devices.c.last_seen.is_not(None))


class Standing(NamedTuple):
    """A device and its place. ``heard_at``: when it was last heard."""

    id: str
    site: str | None
    service: str
    presence: str
    heard_at: datetime | None


@dataclass
class Census:
    """``look`` before each use. Whoever may read at leisure looks after KEPT already, so that no writer has to wait for it."""

    tree: Tree = field(default_factory=lambda: Tree({}))
    devices: dict[str, int] = field(default_factory=dict)
    _version: int = -1
    _at: datetime | None = None

    def look(self, conn: Connection, now: datetime, *, kept: timedelta = 2 * KEPT) -> None:
        """Read the tree and the devices by place again if they changed or are older than ``kept``."""
        version = topology.version(conn)
        if version == self._version and self._at is not None and timedelta() <= now - self._at < kept:
            return
        self.tree = topology.load(conn)
        query = sa.select(devices.c.site_id, sa.func.count()).where(_counts).group_by(devices.c.site_id)
        self.devices = summed(self.tree, {site_node(site): n for site, n in conn.execute(query)})
        self._version, self._at = version, now


def silence(
    conn: Connection, cover: Cover, since: datetime, until: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    """(silent long before, fallen silent between ``since`` and ``until``) by site; what a window covers counts as long silent."""
    fell = sa.and_(_heard >= since, _heard <= until)
    query = (
        sa.select(devices.c.site_id, sa.func.count(), sa.func.sum(sa.case((fell, 1), else_=0)))
        .where(devices.c.presence.in_(SILENT), _counts)
        .group_by(devices.c.site_id)
    )
    gone: dict[str, int] = {}
    silent: dict[str, int] = {}
    for site, n, together in conn.execute(query):
        node = site_node(site)
        if cover.of_node(node) is not None:
            gone[node] = n
        else:
            gone[node], silent[node] = n - together, together
    return gone, silent


def fallen(
    conn: Connection,
    census: Census,
    cover: Cover,
    node: str,
    ids: Iterable[str],
    *,
    since: datetime,
    until: datetime,
) -> list[Silent]:
    """Those of ``ids`` that are offline under a place and were last heard in that time, those under a window left out."""
    inside = _under(census.tree, node)
    return [
        Silent(one.id, one.heard_at)
        for one in standing(conn, ids).values()
        if one.presence == "offline"
        and one.heard_at is not None
        and since <= one.heard_at <= until
        and inside(site_node(one.site))
        and cover.window(one.id, one.site) is None
    ]


def _under(tree: Tree, node: str) -> Callable[[str], bool]:
    """Whether a place is ``node`` or below it, remembered by place."""
    if node == ROOT:
        return lambda _place: True
    known: dict[str, bool] = {}

    def inside(place: str) -> bool:
        if place not in known:
            known[place] = node in tree.chain(place)
        return known[place]

    return inside


def standing(conn: Connection, ids: Iterable[str]) -> dict[str, Standing]:
    """Those of ``ids`` that the hub knows."""
    every = list(ids)
    found: dict[str, Standing] = {}
    for start in range(0, len(every), IN_CLAUSE):
        query = _standing.where(devices.c.id.in_(every[start : start + IN_CLAUSE]))
        found |= {row.id: Standing(*row) for row in conn.execute(query)}
    return found


_standing: sa.Select[Any] = sa.select(
    devices.c.id, devices.c.site_id, devices.c.service, devices.c.presence, _heard.label("heard_at")
)


_offline_before = sa.and_(devices.c.presence == "unknown", devices.c.presence_before == "offline")


def silent_under(conn: Connection, tree: Tree, window: windows.Window) -> list[Standing]:
    """The offline devices that a window covers, and those that were offline when the hub went blind."""
    silent = sa.or_(devices.c.presence == "offline", _offline_before)
    query = _standing.where(silent, devices.c.service == "active")
    if window.scope_type == "device":
        query = query.where(devices.c.id == window.scope_id)
        return [Standing(*row) for row in conn.execute(query)]
    inside = _under(tree, window.node)
    return [Standing(*row) for row in conn.execute(query) if inside(site_node(row.site_id))]


class Faulty(NamedTuple):
    """A peripheral with faults that hold."""

    device: str
    site: str | None
    peripheral: str
    type: str
    faults: list[str]
    note: str | None


def faults_of(conn: Connection, ids: Sequence[str]) -> list[Faulty]:
    """The faulty peripherals of these devices."""
    found: list[Faulty] = []
    for start in range(0, len(ids), IN_CLAUSE):
        query = _faulty().where(devices.c.id.in_(ids[start : start + IN_CLAUSE]))
        found += [Faulty(*row) for row in conn.execute(query)]
    return found


def faults_under(conn: Connection, tree: Tree, window: windows.Window) -> list[Faulty]:
    """The faulty peripherals that a window covers."""
    query = _faulty()
    if window.scope_type == "device":
        return [Faulty(*row) for row in conn.execute(query.where(devices.c.id == window.scope_id))]
    inside = _under(tree, window.node)
    return [Faulty(*row) for row in conn.execute(query) if inside(site_node(row[1]))]


def _faulty() -> sa.Select[Any]:
    return (
        sa.select(
            devices.c.id,
            devices.c.site_id,
            peripherals.c.id,
            peripherals.c.type,
            peripherals.c.faults,
            peripherals.c.note,
        )
        .join(devices, devices.c.id == peripherals.c.device_id)
        .where(peripherals.c.state == "fail", devices.c.service == "active")
    )
