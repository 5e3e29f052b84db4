"""Who is on the street: kinds with their sizes and labels, and the way each one goes."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from prahari_agent.street.view import Ground

Colour = tuple[int, int, int]
"""Blue, green, red."""


class Kind(NamedTuple):
    """``label``: what a detector should call it. Width, height and length in metres; ``solid``: drawn as a body with sides."""

    label: str
    width: float
    height: float
    length: float
    solid: bool = False


KINDS: dict[str, Kind] = {
    "person": Kind("person", 0.5, 1.72, 0.5),
    "scooter": Kind("two-wheeler", 0.6, 1.6, 1.8),
    "car": Kind("car", 1.75, 1.5, 4.0, solid=True),
    "rickshaw": Kind("car", 1.35, 1.75, 2.7, solid=True),
    "bus": Kind("car", 2.5, 2.9, 9.0, solid=True),
    "cow": Kind("animal", 0.7, 1.45, 2.2),
    "dog": Kind("animal", 0.3, 0.65, 1.0),
    "bag": Kind("object", 0.6, 0.5, 0.4),
    "cart": Kind("object", 1.4, 1.9, 2.0, solid=True),
}
"""A rider belongs to the two-wheeler: one box, labelled two-wheeler."""
LABELS = ("person", "two-wheeler", "car", "animal")
"""What a detector for the street is asked to tell apart; ``object`` is known to the truth alone."""


class Stop(NamedTuple):
    """Where an actor is at a second of the scenario."""

    at_s: float
    x: float
    z: float


class Pose(NamedTuple):
    """``heading``: radians from the x axis towards z; ``walked_m``: since the beginning; ``moving``: it is not standing."""

    x: float
    z: float
    heading: float
    walked_m: float
    moving: bool


@dataclass(frozen=True)
class Actor:
    """Goes from stop to stop on straight lines and is not there before the first and after the last."""

    id: int
    kind: str
    way: tuple[Stop, ...]
    colour: Colour
    size: float = 1.0

    @property
    def label(self) -> str:
        return KINDS[self.kind].label

    def at(self, time_s: float) -> Pose | None:
        if not self.way[0].at_s <= time_s <= self.way[-1].at_s:
            return None
        number = min(bisect_right(self.way, time_s, key=lambda stop: stop.at_s), len(self.way) - 1)
        before, after = self.way[number - 1], self.way[number]
        share = (time_s - before.at_s) / (after.at_s - before.at_s)
        x, z = before.x + share * (after.x - before.x), before.z + share * (after.z - before.z)
        leg_m = math.hypot(after.x - before.x, after.z - before.z)
        walked_m = sum(
            math.hypot(b.x - a.x, b.z - a.z)
            for a, b in zip(self.way[: number - 1], self.way[1:number], strict=True)
        )
        return Pose(x, z, self._heading(number), walked_m + share * leg_m, leg_m > 0)

    def _heading(self, number: int) -> float:
        """Where it goes, or went last before it stopped."""
        for leg in [*range(number, 0, -1), *range(number + 1, len(self.way))]:
            before, after = self.way[leg - 1], self.way[leg]
            if (before.x, before.z) != (after.x, after.z):
                return math.atan2(after.z - before.z, after.x - before.x)
        return 0.0


def way(speed_m_s: float, from_s: float, *points: Ground, pause_s: float = 0.0) -> tuple[Stop, ...]:
    """From point to point at one speed; a point named twice in a row is a pause of ``pause_s``.

    >>> way(2.0, 10.0, (0.0, 10.0), (4.0, 10.0))
    (Stop(at_s=10.0, x=0.0, z=10.0), Stop(at_s=12.0, x=4.0, z=10.0))
    """
    stops = [Stop(from_s, *points[0])]
    for x, z in points[1:]:
        leg_m = math.hypot(x - stops[-1].x, z - stops[-1].z)
        stops.append(Stop(stops[-1].at_s + (leg_m / speed_m_s if leg_m else pause_s), x, z))
    return tuple(stops)
