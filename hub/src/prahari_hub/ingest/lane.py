"""Births and events: read, one transaction for many, answered when it stands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from prahari_wire.ack import Ack
from prahari_wire.base import Refused
from prahari_wire.events import TWIN_REPORT
from prahari_wire.ids import ulid
from prahari_wire.topics import Down, Up

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import intake
from prahari_hub.ingest import read
from prahari_hub.ingest.commit import Batch, Birth, HandlerFailed, ack_batch, ack_birth, commit, retry_poison
from prahari_hub.ingest.flush import Flusher
from prahari_hub.ingest.handlers import BIRTH_HOOKS, WRITE_PERIPHERALS, BirthHook, Handlers
from prahari_hub.ingest.links import Told
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.read import Raw, batch_id
from prahari_hub.ingest.refused import Refusals
from prahari_hub.log import about
from prahari_hub.store import Store, Unit

STEPS_ALONG = 50
"""Transitions that go along with a transaction of events; more than that are the flusher's, and no event waits for them."""
log = logging.getLogger(__name__)

Send = Callable[[str, Down, Ack], Awaitable[None]]


class Lane:
    """``learn`` brings devices that are not in memory into it, where they are registered."""

    def __init__(
        self,
        store: Store,
        send: Send,
        *,
        memory: Memory,
        flusher: Flusher,
        refusals: Refusals,
        learn: Callable[[set[str]], Awaitable[None]],
        handlers: Handlers,
        birth_hooks: Sequence[BirthHook] = BIRTH_HOOKS,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window_s: Callable[[], float] = lambda: 0.0
        """Over how long devices are to spread their return when the broker is lost; the composition root knows."""
        self._store = store
        self._send = send
        self._memory = memory
        self._flusher = flusher
        self._refusals = refusals
        self._learn = learn
        self._handlers = handlers
        self._hooks = tuple(birth_hooks)
        self._mono = mono
        self._busy = asyncio.Lock()

    async def idle(self) -> None:
        """Return when what the lane had in hand is committed."""
        async with self._busy:
            pass

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
            if raw.at.device not in self._memory.columns:
                self._refusals.count_unknown()
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
            if self._memory.born(device, birth, raw.at_s, now):
                births.append(Birth(device, birth, now))
        elif raw.at.channel is Up.EVENT:
            batch = read.batch(raw.payload)
            newest = max(batch.events, key=lambda event: event.conn)
            self._memory.heard(device, newest, raw.at_s, now)
            batches.append(Batch(device, batch))

    async def _commit(self, births: list[Birth], batches: list[Batch]) -> None:
        """One transaction for all; if it fails for other reasons than the database, each device alone."""
        if not await self._transact(births, batches):
            return
        for batch in batches:
            for event in list(batch.poison):
                await self._settle(batch, event.seq)
        self._memory.doubt({birth.device for birth in births} | _wrote_peripherals(batches))
        now = self._store.clock()
        for birth in births:
            await self.tell(birth.device, ack_birth(birth, now, window_s=self.window_s()))
        for batch in batches:
            self._count(batch)
            await self.tell(batch.device, ack_batch(batch, now))
        await self._refresh(births, batches)

    async def _transact(self, births: list[Birth], batches: list[Batch]) -> bool:
        steps = self._memory.take_pending(STEPS_ALONG)
        try:
            try:
                await self._store.write(lambda unit: self._write(unit, steps, births, batches, careful=False))
            except HandlerFailed:
                await self._store.write(lambda unit: self._write(unit, steps, births, batches, careful=True))
        except Unavailable as error:
            self._put_back(steps)
            log.error("events are not committed, the devices keep them: %s", error)
            return False
        except Exception:
            self._put_back(steps)
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

    def _put_back(self, steps: Sequence[Told]) -> None:
        """Transitions that were not written, but for those of devices that another worker has by now."""
        self._memory.pending[:0] = [told for told in steps if told.device in self._memory.columns]

    def _write(
        self,
        unit: Unit,
        steps: Sequence[Told],
        births: Sequence[Birth],
        batches: Sequence[Batch],
        *,
        careful: bool,
    ) -> None:
        self._flusher.record(unit, steps)
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
            self._refusals.count(batch.device, Refused(refusal.reason, refusal.detail))
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
            self._memory.load(each for each in found if each.id in self._memory.columns)

    async def _refuse(self, raw: Raw, refused: Refused) -> None:
        """Count it; a batch is answered, so that the device can tell its technician and send the events one by one."""
        metrics.MESSAGES.labels(raw.at.channel, "refused").inc()
        self._refusals.keep(raw, refused)
        if raw.at.channel is Up.EVENT:
            problem = f"{refused.reason}: {refused.detail}"[:120]
            now = self._store.clock()
            ack = Ack(id=ulid(), at=now, batch=batch_id(raw.payload), problem=problem)
            await self.tell(raw.at.device, ack)

    async def tell(self, device: str, ack: Ack) -> None:
        """Send an ack; a device that it does not reach asks again."""
        try:
            await self._send(device, Down.ACK, ack)
        except Unavailable as error:
            log.info(
                "an ack for %s is not sent, the device asks again: %s",
                device,
                error,
                extra=about(device=device),
            )


def _wrote_peripherals(batches: Sequence[Batch]) -> set[str]:
    """Devices of which these events may have changed what the store says of their peripherals."""
    return {
        batch.device
        for batch in batches
        if any(event.kind in WRITE_PERIPHERALS for event in batch.message.events)
    }
