"""From the lines of a journal to intervals: what of a camera's time is footage, and why the rest is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from prahari_wire.recording import DAY_MS, MOST_RUNS, GapCause

TOLERANCE_MS = 3000
"""A hole this short between two segments is jitter of the network and of key frames, not a gap."""


class Piece(NamedTuple):
    """A segment as the timeline sees it. ``gone``: why its bytes are not there any more, or None."""

    start_ms: int
    end_ms: int
    gone: GapCause | None = None


class Run(NamedTuple):
    """An interval of Unix time; ``cause`` None: there is footage."""

    start_ms: int
    end_ms: int
    cause: GapCause | None


class Carry(NamedTuple):
    """What one day's lines leave to the next: where the known time ends, and what was said of what follows."""

    end_ms: int | None = None
    marks: tuple[dict[str, Any], ...] = ()
    boot: str | None = None


def runs_of(items: Iterable[Piece | dict[str, Any]], before: Carry) -> tuple[list[Run], Carry]:
    """Segments and marks in the order of the journal → intervals in the same order, merged, and what is left open."""
    runs: list[Run] = []
    end_ms, marks, boot = before.end_ms, list(before.marks), before.boot
    for item in items:
        if isinstance(item, dict):
            marks.append({**item, "crash": boot == item["boot"]} if "begin" in item else item)
            boot = item.get("boot", boot)
            continue
        if end_ms is not None and item.start_ms - end_ms > TOLERANCE_MS:
            for run in stretch(end_ms, item.start_ms, marks):
                _extend(runs, run)
            begin_ms = item.start_ms
        else:
            begin_ms = item.start_ms if end_ms is None else min(item.start_ms, end_ms)
            if end_ms is None:
                begin_ms = _first_gap(runs, marks, begin_ms)
        _extend(runs, Run(begin_ms, item.end_ms, item.gone))
        end_ms = item.end_ms
        marks.clear()
    return runs, Carry(end_ms, tuple(marks), boot)


def _first_gap(runs: list[Run], marks: Sequence[dict[str, Any]], start_ms: int) -> int:
    """Before the first segment there is nothing but what marks say: a camera that gave no picture at first."""
    told = [mark for mark in marks if "gap" in mark]
    if told and start_ms - int(told[0]["gap"]) > TOLERANCE_MS:
        for run in stretch(int(told[0]["gap"]), start_ms, told):
            _extend(runs, run)
    return start_ms


def stretch(start_ms: int, end_ms: int, marks: Sequence[dict[str, Any]]) -> Iterator[Run]:
    """A time without footage, split where a mark says that another cause begins. What nobody explains is a loss of signal."""
    at_ms, cause = start_ms, None
    for mark in marks:
        if "begin" in mark:
            cause = cause or (GapCause.FAULT if mark.get("crash") else GapCause.POWER)
            continue
        mark_ms, said = int(mark.get("gap", mark.get("end", 0))), GapCause(mark["cause"])
        if cause is not None and at_ms < mark_ms < end_ms:
            yield Run(at_ms, mark_ms, cause)
            at_ms = mark_ms
        cause = said
    yield Run(at_ms, end_ms, cause or GapCause.SIGNAL)


def _extend(runs: list[Run], run: Run) -> None:
    """Append ``run``; one that goes on with the same cause makes the last longer."""
    if runs and runs[-1].cause == run.cause and 0 <= run.start_ms - runs[-1].end_ms <= TOLERANCE_MS:
        runs[-1] = runs[-1]._replace(end_ms=max(run.end_ms, runs[-1].end_ms))
    elif run.end_ms > run.start_ms:
        runs.append(run)


def merged(runs: Iterable[Run]) -> list[Run]:
    """Intervals in order of time without overlap: footage beats any gap, a later word an earlier one."""
    spans: list[tuple[int, int]] = []
    gaps: list[Run] = []
    for run in runs:
        if run.cause is None:
            spans.append((run.start_ms, run.end_ms))
        else:
            gaps.append(run)
    joined: list[Run] = []
    for start_ms, end_ms in sorted(spans):
        if joined and start_ms - joined[-1].end_ms <= 0:
            joined[-1] = joined[-1]._replace(end_ms=max(end_ms, joined[-1].end_ms))
        else:
            joined.append(Run(start_ms, end_ms, None))
    found = list(joined)
    for gap in reversed(gaps):
        for start_ms, end_ms in _without(gap, found):
            found.append(Run(start_ms, end_ms, gap.cause))
        found.sort()
    return found


def _without(gap: Run, taken: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """The parts of ``gap`` that none of ``taken`` (in order, disjoint) covers."""
    at_ms = gap.start_ms
    for run in taken:
        if run.end_ms <= at_ms:
            continue
        if run.start_ms >= gap.end_ms:
            break
        if run.start_ms > at_ms:
            yield at_ms, run.start_ms
        at_ms = max(at_ms, run.end_ms)
    if at_ms < gap.end_ms:
        yield at_ms, gap.end_ms


def of_day(runs: Iterable[Run], midnight_ms: int) -> list[Run]:
    """The parts within a day, in milliseconds since its midnight; at most MOST_RUNS spans and as many gaps, the longest ones."""
    found = []
    for run in runs:
        start_ms, end_ms = max(run.start_ms, midnight_ms), min(run.end_ms, midnight_ms + DAY_MS)
        if start_ms < end_ms:
            found.append(Run(start_ms - midnight_ms, end_ms - midnight_ms, run.cause))
    for is_gap in (False, True):
        same = sorted(
            (run for run in found if (run.cause is not None) is is_gap),
            key=lambda run: run.start_ms - run.end_ms,
        )
        short = set(same[MOST_RUNS:])
        found = [run for run in found if run not in short]
    return found
