"""Ingest: subject → envelope → one handler an event kind → a slice; batch, commit, ack.

broker ─▶ admit ─▶ queue ─▶ read ─┬▶ memory ─▶ flush every few seconds        heartbeats, last words
                                  └▶ one transaction ─▶ acks ─▶ downlinks     births, events
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from prahari_wire.ack import Ack
from prahari_wire.base import Refused
from prahari_wire.events import TWIN_REPORT
from prahari_wire.ids import ulid
from prahari_wire.topics import Down, Up, gone_subject, inbound_subject, partition

from prahari_hub import metrics
from prahari_hub.broker.connection import Bus
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import intake
from prahari_hub.fleet.presence import Limits
from prahari_hub.ingest import read
from prahari_hub.ingest.commit import Batch, Birth, ack_batch, ack_birth, commit, retry_poison
from prahari_hub.ingest.flush import Flusher
from prahari_hub.ingest.handlers import BIRTH_HOOKS, BirthHook, Handlers
from prahari_hub.ingest.memory import Entry, Memory, Told, session_of
from prahari_hub.ingest.queue import Queue
from prahari_hub.ingest.read import Raw, address, batch_id
from prahari_hub.ingest.refused import Refusals
from prahari_hub.store import Change, Store, Unit

FORGET_UNKNOWN_S = 5.0
log = logging.getLogger(__name__)

Send = Callable[[str, Down, Ack], Awaitable[None]]


class Ingest:
    """``handlers`` is ``handlers.table(…)``. ``partitions`` are those of this process, None for all."""

    def __init__(
        self,
        store: Store,
        send: Send,
        *,
        handlers: Handlers,
        limits: Limits,
        flush_s: float = 5.0,
        birth_hooks: Sequence[BirthHook] = BIRTH_HOOKS,
        partitions: Sequence[int] | None = None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory = Memory(limits)
        self.refusals = Refusals()
        self.queue = Queue()
        self._store = store
        self._send = send
        self._handlers = handlers
        self._hooks = tuple(birth_hooks)
        self._partitions = partitions
        self._mono = mono
        self._unknown: dict[str, float] = {}
        self._flusher = Flusher(store, self.memory, self.queue, self.refusals, mono=mono, flush_s=flush_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, bus: Bus) -> None:
        """Take up every device as UNKNOWN, then listen. The composition root tells ``on_sight`` of each change."""
        await self.load()
        await self.on_sight(bus.sees)
        if self._partitions is None:
            await bus.subscribe(inbound_subject(), self.on_message)
        for number in self._partitions or ():
            await bus.subscribe(inbound_subject(number), self.on_message)
        await bus.subscribe(gone_subject(), self.on_message)
        self._tasks = [
            asyncio.create_task(self._work(), name="ingest.work"),
            asyncio.create_task(self._flusher.run(), name="ingest.flush"),
        ]

    async def stop(self) -> None:
        """Finish what has been received, write what is in memory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while len(self.queue):
            await self.handle(await self.queue.take())
        await self._flusher.flush()

    async def load(self) -> None:
        """The hub was blind until now: what the store says of presence is the past."""
        known = await self._store.read(intake.known_devices)
        self.memory.load(known, self._mono())
        self.memory.blind(self._store.clock())
        await self._flusher.write_steps()

    async def on_sight(self, sighted: bool) -> None:
        """The connection to the broker was lost or stands again."""
        self.memory.sees(sighted, self._mono(), self._store.clock())

    def on_changes(self, changes: Iterable[Change]) -> None:
        """A device was registered, retired or taken back elsewhere in the hub."""
        for change in changes:
            if change.topic == "devices" and "service" in change.data:
                device = str(change.data["id"])
                self._unknown.pop(device, None)
                if change.data["service"] == "retired":
                    self.memory.drop(device)

    async def on_message(self, subject: str, payload: bytes) -> None:
        """Take a message in, or refuse it: what is none of ours, and what is more than one device may send."""
        try:
            at = address(subject)
        except Refused as refused:
            self.refusals.count("", refused)
            return
        if (
            self._partitions is not None
            and at.partition is None
            and partition(at.device) not in self._partitions
        ):
            return
        raw = Raw(at, payload, self._mono())
        entry = self.memory.entries.get(at.device)
        if (entry is not None and not _allowed(entry, raw)) or not self.queue.put(raw):
            metrics.MESSAGES.labels(at.channel, "dropped").inc()
            await self._hold_back(entry, raw)

    async def _hold_back(self, entry: Entry | None, raw: Raw) -> None:
        """Ask a device that sends too much, or everyone when the hub is pressed, to wait; events stay in its outbox."""
        if entry is None or raw.at.channel not in (Up.EVENT, Up.BIRTH):
            return
        wait_s = entry.allowance.hold_back_s(raw.at_s)
        if wait_s is not None:
            now = self._store.clock()
            await self._tell(entry.device, Ack(id=ulid(), at=now, retry_after_s=min(wait_s, 60.0)))

    async def _work(self) -> None:
        while True:
            raws = await self.queue.take()
            try:
                await self.handle(raws)
            except Exception:
                metrics.WORKER_FAILURES.labels("ingest").inc()
                log.exception("a batch of %d messages failed", len(raws))

    async def handle(self, raws: Sequence[Raw]) -> None:
        """Read each message, fold or commit it, answer."""
        await self._learn({raw.at.device for raw in raws})
        births: list[Birth] = []
        batches: list[Batch] = []
        for raw in raws:
            entry = self.memory.entries.get(raw.at.device)
            if entry is None:
                self.refusals.count_unknown()
                continue
            try:
                self._sort(entry, raw, births, batches)
            except Refused as refused:
                await self._refuse(raw, refused)
            else:
                metrics.MESSAGES.labels(raw.at.channel, "taken").inc()
        if births or batches:
            await self._commit(births, batches)
            first_s = min(raw.at_s for raw in raws)
            metrics.COMMIT_S.observe(self._mono() - first_s)

    def _sort(self, entry: Entry, raw: Raw, births: list[Birth], batches: list[Batch]) -> None:
        now = self._store.clock()
        match raw.at.channel:
            case Up.HEALTH:
                self.memory.heartbeat(entry, read.health(raw.payload), raw.at_s, now)
            case Up.GONE:
                gone = read.gone(raw.payload)
                self.memory.note(entry, entry.link.died(session_of(gone), str(gone.body.reason)), now)
            case Up.BIRTH:
                birth = read.birth(raw.payload)
                stale = entry.link.is_stale(session_of(birth))
                self.memory.note(entry, entry.link.born(session_of(birth), raw.at_s), now)
                if not stale:
                    births.append(Birth(entry.device, birth, now))
            case Up.EVENT:
                batch = read.batch(raw.payload)
                newest = max(batch.events, key=lambda event: event.conn)
                self.memory.heard(entry, session_of(newest), raw.at_s, now)
                batches.append(Batch(entry.device, batch))

    async def _commit(self, births: list[Birth], batches: list[Batch]) -> None:
        """One transaction for all; if it fails for other reasons than the database, each device alone."""
        if not await self._transact(births, batches):
            return
        for batch in batches:
            for event in list(batch.poison):
                await self._settle(batch, event.seq)
        now = self._store.clock()
        for birth in births:
            await self._tell(birth.device, ack_birth(birth, now))
        for batch in batches:
            self._count(batch)
            await self._tell(batch.device, ack_batch(batch, now))
        await self._refresh(births, batches)

    async def _transact(self, births: list[Birth], batches: list[Batch]) -> bool:
        steps = self.memory.take_pending()
        try:
            await self._store.write(lambda unit: self._write(unit, steps, births, batches))
        except Unavailable as error:
            self.memory.pending[:0] = steps
            log.error("events are not committed, the devices keep them: %s", error)
            return False
        except Exception:
            self.memory.pending[:0] = steps
            devices = sorted({birth.device for birth in births} | {batch.device for batch in batches})
            metrics.WORKER_FAILURES.labels("ingest").inc()
            log.exception("the transaction for %s failed", ", ".join(devices))
            if len(devices) > 1:
                for device in devices:
                    await self._commit(
                        [birth for birth in births if birth.device == device],
                        [batch for batch in batches if batch.device == device],
                    )
            return False
        return True

    def _write(
        self, unit: Unit, steps: Sequence[Told], births: Sequence[Birth], batches: Sequence[Batch]
    ) -> None:
        intake.record_steps(unit, [(told.device, told.step, told.at) for told in steps])
        commit(unit, births, batches, handlers=self._handlers, birth_hooks=self._hooks)

    async def _settle(self, batch: Batch, seq: int) -> None:
        """An event whose handler failed is tried alone, then quarantined."""
        event = next(event for event in batch.message.events if event.seq == seq)
        for last in (False, True):
            if await self._store.write(
                lambda unit, last=last: retry_poison(unit, batch, event, self._handlers, last=last)  # type: ignore[misc]
            ):
                return

    def _count(self, batch: Batch) -> None:
        for refusal in batch.refused:
            self.refusals.count(batch.device, Refused(refusal.reason, refusal.detail))
        refused = {refusal.seq for refusal in batch.refused}
        if batch.stored:
            for event in batch.message.events:
                if event.seq not in refused:
                    metrics.EVENTS.labels(event.kind).inc()

    async def _refresh(self, births: Sequence[Birth], batches: Sequence[Batch]) -> None:
        """A device may run another heartbeat now."""
        told = {birth.device for birth in births}
        told |= {
            batch.device
            for batch in batches
            if any(event.kind == TWIN_REPORT for event in batch.message.events)
        }
        if told:
            found = await self._store.read(lambda conn: intake.known_devices(conn, sorted(told)))
            self.memory.load(found, self._mono())

    async def _learn(self, devices: set[str]) -> None:
        """Look up devices that are not in memory; what is not registered is asked for again after some seconds."""
        now_s = self._mono()
        new = [
            device
            for device in devices
            if device not in self.memory.entries and self._unknown.get(device, 0.0) <= now_s
        ]
        if not new:
            return
        found = await self._store.read(lambda conn: intake.known_devices(conn, new))
        self.memory.load(found, now_s)
        self._unknown = {device: until for device, until in self._unknown.items() if until > now_s}
        for device in new:
            if device not in self.memory.entries:
                self._unknown[device] = now_s + FORGET_UNKNOWN_S

    async def _refuse(self, raw: Raw, refused: Refused) -> None:
        """Count it; a batch is answered, so that the device can tell its technician and send the events one by one."""
        metrics.MESSAGES.labels(raw.at.channel, "refused").inc()
        self.refusals.keep(raw, refused)
        if raw.at.channel is Up.EVENT:
            problem = f"{refused.reason}: {refused.detail}"[:120]
            now = self._store.clock()
            ack = Ack(id=ulid(), at=now, batch=batch_id(raw.payload), problem=problem)
            await self._tell(raw.at.device, ack)

    async def _tell(self, device: str, ack: Ack) -> None:
        try:
            await self._send(device, Down.ACK, ack)
        except Unavailable as error:
            log.info("an ack for %s is not sent, the device asks again: %s", device, error)


def _allowed(entry: Entry, raw: Raw) -> bool:
    if raw.at.channel is Up.HEALTH:
        return entry.allowance.heartbeat(raw.at_s)
    return entry.allowance.batch(raw.at_s, len(raw.payload))
