"""Snapshots fit to leave the box: persons are pixelated, the size is bounded."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from prahari_agent.camera.boxes import Box

Pixels = NDArray[np.uint8]

MAX_ROWS = 720
MAX_BYTES = 400_000
MARGIN = 0.08
"""A person's box is hidden with this share of its size around it: detectors cut off hair and hands."""
CELLS = 8
"""A hidden box keeps at most this many cells across its shorter side: no face can be told from them."""
WHOLE_CELLS = 96
"""Cells across the whole picture where nothing can tell persons from other things."""
_QUALITIES = (82, 70, 55, 40, 25, 12)
_MARK = (0, 191, 255)


def snapshot_jpeg(bgr: Pixels, hide: Iterable[Box], *, whole: bool = False, mark: Box | None = None) -> bytes:
    """A JPEG of at most MAX_BYTES in which ``hide`` (and with ``whole`` the whole picture) is pixelated, and ``mark`` outlined."""
    picture = bgr.copy()
    hide_in(picture, hide, whole=whole)
    rows, columns = picture.shape[:2]
    if mark is not None:
        left, top, right, bottom = _pixels(mark, rows, columns)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), _MARK, 2)
    return _encoded(picture)


def hide_in(picture: Pixels, hide: Iterable[Box], *, whole: bool = False) -> None:
    """Pixelate ``hide``, and with ``whole`` all of the picture, in place."""
    rows, columns = picture.shape[:2]
    if whole:
        _pixelate(picture, Box(0, 0, 1, 1), WHOLE_CELLS, max(2, WHOLE_CELLS * rows // columns))
    for box in hide:
        wide = box.grown(MARGIN)
        width, height = (wide.right - wide.left) * columns, (wide.bottom - wide.top) * rows
        cell = max(1.0, min(width, height) / CELLS)
        _pixelate(picture, wide, max(1, int(width / cell)), max(1, int(height / cell)))


def _encoded(picture: Pixels) -> bytes:
    for quality in _QUALITIES:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MAX_BYTES:
            return data
    rows, columns = picture.shape[:2]
    return _encoded(np.asarray(cv2.resize(picture, (columns // 2, rows // 2)), np.uint8))


def _pixelate(picture: Pixels, box: Box, across: int, down: int) -> None:
    """Replace the box, in place, by ``across`` x ``down`` cells of its own mean colours."""
    left, top, right, bottom = _pixels(box, *picture.shape[:2])
    part = picture[top:bottom, left:right]
    if part.size:
        cells = cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)


def _pixels(box: Box, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Pixel edges that cover the box: rounded outwards."""
    inside = box.clipped()
    return (
        int(inside.left * columns),
        int(inside.top * rows),
        min(columns, -int(-inside.right * columns // 1)),
        min(rows, -int(-inside.bottom * rows // 1)),
    )
