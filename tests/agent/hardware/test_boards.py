"""What the boards tell, from files as the kernels write them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prahari_agent.errors import Rejected, SetupError
from prahari_agent.hardware.detect import build, detect
from prahari_agent.hardware.jetson import JetsonBoard
from prahari_agent.hardware.pi import GET_THROTTLED, PiBoard
from prahari_agent.hardware.port import Power
from prahari_agent.hardware.simulated import SimulatedBoard


def put(root: Path, path: str, text: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("bits", "power"),
    [
        pytest.param("0", Power(False, False, False), id="well"),
        pytest.param("50005", Power(True, True, True), id="under-voltage-now"),
        pytest.param("50000", Power(False, False, True), id="under-voltage-before"),
        pytest.param("4", Power(False, True, False), id="throttled"),
    ],
)
def test_a_pi_tells_under_voltage_and_throttling(tmp_path: Path, bits: str, power: Power) -> None:
    assert PiBoard(sys=put(tmp_path, GET_THROTTLED, bits + "\n")).power() == power


def test_a_pi_without_the_file_asks_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "vcgencmd"
    put(tmp_path, "bin/vcgencmd", "#!/bin/sh\necho throttled=0x50005\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    assert PiBoard(sys=tmp_path).power() == Power(True, True, True)


def test_a_board_that_cannot_tell_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    board = PiBoard(sys=tmp_path, proc=tmp_path)
    assert (board.power(), board.temperature_c(), board.serial()) == (Power(), None, None)


def test_the_hottest_plausible_zone_counts(tmp_path: Path) -> None:
    for number, text in enumerate(("45000", "61500", "-256000", "nonsense")):
        put(tmp_path, f"class/thermal/thermal_zone{number}/temp", text)
    assert PiBoard(sys=tmp_path).temperature_c() == 61.5


def test_a_jetson_is_throttled_while_its_over_current_counter_grows(tmp_path: Path) -> None:
    put(tmp_path, "class/hwmon/hwmon3/oc1_event_cnt", "0\n")
    board = JetsonBoard(sys=tmp_path)
    assert board.power() == Power(None, False, False)
    put(tmp_path, "class/hwmon/hwmon3/oc1_event_cnt", "2\n")
    assert board.power() == Power(None, True, True)
    assert board.power() == Power(None, False, True)


@pytest.mark.parametrize(
    ("model", "board"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "pi"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "jetson"),
        ("Some PC\0", "simulated"),
        (None, "simulated"),
    ],
)
def test_the_board_is_known_by_its_device_tree(tmp_path: Path, model: str | None, board: str) -> None:
    if model is not None:
        put(tmp_path, "device-tree/model", model)
    assert detect(proc=tmp_path) == board


@pytest.mark.parametrize(
    ("profile", "kind"), [("pi5", PiBoard), ("jetson-orin", JetsonBoard), ("simulated", SimulatedBoard)]
)
def test_a_profile_name_chooses_its_family(profile: str, kind: type) -> None:
    assert isinstance(build(profile), kind)


def test_pressing_a_button_that_is_not_there_says_so() -> None:
    with pytest.raises(Rejected, match="no call box"):
        SimulatedBoard().press()


def test_a_board_without_a_pin_library_says_which_one_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpio")
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with pytest.raises(SetupError, match="python3-lgpio"):
        PiBoard().lamp(5)
