"""Power cuts: at most the open segment is lost, what is lost is said, and the chain goes on unbroken."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prahari_agent.camera.recorder.daybook import Daybook, open_path, segment_path
from prahari_agent.camera.recorder.journal import JOURNAL
from prahari_agent.camera.recorder.runs import Carry
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_wire.evidence import genesis, link
from prahari_wire.recording import GapCause

from tests.agent.camera.recorder.conftest import NOON_S, Tape, frames_in

MakeTape = Callable[..., Tape]
Draw = Callable[..., Path]
DAY = "2026-11-22"

ENDLESS = """
import os, sys, time
from pathlib import Path
from tests.agent.camera.recorder.conftest import Tape
for line in sys.stdin:  # each is a recorder, a process of its own that has been loaded already
    at_s, boot = line.split()
    if process := os.fork():
        os.waitpid(process, 0)
        print("over", flush=True)
        continue
    tape = Tape(Path(sys.argv[1]), segment_s=1, at_s=float(at_s), boot=boot)
    print(os.getpid(), flush=True)
    while True:
        tape.feed(Path(sys.argv[2]), each=lambda _number: time.sleep(0.001))
"""


def check_whole(tape: Tape) -> None:
    """Every journaled segment lies there with its hash, decodes, and the chain leads through all of them."""
    found, day = "", None
    for line, segment in zip([one for one in tape.lines() if "segment" in one], tape.segments(), strict=True):
        path = next(path for path in tape.files() if path.name == f"{segment.position:05d}.mp4")
        day = path.parent.name
        found = link(found or genesis("pune-cam-01", "cam1", day), segment)
        assert line["hash"] == found
        assert hashlib.sha256(path.read_bytes()).hexdigest() == segment.sha256
        assert frames_in(path) > 0
    assert len(tape.files()) == len(tape.segments())
    assert list(tape.folder.glob("*/.*.open")) == []


def test_a_recorder_killed_at_any_moment_loses_nothing_but_what_was_open(
    tape: MakeTape, draw: Draw, tmp_path: Path
):
    video, folder, dice = draw(seconds=4, gop=5), tmp_path / "footage", random.Random(7)
    begin = [sys.executable, "-c", ENDLESS, folder, video]
    with subprocess.Popen(begin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as recorders:
        assert recorders.stdin is not None
        assert recorders.stdout is not None
        for number in range(6):
            print(NOON_S + 300 * number, f"boot-{number // 2}", file=recorders.stdin, flush=True)
            process = int(recorders.stdout.readline())
            time.sleep(dice.uniform(0.02, 0.5))
            os.kill(process, signal.SIGKILL)
            assert recorders.stdout.readline() == "over\n"
    last = tape(at_s=NOON_S + 4000, boot="boot-9")
    last.feed(video)
    last.stop()
    check_whole(last)
    assert len(last.segments()) > 6
    shelf = Shelf(folder, device="pune-cam-01", camera="cam1", retention_days=15, max_bytes=10**9)
    shelf.refresh()
    causes = {run.cause for run in shelf.runs()[0]}
    assert {None, GapCause.POWER, GapCause.FAULT} <= causes


@pytest.fixture
def after_two(tape: MakeTape, draw: Draw) -> Tape:
    """The journal and files of a recorder after two segments of two seconds."""
    one = tape()
    one.feed(draw(seconds=4))
    one.stop()
    return one


def test_a_journal_torn_at_any_byte_of_its_last_lines_goes_on_after_the_last_whole_one(
    after_two: Tape, tmp_path: Path
):
    journal = after_two.folder / DAY / JOURNAL
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin = sum(map(len, lines[:-2]))
    ends = {begin + len(lines[-2]) + step for step in (-1, 0, 1)}
    for cut in sorted({*range(begin, len(whole), 13), *ends, len(whole) - 1}):
        folder = tmp_path / "torn"
        shutil.copytree(after_two.folder, folder)
        (folder / DAY / JOURNAL).write_bytes(whole[:cut])
        kept = 2 if cut >= begin + len(lines[-2]) else 1
        if kept == 1:  # the line comes before the name
            segment_path(folder, DAY, 2).rename(open_path(folder, DAY, 2))
        book = Daybook(folder, device="pune-cam-01", camera="cam1")
        book.recover()
        assert book.next_position(DAY) == kept + 1
        book.begin(int(NOON_S * 1000) + 60_000, "boot-2")
        assert [json.loads(line) for line in (folder / DAY / JOURNAL).read_bytes().splitlines()][-1][
            "boot"
        ] == "boot-2"
        assert len(list((folder / DAY).glob("*.mp4"))) == kept
        assert list((folder / DAY).glob(".*.open")) == []
        shutil.rmtree(folder)


def test_a_cut_between_the_line_and_the_name_gives_the_name_late(after_two: Tape):
    segment_path(after_two.folder, DAY, 2).rename(open_path(after_two.folder, DAY, 2))
    Daybook(after_two.folder, device="pune-cam-01", camera="cam1").recover()
    check_whole(after_two)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99, 1.0])
def test_an_open_segment_cut_anywhere_is_removed_and_the_gap_is_of_the_power(
    after_two: Tape, tape: MakeTape, draw: Draw, share: float
):
    data = segment_path(after_two.folder, DAY, 2).read_bytes()
    open_path(after_two.folder, DAY, 3).write_bytes(data[: int(len(data) * share)])
    lines = (after_two.folder / DAY / JOURNAL).read_bytes().splitlines(keepends=True)
    (after_two.folder / DAY / JOURNAL).write_bytes(b"".join(lines[:-1]))  # no end was written
    again = tape(at_s=NOON_S + 120, boot="boot-2")
    again.feed(draw(seconds=4))
    again.stop()
    check_whole(again)
    shelf = Shelf(again.folder, device="pune-cam-01", camera="cam1", retention_days=15, max_bytes=10**9)
    shelf.refresh()
    runs, carry = shelf.runs()
    assert [run.cause for run in runs] == [None, GapCause.POWER, None]
    assert runs[1].end_ms - runs[1].start_ms == pytest.approx(116_000, abs=100)
    assert isinstance(carry, Carry)


def test_a_segment_whose_file_the_disk_lost_is_no_footage_any_more(
    after_two: Tape, tape: MakeTape, draw: Draw
):
    again = tape(at_s=NOON_S + 4)
    again.feed(draw(seconds=4))
    again.stop()
    segment_path(again.folder, DAY, 2).unlink()
    shelf = Shelf(again.folder, device="pune-cam-01", camera="cam1", retention_days=15, max_bytes=10**9)
    shelf.refresh()
    assert [run.cause for run in shelf.runs()[0]] == [None, GapCause.DISK, None]
