"""After the hub's database was restored from a backup: no version may be given twice."""

from __future__ import annotations

import sqlalchemy as sa

from prahari_hub.fleet.tables import twin_history, twins
from prahari_hub.store import Unit


def leap(unit: Unit, step: int) -> int:
    """Raise every twin's version by ``step``, its document unchanged; how many.

    A device may have been given later versions than the backup knows; it takes none that is lower, and one that is the same by chance
    would pass for the hub's.
    """
    of_history = ("device_id", "version", "document", "at", "by")
    raised = sa.select(
        twins.c.device_id,
        twins.c.version + step,
        twins.c.document,
        sa.literal(unit.now, twins.c.updated_at.type),
        sa.literal("system:restore"),
    ).where(twins.c.version > 0)
    unit.conn.execute(twin_history.insert().from_select(of_history, raised))
    changed = unit.conn.execute(
        twins.update()
        .where(twins.c.version > 0)
        .values(version=twins.c.version + step, sent=0, next_send_at=None)
    )
    return int(changed.rowcount)
