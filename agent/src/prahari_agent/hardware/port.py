"""The port to the board: pins, temperature, power. pi.py, jetson.py and simulated.py implement it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from prahari_wire.callbox import Lamp


@dataclass(frozen=True)
class Power:
    """Power findings, now and since boot; None where the board cannot tell."""

    under_voltage: bool | None = None
    throttled: bool | None = None
    under_voltage_since_boot: bool | None = None


class Button(Protocol):
    """``pressed`` and ``released`` are called from the pin library's thread, after debouncing."""

    def is_pressed(self) -> bool: ...

    def close(self) -> None: ...


class LampPort(Protocol):
    def show(self, lamp: Lamp) -> None: ...

    def shown(self) -> Lamp: ...

    def works(self) -> bool:
        """The line follows what is written to it."""
        ...

    def close(self) -> None: ...


class Board(Protocol):
    @property
    def name(self) -> str: ...

    def temperature_c(self) -> float | None: ...

    def power(self) -> Power: ...

    def serial(self) -> str | None: ...

    def button(
        self, pin: int, *, debounce_ms: int, pressed: Callable[[], None], released: Callable[[], None]
    ) -> Button: ...

    def lamp(self, pin: int) -> LampPort: ...
