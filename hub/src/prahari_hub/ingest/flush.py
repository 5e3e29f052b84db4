"""From memory to the store, in small transactions so that an event never waits behind a whole fleet's heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import history, intake
from prahari_hub.fleet.history import Sums
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.queue import Queue
from prahari_hub.ingest.refused import Refusals
from prahari_hub.store import Store, Unit

ROWS = 100
STALL_SWEEPS = 5
SWEEP_AT_ONCE = 20_000
HISTORY_S = (15.0, 240.0)
DEVICES_A_SECOND = 100
"""A small fleet's charts grow every 15 s, a large one's every 4 min: each block is read, merged and written again."""
log = logging.getLogger(__name__)
T = TypeVar("T")


class Flusher:
    """Sweeps presence; beside it, writes transitions, last seen, current values, history and refusals.

    The sweep waits for no write: it has to tell a silent fleet from a hub that does not listen.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory,
        queue: Queue,
        refusals: Refusals,
        *,
        mono: Callable[[], float],
        flush_s: float,
    ) -> None:
        self._store = store
        self._memory = memory
        self._queue = queue
        self._dropped = 0
        self._swept_s: float | None = None
        self._refusals = refusals
        self._mono = mono
        self._flush_s = flush_s
        self._sweep_s = max(0.2, min(1.0, flush_s, memory.limits.suspect_s / 5))
        self._flushed_s = mono()
        self._history_s = mono()
        self._measured_at = store.clock()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._repeat(self.sweep), self._repeat(self.write_due))

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            try:
                await work()
            except Unavailable as error:
                log.error("heartbeats are not written now: %s", error)
            except Exception:
                metrics.WORKER_FAILURES.labels("flush").inc()
                log.exception("writing heartbeats failed")

    async def write_due(self) -> None:
        await self.write_steps()
        if self._mono() - self._flushed_s >= self._flush_s:
            self._flushed_s = self._mono()
            await self.write_beats()
            await self.write_refusals()
        if self._history_due():
            await self.write_history()

    async def flush(self) -> None:
        """Everything, now."""
        await self.write_steps()
        await self.write_beats()
        await self.write_refusals()
        await self.write_history()

    async def sweep(self) -> None:
        """Judge every device's silence, with breath for the event loop in between."""
        now_s = self._mono()
        if self._deaf(now_s):
            self._memory.hard_of_hearing(now_s)
        self._swept_s, self._dropped = now_s, self._queue.dropped
        entries = iter(list(self._memory.entries.values()))
        while part := list(islice(entries, SWEEP_AT_ONCE)):
            self._memory.sweep(part, self._mono(), self._store.clock())
            await asyncio.sleep(0)

    def _deaf(self, now_s: float) -> bool:
        """Whether the hub itself stood still, lags behind what came in, or had to leave something out of it."""
        stood_still = self._swept_s is not None and now_s - self._swept_s > STALL_SWEEPS * self._sweep_s
        oldest_s = self._queue.oldest_s
        lags = oldest_s is not None and now_s - oldest_s > self._memory.limits.suspect_s / 2
        return stood_still or lags or self._queue.dropped > self._dropped

    async def write_steps(self) -> None:
        """Transitions, oldest first; what the database does not take now stays for the next time."""
        taken = self._memory.take_pending()
        while taken:
            rows = [(told.device, told.step, told.at) for told in taken[:ROWS]]
            try:
                await self._write_part(intake.record_steps, rows)
            except Unavailable:
                self._memory.pending[:0] = taken
                raise
            del taken[:ROWS]

    async def write_beats(self) -> None:
        for part in _parts(self._memory.take_beats(), ROWS):
            await self._write_part(intake.flush, part)

    async def write_refusals(self) -> None:
        counts, kept = self._refusals.take()
        if counts or kept:
            await self._store.write(lambda unit: self._refusals.write(unit, counts, kept))

    def _history_due(self) -> bool:
        least, most = HISTORY_S
        every_s = min(most, max(least, len(self._memory.entries) / DEVICES_A_SECOND))
        return self._mono() - self._history_s >= every_s or _bucket(self._store.clock()) != _bucket(
            self._measured_at
        )

    async def write_history(self) -> None:
        """What was measured since the last time, into the bucket in which it was measured."""
        at, self._measured_at = self._measured_at, self._store.clock()
        self._history_s = self._mono()
        measured: list[tuple[str, Sums]] = []
        for entry in self._memory.entries.values():
            if entry.sums:
                measured.append((entry.device, entry.sums))
                entry.sums = {}
        for part in _parts(iter(measured), ROWS):
            await self._write_part(
                lambda unit, rows: history.add(unit, history.from_sums(at, dict(rows))), part
            )

    async def _write_part(self, write: Callable[[Unit, Sequence[T]], None], rows: Sequence[T]) -> None:
        """All rows in one transaction; if it fails, half by half, so that only the row at fault is lost."""
        try:
            await self._store.write(lambda unit: write(unit, rows))
        except Unavailable:
            raise
        except Exception:
            half = len(rows) // 2
            if not half:
                metrics.WORKER_FAILURES.labels("flush").inc()
                log.exception("a row cannot be written")
                return
            await self._write_part(write, rows[:half])
            await self._write_part(write, rows[half:])


def _bucket(at: datetime) -> datetime:
    return history.bucket_start(at)


def _parts(items: Iterator[T], size: int) -> Iterator[Sequence[T]]:
    while part := list(islice(items, size)):
        yield part
