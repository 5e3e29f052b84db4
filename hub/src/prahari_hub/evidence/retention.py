"""How long the hub keeps what came for requests: sealed footage to its date, links and copies for a while; each deletion is audited.

A deleted package leaves its manifest, so that what was sealed, and its hash, can be said for ever; the footage itself is gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid
from prahari_hub.evidence.requests import HUB, get, subject
from prahari_hub.evidence.tables import (
    evidence_segments,
    footage_requests,
    redacted_copies,
    release_links,
    sealed_items,
    transfers,
)
from prahari_hub.fleet.blobs import Blobs
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_

PIECE = 20
LONGEST = timedelta(days=36_525)


@dataclass(frozen=True)
class Keeping:
    """``until`` None: nothing says when it goes. ``deleted_at``: it is gone."""

    until: datetime | None
    named: bool
    deleted_at: datetime | None


def keeping(conn: Connection, request: str, keep: timedelta | None) -> Keeping | None:
    """Of what was sealed of a request, where ``keep`` is what the setting says; None where nothing was."""
    row = conn.execute(_sealed().where(sealed_items.c.request_id == request)).first()
    if row is None:
        return None
    usual = row.ended_at + keep if keep is not None and row.ended_at is not None else None
    return Keeping(row.keep_until or usual, row.keep_until is not None, row.deleted_at)


def _sealed() -> sa.Select[Any]:
    return sa.select(sealed_items, footage_requests.c.ended_at).join(
        footage_requests, footage_requests.c.id == sealed_items.c.request_id
    )


def keep_until(unit: Unit, actor: Actor, request: str, until: datetime | None, *, reason: str) -> None:
    """Name the date that sealed footage is kept to, None for what the setting says. Conflict once it is gone."""
    get(unit.conn, request)
    row = unit.conn.execute(_sealed().where(sealed_items.c.request_id == request)).first()
    if row is None:
        raise Conflict(N_("Nothing of this request has been sealed yet."))
    if row.deleted_at is not None:
        raise Conflict(N_("The footage of this request has been deleted: its time was over."))
    if not reason.strip():
        raise Invalid(N_("Say why the date changes."), ("reason", "why"))
    if until is not None and not unit.now < until < unit.now + LONGEST:
        raise Invalid(N_("Footage is kept to a date that lies ahead."), ("until", "a date ahead"))
    unit.conn.execute(sealed_items.update().where(sealed_items.c.id == row.id).values(keep_until=until))
    detail = {"until": until.isoformat() if until else None}
    record(unit, actor, "evidence.keep", subject(request), reason=reason.strip()[:500], detail=detail)
    unit.tell("requests", id=request)


def forget_sealed(unit: Unit, footage: Blobs, *, before: datetime | None) -> bool:
    """Delete sealed footage whose date has come: a named one, else those of requests that ended before ``before``."""
    due = sealed_items.c.keep_until <= unit.now
    if before is not None:
        due = sa.or_(due, sealed_items.c.keep_until.is_(None) & (footage_requests.c.ended_at < before))
    query = _sealed().where(sealed_items.c.deleted_at.is_(None), due).order_by(sealed_items.c.id)
    rows = unit.conn.execute(query.limit(PIECE)).all()
    for row in rows:
        _delete(unit, footage, row)
    return len(rows) == PIECE


def _delete(unit: Unit, footage: Blobs, row: Row[Any]) -> None:
    unit.conn.execute(sealed_items.update().where(sealed_items.c.id == row.id).values(deleted_at=unit.now))
    live = (release_links.c.request_id == row.request_id) & release_links.c.revoked_at.is_(None)
    unit.conn.execute(release_links.update().where(live).values(revoked_at=unit.now))
    names = _files_of(unit.conn, transfers.c.request_id == row.request_id)
    gone = names - _still_named(unit.conn, names)
    footage.delete(sorted(gone))
    detail = {"item": row.id, "manifest_sha256": row.manifest_sha256, "files": len(gone), "size": row.size}
    record(unit, HUB, "evidence.delete", subject(row.request_id), detail=detail)
    unit.tell("requests", id=row.request_id)


def _files_of(conn: Connection, which: sa.ColumnElement[bool]) -> set[str]:
    """Segments and accounts of those transfers."""
    query = (
        sa.select(evidence_segments.c.sha256)
        .join(transfers, transfers.c.id == evidence_segments.c.transfer)
        .where(which, evidence_segments.c.stored_at.is_not(None))
    )
    accounts = sa.select(transfers.c.manifest_sha256).where(which, transfers.c.manifest_sha256.is_not(None))
    return set(conn.scalars(query)) | set(conn.scalars(accounts))


def _still_named(conn: Connection, names: Collection[str]) -> set[str]:
    """Those of some files that another request still needs."""
    gone = sa.select(sealed_items.c.request_id).where(sealed_items.c.deleted_at.is_not(None))
    found: set[str] = set()
    listed = sorted(names)
    for at in range(0, len(listed), 400):
        part = listed[at : at + 400]
        query = (
            sa.select(evidence_segments.c.sha256)
            .join(transfers, transfers.c.id == evidence_segments.c.transfer)
            .where(evidence_segments.c.sha256.in_(part), transfers.c.request_id.not_in(gone))
        )
        accounts = sa.select(transfers.c.manifest_sha256).where(
            transfers.c.manifest_sha256.in_(part), transfers.c.request_id.not_in(gone)
        )
        found |= set(conn.scalars(query)) | {name for name in conn.scalars(accounts) if name}
    return found


def forget_links(unit: Unit, *, before: datetime) -> int:
    """Links that ended before ``before``; what was downloaded by them stays in the custody log."""
    over = sa.or_(release_links.c.expires_at < before, release_links.c.revoked_at < before)
    return unit.conn.execute(release_links.delete().where(over)).rowcount


def forget_copies(unit: Unit, footage: Blobs, *, before: datetime) -> bool:
    """Films in which persons are hidden that were made before ``before``."""
    old = (redacted_copies.c.state == "ready") & (redacted_copies.c.ended_at < before)
    rows = unit.conn.execute(sa.select(redacted_copies).where(old).limit(PIECE)).all()
    for row in rows:
        here = redacted_copies.c.id == row.id
        unit.conn.execute(redacted_copies.update().where(here).values(state="deleted"))
        others = (redacted_copies.c.sha256 == row.sha256) & (redacted_copies.c.state == "ready")
        if unit.conn.execute(sa.select(redacted_copies.c.id).where(others)).first() is None:
            footage.delete([row.sha256])
        detail = {"device": row.device_id, "camera": row.camera, "copy": row.id, "sha256": row.sha256}
        record(unit, HUB, "evidence.delete-copy", subject(row.request_id), detail=detail)
    return len(rows) == PIECE
