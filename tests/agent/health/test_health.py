"""The table of checks and the heartbeat's rhythm."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.clock import Clock
from prahari_agent.hardware.port import Power
from prahari_agent.hardware.simulated import SimulatedBoard
from prahari_agent.health import checks
from prahari_agent.health.checks import Probes
from prahari_agent.health.monitor import Monitor, next_beat_s, phase_s
from prahari_agent.pulse import Pulses
from prahari_wire.base import MAX_MESSAGE
from prahari_wire.health import Health, PeripheralHealth, State


class Rig:
    def __init__(self, home: Path) -> None:
        self.home, self.board = home, SimulatedBoard()
        self.at = datetime(2026, 11, 21, tzinfo=UTC)
        self.clock = Clock(wall=lambda: self.at, mono_ms=lambda: 90_000, os_synced=lambda: True)
        self.link: tuple[str | None, float | None] = (None, 12.0)
        self.outbox: tuple[int, str | None] = (3, None)
        self.identity: tuple[float | None, str | None] = (60.0, None)
        self.uploads: tuple[int, str | None] = (0, None)
        self.footage_age_s: float | None = 8.0
        self.night_light: dict[str, float] = {}
        self.peripherals: list[PeripheralHealth] = []
        self.sent: list[Health] = []
        self.beat = threading.Event()

    def probes(self) -> Probes:
        return Probes(
            home=self.home, board=self.board, clock=self.clock, link=lambda: self.link, outbox=lambda: self.outbox,
            identity=lambda: self.identity, uploads=lambda: self.uploads,
            footage=lambda: self.footage_age_s, night_light=lambda: self.night_light,
        )  # fmt: skip

    def monitor(self) -> Monitor:
        return Monitor(
            device="test-ecb-01",
            probes=self.probes(),
            peripherals=lambda: self.peripherals,
            send=self._send,
            pulses=Pulses(),
        )

    def _send(self, health: Health) -> bool:
        self.sent.append(health)
        return True


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_every_check_of_the_table_speaks_on_a_board_that_tells_everything(rig: Rig) -> None:
    rig.peripherals = [PeripheralHealth(id="cam1", state=State.FAIL, faults=["SignalLoss"])]
    health = rig.monitor().examine()
    by_name = {check.name: check for check in health.checks}
    assert list(by_name) == [
        "cpu", "memory", "disk", "temperature", "power", "clock", "link", "outbox", "certificate", "uploads", "footage", "peripheral:cam1",
    ]  # fmt: skip
    assert by_name["link"].value == 12.0
    assert (by_name["peripheral:cam1"].state, by_name["peripheral:cam1"].text) == (State.FAIL, "SignalLoss")
    assert health.uptime_s == 90


def test_a_cameras_brightness_by_night_is_the_value_of_its_check(rig: Rig) -> None:
    rig.peripherals = [PeripheralHealth(id=name, state=State.OK) for name in ("cam1", "cam2")]
    rig.night_light = {"cam1": 14.0}
    values = {check.name: check.value for check in rig.monitor().examine().checks}
    assert (values["peripheral:cam1"], values["peripheral:cam2"]) == (14.0, None)


def change(rig: Rig, name: str, value: Any) -> None:
    match name:
        case "celsius" | "supply":
            setattr(rig.board, name, value)
        case "at":
            rig.at = value
        case "hub":
            rig.clock.hub_said(
                rig.at + timedelta(seconds=value), sent_mono_ms=90_000, received_mono_ms=90_000
            )
        case _:
            setattr(rig, name, value)


@pytest.mark.parametrize(
    ("name", "value", "check", "state", "says"),
    [
        pytest.param("celsius", 90.0, checks.temperature, State.FAIL, None, id="hot"),
        pytest.param(
            "supply", Power(True, True, True), checks.power, State.FAIL, "supply", id="under-voltage"
        ),
        pytest.param("supply", Power(False, True, True), checks.power, State.WARN, "cooling", id="throttled"),
        pytest.param(
            "supply",
            Power(False, False, True),
            checks.power,
            State.WARN,
            "since boot",
            id="was-under-voltage",
        ),
        pytest.param(
            "at", datetime(1970, 1, 1, tzinfo=UTC), checks.clock, State.FAIL, "time server", id="1970"
        ),
        pytest.param("hub", 60, checks.clock, State.WARN, "the hub disagree", id="a-minute-behind-the-hub"),
        pytest.param(
            "link", ("Nothing answers at x", None), checks.link, State.FAIL, "Nothing answers", id="no-link"
        ),
        pytest.param("outbox", (5000, None), checks.outbox, State.WARN, None, id="backlog"),
        pytest.param(
            "outbox", (1, "the disk takes no events"), checks.outbox, State.FAIL, "disk", id="disk-full"
        ),
        pytest.param("identity", (3.0, None), checks.identity, State.WARN, None, id="certificate-ends"),
        pytest.param("identity", (-1.0, "no"), checks.identity, State.FAIL, None, id="certificate-ended"),
        pytest.param(
            "uploads", (9, "the hub answers 503"), checks.uploads, State.WARN, "503", id="uploads-wait"
        ),
        pytest.param(
            "footage_age_s", 100.0, checks.footage, State.WARN, "not recorded", id="footage-is-late"
        ),
        pytest.param("footage_age_s", 999.0, checks.footage, State.FAIL, "not recorded", id="no-footage"),
    ],
)
def test_what_is_wrong_is_graded_and_said(
    rig: Rig, name: str, value: Any, check: Callable[[Probes], Any], state: State, says: str | None
) -> None:
    good = check(rig.probes())
    assert good.state is State.OK
    change(rig, name, value)
    found = check(rig.probes())
    assert found.state is state
    assert says is None or says in found.text


def test_a_board_that_cannot_tell_has_no_such_check(rig: Rig) -> None:
    rig.board.celsius, rig.board.supply = None, Power()
    assert (checks.temperature(rig.probes()), checks.power(rig.probes())) == (None, None)


def test_a_check_that_breaks_is_left_out_and_the_rest_is_told(rig: Rig) -> None:
    def broken() -> tuple[str | None, float | None]:
        raise RuntimeError("boom")

    monitor = Monitor(
        device="test-ecb-01", probes=Probes(**{**vars_of(rig.probes()), "link": broken}), peripherals=list,
        send=rig._send, pulses=Pulses(),
    )  # fmt: skip
    names = [check.name for check in monitor.examine().checks]
    assert "link" not in names
    assert "outbox" in names


def test_a_box_with_very_many_peripherals_still_fits_into_one_heartbeat(rig: Rig) -> None:
    rig.peripherals = [
        PeripheralHealth(id=f"cam{n}", state=State.FAIL, faults=["x" * 120] * 16, note="y" * 120)
        for n in range(64)
    ]
    health = rig.monitor().examine()
    assert len(health.model_dump_json()) < MAX_MESSAGE
    assert len(health.peripherals) > 30


def vars_of(probes: Probes) -> dict[str, Any]:
    return {name: getattr(probes, name) for name in Probes.__dataclass_fields__}


def test_a_city_beats_spread_over_the_interval() -> None:
    phases = sorted(phase_s(f"pune-cam-{number:05d}", 30) for number in range(3000))
    tenths = [sum(1 for phase in phases if tenth * 3 <= phase < tenth * 3 + 3) for tenth in range(10)]
    assert all(240 < count < 360 for count in tenths)
    assert phase_s("pune-cam-00001", 30) == phase_s("pune-cam-00001", 30)


@pytest.mark.parametrize("now_s", [0.0, 6.9, 7.0, 7.1, 12345.6])
def test_the_next_beat_is_within_one_interval_and_in_phase(now_s: float) -> None:
    due_s = next_beat_s(now_s, 30, 7.0)
    assert 0 < due_s - now_s <= 30
    assert (due_s - 7.0) % 30 == pytest.approx(0)


def test_it_beats_at_its_interval_and_once_more_when_asked(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    rig = Rig(tmp_path)
    rig.clock = Clock()
    monitor = rig.monitor()
    monitor.set_interval(3600)
    monitor.start()
    try:
        monitor.beat_soon()
        eventually(lambda: len(rig.sent) == 1)
        monitor.set_interval(1)
        eventually(lambda: len(rig.sent) >= 3)
    finally:
        monitor.stop()
