"""The detector at work on a frame: on all of it, or on parts of it whose findings become one list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.crops import WHOLE, Budget, Crops, Wish, merged
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.source import Frame


@dataclass
class Counters:
    """What the camera did since its process started; ``detector_ms`` is a moving average, ``put_off`` counts looks that the budget made
    wait for a later frame.
    """

    frames: int = 0
    inferences: int = 0
    detector_ms: float = 0.0
    tracks: int = 0
    put_off: int = 0


class Looking:
    """``inferring`` is entered around every call into the inference runtime. ``per_second``: the budget of inferences; a look that a
    snapshot needs is made beyond it.
    """

    def __init__(
        self,
        detector: Detector,
        counters: Counters,
        *,
        per_second: float,
        inferring: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.detector = detector
        self._counters, self._inferring = counters, inferring
        self._budget = Budget(per_second)
        self._crops = Crops(detector.width, detector.height)

    def plan(self, frame: Frame, wishes: Sequence[Wish]) -> list[Box]:
        """The parts to look at, none if nothing asks for it or the budget is spent."""
        parts = self._crops.plan(wishes, frame.size, self._budget.left(frame.time_s))
        self._counters.put_off += bool(wishes) and not parts
        self._budget.spend(len(parts))
        return parts

    def look(self, frame: Frame, parts: Sequence[Box]) -> list[Detection]:
        return merged([(part, self._infer(frame, part)) for part in parts])

    def everything(self, frame: Frame, also: Sequence[Box] = ()) -> list[Detection]:
        """What can be seen in the whole frame, and in parts around ``also`` where the whole does not show small things."""
        wishes = [Wish(box, 0.0) for box in also]
        around = self._crops.plan(wishes, frame.size, len(wishes)) if self._crops.splits(frame.size) else []
        return self.look(frame, [WHOLE, *(part for part in around if part != WHOLE)])

    def shown(self, frame: Frame, parts: Sequence[Box]) -> Callable[[Box], bool]:
        """Whether an object at a place would have been found in a look at these parts."""
        return lambda box: any(self._crops.shows(part, box, frame.size) for part in parts)

    def _infer(self, frame: Frame, part: Box) -> list[Detection]:
        width, height = self.detector.width, self.detector.height
        pixels = frame.rgb(width, height) if part == WHOLE else frame.part(part, width, height)
        began_s = time.perf_counter()
        with self._inferring():
            found = self.detector.detect(pixels)
        took_ms = (time.perf_counter() - began_s) * 1000
        counters = self._counters
        counters.detector_ms += (took_ms - counters.detector_ms) * (0.1 if counters.inferences else 1)
        counters.inferences += 1
        return found
