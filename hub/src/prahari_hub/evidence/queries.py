"""Footage requests as lists and single ones, for the API and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.access import audit
from prahari_hub.evidence import release, requests
from prahari_hub.evidence.requests import subject
from prahari_hub.evidence.tables import (
    evidence_segments,
    footage_requests,
    request_cameras,
    sealed_items,
    transfers,
)
from prahari_hub.fleet.tables import devices, peripherals, sites
from prahari_hub.http.paging import Page, decode, encode


@dataclass(frozen=True)
class Filter:
    """``text`` is found in the authority, the case number or the purpose."""

    state: str | None = None
    outcome: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Summary:
    """A row of the list; ``cameras`` are asked, ``received`` of them have come."""

    id: str
    authority: str
    case_number: str
    purpose: str
    place: dict[str, Any]
    starts_at: datetime
    ends_at: datetime
    state: str
    outcome: str | None
    reason: str | None
    note: str | None
    submitted_by: str
    submitted_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    due_at: datetime
    ended_at: datetime | None
    cameras: int
    received: int


@dataclass(frozen=True)
class CameraOf:
    """One camera of a request. ``bytes_here`` of ``bytes_all`` that the box announced have arrived."""

    device: str
    camera: str
    name: str | None
    site: str | None
    presence: str | None
    state: str
    reason: str | None
    note: str | None
    asked_s: int
    known_s: int
    received_s: int
    segments_all: int
    segments_here: int
    bytes_all: int
    bytes_here: int


@dataclass(frozen=True)
class Sealed:
    """What was sealed of a request."""

    id: str
    sealed_at: datetime
    manifest_sha256: str
    key: str
    size: int
    segments: int


@dataclass(frozen=True)
class LinkOf:
    """A link that was given out; ``live`` while it opens."""

    id: str
    recipient: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    most_uses: int
    uses: int
    revoked_at: datetime | None
    live: bool


@dataclass(frozen=True)
class Whole:
    """All of one request but its custody log."""

    summary: Summary
    cameras: list[CameraOf]
    sealed: Sealed | None
    links: list[LinkOf]


def page(conn: Connection, wanted: Filter, *, limit: int = 50, cursor: str | None = None) -> Page[Summary]:
    """Newest first."""
    query = sa.select(footage_requests).order_by(footage_requests.c.id.desc()).limit(limit + 1)
    if wanted.state:
        query = query.where(footage_requests.c.state == wanted.state)
    if wanted.outcome:
        query = query.where(footage_requests.c.outcome == wanted.outcome)
    if wanted.text:
        columns = footage_requests.c.authority, footage_requests.c.case_number, footage_requests.c.purpose
        query = query.where(sa.or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if cursor:
        query = query.where(footage_requests.c.id < decode(cursor, str)[0])
    rows = conn.execute(query).all()
    counts = _counts(conn, [row.id for row in rows[:limit]])
    items = [_summary(row, counts) for row in rows[:limit]]
    return Page(items, encode(items[-1].id) if len(rows) > limit else None)


def _counts(conn: Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    came = sa.func.sum(sa.case((request_cameras.c.state == "received", 1), else_=0))
    query = sa.select(request_cameras.c.request_id, sa.func.count(), came)
    query = query.where(request_cameras.c.request_id.in_(ids)).group_by(request_cameras.c.request_id)
    return {request: (int(count), int(received)) for request, count, received in conn.execute(query)}


def _summary(row: Row[Any], counts: dict[str, tuple[int, int]]) -> Summary:
    values = row._asdict()
    for name in ("zone_id", "submitter", "version"):
        del values[name]
    count, received = counts.get(row.id, (0, 0))
    return Summary(**values, cameras=count, received=received)


def whole(conn: Connection, request: str, now: datetime) -> Whole:
    """NotFound if there is none."""
    row = requests.get(conn, request)
    item = conn.execute(sa.select(sealed_items).where(sealed_items.c.request_id == request)).first()
    sealed = (
        Sealed(item.id, item.sealed_at, item.manifest_sha256, item.key, item.size, item.segments)
        if item
        else None
    )
    return Whole(
        _summary(row, _counts(conn, [request])),
        _cameras(conn, request),
        sealed,
        [_link(one, now) for one in release.links_of(conn, request)],
    )


def _link(row: Row[Any], now: datetime) -> LinkOf:
    live = row.revoked_at is None and row.expires_at > now and row.uses < row.most_uses
    return LinkOf(
        row.id, row.recipient, row.created_by, row.created_at, row.expires_at, row.most_uses, row.uses, row.revoked_at, live
    )  # fmt: skip


def _cameras(conn: Connection, request: str) -> list[CameraOf]:
    query = (
        sa.select(request_cameras, peripherals.c.name, sites.c.name.label("site"), devices.c.presence)
        .outerjoin(
            peripherals,
            (peripherals.c.device_id == request_cameras.c.device_id)
            & (peripherals.c.id == request_cameras.c.camera),
        )
        .outerjoin(devices, devices.c.id == request_cameras.c.device_id)
        .outerjoin(sites, sites.c.id == request_cameras.c.site_id)
        .where(request_cameras.c.request_id == request)
        .order_by(request_cameras.c.device_id, request_cameras.c.camera)
    )
    came = _arrived(conn, request)
    found = []
    for row in conn.execute(query):
        count, here, total, size = came.get((row.device_id, row.camera), (0, 0, 0, 0))
        found.append(
            CameraOf(
                row.device_id, row.camera, row.name, row.site, row.presence, row.state, row.reason, row.note,
                row.asked_ms // 1000, row.known_ms // 1000, row.sealed_ms // 1000, count, here, total, size,
            )
        )  # fmt: skip
    return found


def _arrived(conn: Connection, request: str) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """(segments announced, here, bytes announced, here) by camera."""
    here = evidence_segments.c.stored_at.is_not(None)
    query = (
        sa.select(transfers.c.device_id, transfers.c.camera, sa.func.count())
        .add_columns(sa.func.sum(sa.case((here, 1), else_=0)), sa.func.sum(evidence_segments.c.size))
        .add_columns(sa.func.sum(sa.case((here, evidence_segments.c.size), else_=0)))
        .join(evidence_segments, evidence_segments.c.transfer == transfers.c.id)
        .where(transfers.c.request_id == request)
        .group_by(transfers.c.device_id, transfers.c.camera)
    )
    return {
        (row[0], row[1]): (int(row[2]), int(row[3]), int(row[4]), int(row[5])) for row in conn.execute(query)
    }


def custody(
    conn: Connection, request: str, *, limit: int = 200, cursor: str | None = None
) -> Page[audit.Entry]:
    """Every step of the request and every access to what it brought, newest first; NotFound if there is no such request."""
    requests.get(conn, request)
    return audit.page(conn, audit.Filter(subject=subject(request)), limit=limit, cursor=cursor)
