"""The audit log's hash chain: each seal is SHA-256(the hash before || canonical JSON of the row).

Whoever edits, removes or inserts a row breaks the chain there. A tail cut off together with its seals shows only against a
hash that somebody noted before: ``verify`` takes it as ``head``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import canonical
from sqlalchemy import Connection

from prahari_hub.access.tables import audit, audit_seals
from prahari_hub.store import Unit

GENESIS = "0" * 64
BATCH = 1000


@dataclass(frozen=True)
class Verified:
    """``broken`` is the number of the first row that is not as it was sealed, ``reason`` says how one sees that."""

    sealed: int
    unsealed: int
    head: str | None
    broken: int | None = None
    reason: str | None = None


def seal(unit: Unit) -> int:
    """Seal the rows that are not yet, at most BATCH; how many. A unit is alone, so no row with a lower number comes later."""
    last = unit.conn.execute(sa.select(audit_seals).order_by(audit_seals.c.audit_id.desc()).limit(1)).first()
    after, running = (last.audit_id, last.hash) if last else (0, GENESIS)
    query = sa.select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(BATCH)
    seals = []
    for row in unit.conn.execute(query):
        running = link(running, row)
        seals.append({"audit_id": row.id, "hash": running})
    if seals:
        unit.conn.execute(audit_seals.insert(), seals)
    return len(seals)


def link(before: str, row: Any) -> str:
    """The hash of one row after the hash before it."""
    value = {
        "id": row.id,
        "at": row.at.isoformat(),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "reason": row.reason,
        "detail": row.detail,
    }
    return hashlib.sha256(before.encode() + canonical(value)).hexdigest()


def verify(conn: Connection, head: str | None = None) -> Verified:
    """Compute the whole chain again and compare."""
    running, sealed, unsealed = GENESIS, 0, 0
    seen = head is None
    for number, row, noted in _joined(conn):
        reason = _wrong(row, noted, unsealed, running)
        if reason is not None:
            return Verified(sealed, unsealed, running if sealed else None, number, reason)
        if noted is None:
            unsealed += 1
            continue
        running, sealed = noted, sealed + 1
        seen = seen or noted == head
    found = running if sealed else None
    if not seen:
        return Verified(
            sealed, unsealed, found, sealed + 1, "the noted hash is no longer in the chain: rows were cut off"
        )
    if _cut_off(conn):
        return Verified(sealed, unsealed, found, sealed + 1, "rows at the end were removed")
    return Verified(sealed, unsealed, found)


def _wrong(row: Any | None, noted: str | None, unsealed: int, running: str) -> str | None:
    if row is None:
        return "its seal is there, the row is not"
    if noted is None:
        return None
    if unsealed:
        return "a row before it has no seal: it was put in later, or its seal was removed"
    if link(running, row) != noted:
        return "the row, or one before it, is not as it was sealed"
    return None


def _joined(conn: Connection) -> Iterator[tuple[int, Any | None, str | None]]:
    """(number, row or None, hash or None) of every row and seal in order, a batch at a time."""
    after = 0
    while True:
        rows = conn.execute(
            sa.select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(BATCH)
        ).all()
        upto = rows[-1].id if len(rows) == BATCH else None
        in_reach = audit_seals.c.audit_id > after
        if upto is not None:
            in_reach = sa.and_(in_reach, audit_seals.c.audit_id <= upto)
        found = {row.id: row for row in rows}
        seals = {seal.audit_id: seal.hash for seal in conn.execute(sa.select(audit_seals).where(in_reach))}
        for number in sorted(found.keys() | seals.keys()):
            yield number, found.get(number), seals.get(number)
        if upto is None:
            return
        after = upto


def _cut_off(conn: Connection) -> bool:
    """SQLite remembers the highest number that it gave."""
    if conn.dialect.name != "sqlite":
        return False
    given = conn.execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")).scalar()
    highest = conn.execute(sa.select(sa.func.max(audit.c.id))).scalar()
    return int(given or 0) > int(highest or 0)
