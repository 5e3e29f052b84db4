"""Ingest: subject → envelope → one handler an event kind → a slice; batch, commit, ack.

broker ─▶ receive ─┬▶ beats ─▶ memory (columns) ─▶ flush, cell by cell         heartbeats, last words
                   └▶ queue ─▶ one transaction ─▶ acks ─▶ downlinks            births, events
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from functools import partial
from math import nan

from nats.aio.subscription import Subscription
from prahari_wire.ack import Ack
from prahari_wire.base import Refused
from prahari_wire.events import TWIN_REPORT
from prahari_wire.ids import ulid
from prahari_wire.topics import PARTITIONS, Down, Up, gone_subject, inbound_subject, mapped_subject, partition
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.broker.batches import Arrived, Sink
from prahari_hub.broker.connection import Bus
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import intake, vitals
from prahari_hub.fleet.cells import cells_of
from prahari_hub.fleet.presence import FLOODS, Limits, Step
from prahari_hub.ingest import read
from prahari_hub.ingest.columns import ALL_PARTITIONS
from prahari_hub.ingest.commit import Batch, Birth, HandlerFailed, ack_batch, ack_birth, commit, retry_poison
from prahari_hub.ingest.floods import Floods
from prahari_hub.ingest.flush import Flusher
from prahari_hub.ingest.handlers import BIRTH_HOOKS, BirthHook, Handlers
from prahari_hub.ingest.limits import Allowance
from prahari_hub.ingest.links import Told
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.packing import restore
from prahari_hub.ingest.queue import Beats, Queue
from prahari_hub.ingest.read import Raw, address, batch_id
from prahari_hub.ingest.refused import Refusals
from prahari_hub.log import about
from prahari_hub.store import Change, Store, Unit

FORGET_UNKNOWN_S = 5.0
STEPS_ALONG = 50
"""Transitions that go along with a transaction of events; more than that are the flusher's, and no event waits for them."""
MOST_ALLOWANCES, PURGE_S = 10_000, 10.0
MANY_SHED = 20
"""Heartbeats of one device in one fold, twice what it may ever send at once."""
log = logging.getLogger(__name__)

Send = Callable[[str, Down, Ack], Awaitable[None]]


class Ingest:
    """``handlers`` is ``handlers.table(…)``. ``partitions`` are those that ``start`` takes, None for all."""

    def __init__(
        self,
        store: Store,
        send: Send,
        *,
        handlers: Handlers,
        limits: Limits,
        flush_s: float = 5.0,
        birth_hooks: Sequence[BirthHook] = BIRTH_HOOKS,
        partitions: Iterable[int] | None = None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory = Memory(limits, refuse=self._refuse_beat)
        self.refusals = Refusals(self._unusable)
        self.beats = Beats()
        self.queue = Queue()
        self.window_s: Callable[[], float] = lambda: 0.0
        """Over how long devices are to spread their return when the broker is lost; the composition root knows."""
        self.shut_out: Callable[[str, float], Coroutine[None, None, None]] | None = None
        """Cuts a device that floods, for so many seconds; the composition root knows how."""
        self.owned: set[int] = set()
        """Partitions whose devices this process hears and judges."""
        self._store = store
        self._send = send
        self._handlers = handlers
        self._hooks = tuple(birth_hooks)
        self._first = set(ALL_PARTITIONS if partitions is None else partitions)
        self._mono = mono
        self._unknown: dict[str, float] = {}
        self._allowances: dict[str, Allowance] = {}
        self._floods = Floods()
        lanes = self.beats, self.queue
        self.flusher = Flusher(store, self.memory, lanes, self.refusals, mono=mono, flush_s=flush_s)
        self._bus: Bus | None = None
        self._sees = False
        self._sink = Sink(self.receive)
        self._taps: dict[int | None, Subscription] = {}
        self._handing_over = asyncio.Lock()
        self._told: set[asyncio.Task[None]] = set()
        self._busy = asyncio.Lock()
        self._purged_s = mono()
        self._refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fleet_size(self) -> int:
        """Devices of all partitions, as those of this process's own let it guess."""
        return len(self.memory) * PARTITIONS // max(1, len(self.owned))

    async def start(self, bus: Bus) -> None:
        """Take up the first partitions, then listen. The composition root tells ``on_sight`` of each change."""
        self._bus = bus
        self._taps[None] = await bus.tap(gone_subject(), self._sink)
        await self.take(self._first)
        await self.on_sight(bus.sees)
        self._tasks = [
            asyncio.create_task(self._work(), name="ingest.events"),
            asyncio.create_task(self._fold(), name="ingest.heartbeats"),
            asyncio.create_task(self.flusher.run(), name="ingest.flush"),
        ]

    async def stop(self) -> None:
        """Finish what has been received, write what is in memory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.settle()
        await self.flusher.flush()

    async def settle(self) -> None:
        """Work off everything that has been received."""
        while len(self.queue) or self.beats.count:
            await self.handle(self.queue.take_now())
            await self.fold(*self.beats.take())
        async with self._busy:
            pass  # what the worker had in hand is committed

    # -- partitions

    async def take(self, partitions: Iterable[int]) -> None:
        """Take partitions over from nobody or from a worker that gave them up or died: their devices are UNKNOWN until they are heard.

        Returns when they are listened to. A partition that is owned already stays as it is.
        """
        async with self._handing_over:
            new = set(partitions) - self.owned
            if not new:
                return
            now_s, now = self._mono(), self._store.clock()
            wanted = intake.ALL if new == ALL_PARTITIONS else new
            known = await self._store.read(lambda conn: intake.known_devices(conn, partitions=wanted))
            self.memory.load(known)
            for number in new:
                restore(self.memory, await self._store.read(partial(_stored, number)))
            self.owned |= new
            self.flusher.blinded(self.memory.last_heard(new, now))
            if self._bus is not None:
                for number in sorted(new):
                    self._taps[number] = await self._bus.tap(inbound_subject(number), self._sink)
            if self._sees:
                self.memory.sees(True, now_s, new)
            await self.flusher.write_first()

    async def give_up(self, partitions: Iterable[int]) -> None:
        """Hear these partitions no more, write what is known of their devices, forget them. Returns when another may take them."""
        async with self._handing_over:
            old = set(partitions) & self.owned
            for number in sorted(old):
                if self._bus is not None and (tap := self._taps.pop(number, None)) is not None:
                    await self._bus.untap(tap)
            self.owned -= old
            try:
                await self.settle()
                await self.flusher.flush(old)
            finally:  # also where another worker has them already, so that nothing could be written
                for number in old:
                    self.memory.sighted_s[number] = None
                    for device in self.memory.columns.partition(number):
                        self.memory.drop(device)
                self.flusher.forget(old)

    async def load(self) -> None:
        """Take up the first partitions without a broker: for tests."""
        await self.take(self._first)

    async def on_sight(self, sighted: bool) -> None:
        """The connection to the broker was lost or stands again."""
        self._sees = sighted
        self.memory.sees(sighted, self._mono(), self.owned)
        if not sighted:
            now = self._store.clock()
            self.flusher.blinded(dict.fromkeys(self.memory.last_heard(self.owned, now), now))

    def on_changes(self, changes: Iterable[Change]) -> None:
        """A device was registered, retired or taken back elsewhere in the hub."""
        for change in changes:
            if change.topic == "devices" and "service" in change.data:
                device = str(change.data["id"])
                self._unknown.pop(device, None)
                if change.data["service"] == "retired":
                    self.memory.drop(device)
                    self._allowances.pop(device, None)

    # -- receiving

    def receive(self, batch: list[Arrived]) -> None:
        """Take in what one read of the socket brought: each message goes to its lane, or is dropped and counted."""
        at_s = self._mono()
        if self._floods.shut:
            batch = self._without_floods(batch, at_s)
        beats = [message for message in batch if message[0].endswith((b".health", b".gone"))]
        if len(beats) != len(batch):
            for subject, payload in batch:
                if not subject.endswith((b".health", b".gone")):
                    self._admit(subject.decode(errors="replace"), payload, at_s)
        if beats and (dropped := self.beats.put(beats, at_s)):
            metrics.MESSAGES.labels(Up.HEALTH, "dropped").inc(dropped)

    def _admit(self, subject: str, payload: bytes, at_s: float) -> None:
        """Queue a birth or a batch of events, or refuse it: what is none of ours, and what is more than one device may send."""
        try:
            raw = Raw(address(subject), payload, at_s)
        except Refused as refused:
            self.refusals.count("", refused)
            return
        device = raw.at.device
        allowance = self._allowances.get(device)
        if allowance is None:
            self._purge(at_s)
            allowance = self._allowances[device] = Allowance.full(at_s)
        if not allowance.batch(at_s, len(payload)) or not self.queue.put(raw):
            metrics.MESSAGES.labels(raw.at.channel, "dropped").inc()
            self._unusable(device)
            if device in self.memory.columns:
                self._hold_back(raw, allowance)

    def _unusable(self, device: str) -> None:
        """One more message of this device that was refused or beyond its allowance: too many, and it is shut out."""
        if device not in self.memory.columns:
            return
        now_s = self._mono()
        for_s = self._floods.count(device, now_s)
        if for_s is None:
            return
        detail = f"more messages than the hub can use; shut out for {for_s:.0f} s"
        log.warning("%s sends %s", device, detail, extra=about(device=device))
        self.memory.pending.append(
            Told(device, Step(FLOODS, "quiet", "alarm", detail), self._store.clock(), nan)
        )
        if self.shut_out is not None:
            self._soon(self.shut_out(device, for_s))

    def _without_floods(self, batch: list[Arrived], now_s: float) -> list[Arrived]:
        heard = []
        for message in batch:
            device = self._floods.holds(message[0], now_s)
            if device is None:
                heard.append(message)
            else:
                self.refusals.count_flood(device.decode())
        return heard

    def _purge(self, now_s: float) -> None:
        """Forget the allowances that are full again: after a storm of births there is one for every device."""
        if len(self._allowances) >= MOST_ALLOWANCES and now_s - self._purged_s >= PURGE_S:
            self._purged_s = now_s
            self._allowances = {
                device: allowance
                for device, allowance in self._allowances.items()
                if not allowance.is_full(now_s)
            }

    def _hold_back(self, raw: Raw, allowance: Allowance) -> None:
        """Ask a device that sends too much, or everyone when the hub is pressed, to wait; events stay in its outbox."""
        wait_s = allowance.hold_back_s(raw.at_s)
        if wait_s is not None:
            ack = Ack(id=ulid(), at=self._store.clock(), retry_after_s=min(wait_s, 60.0))
            self._soon(self._tell(raw.at.device, ack))

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    # -- heartbeats

    async def _fold(self) -> None:
        while True:
            await self.beats.wait()
            try:
                await self.fold(*self.beats.take())
            except Exception:
                metrics.WORKER_FAILURES.labels("ingest").inc()
                log.exception("heartbeats could not be folded in")
            await asyncio.sleep(0)

    async def fold(self, at_s: float, beats: Sequence[Arrived]) -> None:
        """Heartbeats into memory; last words, and devices that are not known here, one by one."""
        if not beats:
            return
        shed, refused = self.memory.shed, self._refused
        strangers = self.memory.fold(beats, at_s, self._store.clock())
        shed, refused = self.memory.shed - shed, self._refused - refused
        taken = len(beats) - len(strangers) - shed - refused
        for outcome, count in (("taken", taken), ("shed", shed), ("refused", refused)):
            if count:
                metrics.MESSAGES.labels(Up.HEALTH, outcome).inc(count)
        if shed > MANY_SHED:
            self._who_sheds(beats)
        if strangers:
            await self._strange(strangers, at_s)

    def _who_sheds(self, beats: Sequence[Arrived]) -> None:
        """Heartbeats beyond the allowance: those count whose many subjects stand in one fold."""
        for subject, count in Counter(subject for subject, _ in beats).items():
            if count > MANY_SHED and subject.endswith(b".health"):
                for _ in range(count):
                    self._unusable(subject.split(b".")[3].decode())

    async def _strange(self, messages: Sequence[Arrived], at_s: float) -> None:
        raws: list[Raw] = []
        for subject, payload in messages:
            try:
                raws.append(Raw(address(subject.decode(errors="replace")), payload, at_s))
            except Refused as refused:
                self.refusals.count("", refused)
        await self._learn({raw.at.device for raw in raws if raw.at.channel is Up.HEALTH})
        now = self._store.clock()
        for raw in raws:
            if raw.at.device not in self.memory.columns:
                if raw.at.partition is not None:
                    self.refusals.count_unknown()
            elif raw.at.channel is Up.HEALTH:
                self.memory.fold([(_subject(raw), raw.payload)], at_s, now)
            else:
                self._last_word(raw, now)

    def _last_word(self, raw: Raw, now: datetime) -> None:
        try:
            gone = read.gone(raw.payload)
        except Refused as refused:
            self.refusals.keep(raw, refused)
            metrics.MESSAGES.labels(raw.at.channel, "refused").inc()
            return
        self.memory.died(raw.at.device, gone, str(gone.body.reason), now)
        metrics.MESSAGES.labels(raw.at.channel, "taken").inc()

    def _refuse_beat(self, subject: bytes, payload: bytes, refused: Refused) -> None:
        self._refused += 1
        self.refusals.keep(Raw(address(subject.decode()), payload, self._mono()), refused)

    # -- births and events

    async def _work(self) -> None:
        while True:
            raws = await self.queue.take()
            try:
                await self.handle(raws)
            except Exception:
                metrics.WORKER_FAILURES.labels("ingest").inc()
                log.exception("a batch of %d messages failed", len(raws))

    async def handle(self, raws: Sequence[Raw]) -> None:
        """Read each birth and batch, commit them, answer."""
        if not raws:
            return
        async with self._busy:
            await self._handle(raws)

    async def _handle(self, raws: Sequence[Raw]) -> None:
        await self._learn({raw.at.device for raw in raws})
        births: list[Birth] = []
        batches: list[Batch] = []
        for raw in raws:
            if raw.at.device not in self.memory.columns:
                self.refusals.count_unknown()
                continue
            try:
                self._sort(raw, births, batches)
            except Refused as refused:
                await self._refuse(raw, refused)
            else:
                metrics.MESSAGES.labels(raw.at.channel, "taken").inc()
        if births or batches:
            await self._commit(births, batches)
            metrics.BATCH.observe(len(births) + len(batches))
            metrics.COMMIT_S.observe(self._mono() - min(raw.at_s for raw in raws))

    def _sort(self, raw: Raw, births: list[Birth], batches: list[Batch]) -> None:
        device, now = raw.at.device, self._store.clock()
        if raw.at.channel is Up.BIRTH:
            birth = read.birth(raw.payload)
            if self.memory.born(device, birth, raw.at_s, now):
                births.append(Birth(device, birth, now))
        elif raw.at.channel is Up.EVENT:
            batch = read.batch(raw.payload)
            newest = max(batch.events, key=lambda event: event.conn)
            self.memory.heard(device, newest, raw.at_s, now)
            batches.append(Batch(device, batch))

    async def _commit(self, births: list[Birth], batches: list[Batch]) -> None:
        """One transaction for all; if it fails for other reasons than the database, each device alone."""
        if not await self._transact(births, batches):
            return
        for batch in batches:
            for event in list(batch.poison):
                await self._settle(batch, event.seq)
        self.memory.doubt({birth.device for birth in births} | {batch.device for batch in batches})
        now = self._store.clock()
        for birth in births:
            await self._tell(birth.device, ack_birth(birth, now, window_s=self.window_s()))
        for batch in batches:
            self._count(batch)
            await self._tell(batch.device, ack_batch(batch, now))
        await self._refresh(births, batches)

    async def _transact(self, births: list[Birth], batches: list[Batch]) -> bool:
        steps = self.memory.take_pending(STEPS_ALONG)
        try:
            try:
                await self._store.write(lambda unit: self._write(unit, steps, births, batches, careful=False))
            except HandlerFailed:
                await self._store.write(lambda unit: self._write(unit, steps, births, batches, careful=True))
        except Unavailable as error:
            self.memory.pending[:0] = steps
            log.error("events are not committed, the devices keep them: %s", error)
            return False
        except Exception:
            self.memory.pending[:0] = steps
            devices = sorted({birth.device for birth in births} | {batch.device for batch in batches})
            metrics.WORKER_FAILURES.labels("ingest").inc()
            log.exception("the transaction for %s failed", ", ".join(devices), extra=about(device=devices[0]))
            if len(devices) > 1:
                for device in devices:
                    await self._commit(
                        [birth for birth in births if birth.device == device],
                        [batch for batch in batches if batch.device == device],
                    )
            return False
        return True

    def _write(
        self,
        unit: Unit,
        steps: Sequence[Told],
        births: Sequence[Birth],
        batches: Sequence[Batch],
        *,
        careful: bool,
    ) -> None:
        self.flusher.record(unit, steps)
        commit(unit, births, batches, handlers=self._handlers, birth_hooks=self._hooks, careful=careful)

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
            self.memory.load(found)

    async def _learn(self, devices: set[str]) -> None:
        """Look up devices that are not in memory; what is not registered is asked for again after some seconds."""
        now_s = self._mono()
        new = [
            device
            for device in devices
            if device not in self.memory.columns and self._unknown.get(device, 0.0) <= now_s
        ]
        if not new:
            return
        new = [device for device in new if partition(device) in self.owned]
        found = await self._store.read(lambda conn: intake.known_devices(conn, new))
        self.memory.load(found)
        self._unknown = {device: until for device, until in self._unknown.items() if until > now_s}
        for device in new:
            if device not in self.memory.columns:
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
            log.info(
                "an ack for %s is not sent, the device asks again: %s",
                device,
                error,
                extra=about(device=device),
            )


def _stored(number: int, conn: Connection) -> list[vitals.Cell]:
    return list(vitals.stored(conn, cells_of(number)))


def _subject(raw: Raw) -> bytes:
    return mapped_subject(raw.at.device, raw.at.channel).encode()
