"""Store: one writer thread, short reads, never SQL on the event loop.

Services are plain functions of a Unit (they write) or a Connection (they read). A Unit is one transaction; what must happen
after it has been committed (telling browsers, sending to devices) is collected in it and runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from prahari_hub import metrics
from prahari_hub.errors import SetupError, Unavailable
from prahari_hub.store import postgres
from prahari_hub.store.schema import metadata
from prahari_hub.texts import N_

T = TypeVar("T")
READERS = 4
TIMEOUT_S = 60.0
BUSY_MS = 5000
TRIES = 4
"""Of a transaction that PostgreSQL undid because another one came first."""
SQLITE_CORRUPT, SQLITE_NOTADB = 11, 26
MAY_LOSE = "PRAHARI_TEST_DATABASE_MAY_LOSE"
"""Set to 1 by tests, whose database need not outlive a power cut."""
DAMAGED = N_(
    "the database {file} is damaged ({cause}): stop the hub, keep the file, and restore a backup into an empty home with prahari-hub "
    "restore; prahari-hub doctor says more"
)
log = logging.getLogger(__name__)


def is_damage(error: DatabaseError) -> bool:
    """Whether SQLite found the file itself broken, which no repetition repairs."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (SQLITE_CORRUPT, SQLITE_NOTADB)


@dataclass(frozen=True)
class Change:
    """Something that browsers and other roles want to know: a topic such as ``incidents`` and small JSON."""

    topic: str
    data: dict[str, Any]


@dataclass
class Unit:
    """One transaction of the writer. ``now`` is the hub's time for everything in it."""

    conn: Connection
    now: datetime
    changes: list[Change] = field(default_factory=list)
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)

    def once(self, what: str, read: Callable[[], T]) -> T:
        """What ``read`` gives, read once a transaction: for what many events of one transaction ask and none of them changes."""
        if what not in self.known:
            self.known[what] = read()
        found: T = self.known[what]
        return found

    def tell(self, topic: str, **data: Any) -> None:
        """Tell the live feed once the transaction is on disk."""
        self.changes.append(Change(topic, data))

    def after(self, callback: Callable[[], None]) -> None:
        """Run on the event loop (or the calling thread in a command line) once the transaction is on disk."""
        self.callbacks.append(callback)


class Store:
    """``on_changes`` is set by the composition root; it is called on the event loop after each commit that told something.

    A unit is alone: no other one, of whatever process, runs between its first statement and its commit. So it may read, decide
    and write. SQLite has one writer anyway; on PostgreSQL ``turn`` says which lock keeps the others out.
    """

    turn = postgres.Turn.ALONE

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        readers: int = READERS,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.on_changes: Callable[[list[Change]], None] = lambda changes: None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="hub.store.write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="hub.store.read")

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        readers: int = READERS,
        timeout_s: float = TIMEOUT_S,
    ) -> Store:
        """Open the database and assert that a commit is on disk when it returns.

        ``readers`` read at once. ``timeout_s`` is the longest that one statement may take on PostgreSQL.
        """
        engine = _engine(url, readers, timeout_s)
        try:
            with engine.connect() as conn:
                _assert_durable(conn)
        except DatabaseError as error:
            if is_damage(error):
                raise SetupError(DAMAGED, file=engine.url.database, cause=error.orig) from error
            raise SetupError(
                f"the database {engine.url.render_as_string()} cannot be opened: {error.orig}"
            ) from error
        return cls(engine, clock=clock, readers=readers)

    def aside(self) -> Store:
        """The same database with threads of its own, for what must not wait behind long writes; close it as well."""
        return _Aside(self.engine, clock=self.clock)

    def create_all(self) -> None:
        """Create every table without migrations: for tests of one slice."""
        metadata.create_all(self.engine)

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run ``work`` in one transaction on the writer thread; its callbacks and changes run here after the commit.

        Unavailable: nothing was written, try again later. ``work`` runs again at once where PostgreSQL asks for that.
        """
        loop = asyncio.get_running_loop()
        unit, result = await loop.run_in_executor(self._writer, self._transact, work)
        self._finish(unit)
        return result

    async def write_if_any(self, work: Callable[[Unit], T]) -> T:
        """``write`` for work that mostly finds nothing to do. On PostgreSQL it looks first, in a transaction that may not write, so that
        nobody waits for its turn; where there is something to write, ``work`` runs a second time."""
        if self.engine.dialect.name != "postgresql":
            return await self.write(work)
        found = await asyncio.get_running_loop().run_in_executor(self._readers, self._look, work)
        return await self.write(work) if found is None else found[0]

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_sync, work)

    def write_sync(self, work: Callable[[Unit], T]) -> T:
        """The same for command lines and tests, in the calling thread."""
        unit, result = self._writer.submit(self._transact, work).result()
        self._finish(unit)
        return result

    def read_sync(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on one state of the database. Unavailable: it does not answer now."""
        try:
            with self._reading() as conn:
                return work(conn)
        except (OperationalError, PoolTimeout) as error:
            raise Unavailable(N_("the database does not answer now: {cause}"), cause=_said(error)) from error

    def _look(self, work: Callable[[Unit], T]) -> tuple[T] | None:
        """The result of work that neither writes nor tells anything; None for any other."""
        try:
            with self._reading() as conn:
                unit = Unit(conn, self.clock())
                result = work(unit)
        except (OperationalError, PoolTimeout) as error:
            if postgres.may_not_write(error):
                return None
            raise Unavailable(N_("the database does not answer now: {cause}"), cause=_said(error)) from error
        return None if unit.changes or unit.callbacks else (result,)

    def _reading(self) -> Connection:
        conn = self.engine.connect()
        if conn.dialect.name == "sqlite":
            return conn  # a deferred transaction sees one state
        return conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def waiting(self) -> int:
        """Transactions that wait for the writer."""
        return self._writer._work_queue.qsize()

    def close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()

    def _transact(self, work: Callable[[Unit], T], tries: int = TRIES) -> tuple[Unit, T]:
        try:
            with (
                metrics.WRITE_S.time(),
                self.engine.connect().execution_options(prahari_write=True) as conn,
                conn.begin(),
            ):
                postgres.take_turn(conn, self.turn)
                unit = Unit(conn, self.clock())
                result = work(unit)
        except (OperationalError, PoolTimeout) as error:
            if tries > 1 and isinstance(error, OperationalError) and postgres.may_be_repeated(error):
                time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - so that the two do not meet again
                return self._transact(work, tries - 1)
            raise Unavailable(
                N_("the database does not take writes now: {cause}"), cause=_said(error)
            ) from error
        except DatabaseError as error:
            if is_damage(error):
                raise Unavailable(DAMAGED, file=self.engine.url.database, cause=error.orig) from error
            raise
        return unit, result

    def _finish(self, unit: Unit) -> None:
        if unit.changes:
            self.on_changes(unit.changes)
        for callback in unit.callbacks:
            try:
                callback()
            except Exception:
                log.exception("a callback after a commit failed")


class _Aside(Store):
    turn = postgres.Turn.ANY

    def close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()


class FencedStore(Store):
    """The same store, whose transactions are checked first: ``guard`` is asked on the event loop when a write is handed
    over, and what it gives runs at the beginning of the transaction and raises where this process may not write any more.

    With ``beside`` its units run beside those of other processes' such stores: the guard keeps them on different devices."""

    def __init__(
        self, store: Store, guard: Callable[[], Callable[[Unit], None]], *, beside: bool = False
    ) -> None:
        self.turn = postgres.Turn.BESIDE if beside else store.turn
        self.engine = store.engine
        self.clock = store.clock
        self._store = store
        self._guard = guard
        self._writer = store._writer
        self._readers = store._readers

    async def write(self, work: Callable[[Unit], T]) -> T:
        return await super().write(self._fenced(work))

    def write_sync(self, work: Callable[[Unit], T]) -> T:
        return super().write_sync(self._fenced(work))

    def close(self) -> None:
        """The store itself is closed by whoever opened it."""

    def _fenced(self, work: Callable[[Unit], T]) -> Callable[[Unit], T]:
        check = self._guard()

        def run(unit: Unit) -> T:
            check(unit)
            return work(unit)

        return run

    def _finish(self, unit: Unit) -> None:
        self._store._finish(unit)


def _said(error: OperationalError | PoolTimeout) -> str:
    said = str(error.orig if isinstance(error, OperationalError) else error)
    return said.strip().splitlines()[0] if said.strip() else "it said nothing"


def _engine(url: str, readers: int, timeout_s: float) -> Engine:
    if sa.make_url(url).get_backend_name() == "sqlite":
        engine = sa.create_engine(url, pool_size=readers + 2)
        _configure_sqlite(engine)
        return engine
    engine = sa.create_engine(
        url,
        pool_size=readers + 2,
        pool_timeout=10,
        pool_pre_ping=True,
        use_native_hstore=False,  # no column is one, and looking for the type takes a query
        connect_args=postgres.connect_args(timeout_s),
    )
    postgres.configure(engine)
    return engine


def _configure_sqlite(engine: Engine) -> None:
    """WAL, FULL, foreign keys; write units begin IMMEDIATE, because a read that turns into a write fails under contention."""

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None
        cursor = raw.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        writes = conn.get_execution_options().get("prahari_write", False)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


def _assert_durable(conn: Connection) -> None:
    if conn.dialect.name == "sqlite":
        level = conn.exec_driver_sql("PRAGMA synchronous").scalar()
        mode = conn.exec_driver_sql("PRAGMA journal_mode").scalar()
        if level != 2 or mode not in ("wal", "memory"):
            raise SetupError(
                f"SQLite runs with synchronous={level}, journal_mode={mode}; the hub needs FULL and WAL"
            )
        return
    for setting in ("synchronous_commit", "fsync", "full_page_writes"):
        of_tests = setting != "synchronous_commit" and os.environ.get(MAY_LOSE) == "1"
        if conn.exec_driver_sql(f"SHOW {setting}").scalar() == "off" and not of_tests:
            raise SetupError(
                f"PostgreSQL runs with {setting}=off, so what the hub acknowledged may be lost when the power fails: set it to on"
            )
