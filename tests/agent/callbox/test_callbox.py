"""A call box on gpiozero's mock pins, driven as a finger would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.callbox.button import Hold
from prahari_agent.callbox.callbox import PRESS_EVERY_MS, CallBox
from prahari_agent.errors import ConfigRefused, HubUnreachable, Rejected
from prahari_agent.hardware.simulated import SimulatedBoard
from prahari_agent.outbox import OutboxFull
from prahari_agent.peripheral import Arguments, Surroundings
from prahari_wire.base import Clock, Message
from prahari_wire.callbox import CallboxConfig, Lamp
from prahari_wire.display import DisplayConfig
from prahari_wire.envelope import Stamp
from prahari_wire.health import State

INCIDENT = {"peripheral": "box1", "incident": "i1"}


class Rig:
    def __init__(self, home: Path) -> None:
        self.home, self.board, self.told = home, SimulatedBoard(), []  # type: tuple[Path, SimulatedBoard, list[tuple[str, Any]]]
        self.disk_full, self.ahead_ms = False, 0
        self.box = self.fresh()

    def fresh(self) -> CallBox:
        around = Surroundings(
            device="test-ecb-01", home=self.home, board=self.board, emit=self._emit, upload=lambda _d, _t: "",
            fetch=self._fetch, stamp=self._stamp, undisputed=lambda: True, secret=lambda _n: None,
        )  # fmt: skip
        self.box = CallBox("box1", around)
        return self.box

    def _emit(
        self, kind: str, body: Message, *, peripheral: str | None = None, stamp: Stamp | None = None
    ) -> int:
        assert peripheral == "box1"
        if self.disk_full:
            raise OutboxFull("no space")
        self.told.append((kind, body))
        return len(self.told)

    def _fetch(self, _sha: str, _size: int) -> Path:
        raise HubUnreachable("never")

    def _stamp(self) -> Stamp:
        return Stamp(at=datetime.now(UTC), mono_ms=self.now_ms(), clock=Clock.SYNCED)

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000 + self.ahead_ms

    def events(self, kind: str) -> list[Any]:
        return [body for told, body in list(self.told) if told == f"callbox.{kind}"]

    def up(self, **config: Any) -> CallBox:
        self.box.configure(CallboxConfig(**{"debounce_ms": 0, **config}))
        self.box.start()
        return self.box

    def pin(self, number: int = 17) -> Any:
        return self.board._pins().pin(number)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "box1")
    yield rig
    rig.box.stop()


def test_a_press_is_told_and_the_lamp_blinks(rig: Rig) -> None:
    rig.up()
    rig.board.press(hold_s=0.01)
    rig.ahead_ms += PRESS_EVERY_MS
    rig.board.press(hold_s=0.01)
    assert [press.count for press in rig.events("press")] == [1, 2]
    assert rig.board.lamps() == {27: Lamp.BLINKING}


def test_a_button_that_chatters_is_told_at_once_and_then_every_three_seconds_with_its_count(rig: Rig) -> None:
    rig.box.configure(CallboxConfig(debounce_ms=0))
    for _ in range(50):
        rig.board.press(hold_s=0)
    assert [press.count for press in rig.events("press")] == [1]
    rig.box._tick(rig.now_ms() + PRESS_EVERY_MS)
    rig.box._tick(rig.now_ms() + 2 * PRESS_EVERY_MS)
    assert [press.count for press in rig.events("press")] == [1, 50]


def test_presses_that_are_not_told_yet_are_told_when_the_box_stops(rig: Rig) -> None:
    rig.up()
    rig.board.press(hold_s=0)
    rig.board.press(hold_s=0)
    rig.box.stop()
    assert [press.count for press in rig.events("press")] == [1, 2]


def test_a_press_that_could_not_be_stored_is_told_when_it_can(rig: Rig) -> None:
    rig.box.configure(CallboxConfig(debounce_ms=0))
    rig.disk_full = True
    rig.board.press(hold_s=0)
    rig.disk_full = False
    rig.box._tick(rig.now_ms())
    assert [press.count for press in rig.events("press")] == [1]


def test_the_count_of_presses_outlasts_a_restart(rig: Rig) -> None:
    rig.up()
    rig.board.press(hold_s=0)
    rig.box.stop()
    rig.fresh()
    rig.up()
    rig.board.press(hold_s=0)
    assert [press.count for press in rig.events("press")] == [1, 2]


def test_contacts_that_bounce_are_one_press(rig: Rig, eventually: Callable[..., Any]) -> None:
    rig.up(debounce_ms=300)
    for _ in range(4):
        rig.pin().drive_low()
        rig.pin().drive_high()
    rig.pin().drive_low()
    eventually(lambda: rig.events("press"))
    rig.pin().drive_high()
    rig.pin().drive_low()
    time.sleep(0.6)
    assert len(rig.events("press")) == 1


def test_a_line_full_of_noise_starts_no_thread_for_every_edge(
    rig: Rig, eventually: Callable[..., Any]
) -> None:
    rig.up(debounce_ms=300)
    before = threading.active_count()
    for _ in range(500):
        rig.pin().drive_low()
        rig.pin().drive_high()
    assert threading.active_count() <= before + 1
    rig.pin().drive_low()
    eventually(lambda: len(rig.events("press")) == 1)


def test_a_spike_on_the_line_is_no_press(rig: Rig) -> None:
    rig.up(debounce_ms=300)
    rig.pin().drive_low()
    rig.pin().drive_high()
    time.sleep(0.6)
    assert rig.events("press") == []


def test_the_lamp_blinks_even_where_the_press_could_not_be_stored(rig: Rig) -> None:
    rig.up()
    rig.disk_full = True
    rig.board.press(hold_s=0)
    assert rig.events("press") == []
    assert rig.board.lamps() == {27: Lamp.BLINKING}


def test_the_operators_lamp_is_kept_over_a_restart(rig: Rig) -> None:
    lamp = rig.up().commands()["callbox.lamp"]
    assert lamp({**INCIDENT, "state": "steady"}) == {"state": "steady", "incident": "i1"}
    assert rig.board.lamps() == {27: Lamp.STEADY}
    rig.box.stop()
    rig.fresh()
    rig.up()
    assert rig.board.lamps() == {27: Lamp.STEADY}
    rig.board.press(hold_s=0)
    assert rig.board.lamps() == {27: Lamp.STEADY}, "the operator's answer stands while the incident is open"
    rig.box.commands()["callbox.lamp"]({**INCIDENT, "state": "off"})
    assert rig.board.lamps() == {27: Lamp.OFF}
    rig.board.press(hold_s=0)
    assert rig.board.lamps() == {27: Lamp.BLINKING}


def order(rig: Rig, state: str, *, incident: str = "i1", ago_ms: int = 0) -> str:
    args = Arguments(peripheral="box1", incident=incident, state=state)
    args.issued_ms = rig.now_ms() - ago_ms
    return str(rig.box.commands()["callbox.lamp"](args)["state"])


@pytest.mark.parametrize("state", ["off", "steady"])
def test_a_command_from_before_a_press_leaves_the_lamp_blinking(rig: Rig, state: str) -> None:
    rig.up()
    order(rig, "steady")
    rig.board.press(hold_s=0)
    assert order(rig, state, ago_ms=60_000) == "blinking"
    assert rig.board.lamps() == {27: Lamp.BLINKING}
    assert order(rig, state) == state
    assert rig.board.lamps() == {27: Lamp(state)}


def test_the_end_of_an_older_incident_leaves_the_lamp_of_the_newer_lit(rig: Rig) -> None:
    rig.up()
    order(rig, "steady", incident="01B")
    assert order(rig, "off", incident="01A") == "steady"
    assert order(rig, "off", incident="01C") == "off"


def test_a_press_forgets_whose_lamp_was_blinking(rig: Rig) -> None:
    rig.up()
    order(rig, "blinking", incident="01B")
    rig.board.press(hold_s=0)
    assert order(rig, "off", incident="01A") == "off"


def test_a_broken_lamp_file_means_a_dark_lamp(rig: Rig) -> None:
    (rig.home / "lamp.json").write_text("{")
    rig.fresh()
    rig.up()
    assert rig.board.lamps() == {27: Lamp.OFF}


@pytest.mark.parametrize(
    "args", [{}, {**INCIDENT, "state": "green"}, {**INCIDENT, "state": "off", "more": 1}]
)
def test_a_lamp_command_that_is_not_understood_is_rejected(rig: Rig, args: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        rig.up().commands()["callbox.lamp"](args)


def test_a_stuck_button_is_told_once_and_cleared(rig: Rig, eventually: Callable[..., Any]) -> None:
    rig.up(stuck_after_s=1)
    rig.pin().drive_low()
    [stuck] = eventually(lambda: [told for told in rig.events("stuck") if told.active])
    assert stuck.active
    assert stuck.held_s >= 1
    assert rig.box.health().state is State.FAIL
    assert "held down" in (rig.box.health().note or "")
    time.sleep(1.2)
    rig.pin().drive_high()
    *_, last, cleared = rig.events("stuck")
    assert (last.active, cleared.active) == (True, False)
    assert cleared.held_s >= 2
    assert rig.box.health().state is State.OK


def test_the_self_test_finds_a_broken_lamp(rig: Rig, eventually: Callable[..., Any]) -> None:
    rig.up(selftest_s=1)
    assert eventually(lambda: rig.events("selftest"))[0].passed
    rig.board.fault(27, broken=True)
    bad = eventually(lambda: [test for test in rig.events("selftest") if not test.passed])[0]
    assert (bad.lamp, bad.button) == (False, True)
    assert "wiring" in bad.detail
    assert rig.box.health().faults == ["SelfTest"]
    rig.board.fault(27, broken=False)
    eventually(lambda: rig.box.health().state is State.OK)


def test_a_self_test_leaves_the_lamp_as_it_was(rig: Rig) -> None:
    box = rig.up()
    box.commands()["callbox.lamp"]({**INCIDENT, "state": "blinking"})
    box._self_test()
    assert rig.board.lamps() == {27: Lamp.BLINKING}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        pytest.param(CallboxConfig(button_pin=4, lamp_pin=4), "two different pins", id="same-pin"),
        pytest.param(DisplayConfig(), "this peripheral is a callbox", id="other-type"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_the_old_one_holds(
    rig: Rig, config: Any, says: str
) -> None:
    rig.up(button_pin=5)
    with pytest.raises(ConfigRefused, match=says):
        rig.box.configure(config)
    rig.board.press(hold_s=0, pin=5)
    assert len(rig.events("press")) == 1


def test_pins_can_be_changed_while_it_runs(rig: Rig) -> None:
    rig.up(button_pin=5, lamp_pin=6)
    rig.box.configure(CallboxConfig(button_pin=7, lamp_pin=8, debounce_ms=0))
    rig.board.press(hold_s=0, pin=7)
    assert len(rig.events("press")) == 1
    assert rig.board.lamps()[8] is Lamp.BLINKING


def test_a_pin_that_is_taken_is_refused_in_a_sentence_and_the_old_wiring_is_back(rig: Rig) -> None:
    rig.up(button_pin=5, lamp_pin=6)
    taken = rig.board.lamp(9)
    with pytest.raises(ConfigRefused, match="GPIO pin 9 cannot be used"):
        rig.box.configure(CallboxConfig(button_pin=5, lamp_pin=9, debounce_ms=0))
    rig.board.press(hold_s=0, pin=5)
    assert len(rig.events("press")) == 1
    taken.close()


def test_a_button_that_is_well_clears_once_what_an_agent_before_may_have_left_open(rig: Rig) -> None:
    rig.up()
    for _ in range(3):
        rig.box._tick(rig._stamp().mono_ms)
    assert [told.active for told in rig.events("stuck")] == [False]


def test_the_end_of_a_stuck_button_is_told_when_the_disk_takes_it_again(rig: Rig) -> None:
    rig.box.configure(CallboxConfig(debounce_ms=0, stuck_after_s=1))
    rig.pin().drive_low()
    later_ms = rig._stamp().mono_ms + 2000
    rig.disk_full = True
    with pytest.raises(OutboxFull):
        rig.box._tick(later_ms)
    rig.disk_full = False
    rig.box._tick(later_ms)
    rig.disk_full = True
    rig.pin().drive_high()
    rig.disk_full = False
    rig.box._tick(later_ms)
    assert [told.active for told in rig.events("stuck")] == [True, False]


def test_a_hold_is_stuck_until_it_is_let_go() -> None:
    hold = Hold(stuck_after_ms=1000)
    assert not hold.stuck(5000)
    hold.pressed(5000)
    assert not hold.stuck(5999)
    assert hold.stuck(6000)
    assert hold.held_s(7000) == 2.0
    hold.released(8000)
    assert not hold.stuck(9000)
    assert hold.held_s(9000) == 3.0
