"""What a person types and reads: settings, check, press, the one-home rule."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prahari_agent import settings as box_settings
from prahari_agent.control import Control, ask
from prahari_agent.diagnose import _from_health, examine
from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.settings import load, open_home, secret
from typer.testing import CliRunner

from prahari_agent.commandline import typer_app  # isort: skip

COMMANDS = ["run", "check", "press", "lamp", "clip", "enrol", "version"]


@pytest.fixture(autouse=True)
def no_boot_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_settings, "BOOT_FOLDERS", (tmp_path / "no-boot",))


def agent(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prahari_agent.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_settings_are_optional(tmp_path: Path) -> None:
    assert load(tmp_path).board == "auto"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('bord = "pi"', "bord: Extra inputs are not permitted", id="typo"),
        pytest.param('board = "toaster"', "board: Input should be 'auto', 'pi'", id="value"),
        pytest.param("outbox_max_mb = -1", "outbox_max_mb: Input should be greater than 0", id="range"),
        pytest.param('mqtt = "no port"', "mqtt: String should match pattern", id="pattern"),
        pytest.param("board = pi", "not TOML", id="not-toml"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_file_field_and_what_was_expected(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(SetupError, match=r"agent\.toml") as caught:
        load(tmp_path)
    assert says in str(caught.value)


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.toml").write_text('board = "pi"')
    monkeypatch.setenv("PRAHARI_AGENT_BOARD", "jetson")
    assert load(tmp_path).board == "jetson"


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be written"):
        open_home(tmp_path / "file" / "home")


def test_secrets_are_read_by_peripheral(tmp_path: Path) -> None:
    assert secret(tmp_path, "cam1") is None
    (tmp_path / "secrets.toml").write_text('[cam1]\nuser = "u"\npassword = "p"\n[cam2]\nuser = "u"\n')
    assert secret(tmp_path, "cam1") == ("u", "p")
    assert secret(tmp_path, "cam9") is None
    with pytest.raises(SetupError, match=r"\[cam2\] needs user and password"):
        secret(tmp_path, "cam2")
    (tmp_path / "secrets.toml").write_text("password = hunter2")
    with pytest.raises(SetupError) as caught:
        secret(tmp_path, "cam1")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / ("long" * 40)
    home.mkdir()

    def refuse(_request: object) -> dict[str, Any]:
        raise Rejected("not today")

    control = Control(
        home, {"status": lambda _r: {"n": 1}, "echo": lambda r: {"said": r["word"]}, "refuse": refuse}
    )
    control.start()
    yield home
    control.stop()


def test_the_control_socket_answers_also_below_a_long_path(control: Path) -> None:
    assert ask(control, "status") == {"n": 1}
    assert ask(control, "echo", word="क" * 1000) == {"said": "क" * 1000}
    with pytest.raises(Rejected, match="not today"):
        ask(control, "refuse")
    with pytest.raises(Rejected, match="not understood"):
        ask(control, "nothing")
    assert (control / "agent.sock").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", [b"", b"\n", b"{\n", b"[1]\n", b'{"do":[]}\n', b"x" * 100_000])
def test_nonsense_on_the_control_socket_harms_nothing(control: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        here = Path.cwd()
        os.chdir(control)
        try:
            raw.connect("agent.sock")
        finally:
            os.chdir(here)
        try:
            raw.sendall(line)
            raw.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    assert ask(control, "status") == {"n": 1}


def test_without_an_agent_a_press_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachable, match="prahari-agent run --home"):
        ask(tmp_path, "press")
    done = agent("press", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "prahari-agent run" in done.stderr


def test_check_tells_a_new_box_what_it_needs(tmp_path: Path) -> None:
    done = agent("check", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "FAIL  identity" in done.stdout
    assert "prahari-provision seed" in done.stdout
    assert "need attention" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_check_of_a_mistyped_home_makes_none(tmp_path: Path) -> None:
    done = agent("check", "--home", str(tmp_path / "hmoe"))
    assert done.returncode == 1
    assert "There is no home folder" in done.stdout
    assert not (tmp_path / "hmoe").exists()


@pytest.mark.parametrize(
    ("state", "line", "status"),
    [("ok", "ok  ", 0), ("warn", "WARN", 0), ("unknown", "WARN", 0), ("fail", "FAIL", 1)],
)
def test_a_warning_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, line: str, status: int
) -> None:
    finding = _from_health({"name": "disk", "state": state, "value": 81.0, "text": "% used"})
    monkeypatch.setattr("prahari_agent.diagnose.examine", lambda _home: [finding])
    done = CliRunner().invoke(typer_app, ["check", "--home", str(tmp_path)])
    assert done.stdout.startswith(f"{line}  disk         81 % used")
    assert done.exit_code == status


def test_check_of_a_home_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("bord = 1")
    [finding] = examine(tmp_path)
    assert not finding.good
    assert "bord" in finding.text


def test_check_says_a_waiting_seed(tmp_path: Path, seed: Callable[..., bytes]) -> None:
    (tmp_path / "prahari-seed.json").write_bytes(seed())
    findings = {finding.what: finding for finding in examine(tmp_path)}
    assert "a seed for test-ecb-01 waits" in findings["identity"].text


def test_secrets_that_others_may_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text("")
    (tmp_path / "secrets.toml").chmod(0o644)
    findings = {finding.what: finding for finding in examine(tmp_path)}
    assert "chmod 600" in findings["secrets"].text


def test_every_command_explains_itself() -> None:
    runner = CliRunner()
    for command in COMMANDS:
        shown = runner.invoke(typer_app, [command, "--help"])
        assert shown.exit_code == 0, command
    assert {
        command.callback.__name__ for command in typer_app.registered_commands if command.callback
    } == set(COMMANDS)
    assert runner.invoke(typer_app, ["version"]).stdout.strip()


def test_every_command_and_setting_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()
    for command in COMMANDS:
        assert f"prahari-agent {command}" in page
    for name in box_settings.Settings.model_fields:
        assert f"`{name}`" in page


def test_running_does_not_load_the_command_line_library() -> None:
    code = (
        "import sys; sys.argv = ['prahari-agent', 'run', '--home', '/proc/nowhere']\n"
        "from prahari_agent.cli import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n    print(end.code)\n"
        "print(sorted({'typer', 'rich', 'numpy', 'PIL', 'cv2', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split("\n")[:2] == ["2", "[]"], done.stderr
    assert "cannot be written" in done.stderr
