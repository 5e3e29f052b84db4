"""Follows boxes from frame to frame without the detector: the pattern within a box is looked for near where it was. Pure."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from prahari_agent.camera.boxes import Box
from prahari_agent.camera.signals import Luma

HELD = 0.5
"""Correlation from which on the pattern is the same object."""
REACH, RISE = 0.3, 0.06
"""How far it may have moved across and down, in its own heights, beyond ``_SLACK`` pixels: who walks goes across; limbs that swing,
and a box that shows a part of somebody, must not lift the feet.
"""
_SLACK = 2
_CORE = 0.1
"""Share of the box cut off on each side: there is background at its edges."""
_LEAST = 5
"""Pixels that a pattern must have in each direction."""


class Carried(NamedTuple):
    """``score``: how well it was found again, 0 where it was not; ``shift``: how far, in its own heights."""

    box: Box
    score: float
    shift: float


def carry(before: Luma, now: Luma, box: Box) -> Carried:
    """Where what was in ``box`` of one frame is in the next; both of shape (rows, columns)."""
    rows, columns = now.shape
    if before.shape != now.shape:
        return Carried(box, 0.0, 0.0)
    core = box.clipped().grown(-_CORE)
    left, right = round(core.left * columns), round(core.right * columns)
    top, bottom = round(core.top * rows), round(core.bottom * rows)
    if right - left < _LEAST or bottom - top < _LEAST:
        return Carried(box, 0.0, 0.0)
    reach, rise = round(REACH * (bottom - top)) + _SLACK, round(RISE * (bottom - top)) + _SLACK
    first_column, first_row = max(0, left - reach), max(0, top - rise)
    window = now[first_row : min(rows, bottom + rise), first_column : min(columns, right + reach)]
    pattern = before[top:bottom, left:right]
    if float(pattern.std()) < 2.0:
        return Carried(box, 0.0, 0.0)
    found = cv2.matchTemplate(window, np.ascontiguousarray(pattern), cv2.TM_CCOEFF_NORMED)
    _, score, _, place = cv2.minMaxLoc(found)
    across, down = first_column + place[0] - left, first_row + place[1] - top
    moved = box.moved((across / columns, down / rows))
    return Carried(moved, max(0.0, float(score)), float(np.hypot(across, down)) / max(1, bottom - top))
