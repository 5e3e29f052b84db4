"""From the outbox to the hub: batches in order, a few in flight, repeated with back-off until acked."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from prahari_wire.ack import Ack, Refusal
from prahari_wire.base import MAX_EVENT_BATCH, Reason
from prahari_wire.ids import ulid

from prahari_agent.journal import Entry
from prahari_agent.log import get_logger
from prahari_agent.outbox import Outbox
from prahari_agent.pulse import Pulses

log = get_logger("delivery")

IN_FLIGHT = 4
"""One of the four is kept for presses, so that none waits behind a hub that is slow with the rest."""
FIRST_REPEAT_S = 3.0
LONGEST_REPEAT_S = 60.0
MAX_EVENTS = 500
FRAME = 200
"""Bytes of a batch around its events."""
DOUBT_S, LONGEST_DOUBT_S = 10.0, 80.0
"""A press that waits so long over a connection by which nothing comes back is sent over a new one: a router may have forgotten
the old one and told nobody. Twice as long after each try that did not help.
"""
TICK_S = 1.0
_EPOCH = datetime.fromtimestamp(0, UTC)


class Sender(Protocol):
    """What delivery needs of the link."""

    def publish_events(self, payload: bytes) -> bool:
        """Hand a batch to the connection; False without one."""
        ...

    def doubt(self) -> None:
        """Leave the present connection for a new one."""
        ...

    @property
    def epoch(self) -> int | None:
        """The number of the present connection, None without one."""
        ...

    @property
    def welcomed(self) -> bool:
        """The hub has acked this connection's birth."""
        ...

    def hurry(self) -> None:
        """Something urgent waits for a connection."""
        ...


@dataclass
class Batch:
    id: str
    journal: UUID
    entries: list[Entry]
    due_s: float = 0.0
    attempts: int = 0
    first_s: float = 0.0

    @property
    def urgent(self) -> bool:
        return any(entry.cls == 0 for entry in self.entries)


@dataclass
class _Progress:
    """``alone``: events that are sent one by one, for the hub could not read a batch with them. ``heard_s``: when the last ack came."""

    epoch: int | None = None
    batches: dict[str, Batch] = field(default_factory=dict)
    alone: dict[UUID, set[int]] = field(default_factory=dict)
    hold_until_s: float = 0.0
    heard_s: float = 0.0
    doubt_s: float = DOUBT_S


class Delivery:
    """A thread that empties the outbox while there is a connection."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        pulses: Pulses,
        *,
        now_s: Callable[[], float],
        on_progress: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._outbox, self._sender, self._pulses, self._now_s = outbox, sender, pulses, now_s
        self._on_progress, self._rng = on_progress, rng or random.Random()  # noqa: S311 - jitter, no secret
        self._state = _Progress()
        self._acks: deque[Ack] = deque()
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        outbox.on_event(self.wake)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self.wake()
        self._thread.join(3)
        self._pulses.end("delivery")

    def wake(self) -> None:
        self._woken.set()

    def acked(self, ack: Ack) -> None:
        """Take an ack from the link's thread."""
        self._acks.append(ack)
        self.wake()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(TICK_S)
            self._woken.clear()
            self._pulses.beat("delivery")
            try:
                self.step()
            except Exception:
                log.exception("delivery failed once and carries on")

    def step(self) -> None:
        """Settle acks, repeat what is due, send what fits."""
        while self._acks:
            self._settle(self._acks.popleft())
        if self._sender.epoch != self._state.epoch:
            self._state.epoch = self._sender.epoch
            self._state.batches.clear()
        if self._state.epoch is None:
            if self._outbox.urgent():
                self._sender.hurry()
            return
        for batch in [b for b in self._state.batches.values() if b.due_s <= self._now_s()]:
            if self._outbox.knows(batch.journal):
                self._send(batch)
            else:
                del self._state.batches[batch.id]
        for journal in self._outbox.journals():
            while self._fill(journal):
                pass
        self._doubt()

    def _doubt(self) -> None:
        """Ask for another connection where a press waits and nothing at all has come back meanwhile."""
        now_s, state = self._now_s(), self._state
        silent = [b for b in state.batches.values() if b.urgent and b.first_s > state.heard_s]
        if any(now_s - batch.first_s >= state.doubt_s for batch in silent):
            log.warning(
                "nothing comes back over this connection, another one is tried", after_s=state.doubt_s
            )
            state.doubt_s = min(LONGEST_DOUBT_S, 2 * state.doubt_s)
            self._sender.doubt()

    # Acks

    def _settle(self, ack: Ack) -> None:
        self._state.heard_s, self._state.doubt_s = self._now_s(), DOUBT_S
        if ack.retry_after_s:
            self._state.hold_until_s = self._now_s() + ack.retry_after_s
        batch = self._state.batches.pop(ack.batch, None) if ack.batch else None
        if ack.problem and batch is not None:
            self._unreadable(batch, ack.problem)
        elif self._outbox.acked(ack) or batch:
            if batch is not None:
                self._settled(batch)
            self._on_progress()

    def _settled(self, batch: Batch) -> None:
        """Forget the batch; what the hub has left out of its ack, or the disk does not let us forget, waits for a repeat."""
        left = self._outbox.holds(batch.journal, [entry.seq for entry in batch.entries])
        if left:
            batch.entries = [entry for entry in batch.entries if entry.seq in left]
            batch.due_s = self._now_s() + (LONGEST_REPEAT_S if self._outbox.trouble else FIRST_REPEAT_S)
            self._state.batches[batch.id] = batch
        elif not self._outbox.held():
            self._state.alone.clear()

    def _unreadable(self, batch: Batch, problem: str) -> None:
        """The hub could not read the batch: each event is tried alone, and one that fails alone is put aside."""
        seqs = [entry.seq for entry in batch.entries]
        if len(seqs) > 1:
            log.warning(
                "the hub could not read a batch, its events are sent one by one",
                problem=problem,
                seqs=seqs[:20],
            )
            self._state.alone.setdefault(batch.journal, set()).update(seqs)
            return
        self._state.alone.get(batch.journal, set()).discard(seqs[0])
        refusal = Refusal(seq=seqs[0], reason=Reason.INVALID, detail=problem[:120])
        self._outbox.acked(Ack(id=ulid(), at=_EPOCH, journal=batch.journal, refused=[refusal]))

    # Sending

    def _fill(self, journal: UUID) -> bool:
        """Send one more batch of ``journal`` if it may be sent; whether it was."""
        classes = self._allowed(journal)
        if not classes:
            return False
        skip = {e.seq for b in self._state.batches.values() if b.journal == journal for e in b.entries}
        low, entries = self._outbox.pick(journal, skip=skip, limit=MAX_EVENTS, classes=classes)
        chosen = self._fitting(journal, entries)
        if not chosen:
            return False
        batch = Batch(ulid(), journal, chosen)
        self._state.batches[batch.id] = batch
        return self._send(batch, low)

    def _allowed(self, journal: UUID) -> range:
        """Classes that may be sent now: presses always while a place is free, the rest once the hub has said welcome."""
        flying = sum(batch.journal == journal for batch in self._state.batches.values())
        held_back = not self._sender.welcomed or self._now_s() < self._state.hold_until_s
        if flying < IN_FLIGHT - 1 and not held_back:
            return range(5)
        return range(1) if flying < IN_FLIGHT else range(0)

    def _fitting(self, journal: UUID, entries: list[Entry]) -> list[Entry]:
        alone = self._state.alone.get(journal, set())
        chosen: list[Entry] = []
        size = FRAME
        for entry in entries:
            size += entry.size + 1
            if size > MAX_EVENT_BATCH or (chosen and entry.seq in alone):
                break
            chosen.append(entry)
            if entry.seq in alone:
                break
        return chosen

    def _send(self, batch: Batch, low: int | None = None) -> bool:
        if low is None:
            low, _ = self._outbox.pick(batch.journal, skip=(), limit=0, classes=())
        payload = self._encode(batch, low)
        if not self._sender.publish_events(payload):
            self._state.batches.pop(batch.id, None)
            return False
        batch.first_s = batch.first_s or self._now_s()
        delay_s = min(LONGEST_REPEAT_S, FIRST_REPEAT_S * 2**batch.attempts)
        batch.attempts += 1
        batch.due_s = self._now_s() + delay_s * self._rng.uniform(0.75, 1.25)
        return True

    def _encode(self, batch: Batch, low: int) -> bytes:
        """Each event says whether it is late now, also in a repeat: the one before may have gone into a dead connection."""
        fresh = self._outbox.fresh(batch.journal, [entry.seq for entry in batch.entries])
        parts = [entry.encoded(late=entry.seq not in fresh) for entry in batch.entries]
        return f'{{"v":1,"id":"{batch.id}","journal":"{batch.journal}","low":{low},"events":[{",".join(parts)}]}}'.encode()
