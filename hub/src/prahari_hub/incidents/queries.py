"""Incidents as lists and single ones, for the API and the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from prahari_wire.base import Severity
from sqlalchemy import ColumnElement, Connection

from prahari_hub.errors import NotFound
from prahari_hub.http.paging import Page, decode, encode
from prahari_hub.incidents.rules import SELF_CLOSING
from prahari_hub.incidents.tables import incident_log, incidents, notifications
from prahari_hub.store.schema import UtcDateTime
from prahari_hub.texts import N_


@dataclass(frozen=True)
class Incident:
    """``active``: the cause still holds; ``acknowledged``: somebody has it; ``open``: it is in the queue.

    One of a place has no device but a ``scope_type`` (site, asset, zone, fleet), a ``scope`` and as many ``children`` as are silent now.
    ``parent`` took this one in. ``hold``: escalation waits for this window, or for the device's ``maintenance``.
    """

    id: str
    kind: str
    severity: Severity
    device: str | None
    peripheral: str | None
    site: str | None
    title: str
    detail: dict[str, Any]
    opened_at: datetime
    last_at: datetime
    count: int
    active: bool
    acknowledged: bool
    open: bool
    cleared_at: datetime | None
    acked_at: datetime | None
    acked_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    assignee: str | None
    snapshot: str | None
    version: int
    scope_type: str = "device"
    scope: str | None = None
    children: int = 0
    parent: str | None = None
    hold: str | None = None


@dataclass(frozen=True)
class LogEntry:
    at: datetime
    actor: str
    action: str
    text: str | None
    event: str | None


@dataclass(frozen=True)
class Told:
    """One notification of the incident."""

    step: int
    channel: str
    target: str
    state: str
    attempts: int
    due_at: datetime
    error: str | None


@dataclass(frozen=True)
class Filter:
    """``unacked`` True gives those that nobody acknowledged, False the others."""

    state: Literal["open", "closed", "all"] = "open"
    severity: Severity | None = None
    kind: str | None = None
    device: str | None = None
    site: str | None = None
    unacked: bool | None = None
    assignee: str | None = None


def incident_of(row: Any) -> Incident:
    values = row._asdict()
    for name in ("key", "rank", "round", "waits_since", "hold_since"):
        del values[name]
    return Incident(
        **values
        | {
            "severity": Severity(row.severity),
            "active": row.cleared_at is None,
            "acknowledged": row.acked_at is not None,
            "open": row.resolved_at is None,
        }
    )


_RENAMED = {"device_id": "device", "site_id": "site", "scope_id": "scope", "parent_id": "parent"}
_SELECT = sa.select(
    *[column.label(_RENAMED.get(column.name, column.name)) for column in incidents.c],
)


def get(conn: Connection, incident: str) -> Incident:
    row = conn.execute(_SELECT.where(incidents.c.id == incident)).one_or_none()
    if row is None:
        raise NotFound(N_("There is no incident {incident!r}."), incident=incident[:40])
    return incident_of(row)


def page(conn: Connection, wanted: Filter, *, limit: int = 50, cursor: str | None = None) -> Page[Incident]:
    """Open ones: unacknowledged first, by severity, newest first. Closed ones and all: newest first."""
    query = _SELECT.where(*_conditions(wanted))
    if wanted.state == "open":
        query = _queue_order(query, cursor)
    else:
        if cursor is not None:
            query = query.where(incidents.c.id < decode(cursor, str)[0])
        query = query.order_by(incidents.c.id.desc())
    rows = conn.execute(query.limit(limit + 1)).all()
    items = [incident_of(row) for row in rows[:limit]]
    return Page(items, _cursor(rows[limit - 1], wanted) if len(rows) > limit else None)


_ACKED = sa.case((incidents.c.acked_at.is_(None), 0), else_=1)


def _queue_order(query: sa.Select[Any], cursor: str | None) -> sa.Select[Any]:
    if cursor is not None:
        acked, rank, last = decode(cursor, int, int, str)
        query = query.where(
            sa.or_(
                acked < _ACKED,
                sa.and_(acked == _ACKED, incidents.c.rank > rank),
                sa.and_(acked == _ACKED, incidents.c.rank == rank, incidents.c.id < last),
            )
        )
    return query.order_by(_ACKED, incidents.c.rank, incidents.c.id.desc())


def _cursor(row: Any, wanted: Filter) -> str:
    if wanted.state == "open":
        return encode(0 if row.acked_at is None else 1, row.rank, row.id)
    return encode(row.id)


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.state != "all":
        is_open = incidents.c.resolved_at.is_(None)
        found.append(is_open if wanted.state == "open" else sa.not_(is_open))
    if wanted.unacked is not None:
        is_unacked = incidents.c.acked_at.is_(None)
        found.append(is_unacked if wanted.unacked else sa.not_(is_unacked))
    equal = {
        incidents.c.severity: wanted.severity and str(wanted.severity),
        incidents.c.kind: wanted.kind,
        incidents.c.device_id: wanted.device,
        incidents.c.site_id: wanted.site,
        incidents.c.assignee: wanted.assignee,
    }
    return found + [column == value for column, value in equal.items() if value is not None]


def log_of(conn: Connection, incident: str) -> list[LogEntry]:
    """Its history, oldest first."""
    rows = conn.execute(
        sa.select(incident_log).where(incident_log.c.incident_id == incident).order_by(incident_log.c.id)
    )
    return [LogEntry(row.at, row.actor, row.action, row.text, row.event_ulid) for row in rows]


def told(conn: Connection, incident: str) -> list[Told]:
    """Who was or will be called for it."""
    rows = conn.execute(
        sa.select(notifications).where(notifications.c.incident_id == incident).order_by(notifications.c.id)
    )
    names = Told.__dataclass_fields__
    return [Told(**{name: getattr(row, name) for name in names}) for row in rows]


def nobody_has() -> ColumnElement[bool]:
    """Open, unacknowledged, not a fault that is over, and not on hold: what people are told of."""
    over = sa.and_(incidents.c.cleared_at.is_not(None), incidents.c.kind.in_(SELF_CLOSING))
    return sa.and_(
        incidents.c.acked_at.is_(None),
        incidents.c.resolved_at.is_(None),
        incidents.c.hold.is_(None),
        sa.not_(over),
    )


def calls_due(conn: Connection, now: datetime) -> tuple[int, datetime | None]:
    """How many calls should have gone out by now, and since when the oldest of them."""
    due = sa.and_(notifications.c.state == "waiting", notifications.c.due_at <= now, nobody_has())
    query = sa.select(sa.func.count(), sa.func.min(notifications.c.due_at, type_=UtcDateTime()))
    count, oldest = conn.execute(query.select_from(notifications.join(incidents)).where(due)).one()
    return int(count), oldest


def counts(conn: Connection) -> dict[str, int]:
    """Unacknowledged open incidents by severity: the console's header."""
    query = (
        sa.select(incidents.c.severity, sa.func.count())
        .where(incidents.c.resolved_at.is_(None), incidents.c.acked_at.is_(None))
        .group_by(incidents.c.severity)
    )
    found = {str(severity): int(count) for severity, count in conn.execute(query)}
    return {str(severity): found.get(severity, 0) for severity in Severity}


def many(conn: Connection, ids: list[str]) -> list[Incident]:
    """Those of ``ids`` that exist, newest first: what a page fetches to patch its rows."""
    query = _SELECT.where(incidents.c.id.in_(ids[:200])).order_by(incidents.c.id.desc())
    return [incident_of(row) for row in conn.execute(query)]
