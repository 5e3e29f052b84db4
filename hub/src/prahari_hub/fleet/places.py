"""Names of places, for lists that show them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.tables import sites, zones


def site_names(conn: Connection) -> dict[str, str]:
    return {row.id: row.name for row in conn.execute(sa.select(sites.c.id, sites.c.name))}


def zone_names(conn: Connection) -> dict[str, str]:
    return {row.id: row.name for row in conn.execute(sa.select(zones.c.id, zones.c.name))}
