"""Ingest: subject → envelope → one handler an event kind → a slice; batch, commit, ack.

broker ─▶ receive ─┬▶ beats ─▶ memory (columns) ─▶ flush, cell by cell         heartbeats, last words
                   └▶ queue ─▶ one transaction ─▶ acks ─▶ downlinks            births, events
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from functools import partial
from math import inf, nan

from nats.aio.subscription import Subscription
from prahari_wire.ack import Ack
from prahari_wire.base import Refused
from prahari_wire.ids import ulid
from prahari_wire.topics import PARTITIONS, Up, gone_subject, inbound_subject, mapped_subject, partition
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.broker.batches import Arrived, Sink
from prahari_hub.broker.connection import Bus
from prahari_hub.ending import end
from prahari_hub.fleet import intake, vitals
from prahari_hub.fleet.cells import cells_of
from prahari_hub.fleet.presence import FLOODS, Limits, Step
from prahari_hub.ingest import read
from prahari_hub.ingest.columns import ALL_PARTITIONS
from prahari_hub.ingest.floods import Floods
from prahari_hub.ingest.flush import Flusher
from prahari_hub.ingest.handlers import BIRTH_HOOKS, BirthHook, Handlers
from prahari_hub.ingest.lane import Lane, Send
from prahari_hub.ingest.limits import Allowance
from prahari_hub.ingest.links import Told
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.packing import restore
from prahari_hub.ingest.queue import Beats, Queue
from prahari_hub.ingest.read import Raw, address
from prahari_hub.ingest.refused import Refusals
from prahari_hub.log import about
from prahari_hub.store import Change, Store

FORGET_UNKNOWN_S = 5.0
MOST_ALLOWANCES, PURGE_S = 10_000, 10.0
LOADED_AT_ONCE = 20_000
"""Devices; in some 0.1 s, so that leases are renewed while a state is taken up."""
MANY_SHED = 20
"""Heartbeats of one device in one fold, twice what it may ever send at once."""
log = logging.getLogger(__name__)


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
        self.shut_out: Callable[[str, float], Coroutine[None, None, None]] | None = None
        """Cuts a device that floods, for so many seconds; the composition root knows how."""
        self.owned: set[int] = set()
        """Partitions whose devices this process hears and judges."""
        self._store = store
        self._here: set[int] = (
            set()
        )  # whose devices are in memory: those that are owned, and those on their way
        self._first = set(ALL_PARTITIONS if partitions is None else partitions)
        self._mono = mono
        self._unknown: dict[str, float] = {}
        self._allowances: dict[str, Allowance] = {}
        self._floods = Floods()
        lanes = self.beats, self.queue
        self.flusher = Flusher(store, self.memory, lanes, self.refusals, mono=mono, flush_s=flush_s)
        self.lane = Lane(
            store,
            send,
            memory=self.memory,
            flusher=self.flusher,
            refusals=self.refusals,
            learn=self._learn,
            handlers=handlers,
            birth_hooks=birth_hooks,
            mono=mono,
        )
        self._bus: Bus | None = None
        self._sees = False
        self._sink = Sink(self.receive)
        self._taps: dict[int | None, Subscription] = {}
        self._handing_over = asyncio.Lock()
        self._told: set[asyncio.Task[None]] = set()
        self._purged_s = mono()
        self._refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fleet_size(self) -> int:
        """Devices of all partitions, as those of this process's own let it guess."""
        return len(self.memory) * PARTITIONS // max(1, len(self._here))

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
        await end(self._tasks)
        self._tasks = []
        await self.settle()
        await self.flusher.flush()

    async def settle(self) -> None:
        """Work off everything that has been received until now; what comes meanwhile is not waited for."""
        events, beats = self.queue.taken + len(self.queue), self.beats.taken + self.beats.count
        while self.queue.taken < events:
            await self.handle(self.queue.take_now())
        while self.beats.taken < beats:
            await self.fold(*self.beats.take())
        await self.lane.idle()

    # -- partitions

    async def take(self, partitions: Iterable[int]) -> None:
        """Take partitions over from nobody or from a worker that gave them up or died: their devices are UNKNOWN until they are heard.

        Returns when they are listened to. A partition that is owned already stays as it is. After an error some may be taken:
        give them all up, or take them again.
        """
        async with self._handing_over:
            new = set(partitions) - self.owned
            if not new:
                return
            now = self._store.clock()
            self._here |= new
            for number in new:  # UNKNOWN from here on, but not for blindness where the broker is seen
                self.memory.sighted_s[number] = inf if self._sees else None
            wanted = intake.ALL if new == ALL_PARTITIONS else new
            known = await self._store.read(lambda conn: intake.known_devices(conn, partitions=wanted))
            for start in range(0, len(known), LOADED_AT_ONCE):
                self.memory.load(known[start : start + LOADED_AT_ONCE])
                await asyncio.sleep(0)
            for number in new:
                restore(self.memory, await self._store.read(partial(_stored, number)))
            self.flusher.blinded(self.memory.last_heard(new, now))
            for number in sorted(new):
                if self._bus is not None:
                    self._taps[number] = await self._bus.tap(inbound_subject(number), self._sink)
                self.owned.add(number)
            self.memory.sees(self._sees, self._mono(), new)
            await self.flusher.write_first()

    async def give_up(self, partitions: Iterable[int]) -> None:
        """Hear these partitions no more, write what is known of their devices, forget them. Returns when another may take them."""
        async with self._handing_over:
            old = set(partitions) & self._here
            self.owned -= old
            for number in old:  # whom nobody hears is not silent
                if self.memory.sighted_s[number] is not None:
                    self.memory.sighted_s[number] = inf
            try:
                await self._untap(old)
                await self.settle()
                await self.flusher.flush(old)
            finally:  # also where another worker has them already, so that nothing could be written
                self._here -= old
                for number in old:
                    self.memory.give_up(number)
                self.flusher.forget(old)

    async def _untap(self, partitions: Iterable[int]) -> None:
        for number in sorted(partitions):
            if self._bus is not None and (tap := self._taps.pop(number, None)) is not None:
                await self._bus.untap(tap)

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

    def on_crowd(self) -> None:
        """Devices wait before the gate of this hub or of another process of it."""
        self.memory.crowded(self._mono())

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
            self._soon(self.lane.tell(raw.at.device, ack))

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
        await self.lane.handle(raws)

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
        new = [device for device in new if partition(device) in self._here]
        found = await self._store.read(lambda conn: intake.known_devices(conn, new))
        self.memory.load(each for each in found if partition(each.id) in self._here)  # some may be given up
        self._unknown = {device: until for device, until in self._unknown.items() if until > now_s}
        for device in new:
            if device not in self.memory.columns:
                self._unknown[device] = now_s + FORGET_UNKNOWN_S


def _stored(number: int, conn: Connection) -> list[vitals.Cell]:
    return list(vitals.stored(conn, cells_of(number)))


def _subject(raw: Raw) -> bytes:
    return mapped_subject(raw.at.device, raw.at.channel).encode()
