"""The motion gate: does anything move in the picture, and where. Pure arrays in, boxes out.

Two running averages of the brightness: a slow one is the background, a fast one the last second. What differs from the
background and also from the last second moves. What differs from the background alone stands still: a parked car, or the hole
that a person left in it; it opens nothing and is absorbed in about ``ABSORB_S``. A standing person is held by the tracker. When
most of the picture changes at once (lightning, a lamp switched, an exposure step) the background is learned anew, without boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prahari_agent.camera.boxes import Box, covered

Luma = NDArray[np.uint8]

ABSORB_S = 20.0
RELEARN_S = 0.4
"""Time constant of the background while it is learned anew."""
WARM_UP_S = 2.0
LEVEL = 28
"""Difference in brightness (0 to 255) that counts as a change."""
RECENT_S = 0.8
MOVING_LEVEL = 14
MOVING_SHARE = 0.03
"""Share of a changed area that must differ from the last second, too."""
LEAST_SHARE = 0.0012
"""Least changed share of the picture that is a moving object."""
LIGHTNING_SHARE = 0.6
CALM_SHARE = 0.1
_BLUR = (5, 5)
_MERGE = np.ones((9, 9), np.uint8)


@dataclass(frozen=True)
class Look:
    """``open``: the frame deserves a detector. ``boxes``: what moves. ``lightning``: the whole picture changed."""

    open: bool
    boxes: Sequence[Box] = ()
    lightning: bool = False


class MotionGate:
    def __init__(self) -> None:
        self._background: NDArray[np.float32] | None = None
        self._recent: NDArray[np.float32] | None = None
        self._began_s = 0.0
        self._last_s = 0.0
        self._learning = False

    def look(self, luma: Luma, time_s: float) -> Look:
        """``luma``: shape (rows, columns); a new shape begins anew. ``time_s`` only grows."""
        smooth = cast("Luma", cv2.GaussianBlur(luma, _BLUR, 0))
        if self._background is None or self._recent is None or self._background.shape != smooth.shape:
            self._background, self._recent = smooth.astype(np.float32), smooth.astype(np.float32)
            self._began_s = self._last_s = time_s
            return Look(open=True)
        changed = _differs(smooth, self._background, LEVEL)
        moving = _differs(smooth, self._recent, MOVING_LEVEL)
        share = cv2.countNonZero(changed) / changed.size
        self._learning = share > LIGHTNING_SHARE or (self._learning and share > CALM_SHARE)
        gap_s, self._last_s = max(0.0, time_s - self._last_s), time_s
        _absorb(smooth, self._background, gap_s / (RELEARN_S if self._learning else ABSORB_S))
        _absorb(smooth, self._recent, gap_s / RECENT_S)
        if self._learning:
            return Look(open=True, lightning=True)
        boxes = _boxes(changed, moving)
        return Look(open=bool(boxes) or time_s - self._began_s < WARM_UP_S, boxes=boxes)


def _differs(smooth: Luma, average: NDArray[np.float32], level: int) -> Luma:
    """255 where the picture differs from the average, 0 elsewhere."""
    difference = cv2.absdiff(smooth, cv2.convertScaleAbs(average))
    return cast("Luma", cv2.threshold(difference, level, 255, cv2.THRESH_BINARY)[1])


def _absorb(smooth: Luma, average: NDArray[np.float32], time_constants: float) -> None:
    cv2.accumulateWeighted(smooth, average, 1 - math.exp(-time_constants))


def _boxes(changed: Luma, moving: Luma) -> list[Box]:
    """Changed areas in which something moves, near ones as one, largest first. Where too little has changed nothing more is done: a
    quiet street is most of a camera's time.
    """
    if cv2.countNonZero(changed) < LEAST_SHARE * changed.size or not cv2.countNonZero(moving):
        return []
    rows, columns = changed.shape
    merged = cv2.dilate(cv2.medianBlur(changed, 3), _MERGE)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(merged)
    found = []
    for number in range(1, count):
        left, top, width, height, _ = (int(value) for value in stats[number])
        part = np.s_[top : top + height, left : left + width]
        own = (numbers[part] == number) & (changed[part] > 0)
        size = int(np.count_nonzero(own))
        if (
            size >= LEAST_SHARE * changed.size
            and np.count_nonzero(own & (moving[part] > 0)) >= MOVING_SHARE * size
        ):
            found.append(Box(left / columns, top / rows, (left + width) / columns, (top + height) / rows))
    found.sort(key=lambda box: -box.area)
    kept: list[Box] = []
    for box in found:
        if not any(covered(box, other) > 0.5 for other in kept):
            kept.append(box)
    return kept
