"""How large the database is, how much room is left, and for how many days at the present growth.

The hub sees the disk of its home. A PostgreSQL database lies on another, whose room nobody tells the hub: there it says how the
database grows, and no days.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.operations.tables import hub_sizes
from prahari_hub.settings import Settings
from prahari_hub.store import Unit
from prahari_hub.store.copy import sqlite_file
from prahari_hub.store.upsert import upsert

KEEP = timedelta(days=30)
OVER = timedelta(days=7)
"""Growth is taken over so long: a day's pattern evens out, last month's does not count."""
LEAST = timedelta(hours=6)
"""From fewer hours nothing is told."""
A_DAY_S = 86400.0


class Room(NamedTuple):
    """Bytes now, what a day took of the free ones and what it added to the database; None before LEAST is known.

    ``elsewhere``: the database lies on PostgreSQL's disk, ``free`` and ``total`` are of the home's.
    """

    database: int
    free: int
    total: int
    a_day: float | None
    database_a_day: float | None
    elsewhere: bool

    @property
    def days(self) -> float | None:
        """Until the disk is full; None where that cannot be told, or it does not fill."""
        if self.elsewhere or self.a_day is None or self.a_day <= 0:
            return None
        return self.free / self.a_day


def note(settings: Settings, unit: Unit) -> None:
    """Keep the present sizes for the horizon, and forget old ones."""
    row = {
        "at": unit.now,
        "database_bytes": database_bytes(settings, unit.conn),
        "free_bytes": shutil.disk_usage(settings.home).free,
    }
    upsert(unit.conn, hub_sizes, row, keys=("at",))
    unit.conn.execute(hub_sizes.delete().where(hub_sizes.c.at < unit.now - KEEP))


def room(settings: Settings, conn: Connection) -> Room:
    usage = shutil.disk_usage(settings.home)
    a_day, database_a_day = _a_day(conn)
    elsewhere = sqlite_file(settings.store_url) is None
    return Room(
        database_bytes(settings, conn), usage.free, usage.total, a_day, database_a_day, elsewhere=elsewhere
    )


def database_bytes(settings: Settings, conn: Connection) -> int:
    """Of the SQLite files with what waits in the log, or of the PostgreSQL database."""
    file = sqlite_file(settings.store_url)
    if file is None:
        return int(conn.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
    return sum(part.stat().st_size for part in (file, Path(f"{file}-wal")) if part.exists())


def _a_day(conn: Connection) -> tuple[float | None, float | None]:
    """Bytes that a day took of the free ones, and that it added to the database."""
    newest = conn.execute(sa.select(hub_sizes).order_by(hub_sizes.c.at.desc()).limit(1)).first()
    if newest is None:
        return None, None
    since = hub_sizes.c.at >= newest.at - OVER
    oldest = conn.execute(sa.select(hub_sizes).where(since).order_by(hub_sizes.c.at).limit(1)).one()
    age: timedelta = newest.at - oldest.at
    if age < LEAST:
        return None, None
    days = age.total_seconds() / A_DAY_S
    return (oldest.free_bytes - newest.free_bytes) / days, (
        newest.database_bytes - oldest.database_bytes
    ) / days
