"""A clone alarm that nobody reports any more: the hub was restarted and its memory of the other box with it."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from prahari_hub.fleet.presence import CLONE_QUIET_S
from prahari_hub.incidents import service
from prahari_hub.incidents.rules import CLONE, Clear, clone_key
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit

SILENT = timedelta(seconds=2 * CLONE_QUIET_S)
"""Presence reports a clone again every half of CLONE_QUIET_S while two boxes speak."""


def end_quiet(unit: Unit) -> None:
    """Clear the clone alarms that have not been reported for SILENT."""
    query = sa.select(incidents.c.device_id).where(
        incidents.c.kind == CLONE,
        incidents.c.resolved_at.is_(None),
        incidents.c.cleared_at.is_(None),
        incidents.c.last_at < unit.now - SILENT,
    )
    for device in unit.conn.scalars(query).all():
        cause = service.Cause(str(device), None, None, unit.now)
        service.apply(unit, cause, [Clear(clone_key(str(device)))])
