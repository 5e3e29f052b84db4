"""What waits to be sent to devices: a source takes what is due in one transaction, the dispatcher signs and sends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire.base import Refused
from prahari_wire.signing import SignedMessage
from prahari_wire.topics import Down

from prahari_hub import metrics
from prahari_hub.fleet.tables import devices
from prahari_hub.store import Unit

SANE_GAP = 1_000_000
"""How far ahead of the hub's a device's epoch or version may be: after a restore of the database it is, by a little."""
PUT_OFF = timedelta(minutes=10)
log = logging.getLogger(__name__)


class Outgoing(NamedTuple):
    """One message, not yet signed."""

    device: str
    channel: Down
    message: SignedMessage


Source = Callable[[Unit], list[Outgoing]]
"""Takes what is due and notes in the same transaction when it is due again."""


def make_each(
    unit: Unit,
    rows: Iterable[Any],
    make: Callable[[Any], SignedMessage],
    put_off: Callable[[Any], sa.Update],
) -> list[tuple[Any, SignedMessage]]:
    """Each row (with a ``device_id``) and its message. A row that gives none is logged and due again after PUT_OFF; the others go out."""
    made: list[tuple[Any, SignedMessage]] = []
    for row in rows:
        try:
            made.append((row, make(row)))
        except (Refused, ValueError):
            metrics.WORKER_FAILURES.labels("dispatch").inc()
            log.exception("what is due for %s cannot be made into a message", row.device_id)
            unit.conn.execute(put_off(row).values(next_send_at=unit.now + PUT_OFF))
    return made


def back_off_s(sent: int, first_s: float, longest_s: float) -> float:
    """How long to wait for an answer after the message has been sent ``sent`` times before: doubles up to a limit."""
    return float(min(longest_s, first_s * 2 ** min(sent, 20)))


def reachable() -> sa.ColumnElement[bool]:
    """Devices that may hear us: in service, born once and not known to be offline. Whoever is offline is due at its birth."""
    return sa.and_(
        devices.c.service != "retired", devices.c.born_at.is_not(None), devices.c.presence != "offline"
    )
