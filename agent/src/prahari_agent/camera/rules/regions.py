"""Rules about a region: who is in it, for how long, how many, and which way they go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prahari_wire.rules import Arrow, LoiteringDetector, ObjectsInside, OccupancyCounter, WrongDirection

from prahari_agent.camera.boxes import Point, contains
from prahari_agent.camera.rules.objects import Change, Moment, Object, Turn

CROWD = "crowd"
LEAVE_S = 1.0
"""Outside for so long is out: feet that tremble on the edge do not begin anew."""
STROLL_S = 5.0
"""A loiterer may leave the region for this long."""
MOSTLY = 0.6
"""Share of the looks at it since it came that must have found it inside: who walks along the edge is now in, now out."""
UPDATE_S = 10.0
MOST_ASIDE = 1.2
"""Who goes further aside than this many times as far as against the arrow turns off, and does not go against it."""


@dataclass
class _Stay:
    since_s: float
    last_s: float
    looks: int = 0
    inside: int = 0
    told: bool = False


class Dwell:
    """ObjectsInside and LoiteringDetector: in the region for long enough; over when it has left, or is gone. ``mostly``: share of the looks
    that must have found it inside.
    """

    def __init__(self, region: Sequence[Point], dwell_s: float, leave_s: float, mostly: float) -> None:
        self._region, self._dwell_s, self._leave_s, self._mostly = region, dwell_s, leave_s, mostly
        self._stays: dict[str, _Stay] = {}

    @classmethod
    def inside(cls, rule: ObjectsInside) -> Dwell:
        return cls(rule.region, rule.dwell_s, LEAVE_S, MOSTLY)

    @classmethod
    def loitering(cls, rule: LoiteringDetector) -> Dwell:
        return cls(rule.region, rule.after_s, STROLL_S, 0.0)

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]:
        changes = []
        for one in objects:
            stay = self._stays.get(one.id)
            inside = contains(self._region, one.foot)
            if inside:
                if stay is None and one.fresh:
                    stay = self._stays[one.id] = _Stay(now.time_s, now.time_s)
                if stay is not None:
                    stay.last_s = now.time_s
            if stay and one.fresh:
                stay.looks, stay.inside = stay.looks + 1, stay.inside + inside
            if stay and one.fresh and not stay.told and self._met(stay, now.time_s):
                stay.told = True
                changes.append(Change(Turn.STARTED, one.id, stay.since_s, one))
        return changes + self._over({one.id: one for one in objects}, now.time_s)

    def _met(self, stay: _Stay, time_s: float) -> bool:
        """It is inside now, and was for long enough, mostly."""
        lasted = stay.last_s == time_s and time_s - stay.since_s >= self._dwell_s
        return lasted and stay.inside >= self._mostly * stay.looks

    def _over(self, there: dict[str, Object], time_s: float) -> list[Change]:
        ended = [
            id for id, stay in self._stays.items() if id not in there or time_s - stay.last_s > self._leave_s
        ]
        stays = [(id, self._stays.pop(id)) for id in ended]
        return [Change(Turn.ENDED, id, stay.since_s, there.get(id)) for id, stay in stays if stay.told]


class Occupancy:
    """OccupancyCounter: begins when there have been ``most`` for ``for_s``, ends when there have been ``clear`` or fewer for as long."""

    def __init__(self, rule: OccupancyCounter) -> None:
        self._rule = rule
        self._since_s: float | None = None
        self._turn_s: float | None = None
        self._told = (0, 0.0)

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]:
        inside = [one for one in objects if contains(self._rule.region, one.foot)]
        count = len(inside)
        wanted = count <= self._rule.clear if self._since_s is not None else count >= self._rule.most
        if not wanted:
            self._turn_s = None
            return self._update(count, inside, now.time_s)
        if self._turn_s is None:
            self._turn_s = now.time_s
        if now.time_s - self._turn_s < self._rule.for_s:
            return self._update(count, inside, now.time_s)
        turned_s, self._turn_s = self._turn_s, None
        subject = _largest(inside)
        if self._since_s is not None:
            since_s, self._since_s = self._since_s, None
            return [Change(Turn.ENDED, CROWD, since_s, subject, count)]
        self._since_s, self._told = turned_s, (count, now.time_s)
        return [Change(Turn.STARTED, CROWD, turned_s, subject, count)]

    def _update(self, count: int, inside: list[Object], time_s: float) -> list[Change]:
        """Another number is told, not more often than each ``UPDATE_S``."""
        if self._since_s is None or count == self._told[0] or time_s - self._told[1] < UPDATE_S:
            return []
        self._told = count, time_s
        return [Change(Turn.UPDATED, CROWD, self._since_s, _largest(inside), count)]


def _largest(inside: list[Object]) -> Object | None:
    return max(inside, key=lambda one: one.box.area, default=None)


@dataclass
class _Walk:
    """``best``: where it was farthest along the arrow, and how far that was; ``told``: it is known to go against it."""

    best: Point
    along: float
    since_s: float
    told: bool = False


class Against:
    """WrongDirection: it went back, against the arrow, by ``heights`` of its own height, and not mostly aside."""

    def __init__(self, rule: WrongDirection) -> None:
        self._rule = rule
        self._walks: dict[str, _Walk] = {}

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]:
        arrow = _unit(self._rule.allowed, now.aspect)
        inside = [one for one in objects if contains(self._rule.region, one.foot)]
        changes = []
        for one in inside:
            x, y = one.foot[0] * now.aspect, one.foot[1]
            along = x * arrow[0] + y * arrow[1]
            walk = self._walks.setdefault(one.id, _Walk(one.foot, along, now.time_s))
            if walk.told or not one.fresh:
                continue
            if along >= walk.along:
                walk.best, walk.along, walk.since_s = one.foot, along, now.time_s
                continue
            back = walk.along - along
            aside = abs((x - walk.best[0] * now.aspect) * arrow[1] - (y - walk.best[1]) * arrow[0])
            if back >= self._rule.heights * one.height and aside <= MOST_ASIDE * back:
                walk.told = True
                changes.append(Change(Turn.STARTED, one.id, walk.since_s, one))
        there = {one.id for one in inside}
        gone = [id for id in self._walks if id not in there]
        walks = [(id, self._walks.pop(id)) for id in gone]
        return changes + [Change(Turn.ENDED, id, walk.since_s) for id, walk in walks if walk.told]


def _unit(arrow: Arrow, aspect: float) -> Point:
    across, down = (arrow[1][0] - arrow[0][0]) * aspect, arrow[1][1] - arrow[0][1]
    length = math.hypot(across, down)
    return across / length, down / length
