"""Which loops are alive: systemd's watchdog is fed only while all of them are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Self

from prahari_agent.log import get_logger

log = get_logger("pulse")

LONGEST_FEED_S = 5.0


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


class Systemd:
    """Ready, alive, stopping: said to systemd from entering to leaving the ``with`` block. Silent where systemd is not there.

    Ready is said at once: a box without a network works too, and must not be killed for it.
    """

    def __init__(self, pulses: Pulses) -> None:
        import sdnotify

        self._pulses, self._notifier = pulses, sdnotify.SystemdNotifier()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="watchdog", daemon=True)
        self.status: Callable[[], str] = lambda: "starting"

    def __enter__(self) -> Self:
        self._notifier.notify("READY=1")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._notifier.notify("STOPPING=1")
        self._thread.join(5)
        if self._notifier.socket is not None:
            self._notifier.socket.close()

    def _feed(self) -> None:
        wanted_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        while not self._stopping.wait(min(wanted_s or LONGEST_FEED_S, LONGEST_FEED_S)):
            if silent := self._pulses.silent():
                log.error("parts of the agent hang, the watchdog is not fed", parts=silent)
            else:
                self._notifier.notify(
                    f"WATCHDOG=1\nSTATUS={self.status().encode('ascii', 'replace').decode()}"
                )
