"""What the map draws: devices as columns, names of sites, uploaded layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.errors import NotFound
from prahari_hub.fleet.stand import Stand, stand
from prahari_hub.fleet.tables import devices, map_layers, sites
from prahari_hub.texts import N_

SCALE = 100_000
IN_CLAUSE = 500


@dataclass(frozen=True)
class Columns:
    """One entry a device in each list; ``lat`` and ``lon`` in units of 1e-5 degrees, null without a site."""

    id: list[str]
    name: list[str | None]
    site: list[str | None]
    state: list[str]
    lat: list[int | None]
    lon: list[int | None]


@dataclass(frozen=True)
class Layer:
    id: str
    name: str
    format: str
    source: str
    sha256: str
    size: int
    at: datetime


class Standing(NamedTuple):
    """Where a device stands, None without a site, and how."""

    id: str
    lat: float | None
    lon: float | None
    state: Stand


def standings(conn: Connection, ids: Sequence[str] | None = None) -> Iterator[Standing]:
    """Every device that is not retired, or those of ``ids``."""
    query = (
        sa.select(
            devices.c.id,
            devices.c.service,
            devices.c.presence,
            devices.c.health_state,
            sites.c.lat,
            sites.c.lon,
        )
        .outerjoin(sites, sites.c.id == devices.c.site_id)
        .where(devices.c.service != "retired")
    )
    known: dict[tuple[str, str, str], Stand] = {}
    parts = [None] if ids is None else [ids[at : at + IN_CLAUSE] for at in range(0, len(ids), IN_CLAUSE)]
    for part in parts:
        found = query if part is None else query.where(devices.c.id.in_(part))
        for device, service, presence, health, lat, lon in conn.execution_options(yield_per=5000).execute(
            found
        ):
            words = service, presence, health
            if words not in known:
                known[words] = stand(*words)
            yield Standing(device, lat, lon, known[words])


def columns(conn: Connection, ids: Sequence[str] = ()) -> Columns:
    """Those of ``ids`` that are not retired, in that order; without ``ids`` every device, by id."""
    query = (
        sa.select(
            devices.c.id,
            devices.c.name,
            devices.c.service,
            devices.c.presence,
            devices.c.health_state,
            sites.c.name.label("site"),
            sites.c.lat,
            sites.c.lon,
        )
        .outerjoin(sites, sites.c.id == devices.c.site_id)
        .where(devices.c.service != "retired")
        .order_by(devices.c.id)
    )
    rows = list(conn.execute(query.where(devices.c.id.in_(ids)) if ids else query))
    if ids:
        place = {device: at for at, device in enumerate(ids)}
        rows.sort(key=lambda row: place[row.id])
    found = Columns([], [], [], [], [], [])
    for row in rows:
        found.id.append(row.id)
        found.name.append(row.name)
        found.site.append(row.site)
        found.state.append(str(stand(row.service, row.presence, row.health_state)))
        found.lat.append(None if row.lat is None else round(row.lat * SCALE))
        found.lon.append(None if row.lon is None else round(row.lon * SCALE))
    return found


def layers(conn: Connection) -> list[Layer]:
    return [Layer(**row._asdict()) for row in conn.execute(sa.select(map_layers).order_by(map_layers.c.at))]


def layer(conn: Connection, layer_id: str) -> Layer:
    row = conn.execute(sa.select(map_layers).where(map_layers.c.id == layer_id)).one_or_none()
    if row is None:
        raise NotFound(N_("There is no map layer {layer_id!r}."), layer_id=layer_id[:40])
    return Layer(**row._asdict())
