"""Raspberry Pi 4 and 5: pins through gpiozero's own factory, power and heat from the firmware."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from prahari_agent.hardware.linux import model, serial, thermal_zone_c
from prahari_agent.hardware.pins import PinButton, PinLamp
from prahari_agent.hardware.port import Button, LampPort, Power

GET_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
UNDER_VOLTAGE, THROTTLED, UNDER_VOLTAGE_SINCE_BOOT = 1 << 0, 1 << 2, 1 << 16
"""Bits of the firmware's ``get_throttled`` (Raspberry Pi documentation, vcgencmd)."""


class PiBoard:
    def __init__(self, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._sys, self._proc = sys, proc

    @property
    def name(self) -> str:
        return model(self._proc) or "Raspberry Pi"

    def temperature_c(self) -> float | None:
        return thermal_zone_c(self._sys)

    def power(self) -> Power:
        bits = self._throttled_bits()
        if bits is None:
            return Power()
        return Power(
            under_voltage=bool(bits & UNDER_VOLTAGE),
            throttled=bool(bits & THROTTLED),
            under_voltage_since_boot=bool(bits & UNDER_VOLTAGE_SINCE_BOOT),
        )

    def serial(self) -> str | None:
        return serial(self._proc)

    def button(
        self, pin: int, *, debounce_ms: int, pressed: Callable[[], None], released: Callable[[], None]
    ) -> Button:
        return PinButton(None, pin, debounce_ms=debounce_ms, pressed=pressed, released=released)

    def lamp(self, pin: int) -> LampPort:
        return PinLamp(None, pin)

    def _throttled_bits(self) -> int | None:
        """From sysfs where the kernel offers it, else from vcgencmd ("throttled=0x50005")."""
        try:
            return int((self._sys / GET_THROTTLED).read_text().strip(), 16)
        except (OSError, ValueError):
            pass
        try:
            said = subprocess.run(
                ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
            )
            return int(said.stdout.strip().partition("=")[2], 16)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
