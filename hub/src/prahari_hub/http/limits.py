"""How often one address may try: to enrol, to log in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

ADDRESSES = 10_000


class RateLimit:
    """A bucket of ``burst`` tries an address, refilled with ``per_s``; the addresses seen longest ago are forgotten."""

    def __init__(self, burst: int, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """0 if this try may go on, else after how many seconds the next one may."""
        return self._ask(address, 1)

    def wait_s(self, address: str) -> float:
        """The same without counting a try."""
        return self._ask(address, 0)

    def _ask(self, address: str, cost: int) -> float:
        now = self._clock()
        level, at = self._buckets.pop(address, (float(self._burst), now))
        level = min(self._burst, level + (now - at) * self._per_s)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._per_s
        self._buckets[address] = (level - cost if wait_s == 0 else level, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return wait_s
