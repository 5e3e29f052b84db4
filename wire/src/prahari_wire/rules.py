"""What a camera watches for, as data in the twin: shapes in the picture, and rules with the names that ONVIF gives them.

An object is where its feet are: the bottom centre of its box decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from prahari_wire.base import Message, PeripheralId, Severity, ShortText

Unit = Annotated[float, Field(ge=0, le=1)]
"""A coordinate as a share of the picture's width or height, origin top left."""
Point = tuple[Unit, Unit]
_LEAST_AREA = 1e-4


def _turn(a: Point, b: Point, c: Point) -> float:
    """Positive when the way a, b, c turns to one side, negative to the other, 0 straight on."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: Point, b: Point, c: Point) -> bool:
    """``c``, which lies on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def edges_meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the edges a-b and c-d have a point in common."""
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if (turns[0] > 0) != (turns[1] > 0) and (turns[2] > 0) != (turns[3] > 0) and all(turns):
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(turn == 0 and _between(*end) for turn, end in zip(turns, ends, strict=True))


def _simple(polygon: list[Point]) -> list[Point]:
    """Refuse corners that stand twice, edges that cross, and areas too small to stand in."""
    count = len(polygon)
    for number, corner in enumerate(polygon):
        if corner == polygon[(number + 1) % count]:
            raise ValueError(f"corner {number + 1} stands twice in a row: leave one of the two out")
    edges = [(polygon[number], polygon[(number + 1) % count]) for number in range(count)]
    for one in range(count):
        for other in range(one + 2, count):
            if (other + 1) % count != one and edges_meet(*edges[one], *edges[other]):
                raise ValueError(
                    f"the polygon crosses itself (edge {one + 1} meets edge {other + 1}): "
                    "draw its corners in order around the area"
                )
    doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)
    if abs(doubled) / 2 < _LEAST_AREA:
        raise ValueError("the polygon encloses nothing: draw it around an area")
    return polygon


def _line(points: list[Point]) -> list[Point]:
    if any(a == b for a, b in pairwise(points)):
        raise ValueError("a point of the line stands twice in a row: leave one of the two out")
    return points


Polygon = Annotated[list[Point], Field(min_length=3, max_length=32), AfterValidator(_simple)]
Polyline = Annotated[list[Point], Field(min_length=2, max_length=16), AfterValidator(_line)]
Arrow = Annotated[list[Point], Field(min_length=2, max_length=2), AfterValidator(_line)]
Classes = Annotated[list[ShortText], Field(max_length=32)]
"""Labels of the model; none means every one of them."""
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Direction(StrEnum):
    """Over a line, seen from its first point to its last."""

    ANY = "any"
    TO_RIGHT = "to_right"
    TO_LEFT = "to_left"


class Light(StrEnum):
    """By the brightness of the camera's own picture."""

    ANY = "any"
    DAY = "day"
    NIGHT = "night"


class Day(StrEnum):
    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_DAYS = list(Day)
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Hours(Message):
    """From ``start`` until before ``end`` by the box's local time, on days that ``start`` falls on; an ``end`` that is not later than
    ``start`` is on the next day.
    """

    start: ClockTime
    end: ClockTime
    days: Annotated[list[Day], Field(min_length=1, max_length=7)] = list(Day)

    def hold(self, local: datetime) -> bool:
        """Whether ``local``, a wall clock, lies within."""
        now = f"{local:%H:%M}"
        today, yesterday = (_DAYS[at.weekday()] in self.days for at in (local, local - timedelta(days=1)))
        if self.start < self.end:
            return today and self.start <= now < self.end
        return (today and now >= self.start) or (yesterday and now < self.end)


class When(Message):
    """A rule is in force within any of ``hours`` (always, if there are none) and in this ``light``."""

    light: Light = Light.ANY
    hours: Annotated[list[Hours], Field(max_length=14)] = []


class RuleBase(Message):
    """``min_height``: objects less high than this share of the picture do not count."""

    id: PeripheralId
    name: ShortText
    classes: Classes = ["person"]
    min_height: Unit = 0.0
    severity: Severity = Severity.MINOR
    when: When = When()


class ObjectsInside(RuleBase):
    """An object is in the region for ``dwell_s``."""

    type: Literal["ObjectsInside"] = "ObjectsInside"
    region: Polygon
    dwell_s: Seconds = 0.0


class LoiteringDetector(RuleBase):
    """An object stays in the region for ``after_s``; a few seconds outside do not begin it anew."""

    type: Literal["LoiteringDetector"] = "LoiteringDetector"
    region: Polygon
    after_s: Seconds = 60.0


class OccupancyCounter(RuleBase):
    """A crowd: at least ``most`` objects for ``for_s``, until there are ``clear`` or fewer for as long."""

    type: Literal["OccupancyCounter"] = "OccupancyCounter"
    region: Polygon
    most: Annotated[int, Field(ge=1, le=1000)]
    clear: Annotated[int, Field(ge=0, le=999)] = 0
    for_s: Seconds = 5.0


class Crossed(RuleBase):
    """An object goes over the line."""

    type: Literal["Crossed"] = "Crossed"
    line: Polyline
    direction: Direction = Direction.ANY


class LineCounting(RuleBase):
    """Counts what goes over the line, told every ``every_s``; it raises no incident."""

    type: Literal["LineCounting"] = "LineCounting"
    line: Polyline
    every_s: Annotated[float, Field(ge=10, le=86_400)] = 300.0


class WrongDirection(RuleBase):
    """An object goes against the arrow ``allowed`` within the region, for ``heights`` of its own height."""

    type: Literal["WrongDirection"] = "WrongDirection"
    region: Polygon
    allowed: Arrow
    heights: Annotated[float, Field(gt=0, le=20)] = 1.0


class StationaryObject(RuleBase):
    """Encroachment: an object stands still in the region for ``after_s``."""

    type: Literal["StationaryObject"] = "StationaryObject"
    region: Polygon
    after_s: Seconds = 300.0


class ObjectAbandoned(RuleBase):
    """An object stands still in the region, and nobody of ``owners`` was near it for ``after_s``."""

    type: Literal["ObjectAbandoned"] = "ObjectAbandoned"
    classes: Classes = []
    region: Polygon
    after_s: Seconds = 60.0
    owners: Annotated[list[ShortText], Field(min_length=1, max_length=8)] = ["person"]


AnyRule = (
    ObjectsInside
    | LoiteringDetector
    | OccupancyCounter
    | Crossed
    | LineCounting
    | WrongDirection
    | StationaryObject
    | ObjectAbandoned
)
Rule = Annotated[AnyRule, Field(discriminator="type")]


class Mask(Message):
    """An area whose objects do not count: those of ``classes``, every one if none is named. A shop window, a poster, a tree."""

    polygon: Polygon
    classes: Classes = []


def _own_ids(rules: list[AnyRule]) -> list[AnyRule]:
    if double := _first_double([rule.id for rule in rules]):
        raise ValueError(f"two rules are called {double!r}: each needs an id of its own")
    for rule in rules:
        if isinstance(rule, OccupancyCounter) and rule.clear >= rule.most:
            raise ValueError(
                f"rule {rule.id!r}: clear must be less than most, or the crowd would never be over"
            )
    return rules


def _first_double(ids: Sequence[str]) -> str | None:
    return next((id for number, id in enumerate(ids) if id in ids[:number]), None)


Rules = Annotated[list[Rule], Field(max_length=32), AfterValidator(_own_ids)]
