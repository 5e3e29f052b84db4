"""Durable events: kept on disk until the hub's ack names them.

One Outbox a box, opened by the main process alone. Its journal is a SQLite file (WAL, synchronous=FULL); while the disk takes
nothing, events go to a volatile journal in memory with a UUID of its own, so that a press still reaches the hub.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from uuid import UUID

from prahari_wire.ack import Ack, Refusal
from prahari_wire.base import Message
from prahari_wire.envelope import Session, Stamp
from prahari_wire.events import COMMAND_STATE, KINDS, SET_ASIDE, SHED
from prahari_wire.ids import ulid
from prahari_wire.system import JournalSetAside, Shed

from prahari_agent.errors import AgentError
from prahari_agent.journal import LOWEST_CLASS, CommandRow, Entry, Journal
from prahari_agent.log import get_logger

log = get_logger("outbox")

MAX_EVENT = 48 * 1024
"""Bytes of one event: a batch (64 KiB) must hold it with its frame."""
VOLATILE_EVENTS = 2000
SHED_SHARE = 0.05
"""Shed this share of the cap at once, so that a full outbox does not shed at every event."""
SET_ASIDE_KEPT = 3


class OutboxFull(AgentError):
    """The disk takes nothing and the memory that stands in for it is full, or the agent is stopping."""


class Outbox:
    """The box's outbox. ``emit`` is the way in, ``pick`` and ``acked`` the way out. Thread-safe."""

    def __init__(
        self,
        path: Path,
        *,
        session: Callable[[], Session],
        stamp: Callable[[], Stamp],
        max_bytes: int = 128 * 2**20,
        max_events: int = 200_000,
        max_volatile: int = VOLATILE_EVENTS,
    ) -> None:
        self._path, self._session, self._stamp = path, session, stamp
        self._max_bytes, self._max_events, self._max_volatile = max_bytes, max_events, max_volatile
        self._lock = RLock()
        self._wake: Callable[[], None] = lambda: None
        self._volatile: Journal | None = None
        self._durable: Journal | None = None
        self._closed = False
        self.trouble: str | None = None
        self.refused = 0
        self._open()

    def on_event(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each stored event."""
        self._wake = wake

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for journal in (self._durable, self._volatile):
                if journal is not None:
                    journal.close()
            self._durable = self._volatile = None

    # In

    def emit(
        self, kind: str, body: Message, *, peripheral: str | None = None, stamp: Stamp | None = None
    ) -> int:
        """Store a durable event and give its seq; see peripheral.Emit. OutboxFull where not even memory is left."""
        stamp = stamp or self._stamp()
        with self._lock:
            seq = self._guarded(lambda journal: self._insert(journal, kind, body, peripheral, stamp))
        self._wake()
        return seq

    def emit_command(self, command: str, row: CommandRow, body: Message) -> None:
        """Journal a command's state and tell it, both or neither; OutboxFull where the disk takes nothing."""
        with self._lock:
            journal = self._open()
            if journal is None:
                raise OutboxFull(f"The box cannot write its journal: {self.trouble}.")
            try:
                with journal.db.atomic():
                    journal.put_command(command, row)
                    self._insert(journal, COMMAND_STATE, body, None, self._stamp())
            except sqlite3.DatabaseError as error:
                self._lost(journal, error)
                raise OutboxFull(f"The box cannot write its journal: {error}.") from error
        self._wake()

    def command(self, command: str) -> CommandRow | None:
        with self._lock:
            return self._durable.command(command) if self._durable else None

    def unfinished_commands(self) -> list[CommandRow]:
        with self._lock:
            return self._durable.unfinished_commands() if self._durable else []

    def _insert(
        self, journal: Journal, kind: str, body: Message, peripheral: str | None, stamp: Stamp
    ) -> int:
        known = KINDS[kind]
        if not isinstance(body, known.body):
            raise TypeError(f"{kind} takes a {known.body.__name__}, not a {type(body).__name__}")
        session = self._session()
        event = json.dumps(
            {
                "boot": str(session.boot), "conn": session.conn, "at": stamp.at.isoformat(), "mono_ms": stamp.mono_ms,
                "clock": str(stamp.clock), "id": ulid(), "kind": kind, "peripheral": peripheral,
                "body": body.model_dump(mode="json", by_alias=True),
            },
            separators=(",", ":"), ensure_ascii=False,
        )  # fmt: skip
        if len(event.encode()) > MAX_EVENT:
            raise ValueError(
                f"an event of {len(event.encode())} bytes cannot be sent, at most {MAX_EVENT} are accepted"
            )
        seq = journal.add(known.cls, kind, session, stamp, event)
        if kind != SHED:
            self._keep_cap(journal)
        return seq

    def _keep_cap(self, journal: Journal) -> None:
        max_events = self._max_events if journal is self._durable else self._max_volatile
        over_events, over_bytes = journal.count - max_events, journal.bytes - self._max_bytes
        if over_events <= 0 and over_bytes <= 0:
            return
        count = over_events + int(max_events * SHED_SHARE) if over_events > 0 else 0
        size = over_bytes + int(self._max_bytes * SHED_SHARE) if over_bytes > 0 else 0
        for cls, number in journal.shed(count=count, size=size).items():
            log.warning("the outbox is full and sheds events", cls=cls, count=number)
            shed = Shed(**{"class": cls, "count": number, "reason": "the outbox reached its cap"})  # type: ignore[arg-type]
            self._insert(journal, SHED, shed, None, self._stamp())

    def _guarded(self, store: Callable[[Journal], int]) -> int:
        """Store in the durable journal; in the volatile one while the disk takes nothing."""
        if self._closed:
            raise OutboxFull("The agent is stopping and takes no events any more.")
        for _ in range(2):  # the second time in a new journal, where the first broke
            journal = self._open()
            if journal is None:
                break
            try:
                with journal.db.atomic():
                    seq = store(journal)
                self.trouble = None
                return seq
            except sqlite3.OperationalError as error:
                self._say(f"the disk takes no events ({error}): free space or replace the card")
                self._recount(journal)
                break
            except sqlite3.DatabaseError as error:
                self._set_aside(str(error))
        if self._volatile is None:
            self._volatile = Journal(None)
        if self._volatile.count >= 2 * self._max_volatile:
            raise OutboxFull(
                "The disk takes no events and the memory for them is full: free space or replace the card."
            )
        return store(self._volatile)

    def _recount(self, journal: Journal) -> None:
        try:
            journal.recount()
        except sqlite3.Error as error:
            log.error("the outbox cannot be read", error=str(error))

    # Opening, and what is done about a broken file

    def _open(self) -> Journal | None:
        """The durable journal, opened again where it was lost; None while the disk does not allow it."""
        if self._durable is not None or self._closed:
            return self._durable
        try:
            self._durable = Journal(self._path)
        except sqlite3.OperationalError as error:
            self._say(f"the outbox cannot be opened ({error}): free space on the disk or mount it writable")
            return None
        except (sqlite3.DatabaseError, ValueError) as error:
            self._set_aside(str(error))
        return self._durable

    def _set_aside(self, detail: str) -> None:
        """Keep the broken file under another name and begin a new journal, which says so."""
        if self._durable is not None:
            self._durable.close()
            self._durable = None
        name = f"{self._path.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        try:
            for suffix in ("-wal", "-shm", ""):
                if (part := self._path.with_name(self._path.name + suffix)).exists():
                    part.rename(self._path.with_name(name + suffix))
            self._durable = Journal(self._path)
        except (OSError, sqlite3.Error) as error:
            self._say(
                f"the outbox is broken ({detail}) and no new one can be begun ({error}): replace the card"
            )
            return
        log.error("the outbox was broken, is kept aside and begun anew", file=name, detail=detail)
        self._forget_oldest_set_aside()
        body = JournalSetAside(file=name, detail=detail[:120])
        try:
            with self._durable.db.atomic():
                self._insert(self._durable, SET_ASIDE, body, None, self._stamp())
        except sqlite3.Error as error:
            log.error("the hub cannot be told of the broken outbox", error=str(error))

    def _forget_oldest_set_aside(self) -> None:
        kept = sorted(
            path
            for path in self._path.parent.glob(f"{self._path.name}.broken-*")
            if path.name[-4:] not in {"-wal", "-shm"}
        )
        for old in kept[:-SET_ASIDE_KEPT]:
            for suffix in ("", "-wal", "-shm"):
                old.with_name(old.name + suffix).unlink(missing_ok=True)

    def _say(self, trouble: str) -> None:
        if self.trouble != trouble:
            log.error("events are held in memory alone", trouble=trouble)
        self.trouble = trouble

    # Out

    @property
    def journal(self) -> UUID:
        """The journal that a birth names: the durable one where there is one."""
        with self._lock:
            return self._main().id

    def low(self) -> int:
        with self._lock:
            return self._main().low()

    def _main(self) -> Journal:
        durable = self._open()
        if durable is not None:
            return durable
        if self._volatile is None:
            self._volatile = Journal(None)
        return self._volatile

    def held(self) -> int:
        with self._lock:
            return sum(journal.count for journal in (self._durable, self._volatile) if journal)

    def urgent(self) -> bool:
        """Whether an event of class 0, such as a press, is held."""
        return any(self.pick(journal, skip=(), limit=1, classes=(0,))[1] for journal in self.journals())

    def journals(self) -> list[UUID]:
        """Those that hold events, the durable one first."""
        with self._lock:
            return [journal.id for journal in (self._durable, self._volatile) if journal and journal.count]

    def knows(self, journal: UUID) -> bool:
        """False once a journal was set aside or has gone on under another name."""
        with self._lock:
            return self._by_id(journal) is not None

    def pick(
        self,
        journal: UUID,
        *,
        skip: Collection[int],
        limit: int,
        classes: Iterable[int] = range(LOWEST_CLASS + 1),
    ) -> tuple[int, list[Entry]]:
        """(low, entries to send next) of a journal."""
        with self._lock:
            found = self._by_id(journal)
            if found is None:
                return 0, []
            try:
                entries = found.pick(self._session().boot, self._stamp().mono_ms, skip, limit, classes)
                return found.low(), entries
            except sqlite3.DatabaseError as error:
                self._lost(found, error)
                return 0, []

    def acked(self, ack: Ack) -> int:
        """Forget what ``ack`` says is committed, quarantine what it refuses; how many events are gone."""
        with self._lock:
            found = self._by_id(ack.journal) if ack.journal else None
            if found is None:
                return 0
            ranges = [(0, ack.upto), *ack.beyond] if ack.upto is not None else list(ack.beyond)
            try:
                highest = max((last for _, last in ranges), default=-1)
                if found.foretold(highest, welcome=ack.birth is not None):
                    self._begin_anew(found)
                    return 0
                gone = self._quarantined(found, ack.refused) + found.remove(ranges)
            except sqlite3.DatabaseError as error:
                self._lost(found, error)
                return 0
            self._settle(found)
            return gone

    def _begin_anew(self, journal: Journal) -> None:
        """The hub has numbers that this box never gave: an older image of its card was put back. Nothing of what is held may pass
        for what the hub has under the same numbers.
        """
        before = journal.id
        journal.rename()
        log.error(
            "the outbox is an older image of itself and begins a new journal",
            before=str(before),
            now=str(journal.id),
        )

    def _quarantined(self, journal: Journal, refused: list[Refusal]) -> int:
        if not refused:
            return 0
        log.error("the hub refuses events", refused=[(r.seq, r.reason, r.detail) for r in refused[:10]])
        moved = journal.quarantine(refused)
        self.refused += moved
        return moved

    def holds(self, journal: UUID, seqs: Collection[int]) -> set[int]:
        """Those of ``seqs`` that are still held."""
        with self._lock:
            found = self._by_id(journal)
            return found.held_among(seqs) if found and seqs else set()

    def fresh(self, journal: UUID, seqs: Collection[int]) -> set[int]:
        """Those of ``seqs`` that are of this boot and not older than half a minute; all of them where that cannot be read."""
        with self._lock:
            found = self._by_id(journal)
            try:
                now_ms = self._stamp().mono_ms
                return found.fresh_among(seqs, self._session().boot, now_ms) if found else set()
            except sqlite3.DatabaseError:
                return set(seqs)

    def _settle(self, journal: Journal) -> None:
        if journal is self._volatile and journal.count == 0 and self._durable is not None:
            journal.close()
            self._volatile = None
        if journal is self._durable:
            self.trouble = None

    def _lost(self, journal: Journal, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.OperationalError):
            self._say(f"the outbox cannot be changed ({error}): free space or replace the card")
            self._recount(journal)
        elif journal is self._durable:
            self._set_aside(str(error))

    def _by_id(self, journal: UUID) -> Journal | None:
        return next((j for j in (self._durable, self._volatile) if j and j.id == journal), None)
