"""Boxes and polygons in shares of the picture (0 to 1, origin top left): the geometry of detections, tracks and regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]

_INSIDE = 0.001
"""How far a point on the picture's edge is moved inwards, so that a polygon drawn along the edge contains it."""


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @property
    def centre(self) -> Point:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def foot(self) -> Point:
        """The bottom centre: where an object stands."""
        return (self.left + self.right) / 2, self.bottom

    def clipped(self) -> Box:
        return Box(*(min(1.0, max(0.0, value)) for value in self))

    def moved(self, by: Point) -> Box:
        return Box(self.left + by[0], self.top + by[1], self.right + by[0], self.bottom + by[1])

    def grown(self, share: float) -> Box:
        """Larger by ``share`` of its size on each side, within the picture."""
        width, height = (self.right - self.left) * share, (self.bottom - self.top) * share
        return Box(self.left - width, self.top - height, self.right + width, self.bottom + height).clipped()


class Detection(NamedTuple):
    """One object in one frame."""

    label: str
    score: float
    box: Box


def overlap(one: Box, other: Box) -> float:
    """Area that both cover."""
    width = min(one.right, other.right) - max(one.left, other.left)
    if width <= 0:
        return 0.0
    return width * max(0.0, min(one.bottom, other.bottom) - max(one.top, other.top))


def iou(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    if not (both := overlap(one, other)):
        return 0.0
    union = one.area + other.area - both
    return both / union if union > 0 else 0.0


def covered(one: Box, other: Box) -> float:
    """How much of the smaller box the other covers, 0 to 1."""
    smaller = min(one.area, other.area)
    return overlap(one, other) / smaller if smaller > 0 else 0.0


def without_doubles(
    found: Sequence[Detection], *, iou_above: float = 0.5, covered_above: float = 0.85
) -> list[Detection]:
    """Of boxes of one label that lie on one another the best scored stays, best first."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda detection: -detection.score):
        if not any(
            other.label == one.label
            and (iou(one.box, other.box) > iou_above or covered(one.box, other.box) > covered_above)
            for other in kept
        ):
            kept.append(one)
    return kept


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Even-odd rule; a point on the picture's edge counts as just inside the picture."""
    x, y = (min(1 - _INSIDE, max(_INSIDE, value)) for value in point)
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside
