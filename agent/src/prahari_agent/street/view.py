"""From metres on the ground to shares of the picture and back: one camera on a pole that looks along a straight road.

On the ground ``x`` grows to the right of the camera's axis and ``z`` away from it. The camera stands level, so that the horizon is
a straight row and a metre at distance z is ``focal / z`` pixels, whatever its height.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]
Ground = tuple[float, float]
"""(x, z) in metres."""

ROAD_M, KERB_M, PATH_M = 5.0, 5.4, 8.5
"""Half widths: of the carriageway, to the outer edge of the kerb, to the outer edge of the footpath."""
CAMERA_M = 5.0
"""Height of the camera over the ground."""
_FOCAL, _HORIZON = 0.875, 0.311


@dataclass(frozen=True)
class View:
    """``width`` and ``height`` in pixels."""

    width: int = 640
    height: int = 360

    @property
    def focal(self) -> float:
        """Pixels a metre at one metre."""
        return _FOCAL * self.width

    @property
    def horizon(self) -> float:
        """Row of the horizon in pixels."""
        return _HORIZON * self.height

    def project(self, x: float, z: float, up: float = 0.0) -> Point:
        """(column, row) in pixels of a point ``up`` metres over the ground; ``z`` is greater than 0."""
        return self.width / 2 + self.focal * x / z, self.horizon + self.focal * (CAMERA_M - up) / z

    def share(self, x: float, z: float) -> Point:
        """A point on the ground in shares of the picture."""
        column, row = self.project(x, z)
        return column / self.width, row / self.height

    def ground(self, share: Point) -> Ground:
        """The point on the ground that is seen at a share of the picture; above the horizon it is infinitely far."""
        below = share[1] * self.height - self.horizon
        if below <= 0:
            return 0.0, float("inf")
        z = self.focal * CAMERA_M / below
        return (share[0] - 0.5) * self.width * z / self.focal, z


@dataclass(frozen=True)
class Area:
    """A rectangle on the ground."""

    id: str
    left: float
    right: float
    near: float
    far: float

    def holds(self, point: Ground) -> bool:
        return self.left <= point[0] <= self.right and self.near <= point[1] <= self.far

    def polygon(self, view: View) -> list[Point]:
        """Its corners in shares of the picture, clockwise from the near left one; it must lie within the picture."""
        corners = [
            (self.left, self.near),
            (self.left, self.far),
            (self.right, self.far),
            (self.right, self.near),
        ]
        return [view.share(x, z) for x, z in corners]


@dataclass(frozen=True)
class GroundLine:
    """A straight line on the ground from ``start`` to ``end``."""

    id: str
    start: Ground
    end: Ground

    def points(self, view: View) -> list[Point]:
        return [view.share(*self.start), view.share(*self.end)]

    def crossed(self, before: Ground, after: Ground) -> int:
        """+1 when the way from ``before`` to ``after`` leads over it to its right (seen from start to end), -1 to its left, else 0."""
        along = (self.end[0] - self.start[0], self.end[1] - self.start[1])
        side = [_cross(along, (at[0] - self.start[0], at[1] - self.start[1])) for at in (before, after)]
        if (side[0] > 0) == (side[1] > 0):
            return 0
        share = side[0] / (side[0] - side[1])
        meets = tuple(a + share * (b - a) for a, b in zip(before, after, strict=True))
        offset = (meets[0] - self.start[0]) * along[0] + (meets[1] - self.start[1]) * along[1]
        if not 0 <= offset <= along[0] ** 2 + along[1] ** 2:
            return 0
        return 1 if side[1] <= 0 else -1


def _cross(one: Point, other: Point) -> float:
    """Positive where ``other`` points to the left of ``one`` on the ground, seen from above with x to the right and z ahead."""
    return one[0] * other[1] - one[1] * other[0]
