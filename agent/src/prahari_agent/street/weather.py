"""Rain in front of the camera and grain on its sensor."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from prahari_agent.street.light import Picture
from prahari_agent.street.view import View

_DAY_GRAIN, _NIGHT_GRAIN = 1.6, 3.4
_SPARE = 64
"""Pixels by which a layer is larger than the picture, so that each frame takes another part of it."""


class Grain:
    """Noise of the sensor, more of it in the dark."""

    def __init__(self, view: View, noise: np.random.Generator) -> None:
        self._view = view
        self._noise = noise.normal(0, 1, (view.height + _SPARE, view.width + _SPARE, 3)).astype(np.float32)
        self._layers = cache(self._layer)

    def add(self, picture: Picture, number: int, level: float) -> None:
        above, below = self._layers(round(8 * (_NIGHT_GRAIN + (_DAY_GRAIN - _NIGHT_GRAIN) * level)))
        row, column = number * 37 % _SPARE, number * 53 % _SPARE
        part = np.s_[row : row + self._view.height, column : column + self._view.width]
        cv2.add(picture, above[part], picture)
        cv2.subtract(picture, below[part], picture)

    def _layer(self, eighths: int) -> tuple[Picture, Picture]:
        grain = np.rint(self._noise * (eighths / 8))
        return np.maximum(grain, 0).astype(np.uint8), np.maximum(-grain, 0).astype(np.uint8)


class Rain:
    """Streaks that fall; ``rain`` from 0 to 1."""

    def __init__(self, view: View, noise: np.random.Generator) -> None:
        self._view = view
        self._drops = noise.random((420, 4))
        self._layers = cache(self._layer)

    def fall(self, picture: Picture, number: int, rain: float, level: float) -> None:
        if rain <= 0:
            return
        layer = self._layers(max(1, round(rain * 4)), round(level * 4))
        row, column = number * 41 % self._view.height, number * 29 % _SPARE
        part = layer[row : row + self._view.height, column : column + self._view.width]
        cv2.add(picture, part, picture)

    def _layer(self, quarters: int, light: int) -> Picture:
        height, width = self._view.height, self._view.width
        layer = np.zeros((2 * height, width + _SPARE, 3), np.uint8)
        bright = 22 + 10 * light
        for x, y, long, near in self._drops[: 105 * quarters]:
            column, row = round(x * (width + _SPARE)), round(y * height)
            length = round((0.02 + 0.05 * long) * height)
            shade = round(bright * (0.4 + 0.6 * near))
            for copy in (0, height):
                start, end = (column, row + copy), (column - length // 8, row + copy + length)
                cv2.line(layer, start, end, (shade, shade, shade), 1, cv2.LINE_AA)
        return layer
