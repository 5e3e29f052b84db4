"""Gauges that are counted from the store when /metrics is read."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.fleet.tables import devices

PRESENCES = ("online", "suspect", "offline", "unknown")


def presence(conn: Connection) -> None:
    """Devices in service by presence: those that are retired do not count."""
    query = (
        sa.select(devices.c.presence, sa.func.count())
        .where(devices.c.service != "retired")
        .group_by(devices.c.presence)
    )
    found = {str(word): int(count) for word, count in conn.execute(query)}
    for word in PRESENCES:
        metrics.PRESENCE.labels(word).set(found.get(word, 0))
