"""What hangs on what: site → cabinet → switch → feeder → zone → the whole fleet. People register it; root cause walks it upward.

An asset (cabinet, switch or feeder) stands on another asset, in a zone, or both; a site hangs on one asset or stands in a zone. Above all
is the fleet, so that the whole is a tree. Any level may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import registry
from prahari_hub.fleet.tables import assets, cursors, sites, zones
from prahari_hub.fleet.tree import DEEPEST, ROOT, Tree, asset_node, site_node, zone_node
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor
from prahari_hub.http.paging import Page
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert
from prahari_hub.texts import N_

KINDS = ("cabinet", "switch", "feeder")
MAX_DEPTH = 8
VERSION = "topology.version"


class Link(NamedTuple):
    """An asset of an import, as it is to stand."""

    id: str
    kind: str
    name: str
    parent: str | None = None
    zone: str | None = None


def put_asset(unit: Unit, actor: Actor, wanted: Link) -> dict[str, Any]:
    """Register an asset or replace what is known of it; nothing ever hangs on itself."""
    _write(unit, wanted)
    detail = {"kind": wanted.kind, "name": wanted.name, "parent": wanted.parent, "zone": wanted.zone}
    record(unit, actor, "asset.put", f"asset:{wanted.id}", detail=detail)
    changed(unit)
    return asset_of(unit.conn, wanted.id)


def delete_asset(unit: Unit, actor: Actor, asset: str) -> None:
    """Conflict while something hangs on it."""
    asset_of(unit.conn, asset)
    hangs = sa.union_all(
        sa.select(assets.c.id).where(assets.c.parent_id == asset),
        sa.select(sites.c.id).where(sites.c.asset_id == asset),
    )
    first = unit.conn.execute(hangs).scalars().first()
    if first is not None:
        raise Conflict(
            N_("{first} hangs on {asset}; hang it on something else first"), first=first, asset=asset
        )
    unit.conn.execute(assets.delete().where(assets.c.id == asset))
    record(unit, actor, "asset.delete", f"asset:{asset}")
    changed(unit)


def hang_site(unit: Unit, actor: Actor, site: str, asset: str | None) -> None:
    """Say what a site hangs on; None takes it off."""
    registry.site_of(unit.conn, site)
    if asset is not None:
        asset_of(unit.conn, asset)
    unit.conn.execute(sites.update().where(sites.c.id == site).values(asset_id=asset))
    record(unit, actor, "site.hang", f"site:{site}", detail={"asset": asset})
    changed(unit)


def bring(
    unit: Unit, actor: Actor, wanted: Sequence[Link], hangs: Mapping[str, str | None]
) -> dict[str, int]:
    """A city's topology at once: assets in any order, and the asset of each site. All of it or nothing."""
    rows = unit.conn.execute(sa.select(assets.c.id, assets.c.parent_id))
    parents: dict[str, str | None] = {asset: parent for asset, parent in rows}  # noqa: C416
    given = {link.id: link for link in wanted}
    ordered = in_order(given, set(parents))
    parents |= {link.id: link.parent for link in ordered}
    zone_ids = set(unit.conn.scalars(sa.select(zones.c.id)))
    for link in ordered:
        _check(link, zone_ids)
        _check_depth(link, parents)
    upsert(unit.conn, assets, [_row(link) for link in ordered], keys=("id",))
    _hang_all(unit, hangs)
    counts = {"assets": len(given), "sites": len(hangs)}
    record(unit, actor, "topology.import", "topology", detail=dict(counts))
    changed(unit)
    return counts


def in_order(given: Mapping[str, Link], known: set[str]) -> list[Link]:
    """Parents before what hangs on them; Invalid for a circle, a chain too deep or a parent that nobody knows."""
    ordered: dict[str, Link] = {}
    for first in given.values():
        chain: list[Link] = []
        link: Link | None = first
        while link is not None and link.id not in ordered:
            if link in chain:
                raise Invalid(
                    N_("{id} hangs on itself: take one link of the circle out"),
                    ("parent", "no circle"),
                    id=link.id,
                )
            chain.append(link)
            if link.parent is not None and link.parent not in given and link.parent not in known:
                raise Invalid(
                    N_("{id} hangs on {parent}, which nobody knows"),
                    ("parent", "a known asset"),
                    id=link.id,
                    parent=link.parent,
                )
            link = given.get(link.parent) if link.parent is not None else None
        ordered |= {one.id: one for one in reversed(chain)}
    return list(ordered.values())


def _hang_all(unit: Unit, hangs: Mapping[str, str | None]) -> None:
    known_sites = set(unit.conn.scalars(sa.select(sites.c.id)))
    known_assets = set(unit.conn.scalars(sa.select(assets.c.id)))
    for site, asset in hangs.items():
        if site not in known_sites:
            raise Invalid(
                N_("there is no site {site!r}; register it first"), ("site", "a known site"), site=site[:40]
            )
        if asset is not None and asset not in known_assets:
            raise Invalid(
                N_("site {site} hangs on {asset}, which nobody knows"),
                ("asset", "a known asset"),
                site=site,
                asset=asset,
            )
    if hangs:
        rows = [{"b_site": site, "asset_id": asset} for site, asset in hangs.items()]
        unit.conn.execute(sites.update().where(sites.c.id == sa.bindparam("b_site")), rows)


def _write(unit: Unit, wanted: Link) -> None:
    _check(wanted, set(unit.conn.scalars(sa.select(zones.c.id))))
    _check_above(unit.conn, wanted)
    upsert(unit.conn, assets, _row(wanted), keys=("id",))


def _check(wanted: Link, zone_ids: set[str]) -> None:
    registry.check_slug(wanted.id)
    if wanted.kind not in KINDS:
        raise Invalid(
            N_("{kind!r} is no kind of asset"), ("kind", f"one of {', '.join(KINDS)}"), kind=wanted.kind[:40]
        )
    if wanted.zone is not None and wanted.zone not in zone_ids:
        raise NotFound(N_("there is no zone {zone}"), zone=wanted.zone)


def _check_depth(wanted: Link, parents: Mapping[str, str | None]) -> None:
    """Conflict when it hangs on itself, also through what stood before, or too deep."""
    above, steps = wanted.parent, 1
    while above is not None:
        if above == wanted.id:
            raise Conflict(N_("{id} cannot hang on itself"), id=wanted.id)
        if steps == MAX_DEPTH:
            raise Conflict(N_("assets hang at most {most} deep"), most=MAX_DEPTH)
        above, steps = parents.get(above), steps + 1


def _row(wanted: Link) -> dict[str, Any]:
    return {
        "id": wanted.id,
        "kind": wanted.kind,
        "name": registry.check_name(wanted.name),
        "parent_id": wanted.parent,
        "zone_id": wanted.zone,
    }


def _check_above(conn: Connection, wanted: Link) -> None:
    above = wanted.parent
    for _ in range(MAX_DEPTH - 1):
        if above is None:
            return
        if above == wanted.id:
            raise Conflict(N_("{id} cannot hang on itself"), id=wanted.id)
        above = asset_of(conn, above)["parent_id"]
    if above is not None:
        raise Conflict(N_("assets hang at most {most} deep"), most=MAX_DEPTH)


def asset_of(conn: Connection, asset: str) -> dict[str, Any]:
    row = conn.execute(sa.select(assets).where(assets.c.id == asset)).first()
    if row is None:
        raise NotFound(N_("there is no cabinet, switch or feeder {asset!r}"), asset=asset[:64])
    return dict(row._mapping)


def list_assets(
    conn: Connection,
    *,
    kind: str | None = None,
    parent: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[dict[str, Any]]:
    """By id."""
    query = sa.select(assets).order_by(assets.c.id).limit(limit + 1)
    if kind is not None:
        query = query.where(assets.c.kind == kind)
    if parent is not None:
        query = query.where(assets.c.parent_id == parent)
    if cursor is not None:
        query = query.where(assets.c.id > paging.decode(cursor, str)[0])
    rows = [dict(row._mapping) for row in conn.execute(query)]
    return Page(rows[:limit], paging.encode(rows[limit - 1]["id"]) if len(rows) > limit else None)


def below(conn: Connection, asset: str) -> list[str]:
    """The asset and every asset that hangs on it."""
    found, layer = [asset], [asset]
    for _ in range(MAX_DEPTH):
        layer = list(conn.scalars(sa.select(assets.c.id).where(assets.c.parent_id.in_(layer))))
        if not layer:
            break
        found += layer
    return found


def hangs_on(conn: Connection, wanted: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(assets, sites) that hang directly on each of ``wanted``."""
    held = sa.select(assets.c.parent_id, sa.func.count()).where(assets.c.parent_id.in_(wanted))
    stand = sa.select(sites.c.asset_id, sa.func.count()).where(sites.c.asset_id.in_(wanted))
    below_it = {asset: n for asset, n in conn.execute(held.group_by(assets.c.parent_id))}  # noqa: C416
    at_it = {asset: n for asset, n in conn.execute(stand.group_by(sites.c.asset_id))}  # noqa: C416
    return {asset: (below_it.get(asset, 0), at_it.get(asset, 0)) for asset in wanted}


def version(conn: Connection) -> int:
    """Changes when the tree does; sites and zones that come and go are noticed by the tree's age."""
    return conn.scalar(sa.select(cursors.c.value).where(cursors.c.name == VERSION)) or 0


def changed(unit: Unit) -> None:
    upsert(unit.conn, cursors, {"name": VERSION, "value": version(unit.conn) + 1}, keys=("name",))
    unit.tell("topology")


def load(conn: Connection) -> Tree:
    """The whole tree: every zone, asset and site with what stands above it."""
    parent: dict[str, str] = {}
    for zone, above in conn.execute(sa.select(zones.c.id, zones.c.parent_id)):
        parent[zone_node(zone)] = zone_node(above) if above else ROOT
    for asset, above, zone in conn.execute(sa.select(assets.c.id, assets.c.parent_id, assets.c.zone_id)):
        parent[asset_node(asset)] = _above(above, zone)
    for site, asset, zone in conn.execute(sa.select(sites.c.id, sites.c.asset_id, sites.c.zone_id)):
        parent[site_node(site)] = _above(asset, zone)
    return Tree(parent)


def _above(asset: str | None, zone: str | None) -> str:
    if asset is not None:
        return asset_node(asset)
    return zone_node(zone) if zone is not None else ROOT


def chain_of(conn: Connection, node: str) -> list[str]:
    """The nodes above a place, itself first, the fleet last: for one place, without the whole tree."""
    found: list[str] = []
    while node != ROOT and len(found) < DEEPEST:
        found.append(node)
        node = _next_above(conn, node)
    return [*found, ROOT]


def _next_above(conn: Connection, node: str) -> str:
    kind, _, name = node.partition("/")
    if kind == "zone":
        parent = conn.scalar(sa.select(zones.c.parent_id).where(zones.c.id == name))
        return zone_node(parent) if parent is not None else ROOT
    table, above = (sites, sites.c.asset_id) if kind == "site" else (assets, assets.c.parent_id)
    row = conn.execute(sa.select(above, table.c.zone_id).where(table.c.id == name)).first()
    return ROOT if row is None else _above(row[0], row[1])


def kinds(conn: Connection, nodes: Sequence[str]) -> list[str]:
    """What each place is: zone, site, cabinet, switch or feeder."""
    found = []
    for node in nodes:
        kind, _, name = node.partition("/")
        known = conn.scalar(sa.select(assets.c.kind).where(assets.c.id == name)) if kind == "asset" else None
        found.append(known or kind)
    return found


def names(conn: Connection, nodes: Sequence[str]) -> dict[str, str]:
    """What people call each place; its id where it has none."""
    found = {}
    for node in nodes:
        kind, _, name = node.partition("/")
        table = {"zone": zones, "asset": assets, "site": sites}.get(kind)
        known = conn.scalar(sa.select(table.c.name).where(table.c.id == name)) if table is not None else None
        found[node] = known or name
    return found
