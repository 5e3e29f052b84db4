"""The button's pin through gpiozero's own mock factory: what counts as a press, also where the box is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory
from prahari_agent.hardware.pins import PinButton

PIN, DEBOUNCE_MS = 17, 40


class Late(threading.Timer):
    """A timer of a machine that has much else to do."""

    def __init__(self, interval: float, function: Callable[[], None]) -> None:
        super().__init__(interval + 0.3, function)


class Line:
    def __init__(self, debounce_ms: int = DEBOUNCE_MS) -> None:
        self.told: list[str] = []
        self._factory = MockFactory()
        self.button = PinButton(
            self._factory, PIN, debounce_ms=debounce_ms, pressed=lambda: self.told.append("pressed"),
            released=lambda: self.told.append("released"),
        )  # fmt: skip
        self._pin = self._factory.pin(PIN)

    def hold(self, seconds: float) -> None:
        self._pin.drive_low()
        time.sleep(seconds)
        self._pin.drive_high()

    def close(self) -> None:
        self.button.close()
        self._factory.close()


@pytest.fixture
def line() -> Iterator[Line]:
    found = Line()
    yield found
    found.close()


def test_a_press_and_its_end_are_told_once(line: Line, eventually: Callable[..., Any]) -> None:
    line.hold(0.3)
    eventually(lambda: len(line.told) >= 2)
    assert line.told == ["pressed", "released"]


def test_a_short_press_is_told_by_a_box_too_busy_to_look_in_time(
    line: Line, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Timer", Late)
    for _ in range(2):
        line.told.clear()
        line.hold(0.1)
        assert line.told[:1] == ["pressed"]
        eventually(lambda: len(line.told) >= 2)
        assert line.told == ["pressed", "released"]


def test_a_chattering_contact_is_no_press(eventually: Callable[..., Any]) -> None:
    line = Line(debounce_ms=800)
    for _ in range(20):
        line.hold(0)
    eventually(lambda: line.button._timer is None)
    line.close()
    assert line.told == []
