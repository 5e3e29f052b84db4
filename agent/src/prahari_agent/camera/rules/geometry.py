"""Lines and ways in the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from prahari_agent.camera.boxes import Point


def side(start: Point, end: Point, point: Point) -> float:
    """Positive to the right of the line as it is seen in the picture (rows grow downwards), negative to its left."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def crossings(line: Sequence[Point], before: Point, after: Point) -> int:
    """How often the way from ``before`` to ``after`` leads over the line to its right, less how often to its left.

    A point on the line belongs to its right side, and a corner to the piece that it begins, so that nothing is counted twice.
    """
    total = 0
    last = len(line) - 2
    for number, (start, end) in enumerate(pairwise(line)):
        sides = side(start, end, before), side(start, end, after)
        if (sides[0] >= 0) == (sides[1] >= 0):
            continue
        along = _where(start, end, before, after, sides)
        if 0 <= along < 1 or (along == 1 and number == last):
            total += 1 if sides[1] >= 0 else -1
    return total


def _where(start: Point, end: Point, before: Point, after: Point, sides: tuple[float, float]) -> float:
    """Where on the piece the way meets it: 0 at its start, 1 at its end."""
    share = sides[0] / (sides[0] - sides[1])
    x, y = before[0] + share * (after[0] - before[0]), before[1] + share * (after[1] - before[1])
    reach = end[0] - start[0], end[1] - start[1]
    return ((x - start[0]) * reach[0] + (y - start[1]) * reach[1]) / (reach[0] ** 2 + reach[1] ** 2)


def distance(line: Sequence[Point], point: Point, aspect: float) -> float:
    """From the nearest point of the line, in heights of the picture."""
    return min(_from_piece(start, end, point, aspect) for start, end in pairwise(line))


def _from_piece(start: Point, end: Point, point: Point, aspect: float) -> float:
    across, down = (end[0] - start[0]) * aspect, end[1] - start[1]
    x, y = (point[0] - start[0]) * aspect, point[1] - start[1]
    length = across**2 + down**2
    share = min(1.0, max(0.0, (x * across + y * down) / length)) if length else 0.0
    return math.hypot(x - share * across, y - share * down)
