"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from prahari_hub.access.audit import record
from prahari_hub.fleet.outgoing import PUT_OFF
from prahari_hub.http.actor import system
from prahari_hub.signage.overrides import bump
from prahari_hub.signage.tables import displays, overrides
from prahari_hub.store import Unit


def sooner(unit: Unit) -> int:
    """Sets that would be sent again later than they ever are, are sent now; how many."""
    late = displays.update().where(displays.c.next_send_at > unit.now + PUT_OFF)
    return unit.conn.execute(late.values(next_send_at=unit.now)).rowcount


def righted(unit: Unit, later: datetime) -> int:
    """Overrides that were put up ``later`` than can be last from now on as long as they were meant to; those that expired by the same clock
    are put up again for the rest of their time. How many."""
    begun = sa.and_(overrides.c.ended_at.is_(None), overrides.c.issued_at > later)
    ended = sa.and_(
        overrides.c.ended_at > later, overrides.c.cancelled_at.is_(None), overrides.c.issued_at <= later
    )
    changed = set()
    for row in unit.conn.execute(sa.select(overrides).where(begun)).all():
        values = {"issued_at": unit.now, "expires_at": unit.now + (row.expires_at - row.issued_at)}
        unit.conn.execute(overrides.update().where(overrides.c.id == row.id).values(values))
        changed.add((row.device_id, row.peripheral))
    rows = unit.conn.execute(sa.select(overrides).where(ended, overrides.c.expires_at > unit.now)).all()
    for row in rows:
        unit.conn.execute(overrides.update().where(overrides.c.id == row.id).values(ended_at=None))
        why = "it had expired by a clock that ran ahead"
        record(unit, system("scheduler"), "override.resume", f"override:{row.id}", reason=why)
        unit.tell("overrides", id=row.id, display=f"{row.device_id}:{row.peripheral}", active=True)
        changed.add((row.device_id, row.peripheral))
    for device, peripheral in sorted(changed):
        bump(unit, device, peripheral)
    return len(changed)
