"""What ingest keeps of each device between flushes: its link, its newest heartbeat, and the sums of the present minutes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prahari_wire.envelope import Session as WireSession
from prahari_wire.health import Health, HealthMessage, State

from prahari_hub.fleet.history import Sums
from prahari_hub.fleet.intake import Beat, Known, offset_ms
from prahari_hub.fleet.presence import Limits, Link, Presence, Session, Step
from prahari_hub.ingest.limits import Allowance

LARGEST_VALUE = 1e15
"""Beyond it a check's value is nonsense and would spoil the sums."""
_WORST = {State.FAIL: 3, State.WARN: 2, State.UNKNOWN: 1, State.OK: 0}


@dataclass(slots=True)
class Entry:
    """One device."""

    device: str
    link: Link
    allowance: Allowance
    limits: Limits
    seen_at: datetime | None = None
    fresh: bool = False  # spoke since the last flush
    health: HealthMessage | None = None
    health_at: datetime | None = None
    sums: Sums = field(default_factory=dict)
    written: object = None  # states and faults of the last flush


@dataclass(slots=True)
class Told:
    """A transition that is not on disk yet."""

    device: str
    step: Step
    at: datetime


class Memory:
    """Every device in service, by id. Lives on the event loop; times are given."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sighted_s: float | None = None
        self.entries: dict[str, Entry] = {}
        self.pending: list[Told] = []

    def load(self, known: Iterable[Known], now_s: float) -> None:
        """Take up devices: new ones, or new facts on those already here."""
        for device in known:
            limits = self.limits.for_heartbeat(device.heartbeat_s)
            entry = self.entries.get(device.id)
            if entry is not None:
                entry.limits = limits
                continue
            session = Session(device.boot, device.conn or 0) if device.boot else None
            heard_s = float("-inf") if device.seen else None
            link = Link(Presence(device.presence), session, heard_s)
            self.entries[device.id] = Entry(device.id, link, Allowance.full(now_s), limits)

    def drop(self, device: str) -> None:
        self.entries.pop(device, None)
        self.pending = [told for told in self.pending if told.device != device]

    def sees(self, sighted: bool, now_s: float, now: datetime) -> None:
        """The hub lost or regained sight of the broker."""
        self.sighted_s = now_s if sighted else None
        if not sighted:
            self.blind(now)

    def hard_of_hearing(self, now_s: float) -> None:
        """Devices may have spoken unheard until now: silence counts for nothing until a full grace has passed again."""
        if self.sighted_s is not None:
            self.sighted_s = now_s

    def blind(self, now: datetime) -> None:
        for entry in self.entries.values():
            self.note(entry, entry.link.blinded(), now)

    def heartbeat(self, entry: Entry, message: HealthMessage, now_s: float, now: datetime) -> None:
        """Fold a heartbeat in; one of an earlier session is ignored."""
        session = session_of(message)
        if entry.link.is_stale(session):
            return
        self.note(entry, entry.link.heard(session, now_s), now)
        entry.health, entry.health_at = message, now
        entry.seen_at, entry.fresh = now, True
        for check in message.body.checks:
            if check.value is not None and abs(check.value) <= LARGEST_VALUE:
                total = entry.sums.get(check.name)
                entry.sums[check.name] = _added(total, check.value)

    def heard(self, entry: Entry, session: Session, now_s: float, now: datetime) -> None:
        """Any message but birth and heartbeat."""
        if entry.link.is_stale(session):
            return
        self.note(entry, entry.link.heard(session, now_s), now)
        entry.seen_at, entry.fresh = now, True

    def note(self, entry: Entry, steps: Iterable[Step], now: datetime) -> None:
        """Keep transitions until they are written."""
        self.pending += [Told(entry.device, step, now) for step in steps]

    def sweep(self, entries: Iterable[Entry], now_s: float, now: datetime) -> None:
        for entry in entries:
            steps = entry.link.swept(now_s, sighted_s=self.sighted_s, limits=entry.limits)
            if steps:
                self.note(entry, steps, now)

    def take_pending(self) -> list[Told]:
        taken, self.pending = self.pending, []
        return taken

    def take_beats(self) -> Iterator[Beat]:
        """What every device that spoke since the last flush has to be written."""
        for entry in self.entries.values():
            if entry.fresh and entry.seen_at is not None:
                entry.fresh = False
                yield _beat(entry, entry.seen_at)


def session_of(message: WireSession) -> Session:
    return Session(str(message.boot), message.conn)


def worst(health: Health) -> State:
    """The state of a device: the worst of its checks and peripherals, unknown if it has none."""
    states = [check.state for check in health.checks] + [item.state for item in health.peripherals]
    return max(states, key=_WORST.__getitem__, default=State.UNKNOWN)


def _added(total: list[float] | None, value: float) -> list[float]:
    """[least, sum, most, count] with one more value."""
    if total is None:
        return [value, value, value, 1]
    return [min(total[0], value), total[1] + value, max(total[2], value), total[3] + 1]


def _beat(entry: Entry, seen_at: datetime) -> Beat:
    message, at = entry.health, entry.health_at
    if message is None or at is None:
        return Beat(entry.device, seen_at)
    entry.health = None
    body = message.body
    served = [item.model_dump(mode="json") for item in body.peripherals]
    state = str(worst(body))
    summary = (state, [(item["id"], item["state"], item["faults"], item["note"]) for item in served])
    changed, entry.written = summary != entry.written, summary
    return Beat(
        entry.device,
        seen_at,
        health_state=state,
        health=_health_json(body, at),
        clock=str(message.clock),
        clock_offset_ms=offset_ms(message.at, at),
        peripherals=served,
        changed=changed,
    )


def _health_json(body: Health, at: datetime) -> dict[str, Any]:
    return {
        "at": at.astimezone(UTC).isoformat(),
        "uptime_s": body.uptime_s,
        "checks": [check.model_dump(mode="json", exclude_none=True) for check in body.checks],
    }
