"""How fast devices come in after the broker was away: a token bucket with a short line before it. Pure: time is a value."""

from __future__ import annotations

import math

MOST_WAIT_S = 20.0
"""Longest place in the line: an agent and the broker give up on the hub's answer some seconds later."""
RESERVE = 0.1
"""Share of the rate that is kept for devices with an urgent event."""
URGENT_WAIT_S = 2.0
"""Where the reserve has no place so soon, the common line may."""
URGENT_EVERY_S = 5.0
"""A device is believed to be urgent so often."""
MOST_URGENT = 10_000
MANY = 0.25
"""Share of the rate at which devices come that says: a fleet is on its way back."""
LEAST_WINDOW_S, MOST_WINDOW_S = 2.0, 120.0


class Bucket:
    """``rate`` a second, ``burst`` at once; who comes too early is given a later turn (GCRA)."""

    def __init__(self, rate: float, burst: float) -> None:
        self.interval_s = 1 / rate
        self._slack_s = burst * self.interval_s
        self._next_s = -math.inf

    def wait_s(self, now_s: float, *, most_s: float) -> float | None:
        """How long until the turn, which is taken; None, and nothing taken, where that is more than ``most_s``."""
        start_s = max(self._next_s, now_s - self._slack_s + self.interval_s)
        wait_s = max(0.0, start_s - now_s)
        if wait_s > most_s:
            return None
        self._next_s = start_s + self.interval_s
        return wait_s


class Gate:
    """Admits ``rate`` connections a second. An urgent device finds a reserve that others cannot use up."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._line = Bucket(rate, burst=max(1.0, rate))
        self._reserve = Bucket(max(1.0, rate * RESERVE), burst=max(10.0, rate * RESERVE))
        self._few = Bucket(max(1.0, rate * MANY), burst=max(10.0, rate * MANY))
        self._urgent: dict[str, float] = {}

    def wait_s(self, device: str, now_s: float, *, urgent: bool) -> float | None:
        """After how long this device may come in; None: it is to come later."""
        if urgent and self._believed(device, now_s):
            wait_s = self._reserve.wait_s(now_s, most_s=URGENT_WAIT_S)
            if wait_s is not None:
                return wait_s
        return self._line.wait_s(now_s, most_s=MOST_WAIT_S)

    def crowded(self, now_s: float, wait_s: float | None) -> bool:
        """Whether devices come in numbers, told with each of them: it has to wait, or many came before it."""
        return self._few.wait_s(now_s, most_s=0.0) is None or wait_s != 0.0

    def _believed(self, device: str, now_s: float) -> bool:
        if now_s - self._urgent.get(device, -math.inf) < URGENT_EVERY_S:
            return False
        if len(self._urgent) >= MOST_URGENT:
            self._urgent.clear()
        self._urgent[device] = now_s
        return True


def reconnect_window_s(devices: int, rate: float) -> float:
    """Over how long a fleet of this size should spread its return; 0 for one that may come at once."""
    window_s = devices / rate
    return 0.0 if window_s < LEAST_WINDOW_S else min(MOST_WINDOW_S, round(window_s, 1))
