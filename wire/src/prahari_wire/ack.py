"""down/ack: what the hub has committed."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from prahari_wire.base import Message, Reason, Seq, ShortText, Ulid, Utc


class Refusal(Message):
    """An event that the hub will never accept: the device keeps it no longer, the hub has quarantined and counted it."""

    seq: Seq
    reason: Reason
    detail: ShortText


class Ack(Message):
    """``birth`` answers a birth, ``batch`` an event batch. Every seq ≤ ``upto`` or within ``beyond`` (closed ranges) is committed.

    ``problem`` says that the whole batch could not be read; ``at`` is the hub's time; ``retry_after_s`` asks the device to hold back.
    ``reconnect_window_s``, in the answer to a birth, asks it to spread its next connection over so long when this one is lost; left out
    there it is 0: the fleet is small, and a device may come back at once and try every few seconds.
    """

    v: Literal[1] = 1
    id: Ulid
    at: Utc
    birth: Ulid | None = None
    batch: Ulid | None = None
    journal: UUID | None = None
    upto: Annotated[int, Field(ge=-1, lt=2**53)] | None = None
    beyond: Annotated[list[tuple[Seq, Seq]], Field(max_length=64)] = []
    refused: Annotated[list[Refusal], Field(max_length=500)] = []
    problem: ShortText | None = None
    retry_after_s: Annotated[float, Field(ge=0, le=3600)] | None = None
    reconnect_window_s: Annotated[float, Field(ge=0, le=3600)] | None = None
