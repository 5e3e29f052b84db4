"""From what happened to seconds: a pure function of one device and one span of time.

At each instant the first of these that holds:

    out           it is not counted: not yet online for the first time, registered alone, or retired
    maintenance   its service is ``maintenance``, or a maintenance window covers it
    up            it was online, and the hub was not blind
    planned       a planned power cut covers it
    unknown       the hub was blind or had just started: nobody can tell
    down          it was offline

A suspicion is judged by how it ended: if the device turned out to be offline it was down from the first missed heartbeat, if it came
back it was up, and if the hub went blind over it nobody can tell. Time is counted in whole seconds, so that the sum is exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

Span = tuple[datetime, datetime]
OUT = ("registered", "retired")
KINDS = ("up_s", "down_s", "unknown_s", "planned_s", "maintenance_s")


class Share(NamedTuple):
    """Seconds. What is missing to the whole span is the time in which the device is not counted."""

    up_s: int = 0
    down_s: int = 0
    unknown_s: int = 0
    planned_s: int = 0
    maintenance_s: int = 0

    @property
    def counted_s(self) -> int:
        return sum(self)

    @property
    def ratio(self) -> float | None:
        """Up of up and down, 0 to 1: what is unknown, planned or maintenance counts for nobody. None if neither was seen."""
        known_s = self.up_s + self.down_s
        return self.up_s / known_s if known_s else None

    def plus(self, other: Share) -> Share:
        return Share(*(a + b for a, b in zip(self, other, strict=True)))


class Step(NamedTuple):
    """A change at ``at``; of presence (online, suspect, offline, unknown) or of service."""

    at: datetime
    before: str
    after: str


@dataclass(frozen=True)
class Past:
    """What is known of one device: every step from the span's start on, in order, also beyond its end; and how it is after them.

    ``counted_from``: when it was first online, None if never.
    """

    presence_now: str
    service_now: str
    counted_from: datetime | None
    presence: Sequence[Step] = ()
    service: Sequence[Step] = ()


@dataclass(frozen=True)
class Around:
    """What the hub and people did: when it was blind for the device, and the windows over it. Spans may overlap."""

    blind: Sequence[Span] = ()
    planned: Sequence[Span] = ()
    maintenance: Sequence[Span] = field(default=())


def share(span: Span, past: Past, around: Around) -> Share:
    """Seconds of ``span`` by kind."""
    length = _second(span[1], span)
    online = _levels(span, _settled(past.presence), past.presence_now)
    service = _levels(span, past.service, past.service_now)
    counted = length if past.counted_from is None else _second(past.counted_from, span)
    blind, planned, maintenance = (
        _clipped(span, each) for each in (around.blind, around.planned, around.maintenance)
    )
    cuts = {0, length, counted, *(at for at, _ in online), *(at for at, _ in service)}
    cuts.update(edge for spans in (blind, planned, maintenance) for both in spans for edge in both)
    edges = sorted(cuts)
    seconds = dict.fromkeys((*KINDS, "out"), 0)
    for begin, end in pairwise(edges):
        kind = _kind(
            out=begin < counted or _level(service, begin) in OUT,
            maintenance=_level(service, begin) == "maintenance" or _within(maintenance, begin),
            presence="unknown" if _within(blind, begin) else _level(online, begin),
            planned=_within(planned, begin),
        )
        seconds[kind] += end - begin
    return Share(*(seconds[kind] for kind in KINDS))


def in_service(past: Past, at: datetime) -> bool:
    """Whether the device is counted at that instant."""
    before = [step.after for step in past.service if step.at <= at]
    service = before[-1] if before else past.service[0].before if past.service else past.service_now
    began = past.counted_from is not None and past.counted_from <= at
    return began and service not in OUT


def _kind(*, out: bool, maintenance: bool, presence: str, planned: bool) -> str:
    if out:
        return "out"
    if maintenance:
        return "maintenance_s"
    if presence in ("online", "suspect"):
        return "up_s"
    if planned:
        return "planned_s"
    return "down_s" if presence == "offline" else "unknown_s"


def _settled(steps: Sequence[Step]) -> list[Step]:
    """Suspicions replaced by what they turned out to be."""
    found: list[Step] = []
    follows = ""
    for step in reversed(steps):
        after = follows if step.after == "suspect" and follows else step.after
        found.append(step._replace(before=after if step.before == "suspect" else step.before, after=after))
        follows = step.after if step.after != "suspect" else follows
    return found[::-1]


def _levels(span: Span, steps: Sequence[Step], now: str) -> list[tuple[int, str]]:
    """[(second, state from then on)], beginning with second 0."""
    found = [(0, steps[0].before if steps else now)]
    found += [(_second(step.at, span), step.after) for step in steps if step.at < span[1]]
    return found


def _level(levels: Sequence[tuple[int, str]], second: int) -> str:
    return levels[bisect_right(levels, second, key=lambda level: level[0]) - 1][1]


def _clipped(span: Span, spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(_second(begin, span), _second(end, span)) for begin, end in spans if begin < end]


def _within(spans: Sequence[tuple[int, int]], second: int) -> bool:
    return any(begin <= second < end for begin, end in spans)


def _second(at: datetime, span: Span) -> int:
    """Whole seconds from the span's start, within it."""
    return int((min(max(at, span[0]), span[1]) - span[0]).total_seconds())
