"""What the map draws: devices as columns, names of sites, uploaded layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.errors import NotFound
from prahari_hub.fleet.stand import stand
from prahari_hub.fleet.tables import devices, map_layers, sites

SCALE = 100_000


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


def columns(conn: Connection, ids: Sequence[str] = ()) -> Columns:
    """Every device that is not retired, or those of ``ids``."""
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
    if ids:
        query = query.where(devices.c.id.in_(ids))
    found = Columns([], [], [], [], [], [])
    for row in conn.execute(query):
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
        raise NotFound(f"There is no map layer {layer_id[:40]!r}.")
    return Layer(**row._asdict())
