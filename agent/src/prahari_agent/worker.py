"""A thread that handles one thing after the other, so that the network thread never waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses

log = get_logger("worker")

Task = Callable[[], None]


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
