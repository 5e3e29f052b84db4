"""An emergency call box: one button, one lamp. A press is told before anything else is done about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from prahari_wire.base import Refused, validate
from prahari_wire.callbox import ButtonStuck, CallboxConfig, Lamp, LampArgs, Press
from prahari_wire.command import CommandName
from prahari_wire.envelope import Stamp
from prahari_wire.events import BUTTON_STUCK, PRESS, SELF_TEST
from prahari_wire.health import PeripheralHealth, State
from prahari_wire.ids import ulid
from prahari_wire.presence import Peripheral as PeripheralInfo
from prahari_wire.presence import PeripheralType
from prahari_wire.twin import PeripheralConfig

from prahari_agent.callbox.button import Hold
from prahari_agent.callbox.lamp import KeptLamp
from prahari_agent.callbox.selftest import result
from prahari_agent.errors import AgentError, ConfigRefused, Rejected, SetupError
from prahari_agent.files import write_atomic
from prahari_agent.hardware.port import Button, LampPort
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Surroundings

log = get_logger("callbox")

TICK_S = 0.5
FIRST_SELFTEST_S = 60
SAME_TIME_MS = 1000
"""The hub's time is known no better: a command that seems issued so much before a press may answer it."""
PRESS_EVERY_MS = 3000
"""Presses that follow one that was told are told together, at most so often: a button that chatters must flood nobody."""


class CallBox:
    """The peripheral.Peripheral of a call box."""

    def __init__(self, peripheral_id: str, surroundings: Surroundings) -> None:
        self._id, self._around = peripheral_id, surroundings
        surroundings.home.mkdir(parents=True, exist_ok=True)
        self._config: CallboxConfig | None = None
        self._button: Button | None = None
        self._lamp_port: LampPort | None = None
        self._lamp = KeptLamp(surroundings.home)
        self._count_path = surroundings.home / "presses"
        self._count = self._read_count()
        self._hold = Hold(stuck_after_ms=30_000)
        self._lock, self._telling = threading.Lock(), threading.Lock()
        self._told_stuck: bool | None = None
        self._untold: Stamp | None = None
        self._press_told_ms: int | None = None
        self._pressed_ms: int | None = None
        self._next_test_ms = 0
        self._last_test_failed: str | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # The port

    @property
    def info(self) -> PeripheralInfo:
        return PeripheralInfo(id=self._id, type=PeripheralType.CALLBOX, model=self._around.board.name[:120])

    def configure(self, config: PeripheralConfig) -> None:
        if not isinstance(config, CallboxConfig):
            raise ConfigRefused(("type", "this peripheral is a callbox"))
        if config.button_pin == config.lamp_pin:
            raise ConfigRefused(("lamp_pin", "button and lamp need two different pins"))
        before = self._config
        self._hold.stuck_after_ms = int(config.stuck_after_s * 1000)
        self._next_test_ms = self._now_ms() + int(min(config.selftest_s, FIRST_SELFTEST_S) * 1000)
        if before is None or _wiring(before) != _wiring(config):
            self._rewire(config, before)
        self._config = config

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name=f"callbox-{self._id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)
        with suppress(AgentError):
            self._tell_presses(None)
        self._unwire()

    def health(self) -> PeripheralHealth:
        if self._button is None:
            return PeripheralHealth(
                id=self._id, state=State.FAIL, faults=["Wiring"], note="the pins could not be opened"
            )
        if self._hold.stuck(self._now_ms()):
            return PeripheralHealth(
                id=self._id, state=State.FAIL, faults=["ButtonStuck"], note="the button is held down"
            )
        if self._last_test_failed:
            return PeripheralHealth(
                id=self._id, state=State.FAIL, faults=["SelfTest"], note=self._last_test_failed[:120]
            )
        return PeripheralHealth(id=self._id, state=State.OK, note=f"lamp {self._lamp.state}")

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {CommandName.LAMP: self._lamp_command}

    # Wiring

    def _rewire(self, config: CallboxConfig, before: CallboxConfig | None) -> None:
        self._unwire()
        try:
            self._wire(config)
        except SetupError as error:
            self._unwire()
            if before is not None:
                self._wire(before)
            raise ConfigRefused(("button_pin", str(error))) from error

    def _wire(self, config: CallboxConfig) -> None:
        self._lamp_port = self._around.board.lamp(config.lamp_pin)
        self._lamp.attach(self._lamp_port)
        self._button = self._around.board.button(
            config.button_pin, debounce_ms=config.debounce_ms, pressed=self._pressed, released=self._released
        )

    def _unwire(self) -> None:
        self._lamp.attach(None)
        for part in (self._button, self._lamp_port):
            if part is not None:
                part.close()
        self._button = self._lamp_port = None

    # The button

    def _pressed(self) -> None:
        """Tell the hub first; the lamp blinks even where telling failed, for the person must see that the box lives."""
        stamp = self._around.stamp()
        with self._lock:
            self._hold.pressed(stamp.mono_ms)
            self._count += 1
            self._untold, self._pressed_ms = stamp, stamp.mono_ms
        try:
            self._tell_presses(stamp.mono_ms)
        except AgentError as error:
            log.error("a press could not be stored yet", peripheral=self._id, error=str(error))
        finally:
            if self._lamp.state is not Lamp.STEADY:
                self._lamp.show(Lamp.BLINKING, None)

    def _tell_presses(self, now_ms: int | None) -> None:
        """Tell that somebody pressed, with the count, unless that was told just now: then the next tick does; None tells at once.

        What could not be stored stays to be told.
        """
        with self._telling:
            with self._lock:
                stamp, press = self._untold, Press(press=ulid(), count=max(1, self._count))
            if stamp is None or (now_ms is not None and self._told_lately(now_ms)):
                return
            self._around.emit(PRESS, press, peripheral=self._id, stamp=stamp)
            self._press_told_ms = stamp.mono_ms if now_ms is None else now_ms
            with self._lock:
                if self._untold is stamp:
                    self._untold = None
            self._keep_count(press.count)
        log.info("pressed", peripheral=self._id, press=press.press, count=press.count)

    def _told_lately(self, now_ms: int) -> bool:
        return self._press_told_ms is not None and now_ms - self._press_told_ms < PRESS_EVERY_MS

    def _released(self) -> None:
        with self._lock:
            self._hold.released(self._now_ms())
        try:
            self._tell_stuck(self._now_ms())
        except AgentError as error:
            log.error("a released button is told again later", peripheral=self._id, error=str(error))

    def _tell_stuck(self, now_ms: int) -> None:
        """Tell once that the button is stuck, and once that it is not; what could not be stored is told at the next tick.

        The first of this process's life is told either way, once the button is up: an agent before this one may have
        left a stuck button open.
        """
        with self._telling:
            with self._lock:
                stuck, down, held_s = self._hold.stuck(now_ms), self._hold.down, self._hold.held_s(now_ms)
            if stuck is self._told_stuck or (self._told_stuck is None and down and not stuck):
                return
            body = ButtonStuck(active=stuck, held_s=held_s)
            self._around.emit(BUTTON_STUCK, body, peripheral=self._id)
            self._told_stuck = stuck
        if stuck:
            log.warning("the button is stuck", peripheral=self._id, held_s=held_s)

    def _keep_count(self, count: int) -> None:
        try:
            write_atomic(self._count_path, str(count).encode())
        except OSError as error:
            log.error("the count of presses cannot be kept: free space on the disk", error=str(error))

    def _read_count(self) -> int:
        try:
            return max(0, int(self._count_path.read_text()))
        except (OSError, ValueError):
            return 0

    # Watching

    def _watch(self) -> None:
        while not self._stopping.wait(TICK_S):
            try:
                self._tick(self._now_ms())
            except Exception:
                log.exception("the call box's watch failed once and carries on", peripheral=self._id)

    def _tick(self, now_ms: int) -> None:
        with suppress(AgentError):
            self._tell_presses(now_ms)
        if self._button is not None:
            self._tell_stuck(now_ms)
        if self._config is not None and now_ms >= self._next_test_ms:
            self._next_test_ms = now_ms + int(self._config.selftest_s * 1000)
            self._self_test()

    def _self_test(self) -> None:
        test = result(lamp_works=self._lamp.works(), button_stuck=self._hold.stuck(self._now_ms()))
        self._last_test_failed = None if test.passed else test.detail
        self._around.emit(SELF_TEST, test, peripheral=self._id)

    def _now_ms(self) -> int:
        return self._around.stamp().mono_ms

    # The lamp

    def _lamp_command(self, args: Mapping[str, Any]) -> dict[str, Any]:
        try:
            wanted = validate(LampArgs, dict(args))
        except Refused as error:
            raise Rejected(error.detail) from None
        if self._lamp_port is None:
            raise Rejected("the call box's pins could not be opened: check its configuration")
        state, incident = self._judged(wanted, getattr(args, "issued_ms", None))
        self._lamp.show(state, incident)
        return {"state": str(state), "incident": wanted.incident}

    def _judged(self, wanted: LampArgs, issued_ms: int | None) -> tuple[Lamp, str | None]:
        """What the lamp shows after the command: it answers whoever pressed before it was issued, and nobody later."""
        pressed_ms, lit = self._pressed_ms, self._lamp.incident
        if wanted.state is Lamp.BLINKING:
            return Lamp.BLINKING, wanted.incident
        if pressed_ms is not None and issued_ms is not None and issued_ms < pressed_ms - SAME_TIME_MS:
            return Lamp.BLINKING, None
        if wanted.state is Lamp.STEADY:
            return Lamp.STEADY, wanted.incident
        if lit is not None and wanted.incident < lit:  # ids of incidents rise with time
            return self._lamp.state, lit
        return Lamp.OFF, None


def _wiring(config: CallboxConfig) -> tuple[int, int, int]:
    return config.button_pin, config.lamp_pin, config.debounce_ms
