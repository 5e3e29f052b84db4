"""What PostgreSQL is told at each connection, and which of its errors a second try may mend."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError

APPLICATION = "prahari-hub"
CONNECT_S = 5
IDLE_MS = 15_000
"""A process that stands still so long within a transaction loses it: others wait for what it has locked."""
STALLED_S = 5
"""The same in the middle of a statement, where a process that lives is never so long."""
AGAIN = frozenset({"40001", "40P01"})
"""SQLSTATEs of a transaction that lost against another one, undone as a whole: serialization failure, deadlock."""
READ_ONLY = "25006"
NOT_NOW = ("08", "53", "57", READ_ONLY)
"""SQLSTATEs, or their classes, of a server that does not do it now: connection, resources, shutdown, a standby that only reads."""

WRITING = 0x50726169  # any number that nobody else uses in this database


class Turn(Enum):
    """Which other transactions a unit keeps out. ALONE: every one but ANY. BESIDE: those that are ALONE. ANY: none."""

    ALONE = "pg_advisory_xact_lock"
    BESIDE = "pg_advisory_xact_lock_shared"
    ANY = ""


def take_turn(conn: Connection, turn: Turn) -> None:
    """Wait until this unit may begin; its turn ends with the transaction.

    What is numbered by a sequence so appears in the order of its numbers to whoever reads ALONE.
    """
    if conn.dialect.name == "postgresql" and turn is not Turn.ANY:
        conn.exec_driver_sql(f"SELECT {turn.value}({WRITING})")


def connect_args(timeout_s: float) -> dict[str, Any]:
    """For psycopg: no statement and no wait for a lock lasts longer than ``timeout_s``; a server that died is noticed."""
    limit = int(timeout_s * 1000)
    options = {
        "TimeZone": "UTC",
        "statement_timeout": limit,
        "lock_timeout": limit,
        "idle_in_transaction_session_timeout": IDLE_MS,
    }
    return {
        "application_name": APPLICATION,
        "connect_timeout": CONNECT_S,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }


def configure(engine: Engine) -> None:
    """Let everything that means "not now" arrive as OperationalError, whatever the driver calls it."""

    @event.listens_for(engine, "handle_error")
    def _same_name(context: ExceptionContext) -> None:
        found = context.sqlalchemy_exception
        if found is None or isinstance(found, OperationalError):
            return
        if context.is_disconnect or _sqlstate(context.original_exception).startswith(NOT_NOW):
            _raise(context)


def _raise(context: ExceptionContext) -> NoReturn:
    original = context.original_exception
    lost = OperationalError(context.statement, None, original, connection_invalidated=context.is_disconnect)
    raise lost from original


def end_stalled(conn: Connection) -> int:
    """End the hub's transactions whose process stands still in the middle of a statement; how many.

    psycopg sends many rows as one pipeline. PostgreSQL takes a pipeline that has begun as a statement at work, though no statement runs
    while it waits for the next message: none of the limits above counts, and what the process has locked stays locked (before
    transaction_timeout of PostgreSQL 17, and that one would count the time of those who work as well).
    """
    ended = conn.execute(_END_STALLED, {"own": APPLICATION, "stalled": timedelta(seconds=STALLED_S)})
    return sum(ended.scalars())


_END_STALLED = sa.text("""
    SELECT pg_terminate_backend(pid)::int FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = :own
      AND state = 'active' AND wait_event_type = 'Client' AND xact_start IS NOT NULL
      AND state_change < clock_timestamp() - CAST(:stalled AS interval)
""")


def may_be_repeated(error: OperationalError) -> bool:
    """Whether the whole transaction was undone only because another one came first."""
    return _sqlstate(error.orig) in AGAIN


def may_not_write(error: BaseException) -> bool:
    """Whether it was a write in a transaction, or on a server, that only reads."""
    return _sqlstate(getattr(error, "orig", None)) == READ_ONLY


def _sqlstate(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def takes_no_limit(conn: Connection) -> None:
    """For this transaction: a migration of a large table takes as long as it takes."""
    if conn.dialect.name == "postgresql":
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            conn.exec_driver_sql(f"SET LOCAL {name} = 0")
