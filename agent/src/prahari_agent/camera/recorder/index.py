"""The index of a day of footage, and the stretches of its chain that a transfer brings."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prahari_wire.evidence import Segment
from prahari_wire.recording import GapCause

from prahari_agent.camera.recorder.daybook import midnight_ms
from prahari_agent.camera.recorder.journal import Chain, Entry, Lost, Mark, Place, each_item
from prahari_agent.camera.recorder.runs import Piece

NEVER_MS = 2**62
"""After every time that can be meant."""
FRESH_MS = 75_000
"""Footage goes on if its last segment ended so lately: the longest segment and some. What ends so much after now has a wrong date."""


class Interval(NamedTuple):
    start_ms: int
    end_ms: int

    def meets(self, start_ms: int, end_ms: int) -> bool:
        return self.start_ms < end_ms and start_ms < self.end_ms


@dataclass
class Day:
    """The index of one day: columns by position, and the marks between them."""

    name: str
    chain: Chain
    offset: int = 0
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("i"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    here: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, Mark]] = field(default_factory=list)

    def interval(self, index: int) -> Interval:
        return Interval(self.starts[index], self.starts[index] + self.lengths[index])

    def add(self, segment: Segment, *, here: bool) -> None:
        self.starts.append(segment.start_ms)
        self.lengths.append(segment.duration_ms)
        self.sizes.append(segment.size)
        self.here.append(here)

    def add_lost(self, lost: Lost) -> None:
        """A mark says the gap; the places stay, so that each segment stands at its own."""
        end_ms = self.interval(-1).end_ms if self.starts else midnight_ms(self.name)
        self.marks.append((len(self.starts), {"gap": end_ms, "cause": str(GapCause.RECORD)}))
        more = lost.last + 1 - lost.first
        self.starts.extend([end_ms] * more)
        self.lengths.extend([0] * more)
        self.sizes.extend([0] * more)
        self.here.extend(bytes(more))

    def meeting(self, interval: Interval) -> list[int]:
        """Indices of the segments that meet ``interval``, also of those that are gone."""
        return [i for i in range(len(self.starts)) if self.sizes[i] and interval.meets(*self.interval(i))]

    def last_before_damage(self, interval: Interval) -> int | None:
        """The position of the last segment before the first damage that meets ``interval`` or ends where it begins: whoever knows of the
        damage asks from there on. None where there is no such damage, or no segment before it."""
        index = self.sizes.index(0) if 0 in self.sizes else len(self.sizes)
        while index < len(self.sizes):
            behind = next((i for i in range(index, len(self.sizes)) if self.sizes[i]), None)
            if behind is None:
                return None
            if index and interval.meets(self.interval(index - 1).end_ms, self.starts[behind] + 1):
                return index
            index = next((i for i in range(behind, len(self.sizes)) if not self.sizes[i]), len(self.sizes))
        return None

    def last_end_ms(self, latest_ms: int) -> int | None:
        """Where the last segment ends of those that end by ``latest_ms``."""
        ends = (self.interval(index).end_ms for index in reversed(range(len(self.starts))))
        return next((end_ms for end_ms in ends if end_ms <= latest_ms), None)

    def items(self, oldest_ms: int, latest_ms: int = NEVER_MS) -> Iterator[Piece | Mark]:
        """Segments and marks in the journal's order, without what is dated after ``latest_ms``; what is gone and begins after ``oldest_ms``
        was lost, not overwritten.
        """
        marks = iter(
            [*(place for place in self.marks if _said_ms(place[1]) <= latest_ms), (len(self.starts) + 1, {})]
        )
        place, mark = next(marks)
        for index in range(len(self.starts)):
            while place <= index:
                yield mark
                place, mark = next(marks)
            start_ms, end_ms = self.interval(index)
            if not self.sizes[index] or end_ms > latest_ms:
                continue
            gone = None
            if not self.here[index]:
                gone = GapCause.DISK if start_ms > oldest_ms else GapCause.OVERWRITTEN
            yield Piece(start_ms, end_ms, gone)
        while place <= len(self.starts):
            yield mark
            place, mark = next(marks)

    def size(self) -> int:
        return sum(size for size, here in zip(self.sizes, self.here, strict=True) if here)


def latest_of(now_ms: int | None) -> int:
    """What ends after that was dated by a wrong clock; ``now_ms``: the time if it is sure."""
    return NEVER_MS if now_ms is None else now_ms + FRESH_MS


def _said_ms(mark: Mark) -> int:
    """From when a mark says that there is no footage; 0 for one that a recorder starts, which tells of a boot."""
    said: int = mark.get("gap") or mark.get("end") or 0
    return said


class Found(NamedTuple):
    """Footage of one day for a transfer: the chain's stretch from the first wanted segment to its end, which is the day's last segment
    or where its journal is damaged. Of a stretch behind the damage nothing may be wanted."""

    day: str
    before: Place
    segments: list[Segment]
    head: Place
    wanted: list[int]
    missing: list[int]


def stretches(
    day: str, chain: Chain, journal: Path, places: Mapping[int, int], *, first: int
) -> tuple[list[Found], Chain, int]:
    """Read a day's journal by a new ``chain`` → (its stretches from the segment ``first`` on, the chain at its end, how many segments
    are lost). ``places``: wanted positions, 1 if the segment is there."""
    found = [Found(day, chain.proved, [], chain.proved, [], [])]
    lost = 0
    for item in each_item(journal, chain):
        if isinstance(item, Lost):
            lost += item.last + 1 - item.first
            anew = Place(item.last, item.hash)
            found = [one for one in found if one.segments]
            found.append(Found(day, anew, [], anew, [], []))
        elif isinstance(item, Entry):
            found[-1] = _lengthened(found[-1], item, places, first=first)
    return [one for one in found if one.segments], chain, lost


def _lengthened(found: Found, entry: Entry, places: Mapping[int, int], *, first: int) -> Found:
    """``found`` and the segment behind it; what comes before the ``first`` wanted one is left out. ``places``: those wanted, 1 if there."""
    segment, after = entry.segment, Place(entry.segment.position, entry.hash)
    if segment.position < first:
        return found._replace(before=after, head=after)
    found.segments.append(segment)
    if segment.position in places:
        (found.wanted if places[segment.position] else found.missing).append(segment.position)
    return found._replace(head=after)
