"""What stands: sky, houses, road, kerbs, lamps, and a tree that sways. Drawn once in daylight and lit anew when the light changes."""

from __future__ import annotations

import math
import random
from typing import NamedTuple, cast

import cv2
import numpy as np

from prahari_agent.street.actors import Colour
from prahari_agent.street.light import LAMP_M, LAMPS, Map, Picture, ambient, lamp_map, lamp_share, lit
from prahari_agent.street.shapes import dark
from prahari_agent.street.view import KERB_M, PATH_M, ROAD_M, Point, View

_HOUSES: list[Colour] = [
    (140, 175, 205),
    (150, 190, 190),
    (175, 165, 150),
    (130, 150, 200),
    (185, 195, 175),
    (120, 140, 175),
]
CLOTHES: list[Colour] = [
    (60, 60, 190),
    (160, 90, 40),
    (60, 130, 50),
    (40, 40, 40),
    (150, 60, 140),
    (40, 150, 210),
    (205, 205, 210),
    (90, 190, 220),
]
_SHARP = 2
"""The backdrop is drawn at this many times the size and scaled down, so that edges are smooth."""
_STEPS = 48
_LEAVES = 11
_SHIFT = 4


class _Frame(NamedTuple):
    """A picture to draw on and its view."""

    picture: Picture
    view: View

    def fill(self, points: list[Point], colour: Colour) -> None:
        cv2.fillPoly(
            self.picture, [np.array(points, np.float32).round().astype(np.int32)], colour, cv2.LINE_AA
        )

    def slab(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.fill([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def strip(self, x1: float, x2: float, z1: float, z2: float, colour: Colour) -> None:
        """A rectangle on the ground."""
        corners = [(x1, z1), (x2, z1), (x2, z2), (x1, z2)]
        self.fill([self.view.project(x, z) for x, z in corners], colour)


class Backdrop:
    """``lit(level, rain)`` is what stands, under that light; kept until the light changes by a visible step."""

    def __init__(self, view: View, chance: random.Random) -> None:
        self.view = view
        large = View(view.width * _SHARP, view.height * _SHARP)
        frame = _Frame(np.zeros((large.height, large.width, 3), np.uint8), large)
        glow = _Frame(np.zeros_like(frame.picture), large)
        _sky_and_ground(frame)
        _houses(frame, glow, chance)
        _road(frame)
        _lamps(frame, glow)
        self._day = _small(frame.picture, view).astype(np.float32)
        self._windows = _small(glow.picture, view).astype(np.float32)
        self._lamp_map: Map = lamp_map(view)
        self._dry = _paved(view)
        self._tree = view.project(-7.2, 21.0)
        self._metre = view.focal / 21.0
        self._kept: tuple[tuple[int, int], Picture] | None = None

    def lit(self, level: float, rain: float) -> Picture:
        """A picture of one's own to draw on; shape (height, width, 3)."""
        step = round(level * _STEPS), round(rain * 8)
        if self._kept is None or self._kept[0] != step:
            self._kept = step, self._light(step[0] / _STEPS, step[1] / 8)
        return self._kept[1].copy()

    def sway(self, picture: Picture, time_s: float, wind: float, gain: list[float]) -> None:
        """The crown of the tree at a moment; ``wind`` in metres of sway."""
        column, row = self._tree
        metre = self._metre
        for number in range(_LEAVES):
            angle = number * 2.4
            sway = wind * (math.sin(time_s * 1.3 + number) + 0.4 * math.sin(time_s * 3.7 + 2 * number))
            centre = (
                column + (1.3 * math.cos(angle) + sway) * metre,
                row - (4.1 + 1.0 * math.sin(angle) + 0.3 * sway) * metre,
            )
            axes = round(1.0 * metre * 2**_SHIFT), round(0.85 * metre * 2**_SHIFT)
            middle = round(centre[0] * 2**_SHIFT), round(centre[1] * 2**_SHIFT)
            leaf = lit((58, 104 + 9 * (number % 3), 62), gain)
            cv2.ellipse(picture, middle, axes, 0, 0, 360, leaf, -1, cv2.LINE_AA, _SHIFT)

    def _light(self, level: float, rain: float) -> Picture:
        share = lamp_share(level)
        sky = np.array(ambient(level), np.float32) * (1 - 0.25 * rain)
        day = self._day * (1 - 0.18 * rain * self._dry)
        shown = day * (sky + share * self._lamp_map) + self._windows * max(share, 0.0)
        if rain:
            haze = np.array(ambient(level), np.float32) * 150
            shown = shown * (1 - 0.22 * rain) + haze * (0.22 * rain)
        return cast("Picture", np.clip(shown, 0, 255).astype(np.uint8))


def _small(picture: Picture, view: View) -> Picture:
    return cast("Picture", cv2.resize(picture, (view.width, view.height), interpolation=cv2.INTER_AREA))


def _paved(view: View) -> Map:
    """1 on what lies under the horizon, 0 above: rain makes it darker."""
    rows = np.arange(view.height, dtype=np.float32)
    return (rows > view.horizon).astype(np.float32)[:, None, None]


def _sky_and_ground(frame: _Frame) -> None:
    picture, horizon = frame.picture, frame.view.horizon
    share = np.arange(round(horizon) + 1)[:, None, None] / horizon
    picture[: len(share)] = (225, 205, 175) + share * (-10, 20, 45)
    picture[round(horizon) :] = (120, 145, 160)


def _houses(frame: _Frame, glow: _Frame, chance: random.Random) -> None:
    """A row of fronts with windows, of which one in four is lit at night, and shops below."""
    horizon, unit = frame.view.horizon, frame.view.width / 1280
    left = -20.0 * unit
    while left < frame.view.width:
        width, height = chance.uniform(90, 190) * unit, chance.uniform(110, 205) * unit
        wall, top = chance.choice(_HOUSES), horizon + 26 * unit - height
        frame.slab(left, top, left + width, horizon + 30 * unit, wall)
        frame.slab(left, top, left + width, top + 8 * unit, dark(wall, 0.8))
        for column in np.arange(left + 14 * unit, left + width - 24 * unit, 34 * unit):
            for row in np.arange(top + 18 * unit, horizon - 22 * unit, 38 * unit):
                frame.slab(column, row, column + 18 * unit, row + 24 * unit, (95, 85, 70))
                if chance.random() < 0.25:
                    glow.slab(column, row, column + 18 * unit, row + 24 * unit, (70, 130, 165))
        awning = chance.choice(CLOTHES)
        frame.slab(left + 6 * unit, horizon - 8 * unit, left + width - 6 * unit, horizon + 4 * unit, awning)
        shop = dark(wall, 0.45)
        frame.slab(left + 10 * unit, horizon + 4 * unit, left + width - 10 * unit, horizon + 30 * unit, shop)
        left += width


def _road(frame: _Frame) -> None:
    near, far = 6.0, 150.0
    frame.strip(-PATH_M, PATH_M, near, far, (150, 160, 165))
    frame.strip(-ROAD_M, ROAD_M, near, far, (85, 82, 80))
    for side in (-1, 1):
        for number in range(48):
            z = near + number * 1.5
            paint = (40, 200, 235) if number % 2 else (35, 35, 35)
            frame.strip(side * ROAD_M, side * KERB_M, z, z + 1.5, paint)
    for number in range(16):
        frame.strip(-0.09, 0.09, 22 + number * 6, 25 + number * 6, (225, 230, 230))
    for number in range(10):
        x = -ROAD_M + 0.3 + number
        frame.strip(x, x + 0.5, 15.5, 19.5, (215, 220, 220))


def _lamps(frame: _Frame, glow: _Frame) -> None:
    for x, z in LAMPS:
        column, row = frame.view.project(x, z)
        metre = frame.view.focal / z
        reach, thin, top = -math.copysign(1.6, x) * metre, 0.06 * metre, row - LAMP_M * metre
        frame.slab(column - thin, top, column + thin, row, (70, 75, 75))
        ends = min(column, column + reach), max(column, column + reach)
        frame.slab(ends[0], top, ends[1], top + 0.1 * metre, (70, 75, 75))
        head = column + reach
        glow.slab(head - 0.25 * metre, top, head + 0.25 * metre, top + 0.2 * metre, (200, 250, 255))
    trunk, foot = frame.view.project(-7.2, 21.0)
    metre = frame.view.focal / 21.0
    frame.slab(trunk - 0.2 * metre, foot - 3.6 * metre, trunk + 0.2 * metre, foot, (45, 70, 95))
