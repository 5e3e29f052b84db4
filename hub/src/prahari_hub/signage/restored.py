"""After the hub's database was restored from a backup: no epoch may be given twice."""

from __future__ import annotations

import sqlalchemy as sa

from prahari_hub.fleet.tables import peripherals
from prahari_hub.signage.tables import displays, overrides
from prahari_hub.store import Unit


def leap(unit: Unit, step: int) -> int:
    """Raise every display's epoch by ``step``, so that each takes the hub's whole set again when it connects; how many.

    Displays of which the backup knows no override get one too: they may have been given epochs since.
    """
    columns = ("device_id", "peripheral", "epoch", "confirmed_epoch", "sent")
    known = sa.exists().where(
        displays.c.device_id == peripherals.c.device_id, displays.c.peripheral == peripherals.c.id
    )
    new = sa.select(
        peripherals.c.device_id, peripherals.c.id, sa.literal(0), sa.literal(0), sa.literal(0)
    ).where(peripherals.c.type == "display", ~known)
    unit.conn.execute(displays.insert().from_select(columns, new))
    changed = unit.conn.execute(
        displays.update().values(
            epoch=displays.c.epoch + step, bumped_at=unit.now, sent=0, next_send_at=unit.now
        )
    )
    return int(changed.rowcount)


def in_force(unit: Unit) -> int:
    """How many overrides go out again because the backup knows no end of them."""
    open_ones = sa.select(sa.func.count()).where(
        overrides.c.ended_at.is_(None), overrides.c.expires_at > unit.now
    )
    return int(unit.conn.scalar(open_ones) or 0)
