"""A board made of gpiozero's mock pins: the whole port, for the demo, for tests and for machines without GPIO."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from prahari_wire.callbox import Lamp

from prahari_agent.errors import Rejected
from prahari_agent.hardware.pins import PinButton, PinLamp
from prahari_agent.hardware.port import Button, LampPort, Power

HOLD_S = 0.2
LONGEST_HOLD_S = 600.0


class SimulatedBoard:
    """``press`` pushes a button with a finger; ``fault`` breaks a lamp's line so that self-tests have something to find."""

    name = "simulated"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._factory: Any = None
        self._buttons: list[int] = []
        self._lamps: dict[int, PinLamp] = {}
        self._broken: set[int] = set()
        self.celsius: float | None = 45.0
        self.supply = Power(under_voltage=False, throttled=False, under_voltage_since_boot=False)

    def temperature_c(self) -> float | None:
        return self.celsius

    def power(self) -> Power:
        return self.supply

    def serial(self) -> str | None:
        return "simulated"

    def button(
        self, pin: int, *, debounce_ms: int, pressed: Callable[[], None], released: Callable[[], None]
    ) -> Button:
        button = PinButton(self._pins(), pin, debounce_ms=debounce_ms, pressed=pressed, released=released)
        with self._lock:
            self._buttons = [*(p for p in self._buttons if p != pin), pin]
        return button

    def lamp(self, pin: int) -> LampPort:
        lamp = PinLamp(self._pins(), pin)
        with self._lock:
            self._lamps[pin] = lamp
        return _Lamp(lamp, lambda: pin in self._broken)

    def lamps(self) -> dict[int, Lamp]:
        """What each lamp shows, by pin."""
        with self._lock:
            return {pin: lamp.shown() for pin, lamp in self._lamps.items()}

    def press(self, *, hold_s: float = HOLD_S, pin: int | None = None) -> int:
        """Hold the button down for ``hold_s``; the pin that was pressed. Rejected without a button there."""
        with self._lock:
            known = list(self._buttons)
        if not known or (pin is not None and pin not in known):
            raise Rejected("no call box with such a button is configured on this box yet")
        chosen = known[0] if pin is None else pin
        mock = self._pins().pin(chosen)
        mock.drive_low()
        time.sleep(hold_s)
        mock.drive_high()
        return chosen

    def fault(self, pin: int, *, broken: bool) -> None:
        """Break or mend the line of the lamp at ``pin``."""
        (self._broken.add if broken else self._broken.discard)(pin)

    def requests(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """What the agent's control socket offers on this board."""
        return {"press": self._press_request, "lamps": self._lamps_request, "fault": self._fault_request}

    def _press_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        hold_s = float(request.get("hold_s", HOLD_S))
        if not 0 <= hold_s <= LONGEST_HOLD_S:
            raise Rejected(f"a button can be held for 0 to {LONGEST_HOLD_S:.0f} seconds")
        pin = request.get("pin")
        return {"pin": self.press(hold_s=hold_s, pin=None if pin is None else int(pin))}

    def _lamps_request(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"lamps": {str(pin): str(lamp) for pin, lamp in self.lamps().items()}}

    def _fault_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.fault(int(request["pin"]), broken=bool(request.get("broken", True)))
        return {}

    def _pins(self) -> Any:
        with self._lock:
            if self._factory is None:
                from gpiozero.pins.mock import MockFactory

                self._factory = MockFactory()
            return self._factory


class _Lamp:
    """A lamp whose line can be broken."""

    def __init__(self, lamp: PinLamp, broken: Callable[[], bool]) -> None:
        self._lamp, self._broken = lamp, broken

    def show(self, lamp: Lamp) -> None:
        self._lamp.show(lamp)

    def shown(self) -> Lamp:
        return self._lamp.shown()

    def works(self) -> bool:
        return not self._broken() and self._lamp.works()

    def close(self) -> None:
        self._lamp.close()
