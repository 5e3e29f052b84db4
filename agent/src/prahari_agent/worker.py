"""Threads that do one thing after the other, so that the network thread never waits: what they are handed, or what is due."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses

log = get_logger("worker")

Task = Callable[[], None]
LONGEST_WAIT_S = 60.0
"""Between two steps, and after one that failed."""


class Worker:
    """``put`` never blocks: what does not fit is dropped and counted, for the hub sends again what it gets no answer to."""

    def __init__(self, name: str, pulses: Pulses, *, limit: int = 256, silent_s: float = 120) -> None:
        self._name, self._pulses, self._silent_s = name, pulses, silent_s
        self._tasks: queue.Queue[Task | None] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        try:
            self._tasks.put(None, timeout=5)
        except queue.Full:
            log.warning("a worker is too busy to stop", worker=self._name)
        self._thread.join(3)
        self._pulses.end(self._name)

    def put(self, task: Task) -> None:
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self.dropped += 1
            log.warning("too much to do: a message is dropped and awaited again", worker=self._name)

    def _run(self) -> None:
        while True:
            self._pulses.beat(self._name, limit_s=self._silent_s)
            try:
                task = self._tasks.get(timeout=5)
            except queue.Empty:
                continue
            if task is None:
                return
            try:
                task()
            except Exception:
                log.exception("a message could not be handled", worker=self._name)


class Stepper:
    """``step`` does what is due and says in how many seconds there is more; ``wake`` asks it to look at once.

    A step that takes long calls ``beat``, so that the watchdog knows that it lives, and ends early once ``stopping`` holds.
    """

    def __init__(
        self, name: str, pulses: Pulses, step: Callable[[], float], *, silent_s: float = 300
    ) -> None:
        self._name, self._pulses, self._step, self._silent_s = name, pulses, step, silent_s
        self._woken, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is under way goes on at the next start."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(3)
        self._pulses.end(self._name)

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    def stops_within(self, seconds: float) -> bool:
        """Wait; True as soon as it is to stop."""
        return self._stopped.wait(seconds)

    def wake(self) -> None:
        self._woken.set()

    def beat(self) -> None:
        self._pulses.beat(self._name, limit_s=self._silent_s)

    def _run(self) -> None:
        while not self.stopping:
            self.beat()
            try:
                wait_s = self._step()
            except Exception:
                log.exception("a step failed and the next one is tried later", worker=self._name)
                wait_s = LONGEST_WAIT_S
            self._woken.wait(min(wait_s, LONGEST_WAIT_S))
            self._woken.clear()
