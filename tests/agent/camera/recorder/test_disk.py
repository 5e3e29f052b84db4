"""A disk that is full or broken: recording degrades to the newest footage, says so, and goes on by itself."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prahari_agent.camera.recorder.index import Interval
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_wire.recording import GapCause

from tests.agent.camera.recorder.conftest import NOON_S, Tape, frames_in

Draw = Callable[..., Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=False).returncode
    ):
        pytest.skip("a small file system can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def shelf_at(folder: Path, **more: int) -> Shelf:
    how = {"retention_days": 15, "max_bytes": 10**9, **more}
    shelf = Shelf(folder, device="pune-cam-01", camera="cam1", **how)
    shelf.refresh()
    return shelf


def fill(path: Path) -> None:
    """Take all that the file system has left."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_a_full_disk_is_said_and_recording_goes_on_when_there_is_room(
    small_disk: Path, draw: Draw, eventually: Callable[..., object]
):
    video, ballast = draw(seconds=2, width=640, height=480), small_disk / "ballast"
    tape = Tape(small_disk / "footage", segment_s=1)
    tape.feed(video)
    eventually(lambda: len(tape.segments()) >= 2)
    fill(ballast)
    tape.feed(video)
    eventually(lambda: "disk takes no footage" in (tape.recorder.facts()["problem"] or ""))
    assert {"type": "footage"} in tape.told
    eventually(tape.recorder._queue.empty)
    tape.recorder._thread.join(0.2)  # the last batch is worked off, too, before the clock goes on
    ballast.unlink()
    tape.mono_s += 10
    tape.feed(video)
    eventually(lambda: tape.recorder.facts()["problem"] is None)
    tape.stop()
    assert all(frames_in(path) > 0 for path in tape.files())
    assert len(tape.files()) == len(tape.segments())
    assert GapCause.DISK in {run.cause for run in shelf_at(tape.folder).runs()[0]}


def test_the_ring_leaves_a_reserve_on_the_disk_and_keeps_the_newest(small_disk: Path, draw: Draw):
    video = draw(seconds=10, width=640, height=480)
    tape = Tape(small_disk / "footage", segment_s=1)
    for _ in range(4):
        tape.feed(video)
        shelf = shelf_at(tape.folder)
        shelf.trim(None)
    tape.stop()
    shelf = shelf_at(tape.folder)
    shelf.trim(None)
    newest = tape.segments()[-1]
    assert (tape.folder / "2026-11-22" / f"{newest.position:05d}.mp4").exists()
    usage = os.statvfs(small_disk)
    assert usage.f_bavail * usage.f_frsize >= 0.04 * usage.f_blocks * usage.f_frsize
    assert shelf.trouble is None


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, draw: Draw, eventually: Callable[..., object]
):
    (tmp_path / "footage").write_text("a file stands where the folder should be")
    tape = Tape(tmp_path / "footage")
    tape.feed(draw())
    eventually(lambda: "disk takes no footage" in (tape.recorder.facts()["problem"] or ""))
    tape.stop()


def test_what_is_held_stays_although_the_ring_is_too_small_for_it(tmp_path: Path, draw: Draw):
    tape = Tape(tmp_path / "footage", segment_s=1)
    tape.feed(draw(seconds=20))
    tape.stop()
    first, second, *rest = tape.segments()
    shelf = shelf_at(tape.folder, max_bytes=3 * first.size)
    held = Interval(int(NOON_S * 1000), second.end_ms)
    shelf.hold("01ARZ3NDEKTSV4RRFFQ69G5FAV", held)
    shelf.trim(None)
    left = {int(path.stem) for path in tape.files()}
    assert {1, 2, rest[-1].position, rest[-1].position - 1} <= left
    assert len(left) < 8
    again = shelf_at(tape.folder, max_bytes=3 * first.size)
    again.trim(None)
    assert {1, 2} <= {int(path.stem) for path in tape.files()}, "a hold survives a restart"
    again.release("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    again.trim(None)
    assert 1 not in {int(path.stem) for path in tape.files()}


def test_holds_that_fill_the_place_are_said_and_the_newest_is_kept(tmp_path: Path, draw: Draw):
    tape = Tape(tmp_path / "footage", segment_s=1)
    tape.feed(draw(seconds=8))
    tape.stop()
    shelf = shelf_at(tape.folder, max_bytes=1)
    shelf.hold("01ARZ3NDEKTSV4RRFFQ69G5FAV", Interval(0, 2**50))
    assert shelf.trim(None) == 0
    assert "kept for requests" in (shelf.trouble or "")
    assert len(tape.files()) == 8


def test_age_takes_the_old_and_only_by_a_clock_that_is_trusted(tmp_path: Path, draw: Draw):
    tape = Tape(tmp_path / "footage", segment_s=1)
    tape.feed(draw(seconds=8))
    tape.stop()
    shelf = shelf_at(tape.folder, retention_days=1)
    late_ms = int(NOON_S * 1000) + 86_400_000 + 4_500
    assert shelf.trim(None) == 0
    assert shelf.trim(late_ms) == 4
    assert [run.cause for run in shelf.runs()[0]] == [GapCause.OVERWRITTEN, None]
