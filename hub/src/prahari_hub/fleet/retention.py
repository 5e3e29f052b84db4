"""What ages out of the fleet's tables: a bounded piece a call; a true result says that there may be more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.fleet.blobs import Blobs
from prahari_hub.fleet.commands import OPEN
from prahari_hub.fleet.tables import commands, cursors, events, expected_uploads, transitions, twins
from prahari_hub.fleet.uploads import named_in
from prahari_hub.http.actor import system
from prahari_hub.store import Unit, partitions

PIECE = 2000
FILES = 200

InUse = Callable[[Connection, Collection[str]], set[str]]
"""Those of some files that a slice above the fleet still names."""


def forget_commands(unit: Unit, *, before: datetime) -> bool:
    """Commands that ended before ``before``."""
    open_ = [str(state) for state in OPEN]
    old = sa.select(commands.c.id).where(commands.c.state.not_in(open_), commands.c.state_at < before)
    return _delete(unit, commands, old)


def forget_events(unit: Unit, *, before: datetime) -> bool:
    """Events received before ``before``; their journals' watermarks stay, so none of them can come again."""
    oldest = sa.select(events.c.id, events.c.received_at).order_by(events.c.id).limit(PIECE)
    found = [row.id for row in unit.conn.execute(oldest) if row.received_at < before]
    unit.conn.execute(events.delete().where(events.c.id.in_(found)))
    return len(found) == PIECE


def forget_transitions(unit: Unit, *, before: datetime) -> bool:
    """Transitions of before ``before`` that every reader has read; those of service stay, figures of old months need them."""
    read = unit.conn.scalar(sa.select(sa.func.min(cursors.c.value))) or 0
    unread = unit.conn.scalar(sa.select(sa.func.min(transitions.c.at)).where(transitions.c.id > read))
    until = min(before, unread or before)
    more = partitions.forget(unit.conn, transitions, until, keep=("kind", "service"))
    if more is not None:
        return more
    oldest = (
        sa.select(transitions.c.id, transitions.c.at)
        .where(transitions.c.kind != "service")
        .order_by(transitions.c.id)
        .limit(PIECE)
    )
    found = [row.id for row in unit.conn.execute(oldest) if row.at < before and row.id <= read]
    unit.conn.execute(transitions.delete().where(transitions.c.id.in_(found)))
    return len(found) == PIECE


def forget_unsent(unit: Unit, *, before: datetime) -> int:
    """Files that were announced before ``before`` and never came."""
    overdue = expected_uploads.c.stored_at.is_(None) & (expected_uploads.c.at < before)
    return unit.conn.execute(expected_uploads.delete().where(overdue)).rowcount


def forget_files(unit: Unit, blobs: Blobs, in_use: InUse, *, before: datetime, after: str = "") -> str | None:
    """Files that devices sent before ``before``, unless something still names them: rows and bytes.

    Returns the last one looked at if there may be more after it, else None.
    """
    table = expected_uploads
    query = (
        sa.select(table.c.sha256)
        .where(table.c.stored_at.is_not(None), table.c.sha256 > after)
        .group_by(table.c.sha256)
        .having(sa.func.max(table.c.stored_at) < sa.bindparam("before", before, type_=table.c.stored_at.type))
        .having(sa.func.min(table.c.device_id) != "")
        .order_by(table.c.sha256)
        .limit(FILES)
    )
    found = list(unit.conn.execute(query).scalars())
    if not found:
        return None
    gone = set(found) - in_use(unit.conn, found) - _in_twins(unit.conn)
    blobs.delete(sorted(gone))
    if gone:
        detail = {"count": len(gone), "before": before.isoformat()}
        record(unit, system("retention"), "files.delete", "files", detail=detail)
    unit.conn.execute(table.delete().where(table.c.sha256.in_(gone)))
    return found[-1] if len(found) == FILES else None


def _in_twins(conn: Connection) -> set[str]:
    naming = sa.cast(twins.c.document, sa.String).contains("sha256")
    documents = conn.execute(sa.select(twins.c.document).where(naming)).scalars()
    return {sha256 for document in documents for sha256 in named_in(document)}


def _delete(unit: Unit, table: sa.Table, ids: sa.Select[tuple[str]]) -> bool:
    found = list(unit.conn.execute(ids.limit(PIECE)).scalars())
    unit.conn.execute(table.delete().where(table.c.id.in_(found)))
    return len(found) == PIECE
