"""What waits to be sent to devices: a source takes what is due in one transaction, the dispatcher signs and sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa
from prahari_wire.signing import SignedMessage
from prahari_wire.topics import Down

from prahari_hub.fleet.tables import devices
from prahari_hub.store import Unit


class Outgoing(NamedTuple):
    """One message, not yet signed."""

    device: str
    channel: Down
    message: SignedMessage


Source = Callable[[Unit], list[Outgoing]]
"""Takes what is due and notes in the same transaction when it is due again."""


def back_off_s(sent: int, first_s: float, longest_s: float) -> float:
    """How long to wait for an answer after the message has been sent ``sent`` times before: doubles up to a limit."""
    return float(min(longest_s, first_s * 2 ** min(sent, 20)))


def reachable() -> sa.ColumnElement[bool]:
    """Devices that may hear us: born once and not known to be offline. Whoever is offline is due again at its birth."""
    return sa.and_(devices.c.born_at.is_not(None), devices.c.presence != "offline")
