"""Workers and the files beneath everything."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.files import write_atomic
from prahari_agent.lean import give_back, one_heap, without
from prahari_agent.pulse import Pulses
from prahari_agent.state import State
from prahari_agent.worker import Stepper, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test", Pulses(), limit=2)
    yield worker
    worker.stop()


def test_tasks_run_in_order_and_one_that_fails_does_not_end_the_worker(
    worker: Worker, eventually: Callable[..., Any]
) -> None:
    done: list[int] = []
    worker.put(lambda: done.append(1))
    worker.put(lambda: 1 // 0)
    worker.start()
    eventually(lambda: done == [1])
    worker.put(lambda: done.append(2))
    eventually(lambda: done == [1, 2])


def test_what_does_not_fit_is_dropped_and_counted_and_never_blocks(worker: Worker) -> None:
    hold = threading.Event()
    for _ in range(5):
        worker.put(hold.wait)
    assert worker.dropped == 3
    hold.set()
    worker.start()


def test_a_step_that_fails_is_followed_by_the_next_and_each_is_told_to_the_watchdog(
    eventually: Callable[..., Any],
) -> None:
    now_s, steps = [0.0], []
    pulses = Pulses(now_s=lambda: now_s[0])

    def step() -> float:
        steps.append(now_s[0])
        if len(steps) == 2:
            raise OSError("the card takes nothing")
        return 600.0

    stepper = Stepper("test", pulses, step, silent_s=30)
    stepper.wake()
    stepper.start()
    for wanted in (2, 3, 4):
        eventually(lambda wanted=wanted: len(steps) >= wanted)
        now_s[0] += 20
        assert pulses.silent() == [], "each step beats"
        stepper.wake()
    eventually(lambda: len(steps) == 5)
    now_s[0] += 40
    assert pulses.silent() == ["test"], "one that takes no step is missed"
    stepper.stop()
    now_s[0] += 1000
    assert pulses.silent() == [], "what was stopped is missed by nobody"


def test_a_stepper_stops_while_it_waits_within_a_step_and_also_before_it_was_started(
    eventually: Callable[..., Any],
) -> None:
    heard = []

    def step() -> float:
        heard.append(stepper.stops_within(60))
        return 0.0

    stepper = Stepper("test", Pulses(), step)
    stepper.start()
    stepper.stop()
    eventually(lambda: heard == [True] and stepper.stopping)
    Stepper("never", Pulses(), step).stop()


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    write_atomic(tmp_path / "key", b"old")
    write_atomic(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"new"
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "key", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_state_that_cannot_be_written_holds_in_memory(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    state = State(tmp_path)
    state.put(conn=7)
    assert state.get("conn") == 7


def test_a_hidden_module_is_there_again_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rarely_used.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with without("rarely_used"), pytest.raises(ImportError):
        importlib.import_module("rarely_used")
    assert importlib.import_module("rarely_used")
    with without("rarely_used"):
        assert importlib.import_module("rarely_used"), "what is loaded already stays"


def test_giving_memory_back_harms_nothing() -> None:
    one_heap()
    give_back()
