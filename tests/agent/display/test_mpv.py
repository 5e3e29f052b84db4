"""mpv on a virtual screen whose pixels the test reads."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.display.display import Display
from prahari_agent.display.mpv import MpvPlayer
from prahari_agent.display.renderer import Frame, render
from prahari_agent.errors import ConfigRefused, SourceError
from prahari_agent.main import _display
from prahari_agent.settings import Settings
from prahari_wire.display import Player, TextContent

pytestmark = pytest.mark.needs("mpv", "Xvfb")
WIDTH, HEIGHT = 320, 160
RED, GREEN = (255, 0, 0), (0, 255, 0)


class Screen:
    """An Xvfb whose frame buffer is a file in the format of xwd."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(theirs),
            "-screen",
            "0",
            f"{WIDTH}x{HEIGHT}x24",
            "-fbdir",
            str(folder),
        ]
        command += ["-nolisten", "tcp"]
        self._file = folder / "Xvfb_screen0"
        self._process = subprocess.Popen(command, pass_fds=[theirs], stderr=subprocess.DEVNULL)
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            self.display = f":{pipe.readline().strip()}"

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        data = self._file.read_bytes()
        header = struct.unpack(">25I", data[:100])
        row = header[12]
        at = header[0] + header[19] * 12 + y * row + x * 4
        blue, green, red = data[at : at + 3]
        return red, green, blue

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    screen = Screen(tmp_path)
    monkeypatch.setenv("DISPLAY", screen.display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield screen
    screen.close()


@pytest.fixture
def player(screen: Screen, bench: Any) -> Iterator[MpvPlayer]:
    player = MpvPlayer(bench.home, lambda: None, vo="x11")
    yield player
    player.close()


def wait_for(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def plain(colour: str) -> Frame:
    return render(
        TextContent(text="·", colour=colour, background=colour), WIDTH, HEIGHT, lambda sha256, size: Path()
    )


def shows(player: MpvPlayer, frame: Frame) -> bool:
    try:
        player.show(frame)
    except SourceError:
        return False
    return True


def test_each_frame_reaches_the_glass(player: MpvPlayer, screen: Screen) -> None:
    wait_for(lambda: shows(player, plain("#FF0000")))
    wait_for(lambda: screen.pixel(10, 10) == RED)
    player.show(plain("#00FF00"))
    wait_for(lambda: screen.pixel(10, 10) == GREEN)
    assert player.fault() is None


def test_a_killed_mpv_is_started_again(player: MpvPlayer, screen: Screen) -> None:
    wait_for(lambda: shows(player, plain("#FF0000")))
    first = player.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(player.fault)
    assert "started again" in (player.fault() or "")
    wait_for(lambda: player.pid != first and shows(player, plain("#00FF00")))
    wait_for(lambda: screen.pixel(10, 10) == GREEN)
    assert player.fault() is None


def test_close_leaves_no_process(screen: Screen, bench: Any) -> None:
    player = MpvPlayer(bench.home, lambda: None, vo="x11")
    wait_for(lambda: shows(player, plain("#FF0000")))
    pid = player.pid
    player.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_display_raises_a_fault_while_mpv_is_away_and_shows_again(screen: Screen, bench: Any) -> None:
    display = bench.display(mpv_vo="x11")
    red = TextContent(text="·", colour="#FF0000", background="#FF0000")
    display.configure(bench.playlist(red, width=WIDTH, height=HEIGHT, player=Player.MPV))
    display.start()
    wait_for(lambda: bench.of("display.shown"))
    wait_for(lambda: screen.pixel(10, 10) == RED)
    os.kill(display._player.pid, signal.SIGKILL)
    wait_for(
        lambda: (
            [fault.active for fault in bench.of("display.fault") if fault.fault == "player"][-2:]
            == [True, False]
        )
    )
    wait_for(lambda: screen.pixel(10, 10) == RED)
    assert len(bench.of("display.shown")) == 1
    display.stop()


def test_the_boxs_settings_choose_mpvs_video_output(bench: Any) -> None:
    display = _display("sign1", bench.surroundings(), Settings(display_vo="null"))
    assert isinstance(display, Display)
    display.configure(bench.playlist("One", player=Player.MPV))
    try:
        assert "--vo=null" in display._player._command  # type: ignore[union-attr]
    finally:
        display.stop()


def test_a_box_without_mpv_refuses_a_configuration_that_needs_it(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(bench.home))
    with pytest.raises(ConfigRefused, match="mpv is not installed"):
        bench.display().configure(bench.playlist("One", player=Player.MPV))
