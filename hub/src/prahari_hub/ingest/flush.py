"""From memory to the store, in small transactions so that an event never waits behind a whole fleet's heartbeats.

What must be found by SQL is written when it changes: transitions, health, presence. The rest is written by cell, now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import history, intake, vitals
from prahari_hub.fleet.cells import CELLS, cells_of
from prahari_hub.fleet.history import Rollup
from prahari_hub.fleet.intake import Health, Moved
from prahari_hub.ingest.bucket import Bucket
from prahari_hub.ingest.columns import PRESENCES, UNKNOWN
from prahari_hub.ingest.heartbeat import STATES
from prahari_hub.ingest.links import Told
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.packing import cell_of_columns
from prahari_hub.ingest.queue import Beats, Queue
from prahari_hub.ingest.refused import Refusals
from prahari_hub.store import Store, Unit

ROWS, ROWS_POSTGRESQL = 500, 2000
"""Rows of devices that one transaction changes: some 10 ms; with PostgreSQL more, because each waits for its turn first."""
CELLS_AT_ONCE = 16
STALL_SWEEPS = 5
SMALL_FLEET = 5000
VITALS_S = 30.0
"""How old the vitals of a device may be in the store: of a small fleet as old as ``flush_s``."""
HISTORY_S = 15.0
"""How often a small fleet's charts grow; those of a larger one do at the end of five minutes."""
CHARTED_AT_ONCE = 1000
"""Devices of such a small fleet."""
HISTORY_SPREAD_S = 60.0
PRESENCE_A_TURN = 16_000
MOST_CLOSED = 3
"""Buckets that wait for a database that takes no writes; the oldest is given up."""
log = logging.getLogger(__name__)
T = TypeVar("T")


class Flusher:
    """Sweeps presence; beside it, writes transitions, health, vitals, history and refusals.

    The sweep waits for no write: it has to tell a silent fleet from a hub that does not listen.
    """

    def __init__(
        self,
        store: Store,
        memory: Memory,
        lanes: tuple[Beats, Queue],
        refusals: Refusals,
        *,
        mono: Callable[[], float],
        flush_s: float,
    ) -> None:
        self._store = store
        self._memory = memory
        self._lanes = lanes
        self._dropped = 0
        self._swept_s: float | None = None
        self._refusals = refusals
        self._mono = mono
        self._flush_s = flush_s
        self._rows = ROWS if store.engine.dialect.name == "sqlite" else ROWS_POSTGRESQL
        self._sweep_s = max(0.2, min(1.0, flush_s, memory.limits.suspect_s / 5))
        self._flushed_s = self._history_s = mono()
        self._spells: dict[int, datetime] = {}
        self._open: set[int] = set()
        self._rollups: list[Rollup] = []
        self._turn = asyncio.Lock()

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
        async with self._turn:
            await self.write_steps()
            await self.write_presence()
            await self.write_spells()
            if self._mono() - self._flushed_s >= self._flush_s:
                self._flushed_s = self._mono()
                await self.write_health()
                await self.write_refusals()
            with metrics.FLUSH_S.time():
                await self.write_vitals()
            await self.write_history()

    async def flush(self, partitions: Iterable[int] = range(16)) -> None:
        """Everything of these partitions, now."""
        async with self._turn:
            await self.write_steps()
            await self.write_presence(most=len(self._memory.columns.ids))
            await self.write_spells()
            await self.write_health()
            await self.write_refusals()
            cells = [cell for partition in partitions for cell in cells_of(partition)]
            dirty = self._memory.columns.dirty
            await self._write_cells([cell for cell in cells if dirty[cell]])
            self._memory.close_bucket()
            for bucket in self._memory.closed:
                await self._write_rollups(bucket, cells)

    # -- presence

    async def sweep(self) -> None:
        """Judge every device's silence, with breath for the event loop in between."""
        now_s = self._mono()
        if self._deaf(now_s):
            self._memory.hard_of_hearing(now_s)
        self._swept_s, self._dropped = now_s, self._drops()
        for _ in self._memory.sweep(self._mono(), self._store.clock()):
            await asyncio.sleep(0)

    def _drops(self) -> int:
        return sum(lane.dropped for lane in self._lanes)

    def _deaf(self, now_s: float) -> bool:
        """Whether the hub itself stood still, lags behind what came in, or had to leave something out of it."""
        stood_still = self._swept_s is not None and now_s - self._swept_s > STALL_SWEEPS * self._sweep_s
        oldest_s = min((lane.oldest_s for lane in self._lanes if lane.oldest_s is not None), default=now_s)
        lags = now_s - oldest_s > self._memory.limits.suspect_s / 2
        return stood_still or lags or self._drops() > self._dropped

    async def write_steps(self) -> None:
        """Transitions, oldest first; what the database does not take now stays for the next time."""
        taken = self._memory.take_pending()
        while taken:
            try:
                await self._write_part(self.record, taken[: self._rows])
            except Unavailable:
                self._memory.pending[:0] = taken
                raise
            del taken[: self._rows]

    def record(self, unit: Unit, steps: Sequence[Told]) -> None:
        """Write transitions in a caller's transaction."""
        intake.record_steps(
            unit, [Moved(told.device, told.step, told.at, _time(told.seen_at)) for told in steps]
        )
        last = {told.device: told.step.after for told in steps if told.step.kind == "presence"}
        unit.after(lambda: self._memory.wrote_presence(last))

    async def write_presence(self, *, most: int = PRESENCE_A_TURN) -> None:
        """Where the store says something else of a device than memory does, because the hub was blind: many rows at once."""
        columns = self._memory.columns
        count = len(columns.ids)
        pending = {told.device for told in self._memory.pending}
        wrong = (columns.state[:count] != columns.written[:count]) & (columns.used[:count] == 1)
        differs = np.flatnonzero(wrong & ~self._soon_heard())[:most]
        for code, presence in enumerate(PRESENCES):
            rows = [row for row in differs[columns.state[differs] == code] if columns.ids[row] not in pending]
            for start in range(0, len(rows), self._rows):
                ids = [columns.ids[row] for row in rows[start : start + self._rows]]

                def write(unit: Unit, ids: Sequence[str], presence: str = str(presence)) -> None:
                    intake.put_presence(unit, presence, ids)
                    unit.after(lambda: self._memory.wrote_presence(dict.fromkeys(ids, presence)))

                await self._write_part(write, ids)

    def _soon_heard(self) -> NDArray[np.bool_]:
        """UNKNOWN devices of a large fleet in a hub that sees the broker again, until a heartbeat of each is missed: what the store says
        stays for so long, as it does of a device that has just fallen silent. To write a state twice takes longer than to hear it."""
        memory, columns = self._memory, self._memory.columns
        state = columns.state[: len(columns.ids)]
        if len(memory) <= SMALL_FLEET:
            return np.zeros(len(state), np.bool_)
        sighted = np.array([-np.inf if since is None else since for since in memory.sighted_s])
        young = self._mono() - sighted < memory.limits.suspect_s
        found: NDArray[np.bool_] = (state == UNKNOWN) & young[columns.partitions()]
        return found

    def blinded(self, since: Mapping[int, datetime]) -> None:
        """Spells begin, or go on, in which nobody can tell how the devices of these partitions are: {partition: since}."""
        self._spells = {**since, **self._spells}
        self._open |= set(since)

    def forget(self, partitions: Iterable[int]) -> None:
        """Another worker judges these partitions; a spell that is open is its own."""
        self._open -= set(partitions)
        for partition in partitions:
            self._spells.pop(partition, None)

    async def write_first(self) -> None:
        """After devices were taken up: that they are UNKNOWN now."""
        async with self._turn:
            await self.write_presence()
            await self.write_spells()

    async def write_spells(self) -> None:
        """Spells that began, and those that are over because every device that was ONLINE before has been judged."""
        if self._spells:
            spells, self._spells = self._spells, {}
            try:
                await self._store.write(lambda unit: intake.open_spells(unit, spells))
            except Unavailable:
                self._spells = spells | self._spells
                raise
        seen = {partition for partition in self._open if self._memory.sighted_s[partition] is not None}
        over = sorted(seen - self._memory.in_doubt()) if seen else []
        if over:
            await self._store.write(lambda unit: intake.close_spells(unit, over, unit.now))
            self._open -= set(over)

    # -- what heartbeats say

    async def write_health(self) -> None:
        """State and peripherals of the devices in which they changed until now; what changes meanwhile is not waited for."""
        changed = self._memory.take_changed(len(self._memory.changed))
        while changed:
            try:
                await self._write_part(intake.write_health, self._health(changed[: self._rows]))
            except Unavailable:
                self._memory.changed.update(changed)
                raise
            del changed[: self._rows]

    def _health(self, rows: Sequence[int]) -> list[Health]:
        columns = self._memory.columns
        found = []
        for row in rows:
            served = columns.served[row]
            items = served.items if served else ()
            peripherals = [(item.id, str(item.state), list(item.faults), item.note) for item in items]
            state, clock = STATES[columns.rank[row]], columns.clocks.get(row, "synced")
            if columns.used[row]:
                found.append(Health(columns.ids[row], state, clock, peripherals))
        return found

    async def write_vitals(self) -> None:
        """Cells in which something was said, each at most every so often."""
        columns, now_s = self._memory.columns, self._mono()
        every_s = self._flush_s if len(columns) <= SMALL_FLEET else max(self._flush_s, VITALS_S)
        due = np.flatnonzero(columns.dirty & (now_s - columns.written_s >= every_s))
        most = CELLS if len(columns) <= SMALL_FLEET else int(1.25 * CELLS * self._sweep_s / every_s) + 1
        oldest = due[np.argsort(columns.written_s[due], kind="stable")]
        await self._write_cells(oldest[:most].tolist())

    async def _write_cells(self, cells: Sequence[int]) -> None:
        """Changes of health go before, so that a restart finds what was written of peripherals to be what their cell says."""
        columns = self._memory.columns
        for start in range(0, len(cells), CELLS_AT_ONCE):
            part = cells[start : start + CELLS_AT_ONCE]
            await self.write_health()
            packed = [(cell, cell_of_columns(columns, cell)) for cell in part]
            columns.dirty[part] = False
            columns.written_s[part] = self._mono()
            try:
                await self._write_part(vitals.write, packed)
            except Unavailable:
                columns.dirty[part] = True
                raise

    async def write_refusals(self) -> None:
        counts, kept = self._refusals.take()
        if counts or kept:
            await self._store.write(lambda unit: self._refusals.write(unit, counts, kept))

    # -- history

    async def write_history(self) -> None:
        """Buckets that are over, spread over a minute; of a small fleet also what there is of the present one."""
        memory = self._memory
        memory.turn_bucket(self._store.clock().timestamp())
        if len(memory) <= CHARTED_AT_ONCE and self._mono() - self._history_s >= HISTORY_S:
            self._history_s = self._mono()
            memory.close_bucket()
        while len(memory.closed) > MOST_CLOSED:
            metrics.WORKER_FAILURES.labels("history").inc()
            log.error("five minutes of health history are lost: the database took none of it")
            memory.closed.pop(0)
        share = 1.0 if len(memory) <= SMALL_FLEET else self._sweep_s / HISTORY_SPREAD_S
        left = int(CELLS * share) + 1
        while memory.closed and left > 0:
            bucket = memory.closed[0]
            stop = min(CELLS, bucket.next_cell + left)
            left -= stop - bucket.next_cell
            await self._write_rollups(bucket, range(bucket.next_cell, stop))
            bucket.next_cell = stop
            if stop == CELLS:
                memory.closed.pop(0)

    async def _write_rollups(self, bucket: Bucket, cells: Iterable[int]) -> None:
        """What was taken out of a bucket and could not be written is the first thing to be written next time."""
        columns = self._memory.columns
        checks = list(columns.checks)
        filled = iter([cell for cell in cells if columns.cells[cell]])
        while part := list(islice(filled, CELLS_AT_ONCE)):
            found = (bucket.rollup(cell, columns.cells[cell], columns.ids, checks) for cell in part)
            self._rollups += [rollup for rollup in found if rollup is not None]
            if self._rollups:
                await self._write_part(history.add, self._rollups)
                self._rollups = []

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


def _time(at: float) -> datetime | None:
    return None if np.isnan(at) else datetime.fromtimestamp(at, UTC)
