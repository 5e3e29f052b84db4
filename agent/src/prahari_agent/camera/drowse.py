"""Which packets need no decoding while nothing happens: all but key frames, where these come each second. What moves makes packets grow,
so a large one wakes at once; what does not is seen in the next key frame. Pure.
"""

from __future__ import annotations

from collections import deque

KEY_S = 1.15
"""Key frames further apart than this are too rare to look at alone."""
KEYS = 4
"""So many of them must have come so often, and the packets between them have been quiet, before the others are left alone."""
GROWN, LEAST_GROWTH = 1.6, 300
"""Larger than the largest quiet packet of late by this factor and so many bytes is motion."""
AWAKE_S = 2.0
"""For so long after something stirred everything is decoded."""
AT_TIMES_S, ANYWAY_S = 5.0, 1.0
"""Each so many seconds it is anyway, for this long: a picture that stands still is only known by frames that follow each other."""
_OF_LATE = 600


class Drowse:
    """Told of every packet in the order of decoding; ``at_s`` is the stream's own time, which may begin anew."""

    def __init__(self) -> None:
        self._sizes: deque[int] = deque(maxlen=_OF_LATE)
        self._keys = 0
        self._key_s: float | None = None
        self._awake_until_s = 0.0
        self._resting = False

    def spares(self, *, key: bool, size: int, at_s: float, idle: bool) -> bool:
        """Whether this packet can be left undecoded. ``idle``: nothing is followed and nothing has moved lately."""
        if key:
            self._note_key(at_s)
        if not idle:
            self._keys, self._resting = 0, False
            self._sizes.clear()
            return False
        grown = not key and self._sizes and size > GROWN * max(self._sizes) + LEAST_GROWTH
        if self._keys < KEYS:
            if not key:
                self._sizes.append(size)
            return False
        if grown:
            self._awake_until_s, self._resting = at_s + AWAKE_S, False
        elif key:
            self._resting = at_s >= self._awake_until_s and at_s % AT_TIMES_S >= ANYWAY_S
        if not key and not grown:
            self._sizes.append(size)
        return self._resting and not key

    def _note_key(self, at_s: float) -> None:
        """Count those that came soon after the one before."""
        soon = self._key_s is not None and 0 < at_s - self._key_s <= KEY_S
        self._keys = self._keys + 1 if soon else 0
        self._key_s = at_s
