"""What surrounds every body: schema version, identity, session and the doubt of the device's clock."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import Field

from prahari_wire.base import Clock, Message, PeripheralId, Seq, ShortText, Ulid, Utc

B = TypeVar("B", bound=Message)


class Session(Message):
    """``boot`` is new with every boot of the box, ``conn`` counts its connections within that boot."""

    boot: UUID
    conn: Seq


class Stamp(Message):
    """When something happened: the device's UTC, its monotonic clock in ms since boot, and how good the former is."""

    at: Utc
    mono_ms: Seq
    clock: Clock


class Envelope(Session, Stamp, Generic[B]):
    """A message that is not kept: birth, gone, health."""

    v: Literal[1] = 1
    id: Ulid
    body: B


class Event(Session, Stamp):
    """A durable fact. ``seq`` counts within the outbox's journal and is never used again.

    ``late`` says that it was not live when sent: it enters history and raises no fresh alarm. ``body`` is checked
    against the kind (prahari_wire.events.KINDS) one by one, so that one bad event does not refuse its neighbours.
    """

    id: Ulid
    seq: Seq
    kind: ShortText
    peripheral: PeripheralId | None = None
    late: bool = False
    body: dict[str, Any]


class EventBatch(Message):
    """``low`` is the lowest seq that the outbox still holds: what was shed below it does not stop the watermark."""

    v: Literal[1] = 1
    id: Ulid
    journal: UUID
    low: Seq
    events: Annotated[list[Event], Field(min_length=1, max_length=500)]
