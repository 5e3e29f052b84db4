"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from prahari_hub.access.audit import record
from prahari_hub.fleet import uploads
from prahari_hub.fleet.outgoing import PUT_OFF
from prahari_hub.http.actor import system
from prahari_hub.signage.overrides import MOST, active, bump
from prahari_hub.signage.tables import displays, overrides
from prahari_hub.store import Unit


def sooner(unit: Unit) -> int:
    """Sets that would be sent again later than they ever are, are sent now; how many."""
    late = displays.update().where(displays.c.next_send_at > unit.now + PUT_OFF)
    return unit.conn.execute(late.values(next_send_at=unit.now)).rowcount


def righted(unit: Unit, later: datetime) -> int:
    """Overrides that were put up ``later`` than can be last from now on as long as they were meant to; those that expired by the same clock
    are put up again for the rest of their time. How many."""
    changed = _begun(unit, later) + _ended(unit, later)
    for row in changed:
        uploads.grant(unit, row.device_id, row.content, until=row.expires_at)
    for device, peripheral in sorted({(row.device_id, row.peripheral) for row in changed}):
        bump(unit, device, peripheral)
    return len(changed)


def _begun(unit: Unit, later: datetime) -> list[Row[Any]]:
    query = sa.select(overrides).where(overrides.c.ended_at.is_(None), overrides.c.issued_at > later)
    return [
        _change(unit, row.id, issued_at=unit.now, expires_at=unit.now + (row.expires_at - row.issued_at))
        for row in unit.conn.execute(query).all()
    ]


def _ended(unit: Unit, later: datetime) -> list[Row[Any]]:
    query = sa.select(overrides).where(
        overrides.c.ended_at > later,
        overrides.c.cancelled_at.is_(None),
        overrides.c.issued_at <= later,
        overrides.c.expires_at > unit.now,
    )
    found = []
    for row in unit.conn.execute(query.order_by(overrides.c.id)).all():
        if len(active(unit.conn, row.device_id, row.peripheral)) >= MOST:
            continue
        found.append(_change(unit, row.id, ended_at=None))
        why = "it had expired by a clock that ran ahead"
        record(unit, system("scheduler"), "override.resume", f"override:{row.id}", reason=why)
        unit.tell("overrides", id=row.id, display=f"{row.device_id}:{row.peripheral}", active=True)
    return found


def _change(unit: Unit, override: str, **values: datetime | None) -> Row[Any]:
    unit.conn.execute(overrides.update().where(overrides.c.id == override).values(**values))
    return unit.conn.execute(sa.select(overrides).where(overrides.c.id == override)).one()
