"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prahari_hub.incidents.tables import incidents, notifications
from prahari_hub.store import Unit

TRIED_WITHIN = timedelta(minutes=10)
"""Longer than escalation ever waits before it tries again."""
SINCE = ("last_at", "acked_at", "hold_since", "cleared_at")


def sooner(unit: Unit) -> int:
    """Calls that would be tried again later than they ever are, are tried now; how many."""
    late = notifications.update().where(
        notifications.c.state == "waiting", notifications.c.due_at > unit.now + TRIED_WITHIN
    )
    return unit.conn.execute(late.values(due_at=unit.now)).rowcount


def righted(unit: Unit, later: datetime) -> int:
    """For open incidents what happened ``later`` than can be happened now: escalation, acknowledgements, holds and ends count from then.
    ``opened_at`` stays as it was written, as the log does. How many."""
    waits = sa.func.coalesce(incidents.c.waits_since, incidents.c.opened_at, type_=incidents.c.opened_at.type)
    written = [waits, *(incidents.c[name] for name in SINCE)]
    query = sa.select(incidents, waits.label("waits")).where(
        incidents.c.resolved_at.is_(None), sa.or_(*(column > later for column in written))
    )
    rows = unit.conn.execute(query).all()
    for row in rows:
        values: dict[str, Any] = {name: _not_later(row._mapping[name], later, unit.now) for name in SINCE}
        if row.waits > later:
            values["waits_since"] = unit.now
        changed = row.detail.get("last_change")  # of an outage: when devices last joined or came back
        if changed is not None and datetime.fromisoformat(changed) > later:
            values["detail"] = row.detail | {"last_change": unit.now.isoformat()}
        unit.conn.execute(incidents.update().where(incidents.c.id == row.id).values(values))
    return len(rows)


def _not_later(at: datetime | None, later: datetime, now: datetime) -> datetime | None:
    return now if at is not None and at > later else at
