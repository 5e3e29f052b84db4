"""How much a device may send in a day, so that one that is broken or stolen cannot fill the disk."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from prahari_hub.fleet.tables import upload_days
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert


class Quota:
    """Bytes a device and day (UTC), counted in the store: for every process of the hub, and after its restart."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes

    def take(self, unit: Unit, device: str, size: int) -> bool:
        """Count ``size`` bytes; False, and nothing counted, where they are too many for today."""
        today = unit.now.date()
        of_today = (upload_days.c.device_id == device) & (upload_days.c.day == today)
        total = (unit.conn.scalar(sa.select(upload_days.c.bytes).where(of_today)) or 0) + size
        if total > self.most_bytes:
            return False
        row = {"device_id": device, "day": today, "bytes": total}
        upsert(unit.conn, upload_days, row, keys=("device_id", "day"))
        return True


def forget(unit: Unit) -> int:
    """Days that are over; how many."""
    yesterday = unit.now.date() - timedelta(days=1)
    return unit.conn.execute(upload_days.delete().where(upload_days.c.day < yesterday)).rowcount
