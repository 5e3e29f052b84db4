"""The audit log: one row in the transaction of each change; the scheduler seals the rows into a hash chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access.tables import audit, audit_seals
from prahari_hub.http.actor import Actor
from prahari_hub.http.paging import Page, decode, encode
from prahari_hub.store import Unit


def record(
    unit: Unit,
    actor: Actor,
    action: str,
    subject: str,
    *,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a row: ``action`` such as ``incident.acknowledge``, ``subject`` such as ``incident:01J…``; never a secret in detail."""
    unit.conn.execute(
        audit.insert().values(
            at=unit.now, actor=actor.name, action=action, subject=subject, reason=reason, detail=detail or {}
        )
    )


@dataclass(frozen=True)
class Entry:
    """A row of the log; ``sealed`` once the hash chain holds it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str | None
    detail: dict[str, Any]
    sealed: bool


@dataclass(frozen=True)
class Filter:
    """``action`` and ``subject`` match from the beginning: ``incident.`` gives all that was done to incidents."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def page(conn: Connection, wanted: Filter, *, limit: int = 100, cursor: str | None = None) -> Page[Entry]:
    """Newest first."""
    query = (
        sa.select(audit, audit_seals.c.hash.is_not(None).label("sealed"))
        .outerjoin(audit_seals, audit_seals.c.audit_id == audit.c.id)
        .order_by(audit.c.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        query = query.where(audit.c.id < decode(cursor, int)[0])
    if wanted.actor is not None:
        query = query.where(audit.c.actor == wanted.actor)
    for column, prefix in ((audit.c.action, wanted.action), (audit.c.subject, wanted.subject)):
        if prefix is not None:
            query = query.where(column.startswith(prefix, autoescape=True))
    if wanted.since is not None:
        query = query.where(audit.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.at < wanted.until)
    rows = [Entry(**row._asdict()) for row in conn.execute(query)]
    return Page(rows[:limit], encode(rows[limit - 1].id) if len(rows) > limit else None)
