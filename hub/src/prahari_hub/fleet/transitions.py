"""Transitions read in order by whoever must act on each of them once: a cursor a reader, moved in the same transaction."""

from __future__ import annotations

import sqlalchemy as sa

from prahari_hub.fleet.facts import Transition
from prahari_hub.fleet.tables import cursors, devices, transitions
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert


def unread(unit: Unit, reader: str, *, limit: int = 500) -> list[Transition]:
    """The next transitions after the reader's cursor, oldest first."""
    after = unit.conn.scalar(sa.select(cursors.c.value).where(cursors.c.name == reader)) or 0
    query = (
        sa.select(transitions, devices.c.site_id)
        .outerjoin(devices, devices.c.id == transitions.c.device_id)
        .where(transitions.c.id > after)
        .order_by(transitions.c.id)
        .limit(limit)
    )
    return [
        Transition(
            id=row.id,
            device=row.device_id,
            site_id=row.site_id,
            peripheral=row.peripheral,
            kind=row.kind,
            before=row.before,
            after=row.after,
            at=row.at,
            detail=row.detail,
        )
        for row in unit.conn.execute(query)
    ]


def have_read(unit: Unit, reader: str, last: int) -> None:
    """Everything up to ``last`` has been dealt with."""
    upsert(unit.conn, cursors, {"name": reader, "value": last}, keys=("name",))
