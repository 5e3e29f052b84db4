"""What the fleet tells the slices above it: a fact from the field, and a transition that the hub found by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from prahari_wire.base import Message


@dataclass(frozen=True, slots=True)
class Fact:
    """One committed event. ``body`` is the model that ``prahari_wire.events.KINDS`` names for ``kind``.

    ``at`` is the device's time, ``received_at`` the hub's; ``seq`` is its place in the device's ``journal``. A ``late`` fact enters
    history and raises no fresh alarm.
    """

    device: str
    site_id: str | None
    peripheral: str | None
    peripheral_type: str | None
    kind: str
    body: Message
    at: datetime
    late: bool
    ulid: str
    received_at: datetime
    journal: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change that was written first and is told once, in the order of ``id``.

    ``kind`` is ``presence`` (before and after are online, suspect, offline, unknown), ``clone`` (single, clone), or an
    alarm: ``device.stranger``, ``claim.second_key``, ``device.flood`` (quiet, alarm).
    """

    id: int
    device: str
    site_id: str | None
    peripheral: str | None
    kind: str
    before: str
    after: str
    at: datetime
    detail: str | None
