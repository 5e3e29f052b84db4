"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime

from prahari_hub.evidence.fetching import BACK_OFF, UNDER_WAY
from prahari_hub.evidence.requests import PATIENCE
from prahari_hub.evidence.tables import footage_requests, redacted_copies, transfers
from prahari_hub.store import Unit


def sooner(unit: Unit) -> int:
    """Transfers that would be asked for later than they ever are, are asked for now; how many."""
    late = transfers.update().where(
        transfers.c.state == "wanted", transfers.c.next_at > unit.now + max(BACK_OFF)
    )
    return unit.conn.execute(late.values(next_at=unit.now)).rowcount


def righted(unit: Unit, later: datetime) -> int:
    """What was asked for or came ``later`` than can be counts from now; how many."""
    begun = [
        transfers.update()
        .where(transfers.c.state.in_(UNDER_WAY), transfers.c.changed_at > later)
        .values(changed_at=unit.now),
        footage_requests.update()
        .where(footage_requests.c.state == "collecting", footage_requests.c.due_at > later + PATIENCE)
        .values(due_at=unit.now + PATIENCE),
        redacted_copies.update()
        .where(redacted_copies.c.state.in_(["asked", "coming"]), redacted_copies.c.asked_at > later)
        .values(asked_at=unit.now),
    ]
    return sum(unit.conn.execute(one).rowcount for one in begun)
