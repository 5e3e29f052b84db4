"""One transaction for a batch of births and event batches: what was seen before is skipped, one bad event spoils no neighbour."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prahari_wire.ack import Ack, Refusal
from prahari_wire.base import Message, Reason, Refused
from prahari_wire.envelope import Event, EventBatch
from prahari_wire.events import parse_body
from prahari_wire.ids import ulid
from prahari_wire.presence import BirthMessage
from sqlalchemy.exc import OperationalError

from prahari_hub import metrics
from prahari_hub.fleet import intake, journal
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.intake import Place
from prahari_hub.fleet.watermark import Watermark
from prahari_hub.ingest.handlers import BirthHook, Handlers
from prahari_hub.log import about
from prahari_hub.store import Unit

ACK_RANGES = 64
POISON = "the hub could not handle this event; it is kept in quarantine for whoever repairs that"
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Birth:
    """``mark``: what is committed of the journal that the device names, None where the hub has nothing of it."""

    device: str
    message: BirthMessage
    received_at: datetime
    mark: Watermark | None = None


@dataclass(slots=True)
class Batch:
    """One up/event and what became of it. ``poison`` are events whose handler failed: neither stored nor acked yet."""

    device: str
    message: EventBatch
    refused: list[Refusal] = field(default_factory=list)
    poison: list[Event] = field(default_factory=list)
    duplicates: int = 0
    stored: int = 0
    mark: Watermark = field(default_factory=Watermark)


class HandlerFailed(Exception):
    """A handler failed and its transaction with it: it is run again with care."""


@dataclass(slots=True)
class Work:
    """One transaction: what is known of the devices in it, and the rows that it writes at its end.

    With ``careful`` each event has a savepoint of its own, so that one whose handler fails leaves nothing and spoils no neighbour.
    That costs two statements an event; so a transaction is tried without first, and run again when a handler fails.
    """

    unit: Unit
    handlers: Handlers
    careful: bool
    places: dict[str, Place]
    marks: dict[tuple[str, str], Watermark]
    touched: dict[tuple[str, str], Watermark] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def mark(self, batch: Batch) -> Watermark:
        key = batch.device, str(batch.message.journal)
        found = self.touched[key] = self.marks.setdefault(key, Watermark())
        return found

    def close(self) -> None:
        journal.add_events(self.unit, self.rows)
        journal.save_watermarks(self.unit, self.touched)


def begin(unit: Unit, devices: Sequence[str], handlers: Handlers, *, careful: bool) -> Work:
    places = intake.places(unit.conn, devices) if devices else {}
    marks = journal.watermarks(unit.conn, devices) if devices else {}
    return Work(unit, handlers, careful, places, marks)


def commit(
    unit: Unit,
    births: Sequence[Birth],
    batches: Sequence[Batch],
    *,
    handlers: Handlers,
    birth_hooks: Sequence[BirthHook] = (),
    careful: bool = True,
) -> None:
    """Write everything. A handler that fails leaves its event in ``poison``; without ``careful`` it raises HandlerFailed."""
    if births:
        _bear(unit, births, birth_hooks)
    work = begin(unit, [batch.device for batch in batches], handlers, careful=careful)
    for batch in batches:
        batch.refused, batch.poison, batch.duplicates, batch.stored = [], [], 0, 0
        _commit_batch(work, batch)
    if births:
        marks = journal.watermarks(unit.conn, [birth.device for birth in births]) | work.touched
        for birth in births:
            birth.mark = marks.get((birth.device, str(birth.message.body.journal)))
    work.close()


def _bear(unit: Unit, births: Sequence[Birth], hooks: Sequence[BirthHook]) -> None:
    intake.born_all(unit, [(birth.device, birth.message, birth.received_at) for birth in births])
    ids = sorted({birth.device for birth in births})
    for hook in hooks:
        for device in sorted(hook.concerns(unit.conn, ids)):
            hook.run(unit, device)


def _commit_batch(work: Work, batch: Batch) -> None:
    mark = batch.mark = work.mark(batch)
    for event in batch.message.events:
        if event.seq in mark:
            batch.duplicates += 1
            continue
        if not mark.takes(event.seq):
            continue
        try:
            body = read_body(event)
        except Refused as refused:
            refuse(work.unit, batch, event, refused)
            continue
        if _store_event(work, batch, event, body):
            mark.add(event.seq)
            batch.stored += 1
        else:
            batch.poison.append(event)
    held = min((event.seq for event in batch.message.events), default=batch.message.low)
    mark.raise_to(min(batch.message.low, held))


def read_body(event: Event) -> Message:
    """The typed body, or Refused: also for text that a database cannot keep."""
    if "\0" in event.kind:
        raise Refused(Reason.INVALID, "a NUL character in the kind of the event")
    return parse_body(event.kind, event.body)


def _store_event(work: Work, batch: Batch, event: Event, body: Message) -> bool:
    """Handle one event and keep it for the end of the transaction; False if a handler failed, and then nothing of it remains."""
    unit, fact = work.unit, _fact(work, batch, event, body)
    told, after = len(unit.changes), len(unit.callbacks)
    try:
        with unit.conn.begin_nested() if work.careful else nullcontext():
            for handle in work.handlers.get(event.kind, ()):
                handle(unit, fact)
    except OperationalError:
        raise
    except Exception as error:
        if not work.careful:
            raise HandlerFailed(event.kind) from error
        del unit.changes[told:], unit.callbacks[after:]
        metrics.WORKER_FAILURES.labels("ingest").inc()
        log.exception(
            "handling %s %s of %s failed",
            event.kind,
            event.id,
            batch.device,
            extra=about(device=batch.device),
        )
        return False
    work.rows.append(journal.row_of(batch.device, str(batch.message.journal), event, unit.now))
    return True


def _fact(work: Work, batch: Batch, event: Event, body: Message) -> Fact:
    place = work.places.get(batch.device) or Place(None, {})
    peripheral = event.peripheral
    return Fact(
        device=batch.device,
        site_id=place.site_id,
        peripheral=peripheral,
        peripheral_type=place.peripherals.get(peripheral) if peripheral else None,
        kind=event.kind,
        body=body,
        at=event.at,
        late=event.late,
        ulid=event.id,
        received_at=work.unit.now,
        journal=str(batch.message.journal),
        seq=event.seq,
    )


def refuse(unit: Unit, batch: Batch, event: Event, refused: Refused, *, always: bool = False) -> None:
    """Quarantine one event; it is acked as refused and never asked for again. ``always``: however many of this device are there."""
    journal.quarantine(
        unit,
        batch.device,
        channel="event",
        reason=refused.reason,
        detail=refused.detail,
        payload=event.model_dump_json().encode(),
        journal=str(batch.message.journal),
        event=event,
        always=always,
    )
    batch.mark.add(event.seq)
    batch.refused.append(Refusal(seq=event.seq, reason=refused.reason, detail=refused.detail[:120]))


def retry_poison(unit: Unit, batch: Batch, event: Event, handlers: Handlers, *, last: bool) -> bool:
    """Try one event alone; with ``last`` quarantine it instead. Whether it is settled now."""
    work = begin(unit, [batch.device], handlers, careful=True)
    batch.mark = work.mark(batch)
    if last:
        refuse(unit, batch, event, Refused(Reason.INVALID, POISON), always=True)  # the box is not to blame
    else:
        if not _store_event(work, batch, event, read_body(event)):
            return False
        batch.mark.add(event.seq)
        batch.stored += 1
    work.close()
    return True


def ack_batch(batch: Batch, at: datetime) -> Ack:
    """What the hub has committed of the batch's journal."""
    seqs = [event.seq for event in batch.message.events]
    return Ack(
        id=ulid(),
        at=at,
        batch=batch.message.id,
        journal=batch.message.journal,
        upto=batch.mark.upto,
        beyond=batch.mark.near(seqs, most=ACK_RANGES),
        refused=batch.refused,
    )


def ack_birth(birth: Birth, at: datetime, *, window_s: float = 0.0) -> Ack:
    """``window_s``: over how long the device is to spread its next connection.

    A device whose card is an older image of itself learns from ``upto`` that its next numbers are taken.
    """
    ack = Ack(id=ulid(), at=at, birth=birth.message.id, reconnect_window_s=window_s or None)
    if birth.mark is None:
        return ack
    return ack.model_copy(update={"journal": birth.message.body.journal, "upto": birth.mark.upto})
