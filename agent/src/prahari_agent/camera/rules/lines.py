"""Rules about a line: who went over it, which way, and how many did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prahari_wire.rules import Crossed, Direction

from prahari_agent.camera.boxes import Point
from prahari_agent.camera.rules.geometry import crossings, distance
from prahari_agent.camera.rules.objects import Change, Moment, Object, Turn

CLEAR_HEIGHTS = 0.06
"""A crossing counts once the feet are this share of the object's height beyond the line: trembling on it counts nothing."""


class Passage(NamedTuple):
    """``at_s``: when the line was met, a little before it counted."""

    who: Object
    direction: Direction
    at_s: float


@dataclass
class _Way:
    """``net``: crossings to the right less those to the left that do not count yet, the first of them ``since_s``."""

    foot: Point
    net: int = 0
    since_s: float = 0.0


class Passages:
    """Each way over the line, once."""

    def __init__(self, line: Sequence[Point]) -> None:
        self._line = line
        self._ways: dict[str, _Way] = {}

    def look(self, objects: Sequence[Object], now: Moment) -> list[Passage]:
        found = []
        for one in objects:
            if not one.fresh:
                continue
            way = self._ways.setdefault(one.id, _Way(one.foot))
            if step := crossings(self._line, way.foot, one.foot):
                way.since_s = way.since_s if way.net else now.time_s
                way.net += step
            way.foot = one.foot
            if way.net and distance(self._line, one.foot, now.aspect) >= CLEAR_HEIGHTS * one.height:
                direction = Direction.TO_RIGHT if way.net > 0 else Direction.TO_LEFT
                found.append(Passage(one, direction, way.since_s))
                way.net = 0
        there = {one.id for one in objects}
        self._ways = {id: way for id, way in self._ways.items() if id in there}
        return found


class LineWatch:
    """Crossed: a case begins and ends with each way over the line."""

    def __init__(self, rule: Crossed) -> None:
        self._rule, self._passages = rule, Passages(rule.line)

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]:
        changes = []
        for passage in self._passages.look(objects, now):
            if self._rule.direction in (Direction.ANY, passage.direction):
                changes += [
                    Change(turn, passage.who.id, passage.at_s, passage.who, direction=passage.direction)
                    for turn in (Turn.STARTED, Turn.ENDED)
                ]
        return changes


class Count:
    """LineCounting: how many of each label went which way since the count began anew."""

    def __init__(self, line: Sequence[Point]) -> None:
        self._passages = Passages(line)
        self._counts: Counter[tuple[str, Direction]] = Counter()

    def look(self, objects: Sequence[Object], now: Moment) -> None:
        for passage in self._passages.look(objects, now):
            self._counts[passage.who.label, passage.direction] += 1

    def take(self) -> dict[str, tuple[int, int]]:
        """Label → (to the right, to the left); begins anew."""
        labels = sorted({label for label, _ in self._counts})
        taken = {
            label: (self._counts[label, Direction.TO_RIGHT], self._counts[label, Direction.TO_LEFT])
            for label in labels
        }
        self._counts.clear()
        return taken
