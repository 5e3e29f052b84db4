"""A drawn Indian street: road, kerbs, houses, and people and vehicles that pass. Deterministic from a seed.

Positions are metres on the ground: ``x`` to the right of the camera's axis, ``z`` away from it. Drawn at twice the size and
scaled down, so that edges are smooth.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[float, float]

WIDTH, HEIGHT = 640, 360
_SCALE = 2
_FOCAL = 560.0 * _SCALE
_HORIZON = 112.0 * _SCALE
_CAMERA_M = 5.0
_ROAD_M, _KERB_M, _PATH_M = 5.0, 5.4, 8.5
_GRAIN = 1.6
_GRAINS = 7

_HOUSES: list[Colour] = [
    (140, 175, 205),
    (150, 190, 190),
    (175, 165, 150),
    (130, 150, 200),
    (185, 195, 175),
    (120, 140, 175),
]
_CLOTHES: list[Colour] = [
    (60, 60, 190),
    (160, 90, 40),
    (60, 130, 50),
    (40, 40, 40),
    (150, 60, 140),
    (40, 150, 210),
]
_PAINTS: list[Colour] = [(190, 190, 195), (60, 60, 160), (130, 80, 40), (45, 45, 50), (90, 110, 120)]


@dataclass(frozen=True)
class Mover:
    """Something that passes: from ``start`` to ``end`` (x, z) between two seconds of the clip."""

    draw: Callable[[Picture, float, float, float, float, Colour], None]
    colour: Colour
    from_s: float
    to_s: float
    start: Point
    end: Point

    def at(self, time_s: float) -> Point | None:
        if not self.from_s <= time_s <= self.to_s:
            return None
        share = (time_s - self.from_s) / (self.to_s - self.from_s)
        return (
            self.start[0] + share * (self.end[0] - self.start[0]),
            self.start[1] + share * (self.end[1] - self.start[1]),
        )


class Scene:
    """``frame(time_s)`` is the picture at a second of the clip; shape (HEIGHT, WIDTH, 3), BGR."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        self._ground = _background(chance)
        self._movers = _schedule(chance)
        noise = np.random.default_rng(seed)
        self._grain = [noise.normal(0, _GRAIN, (HEIGHT, WIDTH, 1)).astype(np.float32) for _ in range(_GRAINS)]

    def frame(self, time_s: float) -> Picture:
        picture = self._ground.copy()
        _tree(picture, 70 * _SCALE, 150 * _SCALE, time_s)
        present = [(mover, place) for mover in self._movers if (place := mover.at(time_s))]
        for mover, (x, z) in sorted(present, key=lambda one: -one[1][1]):
            column, row = _on_screen(x, z)
            mover.draw(picture, column, row, _FOCAL / z, time_s - mover.from_s, mover.colour)
        small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        grain = self._grain[round(time_s * 10) % _GRAINS]
        grainy = small.astype(np.float32) + grain
        return cast("Picture", np.clip(grainy, 0, 255).astype(np.uint8))


def _schedule(chance: random.Random) -> list[Mover]:
    """Six passages with seconds of emptiness between them; the seed turns directions, colours and the order of the vehicles."""
    vehicles = [_rickshaw, _car, _bus]
    chance.shuffle(vehicles)
    side = chance.choice((-1, 1))
    return [
        Mover(_person, chance.choice(_CLOTHES), 2.0, 8.5, (-side * 9.5, 17), (side * 9.5, 17.5)),
        Mover(vehicles[0], chance.choice(_PAINTS), 10.5, 15.5, (2.2, 55), (2.2, 4)),
        Mover(_person, chance.choice(_CLOTHES), 17.0, 22.5, (6.8, 27), (6.8, 14)),
        Mover(_person, chance.choice(_CLOTHES), 17.6, 22.5, (7.7, 28), (7.6, 14.5)),
        Mover(vehicles[1], chance.choice(_PAINTS), 24.0, 29.0, (-2.4, 4), (-2.4, 50)),
        Mover(_person, chance.choice(_CLOTHES), 30.5, 35.0, (side * 9.5, 19), (-side * 4.6, 18.5)),
        Mover(vehicles[2], chance.choice(_PAINTS), 31.0, 35.5, (2.2, 55), (2.2, 4)),
    ]


def _on_screen(x: float, z: float) -> Point:
    return WIDTH * _SCALE / 2 + _FOCAL * x / z, _HORIZON + _FOCAL * _CAMERA_M / z


def _fill(picture: Picture, points: list[Point], colour: Colour) -> None:
    cv2.fillPoly(picture, [np.array(points, np.float32).round().astype(np.int32)], colour, cv2.LINE_AA)


def _rectangle(
    picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour
) -> None:
    _fill(picture, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def _ellipse(picture: Picture, centre: Point, radii: Point, colour: Colour) -> None:
    middle = (round(centre[0]), round(centre[1]))
    cv2.ellipse(
        picture,
        middle,
        (max(1, round(radii[0])), max(1, round(radii[1]))),
        0,
        0,
        360,
        colour,
        -1,
        cv2.LINE_AA,
    )


def _dark(colour: Colour, share: float) -> Colour:
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


# What stands


def _background(chance: random.Random) -> Picture:
    picture = np.zeros((HEIGHT * _SCALE, WIDTH * _SCALE, 3), np.uint8)
    for row in range(picture.shape[0]):
        share = min(1.0, row / _HORIZON)
        picture[row] = (225 - 10 * share, 205 + 20 * share, 175 + 45 * share)
    _rectangle(picture, 0, _HORIZON, WIDTH * _SCALE, HEIGHT * _SCALE, (120, 145, 160))
    _houses(picture, chance)
    _road(picture)
    _lamps(picture)
    return cast("Picture", cv2.GaussianBlur(picture, (3, 3), 0))


def _houses(picture: Picture, chance: random.Random) -> None:
    left = -20.0
    while left < WIDTH * _SCALE:
        width, height = chance.uniform(90, 190), chance.uniform(110, 205)
        wall = chance.choice(_HOUSES)
        _rectangle(picture, left, _HORIZON + 26 - height, left + width, _HORIZON + 30, wall)
        _rectangle(
            picture, left, _HORIZON + 26 - height, left + width, _HORIZON + 34 - height, _dark(wall, 0.8)
        )
        _rectangle(picture, left + 18, _HORIZON + 8 - height, left + 44, _HORIZON + 26 - height, (40, 40, 45))
        for column in np.arange(left + 14, left + width - 24, 34):
            for row in np.arange(_HORIZON + 44 - height, _HORIZON - 22, 38):
                glass = (95, 85, 70) if chance.random() < 0.8 else (120, 190, 215)
                _rectangle(picture, column, row, column + 18, row + 24, glass)
        awning = chance.choice(_CLOTHES)
        _rectangle(picture, left + 6, _HORIZON - 8, left + width - 6, _HORIZON + 4, awning)
        _rectangle(picture, left + 10, _HORIZON + 4, left + width - 10, _HORIZON + 30, _dark(wall, 0.45))
        left += width


def _strip(picture: Picture, x1: float, x2: float, z1: float, z2: float, colour: Colour) -> None:
    """A rectangle on the ground."""
    _fill(picture, [_on_screen(x1, z1), _on_screen(x2, z1), _on_screen(x2, z2), _on_screen(x1, z2)], colour)


def _road(picture: Picture) -> None:
    near, far = 6.0, 150.0
    _strip(picture, -_PATH_M, _PATH_M, near, far, (150, 160, 165))
    _strip(picture, -_ROAD_M, _ROAD_M, near, far, (85, 82, 80))
    for side in (-1, 1):
        for number in range(48):
            z = near + number * 1.5
            paint = (40, 200, 235) if number % 2 else (35, 35, 35)
            _strip(picture, side * _ROAD_M, side * _KERB_M, z, z + 1.5, paint)
    for number in range(16):
        _strip(picture, -0.09, 0.09, 22 + number * 6, 25 + number * 6, (225, 230, 230))
    for number in range(10):
        x = -_ROAD_M + 0.3 + number
        _strip(picture, x, x + 0.5, 15.5, 19.5, (215, 220, 220))


def _lamps(picture: Picture) -> None:
    for x, z in ((-6.2, 14), (6.2, 34), (-6.2, 60)):
        column, row = _on_screen(x, z)
        metre = _FOCAL / z
        reach = -math.copysign(1.6, x) * metre
        _rectangle(
            picture, column - 0.06 * metre, row - 6.5 * metre, column + 0.06 * metre, row, (70, 75, 75)
        )
        _rectangle(
            picture,
            min(column, column + reach),
            row - 6.5 * metre,
            max(column, column + reach),
            row - 6.4 * metre,
            (70, 75, 75),
        )


def _tree(picture: Picture, column: float, row: float, time_s: float) -> None:
    """Sways a little: there is always something alive in the picture."""
    _rectangle(picture, column - 7, row, column + 7, row + 130, (45, 70, 95))
    for number in range(9):
        angle = number * 2.4
        sway = 1.6 * math.sin(time_s * 1.3 + number)
        centre = (column + 44 * math.cos(angle) + sway, row - 18 + 30 * math.sin(angle))
        _ellipse(picture, centre, (34, 28), (58, 112 + 5 * (number % 3), 62))


# What moves: (picture, column and row of its foot, pixels a metre, seconds since it came, colour)


def _shadow(picture: Picture, column: float, row: float, half_m: float, metre: float) -> None:
    _ellipse(picture, (column + 0.1 * metre, row), (half_m * metre, 0.18 * half_m * metre + 2), (62, 62, 62))


def _person(picture: Picture, column: float, row: float, metre: float, time_s: float, colour: Colour) -> None:
    _shadow(picture, column, row, 0.35, metre)
    stride = 0.28 * math.sin(time_s * 7) * metre
    skin, trousers = (75, 105, 150), _dark(colour, 0.45)
    for foot in (stride, -stride):
        hip = (column - 0.12 * metre, row - 0.85 * metre), (column + 0.12 * metre, row - 0.85 * metre)
        _fill(
            picture,
            [*hip, (column + foot + 0.08 * metre, row), (column + foot - 0.08 * metre, row)],
            trousers,
        )
    _fill(
        picture,
        [
            (column - 0.22 * metre, row - 1.45 * metre),
            (column + 0.22 * metre, row - 1.45 * metre),
            (column + 0.18 * metre, row - 0.75 * metre),
            (column - 0.18 * metre, row - 0.75 * metre),
        ],
        colour,
    )
    for hand in (-stride * 0.7, stride * 0.7):
        shoulder = (column + math.copysign(0.2 * metre, hand), row - 1.4 * metre)
        _fill(
            picture,
            [shoulder, (shoulder[0] + 0.07 * metre, shoulder[1]), (shoulder[0] + hand, row - 0.8 * metre)],
            _dark(colour, 0.8),
        )
    _ellipse(picture, (column, row - 1.6 * metre), (0.12 * metre, 0.15 * metre), skin)
    _ellipse(picture, (column, row - 1.68 * metre), (0.12 * metre, 0.09 * metre), (25, 25, 25))


def _car(picture: Picture, column: float, row: float, metre: float, time_s: float, colour: Colour) -> None:
    _vehicle(picture, column, row, metre, (1.75, 0.95, 0.55), colour)


def _bus(picture: Picture, column: float, row: float, metre: float, time_s: float, colour: Colour) -> None:
    _vehicle(picture, column, row, metre, (2.5, 1.2, 1.7), (45, 60, 190))


def _rickshaw(
    picture: Picture, column: float, row: float, metre: float, time_s: float, colour: Colour
) -> None:
    _vehicle(picture, column, row, metre, (1.35, 0.85, 0.9), (45, 190, 225))
    _rectangle(
        picture,
        column - 0.68 * metre,
        row - 1.0 * metre,
        column + 0.68 * metre,
        row - 0.8 * metre,
        (50, 120, 40),
    )


def _vehicle(
    picture: Picture,
    column: float,
    row: float,
    metre: float,
    size: tuple[float, float, float],
    colour: Colour,
) -> None:
    """Seen from its end: ``size`` is width, height of the body, height of the cabin, in metres."""
    half, body, cabin = size[0] / 2 * metre, size[1] * metre, size[2] * metre
    _shadow(picture, column, row, size[0] * 0.6, metre)
    for side in (-1, 1):
        middle = column + side * 0.72 * half
        _rectangle(
            picture, middle - 0.12 * metre, row - 0.35 * metre, middle + 0.12 * metre, row, (25, 25, 25)
        )
    _rectangle(picture, column - half, row - body, column + half, row - 0.2 * metre, colour)
    roof = [(column - half, row - body), (column + half, row - body)]
    _fill(
        picture,
        [*roof, (column + 0.8 * half, row - body - cabin), (column - 0.8 * half, row - body - cabin)],
        _dark(colour, 0.85),
    )
    glass = [(column - 0.82 * half, row - body), (column + 0.82 * half, row - body)]
    _fill(
        picture,
        [
            *glass,
            (column + 0.68 * half, row - body - 0.85 * cabin),
            (column - 0.68 * half, row - body - 0.85 * cabin),
        ],
        (105, 95, 75),
    )
    for side in (-1, 1):
        _ellipse(
            picture,
            (column + side * 0.75 * half, row - 0.6 * body),
            (0.11 * metre, 0.08 * metre),
            (190, 230, 240),
        )
