"""How often one address may try to enrol."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

BURST, PER_S = 600, 5.0
"""A depot enrols hundreds of boxes behind one address; guessing a secret of 120 bits needs rather more tries."""
ADDRESSES = 10_000


class RateLimit:
    """A bucket of ``burst`` tries an address, refilled with ``per_s``; the addresses seen longest ago are forgotten."""

    def __init__(
        self, burst: int = BURST, per_s: float = PER_S, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """0 if this try may go on, else after how many seconds the next one may."""
        now = self._clock()
        level, at = self._buckets.pop(address, (float(self._burst), now))
        level = min(self._burst, level + (now - at) * self._per_s)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._per_s
        self._buckets[address] = (level - 1 if wait_s == 0 else level, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return wait_s
