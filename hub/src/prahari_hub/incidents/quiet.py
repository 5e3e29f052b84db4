"""Alarms that end because nobody reports them any more: the hub may have been restarted, and its memory of the cause with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from prahari_hub.fleet.presence import CLONE_QUIET_S
from prahari_hub.incidents import service
from prahari_hub.incidents.rules import CLONE, FLOOD, Clear, clone_key, flood_key
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit

NO_CLONE = timedelta(seconds=2 * CLONE_QUIET_S)
"""Presence reports a clone again every half of CLONE_QUIET_S while two boxes speak."""
NO_FLOOD = timedelta(minutes=20)
"""Longer than a device is ever shut out: one that floods on has been reported again."""


def end_clones(unit: Unit) -> None:
    _end(unit, CLONE, NO_CLONE, clone_key)


def end_floods(unit: Unit) -> None:
    _end(unit, FLOOD, NO_FLOOD, flood_key)


def _end(unit: Unit, kind: str, silent: timedelta, key: Callable[[str], str]) -> None:
    """Clear what has not been reported for so long."""
    query = sa.select(incidents.c.device_id).where(
        incidents.c.kind == kind,
        incidents.c.resolved_at.is_(None),
        incidents.c.cleared_at.is_(None),
        incidents.c.last_at < unit.now - silent,
    )
    for device in unit.conn.scalars(query).all():
        cause = service.Cause(str(device), None, None, unit.now)
        service.apply(unit, cause, [Clear(key(str(device)))])
