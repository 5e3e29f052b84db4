"""A button and a lamp on GPIO pins through gpiozero, whichever pin factory drives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from prahari_wire.callbox import Lamp

from prahari_agent.errors import SetupError

BLINK_S = 0.5


class PinButton:
    """A push button between its pin and ground. A level counts once it has stood for ``debounce_ms``, by the time of the edges:
    a box that is busy notices a short press late, and tells it all the same.
    """

    def __init__(
        self,
        factory: Any,
        pin: int,
        *,
        debounce_ms: int,
        pressed: Callable[[], None],
        released: Callable[[], None],
    ) -> None:
        from gpiozero import DigitalInputDevice

        self._debounce_s = debounce_ms / 1000
        self._told = {True: pressed, False: released}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._last_edge_s = 0.0
        self._last_ticks: Any = None
        self._device = _claimed(lambda: DigitalInputDevice(pin, pull_up=True, pin_factory=factory), pin)
        self._stands = bool(self._device.is_active)
        self._device.when_activated = lambda: self._edge(pressed=True)
        self._device.when_deactivated = lambda: self._edge(pressed=False)
        if self._stands:
            self._told[True]()

    def is_pressed(self) -> bool:
        return bool(self._device.is_active)

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._device.close()

    def _edge(self, *, pressed: bool) -> None:
        if self._debounce_s == 0:
            self._settle()
            return
        with self._lock:
            stood = self._stood_until(self._device._last_changed)
            counts = (
                stood and self._stands is pressed
            )  # the timer was late: what this edge ends has not been told yet
            if counts:
                self._stands = not pressed
            self._last_edge_s = time.monotonic()
            if self._timer is None:
                self._wait(self._debounce_s)
        if counts:
            self._told[not pressed]()

    def _stood_until(self, ticks: Any) -> bool:
        """Whether the level before this edge stood long enough. Ticks are the kernel's where it tells them, of a clock of its own."""
        before, self._last_ticks = self._last_ticks, ticks
        return before is not None and self._device.pin_factory.ticks_diff(ticks, before) >= self._debounce_s

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._quiet)
        self._timer.daemon = True
        self._timer.start()

    def _quiet(self) -> None:
        """The line has been left alone for a while: long enough, or wait for the rest."""
        with self._lock:
            if self._device.closed:
                return
            left_s = self._last_edge_s + self._debounce_s - time.monotonic()
            if left_s > 0:
                self._wait(left_s)
                return
            self._timer = None
        self._settle()

    def _settle(self) -> None:
        with self._lock:
            if self._device.closed:
                return
            level = self.is_pressed()
            if level == self._stands:
                return
            self._stands = level
        self._told[level]()


class PinLamp:
    """A lamp that a high pin lights."""

    def __init__(self, factory: Any, pin: int) -> None:
        from gpiozero import LED

        self._led = _claimed(lambda: LED(pin, pin_factory=factory), pin)
        self._shown = Lamp.OFF

    def show(self, lamp: Lamp) -> None:
        if lamp is self._shown:
            return
        self._shown = lamp
        match lamp:
            case Lamp.OFF:
                self._led.off()
            case Lamp.STEADY:
                self._led.on()
            case Lamp.BLINKING:
                self._led.blink(on_time=BLINK_S, off_time=BLINK_S)

    def shown(self) -> Lamp:
        return self._shown

    def works(self) -> bool:
        """Drive the pin both ways and read it back; what was shown goes on afterwards."""
        shown = self._shown
        self._led.off()
        dark = bool(self._led.pin.state)
        self._led.on()
        lit = bool(self._led.pin.state)
        self._shown = Lamp.STEADY
        self.show(shown)
        return lit and not dark

    def close(self) -> None:
        self._led.close()


def _claimed(make: Callable[[], Any], pin: int) -> Any:
    from gpiozero import BadPinFactory, GPIOZeroError

    try:
        return make()
    except (BadPinFactory, ImportError) as error:
        raise SetupError(
            "This board's pins cannot be reached: install lgpio for the agent's Python (on Raspberry Pi OS: apt install python3-lgpio)."
        ) from error
    except (GPIOZeroError, OSError, RuntimeError) as error:
        raise SetupError(
            f"GPIO pin {pin} cannot be used ({error}): free the pin or choose another in the configuration."
        ) from error
