"""What the rules are told of a frame, and what they tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol

from prahari_wire.rules import Direction

from prahari_agent.camera.boxes import Box, Point

ASPECT = 16 / 9


class Object(NamedTuple):
    """A confirmed track. ``fresh``: this frame saw it; otherwise it is where it was seen last. ``score``: median so far.
    ``age_s``: how long its box has been carried since a detector saw it.
    """

    id: str
    label: str
    score: float
    box: Box
    fresh: bool = True
    age_s: float = 0.0

    @property
    def foot(self) -> Point:
        return self.box.foot

    @property
    def height(self) -> float:
        """Share of the picture's height."""
        return max(0.005, self.box.bottom - self.box.top)

    def away(self, point: Point, aspect: float) -> float:
        """How far its foot is from a point, in its own heights; ``aspect`` is the picture's width over its height."""
        return math.hypot((self.foot[0] - point[0]) * aspect, self.foot[1] - point[1]) / self.height


class Moment(NamedTuple):
    """``aspect``: the picture's width over its height; ``everyone``: all objects of the frame, also those no business of the rule."""

    time_s: float
    aspect: float = ASPECT
    everyone: Sequence[Object] = ()


class Turn(Enum):
    """What became of the case that a rule follows under a key."""

    STARTED = auto()
    UPDATED = auto()
    ENDED = auto()


class Change(NamedTuple):
    """``key``: one case of the rule, such as a track. ``since_s``: when it began, which may be well before it was told.
    ``subject`` None: nobody, or somebody who is gone. ``number``: of a crowd.
    """

    turn: Turn
    key: str
    since_s: float
    subject: Object | None = None
    number: int | None = None
    direction: Direction | None = None


class Watch(Protocol):
    """One rule at work: told of every frame's objects, of its classes and sizes alone, in the order of time."""

    def look(self, objects: Sequence[Object], now: Moment) -> list[Change]: ...
