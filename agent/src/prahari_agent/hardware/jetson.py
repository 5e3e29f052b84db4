"""NVIDIA Jetson Orin: heat from the thermal zones, over-current throttling from the kernel's soctherm counters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prahari_agent.hardware.linux import model, serial, thermal_zone_c
from prahari_agent.hardware.pins import PinButton, PinLamp
from prahari_agent.hardware.port import Button, LampPort, Power

OVER_CURRENT = "class/hwmon/hwmon*/oc*_event_cnt"


class JetsonBoard:
    def __init__(self, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> None:
        self._sys, self._proc = sys, proc
        self._last_count: int | None = None

    @property
    def name(self) -> str:
        return model(self._proc) or "NVIDIA Jetson"

    def temperature_c(self) -> float | None:
        return thermal_zone_c(self._sys)

    def power(self) -> Power:
        """Throttled when the over-current counters have grown since the last look; their sum tells since boot."""
        counts = [
            int(text) for path in self._sys.glob(OVER_CURRENT) if (text := path.read_text().strip()).isdigit()
        ]
        if not counts:
            return Power()
        total, before = sum(counts), self._last_count
        self._last_count = total
        return Power(throttled=before is not None and total > before, under_voltage_since_boot=total > 0)

    def serial(self) -> str | None:
        return serial(self._proc)

    def button(
        self, pin: int, *, debounce_ms: int, pressed: Callable[[], None], released: Callable[[], None]
    ) -> Button:
        return PinButton(None, pin, debounce_ms=debounce_ms, pressed=pressed, released=released)

    def lamp(self, pin: int) -> LampPort:
        return PinLamp(None, pin)
