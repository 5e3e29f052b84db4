"""When the detector looks. It costs most of a camera's work, so it looks when it can learn something: what moves and belongs to nothing
known, what is not confirmed yet, what was lost; and now and then at what is held. Between looks boxes are carried (carry.py). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from prahari_agent.camera.boxes import Box, Detection, overlap
from prahari_agent.camera.carry import HELD, Carried
from prahari_agent.camera.crops import Wish
from prahari_agent.camera.tracker import Track

IDLE_S = 60.0
"""It looks at least this often where nothing moves and nothing is known."""
HELD_S = 1.0
STILL_S = 5.0
"""What has not moved since the last look needs no other so soon."""
STILL_SCORE, STILL_SHIFT = 0.9, 0.05
STILL_LOOKS = 2
"""So many looks in a row must have found it where it was before it counts as standing still."""
LOST_S = 0.35
"""While something known is not found, it looks for it this often."""
_AROUND = 0.4
_EXPLAINED = 0.5
"""Share of a moving area that lies around known objects, and is theirs."""
_CELLS = (8, 12)
PATIENCE = 4
"""Vain looks at a place that moves (a tree, a flag, a shadow) before looks at it become rarer."""
LONGEST_WAIT_S = 2.0
_FORGIVEN_S = 60.0
_UNSURE, _NEW, _LOST, _ANYWHERE = 40.0, 30.0, 20.0, 10.0
"""Whose look comes first where there are not enough: who is about to be confirmed, what is new, who was lost, then who waits longest."""


class Pace:
    def __init__(self) -> None:
        self._looked_s = float("-inf")
        self._vain = np.zeros(_CELLS, np.int16)
        self._vain_s = np.full(_CELLS, -np.inf)
        self._asked_s: dict[str, float] = {}
        self._calm: dict[str, bool] = {}
        self._still: dict[str, int] = {}
        self._strange: list[Box] = []

    def wishes(
        self,
        time_s: float,
        *,
        warm: bool,
        moving: Sequence[Box],
        tracks: Sequence[Track],
        carried: Mapping[str, Carried],
    ) -> list[Wish]:
        """What the detector should look at in this frame. ``warm``: the picture is new, so anything may be in it; ``moving``: areas
        that move; ``carried``: where each confirmed track that was not lost before was found again.
        """
        self._strange = [area for area in moving if not _explained(area, tracks)]
        for id, found in carried.items():
            still = found.score >= STILL_SCORE and found.shift <= STILL_SHIFT
            self._calm[id] = self._calm.get(id, True) and still
        found_out = [Wish(area, _NEW) for area in self._strange if self._worth(area, time_s)]
        for track in tracks:
            since_s = time_s - self._asked_s.get(track.id, track.found_s)
            lost = track.confirmed and (track.missed > 0 or _slipped(carried.get(track.id)))
            if not track.confirmed:
                found_out.append(Wish(track.expected(time_s), _UNSURE))
            elif since_s >= self._interval_s(track, lost=lost) - 0.01:
                found_out.append(Wish(track.expected(time_s), (_LOST if lost else 0) + since_s))
        if warm or (not tracks and time_s - self._looked_s >= IDLE_S):
            found_out.append(Wish(None, _ANYWHERE))
        return found_out

    def looked(
        self, time_s: float, found: Sequence[Detection], tracks: Sequence[Track], shown: Callable[[Box], bool]
    ) -> None:
        """The detector has looked; ``found``: what may become or stay a track; ``tracks``: those followed until now; ``shown``: whether
        a place was among what it looked at.
        """
        self._looked_s = time_s
        for track in tracks:
            if shown(track.expected(time_s)):
                self._asked_s[track.id] = time_s
                still = self._still.pop(track.id, 0) + 1
                if self._calm.pop(track.id, False):
                    self._still[track.id] = still
        living = {track.id for track in tracks}
        for kept in (self._asked_s, self._calm, self._still):
            for gone in kept.keys() - living:
                del kept[gone]
        for area in self._strange:
            if shown(area):
                self._note(area, time_s, vain=not any(overlap(one.box, area) > 0 for one in found))

    def _interval_s(self, track: Track, *, lost: bool) -> float:
        if lost:
            return LOST_S
        return STILL_S if self._stands(track.id) else HELD_S

    def _note(self, area: Box, time_s: float, *, vain: bool) -> None:
        cells = _cells(area)
        self._vain[cells] = np.minimum(self._vain[cells] + 1, PATIENCE + 8) if vain else 0
        self._vain_s[cells] = time_s

    def _stands(self, id: str) -> bool:
        return self._still.get(id, 0) >= STILL_LOOKS and self._calm.get(id, True)

    def _worth(self, area: Box, time_s: float) -> bool:
        """A place that was looked at in vain often is looked at less, unless what moves has come to a new one."""
        cells = _cells(area)
        times = np.where(time_s - self._vain_s[cells] > _FORGIVEN_S, 0, self._vain[cells])
        vain = int(times.min())
        if vain < PATIENCE:
            return True
        wait_s = min(LONGEST_WAIT_S, 0.4 * 2.0 ** (vain - PATIENCE))
        return bool(time_s - float(self._vain_s[cells].max()) >= wait_s)


def _slipped(carried: Carried | None) -> bool:
    return carried is not None and carried.score < HELD


def _cells(area: Box) -> tuple[slice, slice]:
    rows, columns = _CELLS
    box = area.clipped()
    top, bottom = int(box.top * (rows - 0.01)), int(box.bottom * (rows - 0.01))
    left, right = int(box.left * (columns - 0.01)), int(box.right * (columns - 0.01))
    return slice(top, bottom + 1), slice(left, right + 1)


def _explained(area: Box, tracks: Sequence[Track]) -> bool:
    shared = sum(overlap(area, track.box.grown(_AROUND)) for track in tracks if track.confirmed)
    return shared >= _EXPLAINED * area.area
