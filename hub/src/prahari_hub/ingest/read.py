"""From a subject and bytes to one typed message, or Refused with the reason."""

from __future__ import annotations

import re
from typing import NamedTuple

from prahari_wire.base import MAX_EVENT_BATCH, MAX_MESSAGE, Reason, Refused, parse
from prahari_wire.envelope import EventBatch
from prahari_wire.health import HealthMessage
from prahari_wire.presence import BirthMessage, GoneMessage
from prahari_wire.topics import Inbound, parse_subject

_BATCH_ID = re.compile(rb'"id"\s*:\s*"([0-7][0-9A-HJKMNP-TV-Z]{25})"')


class Raw(NamedTuple):
    """A message as it came in; ``at_s`` is the hub's monotonic clock."""

    at: Inbound
    payload: bytes
    at_s: float


def address(subject: str) -> Inbound:
    """Who speaks on which channel; Refused for a subject that is none of ours or in a foreign partition."""
    try:
        return parse_subject(subject)
    except ValueError as error:
        raise Refused(Reason.SUBJECT, str(error)) from None


def health(payload: bytes) -> HealthMessage:
    return parse(HealthMessage, payload, limit=MAX_MESSAGE)


def gone(payload: bytes) -> GoneMessage:
    return parse(GoneMessage, payload, limit=MAX_MESSAGE)


def birth(payload: bytes) -> BirthMessage:
    return parse(BirthMessage, payload, limit=MAX_MESSAGE, strict_scan=True)


def batch(payload: bytes) -> EventBatch:
    """Its events are checked for NUL one by one, see ``commit.read_body``."""
    return parse(EventBatch, payload, limit=MAX_EVENT_BATCH, strict_scan=True, allow_nul=True)


def batch_id(payload: bytes) -> str | None:
    """The id of a batch that could not be read: the first one in it, if any."""
    found = _BATCH_ID.search(payload[:MAX_MESSAGE])
    return found[1].decode() if found else None
