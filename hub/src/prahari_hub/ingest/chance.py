"""From when on a device's silence counts, after the hub itself may have been why nothing was heard. Pure: times are values.

Devices that lost their connection with the broker come back over the window that the hub has named, and later while a crowd stands
before its gate. Until then their silence is the hub's doing. What holds for one holds for all, and no longer than ``most_s`` at a
stretch: somebody who knocks for ever must not keep the hub from telling who is silent.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_S, MOST_WINDOWS = 600.0, 3.0


class Spread(NamedTuple):
    """How a fleet comes back: over ``window_s``, and all of it would take ``whole_s`` at the rate at which the gate lets devices in."""

    window_s: float = 0.0
    whole_s: float = 0.0

    @property
    def most_s(self) -> float:
        """How long a crowd excuses silence."""
        return max(MOST_S, MOST_WINDOWS * self.whole_s)


class Chance:
    """``counts_s``: silence before this moment says nothing."""

    def __init__(self) -> None:
        self.counts_s = float("-inf")
        self._since_s: float | None = None
        self._last_s = float("-inf")

    def begins(self, now_s: float, spread: Spread) -> None:
        """The hub sees the broker again: everybody may just have lost the connection."""
        self._since_s = self._last_s = now_s
        self.counts_s = now_s + spread.window_s

    def crowded(self, now_s: float, spread: Spread) -> None:
        """Devices wait before the gate, or were asked to come again: they do within another window."""
        if self._since_s is None or now_s - self._last_s > spread.most_s:
            self._since_s = now_s
        self._last_s = now_s
        if now_s - self._since_s <= spread.most_s:
            self.counts_s = max(self.counts_s, now_s + spread.window_s)
