"""How each kind looks: a list of coloured polygons in pixels. Their common extent is the box of the truth.

Persons, animals and two-wheelers are flat figures that face the camera, vehicles are bodies of which two or three sides are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prahari_agent.street.actors import KINDS, Actor, Colour, Pose
from prahari_agent.street.view import CAMERA_M, View

Corners = NDArray[np.float64]
"""Shape (points, 2): columns and rows in pixels."""
Part = tuple[list[tuple[float, float]], Colour]
"""A polygon of one colour."""
Figure = list[Part]
"""In metres to the right of the foot and over the ground."""
Sides = list[Part]
"""In pixels."""


class Drawn(NamedTuple):
    """The corners of all parts, one part after the other, far ones first; how many each has, and its colour."""

    corners: Corners
    counts: list[int]
    colours: list[Colour]


_CIRCLE = [(math.cos(2 * math.pi * n / 10), math.sin(2 * math.pi * n / 10)) for n in range(10)]
_SKIN, _HAIR, _TYRE, _GLASS = (75, 105, 150), (25, 25, 25), (28, 28, 28), (105, 95, 75)


def drawn(actor: Actor, pose: Pose, view: View) -> Drawn:
    """A part further off comes before one that hides it."""
    if KINDS[actor.kind].solid:
        return _drawn(_body(actor, pose, view))
    column, row = view.project(pose.x, pose.z)
    metre = view.focal / pose.z * actor.size
    found = _drawn(_FIGURES[actor.kind](pose, actor.colour))
    corners = found.corners
    corners *= (metre, -metre)
    corners += (column, row)
    return found


def _drawn(parts: Sequence[Part]) -> Drawn:
    corners = np.array([value for points, _ in parts for point in points for value in point]).reshape(-1, 2)
    return Drawn(corners, [len(points) for points, _ in parts], [colour for _, colour in parts])


def dark(colour: Colour, share: float) -> Colour:
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


def _round(x: float, up: float, wide: float, high: float) -> list[tuple[float, float]]:
    return [(x + wide * across, up + high * along) for across, along in _CIRCLE]


_WHEEL = _round(0.0, 0.26, 0.22, 0.26)


def _slab(left: float, low: float, right: float, high: float) -> list[tuple[float, float]]:
    return [(left, low), (right, low), (right, high), (left, high)]


def _person(pose: Pose, colour: Colour) -> Figure:
    """Feet stand left and right of the foot point alike, so that the middle of the box's bottom is where the person stands."""
    stride = 0.27 * math.sin(pose.walked_m * 4.4) if pose.moving else 0.06
    trousers, sleeve = dark(colour, 0.45), dark(colour, 0.8)
    figure: Figure = []
    for foot in (stride, -stride):
        figure.append(([(-0.12, 0.85), (0.12, 0.85), (foot + 0.08, 0.0), (foot - 0.08, 0.0)], trousers))
    figure.append(([(-0.22, 1.45), (0.22, 1.45), (0.18, 0.75), (-0.18, 0.75)], colour))
    for side in (-1, 1):
        hand = side * 0.2 - side * 0.7 * stride
        shoulder = side * 0.2
        figure.append(([(shoulder - 0.05, 1.42), (shoulder + 0.05, 1.42), (hand, 0.8)], sleeve))
    figure.append((_round(0.0, 1.57, 0.12, 0.15), _SKIN))
    figure.append((_round(0.0, 1.64, 0.12, 0.09), _HAIR))
    return figure


def _across(heading: float) -> float:
    """How much of its length is seen: 1 from the side, less from the end; the sign is where the head is."""
    seen = math.cos(heading)
    return math.copysign(max(abs(seen), 0.42), seen)


def _four_legs(pose: Pose, colour: Colour, length: float, height: float, trunk: float) -> Figure:
    """A cow or a dog: ``trunk`` is the height of the belly over the ground as a share of the height."""
    half = length / 2 * abs(_across(pose.heading))
    ahead = math.copysign(1.0, _across(pose.heading))
    swing = 0.12 * height * math.sin(pose.walked_m * 3.2 / height) if pose.moving else 0.0
    hoof, belly, back = 0.045 * length, trunk * height, 0.86 * height
    shade = dark(colour, 0.7)
    figure: Figure = []
    for place, sign in ((-0.72, 1), (0.72, -1), (-0.6, -1), (0.6, 1)):
        x = place * half
        foot = x + sign * swing * (1 - abs(x) / half)
        low = [(x - hoof, belly + 0.05), (x + hoof, belly + 0.05), (foot + hoof, 0.0), (foot - hoof, 0.0)]
        figure.append((low, shade))
    figure.append((_round(0.0, (belly + back) / 2, 0.9 * half, (back - belly) / 2 + 0.03), colour))
    neck = [(0.62 * half, back), (0.62 * half, belly + 0.1 * height), (0.95 * half, 0.8 * height)]
    figure.append(([(ahead * x, up) for x, up in neck], colour))
    figure.append((_round(ahead * 0.84 * half, 0.88 * height, 0.16 * half, 0.12 * height), shade))
    tail = [(-0.84 * half, back - 0.05), (-half, belly), (-0.92 * half, belly)]
    figure.append(([(ahead * x, up) for x, up in tail], shade))
    return figure


def _cow(pose: Pose, colour: Colour) -> Figure:
    return _four_legs(pose, colour, 2.2, 1.45, 0.42)


def _dog(pose: Pose, colour: Colour) -> Figure:
    return _four_legs(pose, colour, 1.0, 0.65, 0.45)


def _scooter(pose: Pose, colour: Colour) -> Figure:
    """With its rider."""
    half = 0.9 * abs(_across(pose.heading))
    ahead = math.copysign(1.0, _across(pose.heading))
    wheel = max(0.09, 0.28 * half / 0.9)
    shirt = (colour[2], colour[0], colour[1])
    drawn: Figure = [
        (_round(-half + wheel, 0.28, wheel, 0.28), _TYRE),
        (_round(half - wheel, 0.28, wheel, 0.28), _TYRE),
        ([(-0.8 * half, 0.35), (0.7 * half, 0.3), (0.6 * half, 0.55), (-0.7 * half, 0.8)], colour),
        ([(0.5 * half, 0.35), (0.75 * half, 0.4), (0.55 * half, 1.1), (0.4 * half, 1.05)], dark(colour, 0.8)),
        ([(-0.3 * half, 0.8), (0.3 * half, 0.75), (0.4 * half, 0.35), (0.15 * half, 0.35)], dark(shirt, 0.4)),
        ([(-0.4 * half, 0.75), (0.05, 0.75), (0.16, 1.3), (-0.16, 1.35)], shirt),
        ([(0.0, 1.25), (0.1, 1.15), (0.5 * half, 1.0), (0.45 * half, 1.1)], dark(shirt, 0.8)),
        (_round(0.02, 1.47, 0.13, 0.14), dark(colour, 0.5)),
    ]
    return [([(ahead * x, up) for x, up in points], paint) for points, paint in drawn]


def _bag(_pose: Pose, colour: Colour) -> Figure:
    strap = [(-0.14, 0.4), (0.14, 0.4), (0.1, 0.5), (-0.1, 0.5)]
    return [(strap, dark(colour, 0.5)), (_slab(-0.3, 0.0, 0.3, 0.42), colour)]


_FIGURES: dict[str, Callable[[Pose, Colour], Figure]] = {
    "person": _person,
    "scooter": _scooter,
    "cow": _cow,
    "dog": _dog,
    "bag": _bag,
}


def _body(actor: Actor, pose: Pose, view: View) -> Sides:
    """A vehicle: the visible sides of its lower body, then of its cabin, then roof and what is on them."""
    kind = KINDS[actor.kind]
    low, waist, high = 0.22, 0.56 * kind.height, kind.height
    paint = (45, 60, 190) if actor.kind == "bus" else actor.colour
    cabin = (0.98, 0.96) if actor.kind in ("bus", "cart", "rickshaw") else (0.84, 0.62)
    sides = _wheels(pose, kind.width, kind.length, view, actor.size)
    sides += _box(pose, view, (kind.width, kind.length), (low, waist), paint, actor.size)
    top = _box(
        pose,
        view,
        (kind.width * cabin[0], kind.length * cabin[1]),
        (waist, high),
        dark(paint, 0.85),
        actor.size,
    )
    return sides + top + [(_pane(side), _GLASS) for side, _ in top[:-1]]


def _pane(side: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The glass of a side with four corners."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = side
    x, y = (x0 + x1 + x2 + x3) / 4, (y0 + y1 + y2 + y3) / 4
    return [(x + (column - x) * 0.84, y + (row - y) * 0.72) for column, row in side]


def _corners(pose: Pose, width: float, length: float) -> list[tuple[float, float]]:
    ahead = (math.cos(pose.heading), math.sin(pose.heading))
    right = (ahead[1], -ahead[0])
    return [
        (
            pose.x + a * length * ahead[0] + r * width * right[0],
            pose.z + a * length * ahead[1] + r * width * right[1],
        )
        for a, r in ((0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5))
    ]


def _box(
    pose: Pose, view: View, size: tuple[float, float], ups: tuple[float, float], paint: Colour, scale: float
) -> Sides:
    """The sides that face the camera, the farther first, and the roof."""
    corners = _corners(pose, size[0] * scale, size[1] * scale)
    low, high = ([view.project(x, z, up * scale) for x, z in corners] for up in ups)
    found = []
    for number in range(4):
        other = (number + 1) % 4
        x, z = (corners[number][0] + corners[other][0]) / 2, (corners[number][1] + corners[other][1]) / 2
        if (x - pose.x) * x + (z - pose.z) * z < 0:
            outline = [low[number], low[other], high[other], high[number]]
            found.append((math.hypot(x, z), (outline, dark(paint, 1.0 if number % 2 == 0 else 0.8))))
    sides = [part for _, part in sorted(found, key=lambda one: -one[0])]
    return [*sides, (high, dark(paint, 1.1 if max(paint) < 230 else 1.0))] if ups[1] < CAMERA_M else sides


def _wheels(pose: Pose, width: float, length: float, view: View, scale: float) -> Sides:
    """Upright slabs below the body; their lowest points are where the vehicle stands."""
    wheels: Sides = []
    for x, z in sorted(_corners(pose, width * 0.9 * scale, length * 0.8 * scale), key=lambda one: -one[1]):
        column, row = view.project(x, z)
        metre = view.focal / z * scale
        wheels.append(([(across * metre + column, up * -metre + row) for across, up in _WHEEL], _TYRE))
    return wheels
