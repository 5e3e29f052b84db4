"""What pages and the API read of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.errors import Invalid, NotFound
from prahari_hub.fleet import commands, journal, registry, twins, vitals
from prahari_hub.fleet import tables as t
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.twins import Twin
from prahari_hub.fleet.verdict import Situation, Verdict, verdict
from prahari_hub.fleet.vitals import Vitals
from prahari_hub.http import paging
from prahari_hub.http.paging import Page
from prahari_hub.texts import N_

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEALTH_STATES = ("ok", "warn", "fail", "unknown")


@dataclass(frozen=True)
class Filter:
    """Devices that fulfil all of it. ``q`` is looked for in id, name and site; ``zone`` includes the zones below."""

    q: str | None = None
    presence: Sequence[Presence] = ()
    health_state: Sequence[str] = ()
    site: str | None = None
    zone: str | None = None
    type: str | None = None
    service: str | None = None
    ids: Sequence[str] = ()


@dataclass(frozen=True)
class Site:
    id: str
    name: str
    zone_id: str | None
    lat: float
    lon: float


@dataclass(frozen=True)
class Peripheral:
    id: str
    type: str
    name: str | None
    state: str
    faults: list[str]
    note: str | None
    updated_at: datetime


@dataclass(frozen=True)
class Device:
    """One row of the fleet."""

    id: str
    name: str | None
    service: str
    vendor: str | None
    model: str | None
    site: Site | None
    presence: Presence
    presence_since: datetime | None
    last_seen: datetime | None
    health_state: str
    twin_version: int
    applied_version: int | None
    verdict: Verdict
    health: dict[str, Any] | None = None
    peripherals: list[Peripheral] = field(default_factory=list)


@dataclass(frozen=True)
class Detail(Device):
    """All that is known of one device, but its lists."""

    created_at: datetime | None = None
    born_at: datetime | None = None
    boot: str | None = None
    conn: int | None = None
    clock: str | None = None
    clock_offset_ms: float | None = None
    birth: dict[str, Any] | None = None
    heartbeat_s: int | None = None
    twin: Twin | None = None
    open_commands: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)


PRESENCES = ("offline", "suspect", "unknown", "online")
"""As they are sorted: what somebody has to look after comes first."""


def _rank(column: sa.ColumnElement[str], *words: str) -> sa.ColumnElement[int]:
    return sa.case({word: index for index, word in enumerate(words)}, value=column, else_=len(words))


SORTS: dict[str, tuple[sa.ColumnElement[Any], type]] = {
    "id": (t.devices.c.id, str),
    "name": (sa.func.coalesce(t.devices.c.name, ""), str),
    "site": (sa.func.coalesce(t.sites.c.name, ""), str),
    "presence": (_rank(t.devices.c.presence, *PRESENCES), int),
    "health_state": (_rank(t.devices.c.health_state, "fail", "warn", "unknown", "ok"), int),
    "last_seen": (sa.func.coalesce(t.devices.c.last_seen, EPOCH, type_=t.devices.c.last_seen.type), datetime),
}


def list_devices(
    conn: Connection, wanted: Filter, *, sort: str = "id", cursor: str | None = None, limit: int = 50
) -> Page[Device]:
    """``sort`` is one of SORTS, with '-' before it for descending."""
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in SORTS:
        raise Invalid(
            N_("devices are not sorted by {name!r}"),
            ("query.sort", f"one of {', '.join(SORTS)}"),
            name=name[:40],
        )
    after = None
    if cursor:
        said, value, last = paging.decode(cursor, str, SORTS[name][1], str)
        if said != sort:
            raise Invalid(N_("the cursor belongs to another order"), ("query.cursor", "a value of next"))
        after = value, last
    find = _by_presence if name == "presence" else _sorted
    found = find(conn, wanted, name, descending, after, limit + 1)
    page = found[:limit]
    end = paging.encode(sort, _sortable(page[-1][1]), page[-1][0]) if len(found) > limit else None
    return Page(_read(conn, [device for device, _ in page]), end)


After = tuple[Any, str] | None
"""The sort's value and the id of the last device of the page before."""


def _sorted(
    conn: Connection, wanted: Filter, name: str, descending: bool, after: After, most: int
) -> list[tuple[str, Any]]:
    """Ids and the sort's values: to sort whole rows of a state would move hundreds of megabytes."""
    column = SORTS[name][0]
    query = _matching(conn, wanted, column.label("sort_value"), sites=name == "site")
    if after is not None:
        query = query.where(paging.after(column, t.devices.c.id, *after, descending=descending))
    query = query.order_by(*paging.order(column, t.devices.c.id, descending=descending)).limit(most)
    return [(row.id, row.sort_value) for row in conn.execute(query)]


def _by_presence(
    conn: Connection, wanted: Filter, _name: str, descending: bool, after: After, most: int
) -> list[tuple[str, Any]]:
    """The same, one presence after the other: each stands in an index in the order of the ids, so that nothing has to be sorted."""
    found: list[tuple[str, Any]] = []
    first, last = after or (None, "")
    ranks = list(enumerate(PRESENCES))
    for rank, presence in reversed(ranks) if descending else ranks:
        before = first is not None and (rank > first if descending else rank < first)
        if before or (wanted.presence and presence not in set(map(str, wanted.presence))):
            continue
        query = _matching(conn, replace(wanted, presence=())).where(t.devices.c.presence == presence)
        if rank == first:
            query = query.where(t.devices.c.id > last)
        rows = conn.scalars(query.order_by(t.devices.c.id).limit(most - len(found)))
        found += [(device, rank) for device in rows]
        if len(found) == most:
            break
    return found


def _matching(
    conn: Connection, wanted: Filter, *columns: sa.ColumnElement[Any], sites: bool = False
) -> sa.Select[Any]:
    """Ids of the devices that fulfil the filter, and these columns."""
    query = sa.select(t.devices.c.id, *columns)
    if sites or wanted.q or wanted.zone:
        query = query.outerjoin(t.sites, t.sites.c.id == t.devices.c.site_id)
    return query.where(*_conditions(conn, wanted))


def _read(conn: Connection, ids: Sequence[str]) -> list[Device]:
    """These devices, in this order."""
    rows = {row.id: row for row in conn.execute(_devices().where(t.devices.c.id.in_(ids)))}
    served, said = _peripherals(conn, ids), vitals.of_devices(conn, ids)
    return [Device(**_common(rows[one], said.get(one), served.get(one, []), 0)) for one in ids if one in rows]


def _sortable(value: Any) -> Any:
    return value if isinstance(value, str | int | datetime) else str(value)


def counts(conn: Connection, wanted: Filter) -> dict[str, dict[str, int]]:
    """How many devices by presence and by health state, without a list."""
    found: dict[str, dict[str, int]] = {
        "presence": dict.fromkeys((str(presence) for presence in Presence), 0),
        "health_state": dict.fromkeys(HEALTH_STATES, 0),
    }
    kinds = t.devices.c.presence, t.devices.c.health_state
    query = sa.select(*kinds, sa.func.count()).select_from(t.devices)
    if wanted.q or wanted.zone:
        query = query.outerjoin(t.sites, t.sites.c.id == t.devices.c.site_id)
    query = query.where(*_conditions(conn, wanted)).group_by(*kinds)
    for presence, health_state, count in conn.execute(query):
        found["presence"][presence] += count
        found["health_state"][health_state] += count
    return found


def device(conn: Connection, wanted: str) -> Detail:
    """NotFound if there is no such device."""
    query = _devices().where(t.devices.c.id == wanted)
    row = conn.execute(query.add_columns(*_DETAIL)).first()
    if row is None:
        raise NotFound(N_("there is no device {device}"), device=wanted)
    open_commands = commands.count_open(conn, wanted)
    served = _peripherals(conn, [wanted]).get(wanted, [])
    refused, quarantine = journal.refused(conn, wanted)
    more = {column.name: getattr(row, column.name) for column in _DETAIL}
    said = vitals.of_devices(conn, [wanted]).get(wanted)
    if said is not None and said.clock is not None:
        more |= {"clock": said.clock, "clock_offset_ms": said.clock_offset_ms}
    return Detail(
        **_common(row, said, served, open_commands),
        **more,
        twin=twins.get(conn, wanted),
        open_commands=open_commands,
        refused=refused,
        quarantine=quarantine,
    )


_DETAIL = [
    t.devices.c[name]
    for name in (
        "created_at",
        "born_at",
        "boot",
        "conn",
        "clock",
        "clock_offset_ms",
        "birth",
        "heartbeat_s",
    )
]


def _devices() -> sa.Select[Any]:
    return (
        sa.select(
            t.devices.c.id,
            t.devices.c.name,
            t.devices.c.service,
            t.devices.c.vendor,
            t.devices.c.model,
            t.devices.c.presence,
            t.devices.c.presence_since,
            t.devices.c.last_seen,
            t.devices.c.health_state,
            t.devices.c.health,
            t.devices.c.site_id,
            t.sites.c.name.label("site_name"),
            t.sites.c.zone_id,
            t.sites.c.lat,
            t.sites.c.lon,
            sa.func.coalesce(t.twins.c.version, 0).label("twin_version"),
            t.twins.c.applied_version,
            t.twins.c.reported_outcome,
            t.twins.c.reported_version,
        )
        .outerjoin(t.sites, t.sites.c.id == t.devices.c.site_id)
        .outerjoin(t.twins, t.twins.c.device_id == t.devices.c.id)
    )


def _conditions(conn: Connection, wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.service is None:
        found.append(t.devices.c.service != "retired")
    elif wanted.service != "*":
        found.append(t.devices.c.service == wanted.service)
    if wanted.q:
        columns = (t.devices.c.id, t.devices.c.name, t.sites.c.name)
        found.append(sa.or_(*(column.icontains(wanted.q, autoescape=True) for column in columns)))
    if wanted.ids:
        found.append(t.devices.c.id.in_(wanted.ids))
    if wanted.presence:
        found.append(t.devices.c.presence.in_([str(presence) for presence in wanted.presence]))
    if wanted.health_state:
        found.append(t.devices.c.health_state.in_(list(wanted.health_state)))
    if wanted.site:
        found.append(t.devices.c.site_id == wanted.site)
    if wanted.zone:
        found.append(t.sites.c.zone_id.in_(registry.below(conn, wanted.zone)))
    if wanted.type:
        serves = sa.select(t.peripherals.c.device_id).where(t.peripherals.c.type == wanted.type)
        found.append(t.devices.c.id.in_(serves))
    return found


def _common(row: Any, said: Vitals | None, served: list[Peripheral], open_commands: int) -> dict[str, Any]:
    health = said.health if said is not None and said.health is not None else row.health
    last_seen = max(filter(None, (said and said.last_seen, row.last_seen)), default=None)
    site = Site(row.site_id, row.site_name, row.zone_id, row.lat, row.lon) if row.site_id else None
    return {
        "id": row.id,
        "name": row.name,
        "service": row.service,
        "vendor": row.vendor,
        "model": row.model,
        "site": site,
        "presence": Presence(row.presence),
        "presence_since": row.presence_since,
        "last_seen": last_seen,
        "health_state": row.health_state,
        "health": health,
        "twin_version": row.twin_version,
        "applied_version": row.applied_version,
        "peripherals": served,
        "verdict": verdict(_situation(row, health, last_seen is not None, served, open_commands)),
    }


def _situation(
    row: Any, health: dict[str, Any] | None, ever_seen: bool, served: list[Peripheral], open_commands: int
) -> Situation:
    checks = (health or {}).get("checks", [])
    return Situation(
        service=row.service,
        presence=Presence(row.presence),
        ever_seen=ever_seen,
        faults=[(item.name or item.id, fault) for item in served for fault in item.faults],
        checks=[(c["name"], c["state"], c.get("text")) for c in checks if c["state"] in ("warn", "fail")],
        twin_version=row.twin_version,
        applied_version=row.applied_version,
        twin_outcome=row.reported_outcome,
        reported_version=row.reported_version,
        open_commands=open_commands,
    )


def _peripherals(conn: Connection, ids: Sequence[str]) -> dict[str, list[Peripheral]]:
    query = (
        sa.select(t.peripherals)
        .where(t.peripherals.c.device_id.in_(ids))
        .order_by(t.peripherals.c.device_id, t.peripherals.c.id)
    )
    found: dict[str, list[Peripheral]] = {}
    for row in conn.execute(query):
        item = Peripheral(row.id, row.type, row.name, row.state, list(row.faults), row.note, row.updated_at)
        found.setdefault(row.device_id, []).append(item)
    return found


def list_sites(
    conn: Connection, *, zone: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[dict[str, Any]]:
    query = sa.select(t.sites)
    if zone is not None:
        query = query.where(t.sites.c.zone_id.in_(registry.below(conn, zone)))
    return _by_id(conn, query, t.sites.c.id, cursor, limit)


def list_zones(conn: Connection, *, cursor: str | None = None, limit: int = 50) -> Page[dict[str, Any]]:
    return _by_id(conn, sa.select(t.zones), t.zones.c.id, cursor, limit)


def _by_id(
    conn: Connection, query: sa.Select[Any], key: sa.ColumnElement[str], cursor: str | None, limit: int
) -> Page[dict[str, Any]]:
    if cursor:
        (last,) = paging.decode(cursor, str)
        query = query.where(key > last)
    rows = conn.execute(query.order_by(key).limit(limit + 1)).all()
    items = [dict(row._mapping) for row in rows[:limit]]
    return Page(items, paging.encode(items[-1]["id"]) if len(rows) > limit else None)


def transitions(
    conn: Connection, wanted: str, *, limit: int = 50, before: int | None = None
) -> list[dict[str, Any]]:
    """The newest first; ``before`` is the id of the last one of the page before."""
    query = sa.select(t.transitions).where(t.transitions.c.device_id == wanted)
    if before is not None:
        query = query.where(t.transitions.c.id < before)
    rows = conn.execute(query.order_by(t.transitions.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
