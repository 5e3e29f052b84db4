"""An emergency call box: its configuration in the twin, its lamp and its events."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, ShortText, Ulid

Pin = Annotated[int, Field(ge=0, le=53)]


class Lamp(StrEnum):
    OFF = "off"
    BLINKING = "blinking"
    STEADY = "steady"


class CallboxConfig(Message):
    """Pins are BCM numbers. A self-test checks the lamp's and the button's lines every ``selftest_s``."""

    type: Literal["callbox"] = "callbox"
    name: ShortText | None = None
    button_pin: Pin = 17
    lamp_pin: Pin = 27
    debounce_ms: Annotated[int, Field(ge=0, le=1000)] = 50
    stuck_after_s: Annotated[float, Field(ge=1, le=600)] = 30
    selftest_s: Annotated[float, Field(ge=1, le=7 * 86400)] = 6 * 3600


class Press(Message):
    """Somebody pressed the button. ``press`` names this press; ``count`` counts presses since the box was configured."""

    press: Ulid
    count: Annotated[int, Field(ge=1)]


class ButtonStuck(Message):
    """The button has been held longer than anyone presses; ``active`` False says that it was let go."""

    active: bool
    held_s: Annotated[float, Field(ge=0)]


class SelfTest(Message):
    """What the periodic check of the lamp's and the button's lines found."""

    passed: bool
    lamp: bool
    button: bool
    detail: ShortText | None = None


class LampArgs(Message):
    """Arguments of the command ``callbox.lamp``."""

    peripheral: PeripheralId
    incident: ShortText
    state: Lamp
