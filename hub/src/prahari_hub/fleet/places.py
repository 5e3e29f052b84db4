"""Names of places, for lists that show them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.tables import sites, zones


def site_names(conn: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Of those of these sites that there are; a state has too many to read them all for a page."""
    query = sa.select(sites.c.id, sites.c.name).where(sites.c.id.in_(sorted(ids)))
    return {row.id: row.name for row in conn.execute(query)}


def zone_names(conn: Connection) -> dict[str, str]:
    return {row.id: row.name for row in conn.execute(sa.select(zones.c.id, zones.c.name))}
