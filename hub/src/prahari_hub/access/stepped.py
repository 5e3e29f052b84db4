"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime

from prahari_hub.access.sessions import ABSOLUTE, LONGEST_LOCK
from prahari_hub.access.tables import sessions, users
from prahari_hub.store import Unit


def sooner(unit: Unit) -> int:
    """Accounts that would be locked for longer than any ever is, may try now; how many."""
    late = users.update().where(users.c.locked_until > unit.now + LONGEST_LOCK)
    return unit.conn.execute(late.values(locked_until=unit.now)).rowcount


def righted(unit: Unit, later: datetime) -> int:
    """Sessions that would last far longer than any does are over: their people sign in anew. How many."""
    where = sessions.c.expires_at > later + 2 * ABSOLUTE
    return unit.conn.execute(sessions.delete().where(where)).rowcount
