"""The heartbeat: the results of the device's table of checks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, Seq, ShortText
from prahari_wire.envelope import Envelope

HEARTBEAT_S = 30


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Check(Message):
    """One probe. Well-known names: cpu (%), memory (%), disk (% used), temperature (degrees C), power, clock (offset in ms),
    link (round trip in ms), outbox (events held), footage (seconds since the newest footage of the camera that is furthest behind),
    and ``peripheral:<id>`` (of a camera: how bright its view is by night, 0 to 255, a median over this night or the last one)."""

    name: ShortText
    state: State
    value: float | None = None
    text: ShortText | None = None


class PeripheralHealth(Message):
    """``faults`` are names of the field's standards, e.g. ONVIF SignalLoss, Frozen; ``note`` is for a person."""

    id: PeripheralId
    state: State
    faults: Annotated[list[ShortText], Field(max_length=16)] = []
    note: ShortText | None = None


class Health(Message):
    uptime_s: Seq
    checks: Annotated[list[Check], Field(max_length=32)] = []
    peripherals: Annotated[list[PeripheralHealth], Field(max_length=64)] = []


HealthMessage = Envelope[Health]
