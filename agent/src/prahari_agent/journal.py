"""The journal: one SQLite file with the events that the hub has not acknowledged and the commands that were received.

Beside the outbox, which owns it, the only file of the agent that speaks SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from prahari_wire.ack import Refusal
from prahari_wire.envelope import Session, Stamp
from prahari_wire.events import SHED

from prahari_agent.lean import without

with without("numpy", "pandas"):
    from sqlite_utils import Database

LIVE_MS = 30_000
"""An event older than this when sent is late."""
NEVER_SHED = (0,)
LOWEST_CLASS = 4
COMMANDS_KEPT = 2000
LEAP = 1000
"""At each opening the sequence leaps so far: a card that lied may have lost the last events, and the hub knows their numbers."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, cls INTEGER NOT NULL, kind TEXT NOT NULL,
    boot TEXT NOT NULL, mono_ms INTEGER NOT NULL, size INTEGER NOT NULL, event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_class ON events (cls, seq);
CREATE INDEX IF NOT EXISTS events_by_age ON events (cls, boot, mono_ms);
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY, received INTEGER NOT NULL, state TEXT NOT NULL, command TEXT NOT NULL, report TEXT NOT NULL);
"""


class Entry(NamedTuple):
    """An event to send. ``event`` is its JSON object without ``seq`` and ``late``; ``live`` while it is of this boot and fresh."""

    seq: int
    cls: int
    size: int
    live: bool
    event: str

    def encoded(self, *, late: bool) -> str:
        return f'{{"seq":{self.seq},"late":{"true" if late else "false"},{self.event[1:]}'


class CommandRow(NamedTuple):
    state: str
    command: str
    report: str


class Journal:
    """One SQLite journal with its UUID. Not thread-safe: the Outbox holds the lock. Raises sqlite3.Error."""

    def __init__(self, path: Path | None) -> None:
        """``path`` None makes a volatile journal in memory."""
        self.path = path
        connection = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False, timeout=10
        )
        self.db = Database(connection, recursive_triggers=False, execute_plugins=False)
        try:
            self._prepare()
        except (sqlite3.Error, ValueError):
            connection.close()
            raise

    def _prepare(self) -> None:
        if self.path is not None:
            self.db.enable_wal()
            self.db.execute("PRAGMA synchronous=FULL")
            mode, level = self._pragma("journal_mode"), self._pragma("synchronous")
            assert (mode, level) == ("wal", 2), (
                f"the outbox would not survive a power cut: {mode}, synchronous={level}"
            )
            if (found := self._pragma("quick_check(1)")) != "ok":
                raise sqlite3.DatabaseError(str(found))
        with self.db.atomic():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self.db.execute(statement)
            if (row := self._one("SELECT id FROM journal")) is None:
                row = (str(uuid4()),)
                self.db.execute("INSERT INTO journal VALUES (?)", row)
            self.db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events'", (LEAP,))
        self.id = UUID(row[0])
        self._highest_sent = self.last_seq()
        self.count, self.bytes = 0, 0
        self.recount()

    def recount(self) -> None:
        """Take the tallies from the table: at start, and after a transaction that was rolled back."""
        row = self._one("SELECT count(*), coalesce(sum(size), 0) FROM events")
        self.count, self.bytes = int(row[0]), int(row[1])

    def _pragma(self, name: str) -> Any:
        return self.db.execute(f"PRAGMA {name}").fetchone()[0]

    def _one(self, sql: str, parameters: Collection[Any] = ()) -> Any:
        return self.db.execute(sql, tuple(parameters)).fetchone()

    def close(self) -> None:
        self.db.close()

    def add(self, cls: int, kind: str, session: Session, stamp: Stamp, event: str) -> int:
        size = len(event.encode()) + 48
        cursor = self.db.execute(
            "INSERT INTO events (cls, kind, boot, mono_ms, size, event) VALUES (?, ?, ?, ?, ?, ?)",
            (cls, kind, str(session.boot), stamp.mono_ms, size, event),
        )
        self.count, self.bytes = self.count + 1, self.bytes + size
        return int(cursor.lastrowid or 0)

    def low(self) -> int:
        """The lowest seq that is held, or the next to be given."""
        lowest = self._one("SELECT min(seq) FROM events")[0]
        return int(lowest) if lowest is not None else self.last_seq() + 1

    def last_seq(self) -> int:
        row = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(row[0]) if row else 0

    def pick(
        self, boot: UUID, now_ms: int, skip: Collection[int], limit: int, classes: Iterable[int]
    ) -> list[Entry]:
        """Up to ``limit`` entries in sending order (class, live before backlog, seq) without those in ``skip``."""
        found = self._picked(boot, now_ms, skip, limit, classes)
        self._highest_sent = max([self._highest_sent, *(entry.seq for entry in found)])
        return found

    def _picked(
        self, boot: UUID, now_ms: int, skip: Collection[int], limit: int, classes: Iterable[int]
    ) -> list[Entry]:
        found: list[Entry] = []
        since_ms = now_ms - LIVE_MS
        for cls in classes:
            wanted = limit - len(found) + len(skip)
            live = "SELECT seq, size, event FROM events WHERE cls = ? AND boot = ? AND mono_ms >= ? ORDER BY seq LIMIT ?"
            late = "SELECT seq, size, event FROM events WHERE cls = ? AND NOT (boot = ? AND mono_ms >= ?) ORDER BY seq LIMIT ?"
            for sql, is_live in ((live, True), (late, False)):
                rows = self.db.execute(sql, (cls, str(boot), since_ms, wanted))
                found += [
                    Entry(seq, cls, size, is_live, event) for seq, size, event in rows if seq not in skip
                ]
                if len(found) >= limit:
                    return found[:limit]
        return found

    def foretold(self, highest: int, *, welcome: bool) -> bool:
        """Whether ``highest``, which the hub says it has, was never given here: the file is an older image of itself.

        In the answer to a birth nothing but what was sent since the opening may stand above where the opening has leapt to.
        """
        return self.path is not None and highest > (self._highest_sent if welcome else self.last_seq())

    def rename(self) -> None:
        """Go on under another UUID with everything that is held; the hub knows no number of it."""
        new = uuid4()
        self.db.execute("UPDATE journal SET id = ?", (str(new),))
        self.id = new

    def remove(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Forget the events of the closed ranges; how many there were."""
        with self.db.atomic():
            return self._deleted("seq BETWEEN ? AND ?", ranges)

    def _deleted(self, where: str, parameters: Iterable[Collection[Any]]) -> int:
        removed = 0
        for values in parameters:
            count, size = self._one(
                f"SELECT count(*), coalesce(sum(size), 0) FROM events WHERE {where}",  # noqa: S608 - our own constants
                values,
            )
            if count:
                self.db.execute(f"DELETE FROM events WHERE {where}", tuple(values))  # noqa: S608
                removed, self.count, self.bytes = removed + count, self.count - count, self.bytes - size
        return removed

    def held_among(self, seqs: Collection[int]) -> set[int]:
        rows = self.db.execute(
            "SELECT seq FROM events WHERE seq BETWEEN ? AND ?", (min(seqs, default=0), max(seqs, default=0))
        )
        return {seq for (seq,) in rows} & set(seqs)

    def fresh_among(self, seqs: Collection[int], boot: UUID, now_ms: int) -> set[int]:
        rows = self.db.execute(
            "SELECT seq FROM events WHERE seq BETWEEN ? AND ? AND boot = ? AND mono_ms >= ?",
            (min(seqs, default=0), max(seqs, default=0), str(boot), now_ms - LIVE_MS),
        )
        return {seq for (seq,) in rows} & set(seqs)

    def quarantine(self, refusals: Iterable[Refusal]) -> int:
        """Move events that the hub will never accept to the table ``refused``, for a person to look at."""
        moved = 0
        with self.db.atomic():
            for refusal in refusals:
                self.db.execute(
                    "INSERT OR REPLACE INTO refused SELECT seq, ?, ?, ?, event FROM events WHERE seq = ?",
                    (datetime.now(UTC).isoformat(), refusal.reason, refusal.detail, refusal.seq),
                )
                moved += self._deleted("seq = ?", [(refusal.seq,)])
            self.db.execute(
                "DELETE FROM refused WHERE seq NOT IN (SELECT seq FROM refused ORDER BY seq DESC LIMIT 500)"
            )
        return moved

    def shed(self, *, count: int, size: int) -> dict[int, int]:
        """Give up the oldest events, lowest class first, until ``count`` and ``size`` bytes are free; how many of each class."""
        given_up: dict[int, int] = {}
        with self.db.atomic():
            for cls in range(LOWEST_CLASS, max(NEVER_SHED), -1):
                freed, last, gone = 0, None, 0
                for seq, held in self.db.execute(
                    "SELECT seq, size FROM events WHERE cls = ? AND kind != ? ORDER BY seq", (cls, SHED)
                ):
                    if gone >= count and freed >= size:
                        break
                    last, freed, gone = seq, freed + held, gone + 1
                if last is not None:
                    given_up[cls] = self._deleted("cls = ? AND kind != ? AND seq <= ?", [(cls, SHED, last)])
                    count, size = count - gone, size - freed
                if count <= 0 and size <= 0:
                    break
        return given_up

    def command(self, command: str) -> CommandRow | None:
        row = self._one("SELECT state, command, report FROM commands WHERE id = ?", (command,))
        return CommandRow(*row) if row else None

    def unfinished_commands(self) -> list[CommandRow]:
        rows = self.db.execute(
            "SELECT state, command, report FROM commands WHERE state IN ('ACCEPTED', 'RUNNING') ORDER BY received"
        )
        return [CommandRow(*row) for row in rows]

    def put_command(self, command: str, row: CommandRow) -> None:
        self.db.execute(
            "INSERT INTO commands VALUES (?, (SELECT coalesce(max(received), 0) + 1 FROM commands), ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, report = excluded.report",
            (command, *row),
        )
        self.db.execute(
            "DELETE FROM commands WHERE received <= (SELECT max(received) FROM commands) - ?",
            (COMMANDS_KEPT,),
        )
