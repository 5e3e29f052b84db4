"""Which loops are alive: the watchdog is fed only while all of them are."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Pulses:
    """Each loop registers with the longest silence that it may keep, then beats."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._lock = now_s, Lock()
        self._limit_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}

    def beat(self, name: str, *, limit_s: float = 60) -> None:
        with self._lock:
            self._limit_s[name], self._last_s[name] = limit_s, self._now_s()

    def end(self, name: str) -> None:
        with self._lock:
            self._limit_s.pop(name, None)
            self._last_s.pop(name, None)

    def silent(self) -> list[str]:
        """Names of the loops that have been silent for too long."""
        with self._lock:
            return [name for name, at_s in self._last_s.items() if self._now_s() - at_s > self._limit_s[name]]
