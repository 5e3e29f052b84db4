"""How bright it is: ambient light over the day, street lamps, head-lights. Light is a factor on blue, green and red each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prahari_agent.street.actors import Colour
from prahari_agent.street.view import Ground, View

Picture = NDArray[np.uint8]
Map = NDArray[np.float32]

LAMPS: Sequence[Ground] = ((-6.2, 14.0), (6.2, 34.0), (-6.2, 60.0))
LAMP_M = 6.5
LAMPS_ON = 0.42
"""Lamps and head-lights are lit below this level of daylight."""
_AMBIENT = (
    (0.0, (0.10, 0.085, 0.075)),
    (0.3, (0.30, 0.27, 0.28)),
    (0.6, (0.62, 0.62, 0.72)),
    (1.0, (1.0, 1.0, 1.0)),
)
_LAMP_COLOUR = (0.40, 0.58, 0.66)
_LAMP_REACH_M = 6.0
_BEAM_COLOUR = np.array((0.55, 0.62, 0.65), np.float32)


@lru_cache(maxsize=64)
def ambient(level: float) -> tuple[float, float, float]:
    """Of the sky at ``level`` of daylight: 1 noon, 0.5 dusk, 0 night."""
    levels = [at for at, _ in _AMBIENT]
    return cast(
        "tuple[float, float, float]",
        tuple(
            float(np.interp(level, levels, [gain[channel] for _, gain in _AMBIENT])) for channel in range(3)
        ),
    )


def lamp_share(level: float) -> float:
    """0 by day to 1 at night; lamps come on within a small part of dusk."""
    return min(1.0, max(0.0, (LAMPS_ON - level) / 0.06))


def lit(colour: Colour, gain: Sequence[float]) -> Colour:
    (blue, green, red), (on_blue, on_green, on_red) = colour, gain
    return min(255, int(blue * on_blue)), min(255, int(green * on_green)), min(255, int(red * on_red))


def gain_at(x: float, z: float, level: float, beams: Sequence[Ground] = ()) -> list[float]:
    """The light on something that stands at a place; ``beams``: where head-lights shine from, towards the camera or away."""
    near = lamp_share(level)
    if near:
        near *= sum(_falloff(math.hypot(x - lx, z - lz)) for lx, lz in LAMPS)
    shine = sum(0.5 / (1 + ((x - bx) / 1.6) ** 2 + ((z - bz) / 7.0) ** 2) for bx, bz in beams)
    return [
        sky + near * lamp + shine * float(beam)
        for sky, lamp, beam in zip(ambient(level), _LAMP_COLOUR, _BEAM_COLOUR, strict=True)
    ]


def _falloff(distance_m: float) -> float:
    near: float = 1 / (1 + (distance_m / _LAMP_REACH_M) ** 2)
    return near * math.sqrt(near)


@lru_cache(maxsize=2)
def lamp_map(view: View) -> Map:
    """The light of all lamps on what stands still, at full strength; shape (height, width, 3)."""
    rows, columns = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    below = np.maximum(rows - view.horizon, 6.0)
    z = view.focal * 5.0 / below
    x = (columns - view.width / 2) * z / view.focal
    total = np.zeros_like(z)
    for lamp_x, lamp_z in LAMPS:
        total += (1 + ((x - lamp_x) ** 2 + (z - lamp_z) ** 2) / _LAMP_REACH_M**2) ** -1.5
    facade = np.where(rows < view.horizon + 6, 0.16 * np.clip(rows / view.horizon, 0, 1), 0.0)
    return cast("Map", (total + facade)[..., None] * np.array(_LAMP_COLOUR, np.float32))


@lru_cache(maxsize=256)
def _glow(wide: int, high: int, peak: int, warm: bool) -> Picture:
    """A soft spot of light, ``wide`` x ``high`` pixels."""
    across = np.linspace(-1, 1, wide, dtype=np.float32)[None, :]
    along = np.linspace(-1, 1, high, dtype=np.float32)[:, None]
    spot = np.clip(1 - np.sqrt(across**2 + along**2), 0, 1) ** 2 * peak
    tint = np.array((0.25, 0.3, 1.0) if warm else (0.9, 0.97, 1.0), np.float32)
    return cast("Picture", (spot[..., None] * tint).astype(np.uint8))


def shine(
    picture: Picture, column: float, row: float, wide: float, high: float, peak: int, *, red: bool = False
) -> None:
    """Add a spot of light around a point; what lies outside of the picture is cut off."""
    size = max(3, round(wide) | 1), max(3, round(high) | 1)
    spot = _glow(*size, peak, red)
    left, top = round(column) - size[0] // 2, round(row) - size[1] // 2
    right, bottom = min(left + size[0], picture.shape[1]), min(top + size[1], picture.shape[0])
    first_column, first_row = max(left, 0), max(top, 0)
    if first_column >= right or first_row >= bottom:
        return
    part = picture[first_row:bottom, first_column:right]
    cv2.add(
        part,
        np.ascontiguousarray(spot[first_row - top : bottom - top, first_column - left : right - left]),
        part,
    )
