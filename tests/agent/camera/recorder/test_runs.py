"""Intervals from the lines of a journal: disjoint, in order, each gap with its cause."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_agent.camera.recorder.runs import Carry, Piece, Run, merged, of_day, runs_of, stretch
from prahari_wire.recording import DAY_MS, MOST_RUNS, GapCause

from tests.form import examples

S = 1000
BEGIN1, BEGIN2 = {"begin": 0, "boot": "one"}, {"begin": 0, "boot": "two"}


def piece(start_s: float, end_s: float, gone: GapCause | None = None) -> Piece:
    return Piece(int(start_s * S), int(end_s * S), gone)


def gap(at_s: float, cause: str) -> dict[str, Any]:
    return {"gap": int(at_s * S), "cause": cause}


def said(*items: Piece | dict[str, Any]) -> list[tuple[float, float, str | None]]:
    runs, _ = runs_of(items, Carry())
    return [(run.start_ms / S, run.end_ms / S, run.cause and str(run.cause)) for run in merged(runs)]


@pytest.mark.parametrize(
    ("items", "runs"),
    [
        pytest.param([BEGIN1, piece(1, 10), piece(10, 20)], [(1, 20, None)], id="one interval"),
        pytest.param([piece(1, 10), piece(12, 20)], [(1, 20, None)], id="a short hole is none"),
        pytest.param([piece(1, 10), piece(60, 70)], [(1, 10, None), (10, 60, "signal"), (60, 70, None)], id="nobody says why"),
        pytest.param(
            [BEGIN1, piece(1, 10), BEGIN2, piece(60, 70)],
            [(1, 10, None), (10, 60, "power"), (60, 70, None)],
            id="another boot: power",
        ),
        pytest.param(
            [BEGIN1, piece(1, 10), BEGIN1, piece(60, 70)],
            [(1, 10, None), (10, 60, "fault"), (60, 70, None)],
            id="the same boot: the recorder failed",
        ),
        pytest.param(
            [BEGIN1, piece(1, 10), {"end": 10 * S, "cause": "maintenance"}, BEGIN2, piece(60, 70)],
            [(1, 10, None), (10, 60, "maintenance"), (60, 70, None)],
            id="stopped in good order",
        ),
        pytest.param(
            [BEGIN1, piece(1, 10), gap(15, "signal"), piece(60, 70)],
            [(1, 10, None), (10, 60, "signal"), (60, 70, None)],
            id="a mark counts from where the footage ended",
        ),
        pytest.param(
            [BEGIN1, piece(1, 10), BEGIN2, gap(40, "signal"), piece(60, 70)],
            [(1, 10, None), (10, 40, "power"), (40, 60, "signal"), (60, 70, None)],
            id="power, then signal",
        ),
        pytest.param(
            [piece(1, 10), gap(10, "disk"), piece(60, 70)],
            [(1, 10, None), (10, 60, "disk"), (60, 70, None)],
            id="disk",
        ),
        pytest.param(
            [piece(1, 10, GapCause.OVERWRITTEN), piece(10, 20, GapCause.OVERWRITTEN), piece(20, 30)],
            [(1, 20, "overwritten"), (20, 30, None)],
            id="overwritten",
        ),
        pytest.param([gap(1, "signal"), piece(60, 70)], [(1, 60, "signal"), (60, 70, None)], id="no picture at first"),
        pytest.param(
            [piece(100, 110), piece(50, 60), piece(60, 70)], [(50, 70, None), (100, 110, None)], id="a clock set back"
        ),
    ],
)  # fmt: skip
def test_a_journal_tells_which_time_is_footage_and_why_the_rest_is_not(items: Any, runs: Any):
    assert said(*items) == runs


def test_what_a_day_leaves_open_goes_on_in_the_next():
    first, carry = runs_of([piece(1, 10), gap(11, "signal")], Carry())
    second, _ = runs_of([piece(60, 70)], carry)
    assert [run.cause for run in [*first, *second]] == [None, GapCause.SIGNAL, None]


def test_a_stretch_without_any_mark_is_a_loss_of_signal():
    assert list(stretch(1, 5, [])) == [Run(1, 5, GapCause.SIGNAL)]


def test_a_day_takes_its_part_of_what_crosses_midnight():
    runs = [Run(DAY_MS - 5000, DAY_MS + 5000, None)]
    assert of_day(runs, 0) == [Run(DAY_MS - 5000, DAY_MS, None)]
    assert of_day(runs, DAY_MS) == [Run(0, 5000, None)]


def test_a_day_of_too_many_gaps_is_told_with_its_longest():
    runs = []
    for number in range(1000):
        runs += [Run(number * 10_000, number * 10_000 + 4000 + number, None)]
        runs += [Run(number * 10_000 + 4000 + number, (number + 1) * 10_000, GapCause.SIGNAL)]
    found = of_day(runs, 0)
    spans = [run for run in found if run.cause is None]
    assert len(spans) == MOST_RUNS
    assert min(run.end_ms - run.start_ms for run in spans) == 4400


times = st.integers(0, 200)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda a, n: Piece(a * S, (a + n) * S), times, st.integers(1, 20)),
            st.builds(
                lambda a, c: {"gap": a * S, "cause": c}, times, st.sampled_from(["signal", "disk", "clock"])
            ),
            st.sampled_from([BEGIN1, BEGIN2]),
        ),
        max_size=30,
    )
)
def test_whatever_the_journal_says_runs_are_disjoint_and_no_footage_is_lost_or_invented(items: Any):
    found, _ = runs_of(items, Carry())
    runs = merged(found)
    assert all(run.start_ms < run.end_ms for run in runs)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(runs))
    covered = {ms for run in runs if run.cause is None for ms in range(run.start_ms, run.end_ms, S)}
    wanted = {ms for one in items if isinstance(one, Piece) for ms in range(one.start_ms, one.end_ms, S)}
    assert wanted <= covered
