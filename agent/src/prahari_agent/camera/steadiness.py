"""How steadily pictures come: stalls and reconnections of the last hour. Pure."""

from __future__ import annotations

from collections import deque

HOUR_S = 3600.0
LEAST_STALL_S = 2.0
_MOST = 10_000


class Steadiness:
    """``period_s``: between two pictures that are looked at."""

    def __init__(self, period_s: float) -> None:
        self._stall_s = max(LEAST_STALL_S, 2 * period_s)
        self._last_s: float | None = None
        self._stalls: deque[float] = deque(maxlen=_MOST)
        self._opened: deque[float] = deque(maxlen=_MOST)

    def frame(self, now_s: float) -> None:
        """A picture came: after a longer pause than usual the stream has stalled."""
        if self._last_s is not None and now_s - self._last_s > self._stall_s:
            self._stalls.append(now_s)
        self._last_s = now_s

    def opened_again(self, now_s: float) -> None:
        """The source had failed and is opened anew."""
        self._opened.append(now_s)

    def stalls(self, now_s: float) -> int:
        return _within_the_hour(self._stalls, now_s)

    def reconnections(self, now_s: float) -> int:
        return _within_the_hour(self._opened, now_s)


def _within_the_hour(times: deque[float], now_s: float) -> int:
    while times and now_s - times[0] > HOUR_S:
        times.popleft()
    return len(times)
