"""The list of requests and the figures as tables for a spreadsheet (CSV, UTF-8). Times are the city's, with their offset."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.evidence import figures, queries
from prahari_hub.evidence.api import VIEWERS
from prahari_hub.evidence.figures import Figures
from prahari_hub.evidence.queries import Filter, Summary
from prahari_hub.evidence.reasons import Outcome, State
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.store import Unit

router = APIRouter(prefix="/evidence")
Viewer = Annotated[Actor, Depends(require(*VIEWERS))]
Reader = Annotated[Actor, Depends(require(*READERS))]
Choice = Annotated[str, Query(max_length=120)]
PAGE, MOST = 500, 20_000
SPANS = {"30": timedelta(days=30), "90": timedelta(days=90), "365": timedelta(days=365)}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
REQUESTS = (
    "request", "case_number", "authority", "purpose", "state", "outcome", "reason", "starts_at", "ends_at", "submitted_by",
    "submitted_at", "decided_by", "decided_at", "ended_at", "hours", "cameras", "received",
)  # fmt: skip


def wanted_of(state: str, outcome: str, text: str) -> Filter:
    """What the address says; what is not a known word chooses nothing."""
    return Filter(
        state if state in set(State) else None,
        outcome if outcome in set(Outcome) else None,
        text.strip() or None,
    )


@router.get("/requests.csv")
async def requests_file(
    request: Request, actor: Viewer, state: Choice = "", outcome: Choice = "", text: Choice = ""
) -> Response:
    """The requests of the list, newest first, the newest twenty thousand. Who took them stands in the audit log."""
    wanted, clock = wanted_of(state, outcome, text), _clock(request)

    def work(unit: Unit) -> list[Summary]:
        found = _all(unit.conn, wanted)
        detail = {"rows": len(found), "state": wanted.state, "outcome": wanted.outcome, "text": wanted.text}
        kept = {name: value for name, value in detail.items() if value is not None}
        record(unit, actor, "evidence.list-exported", "requests", detail=kept)
        return found

    found = await store_of(request).write(work)
    return _file("requests.csv", [REQUESTS, *(_request_row(one, clock) for one in found)])


def _all(conn: Connection, wanted: Filter) -> list[Summary]:
    found: list[Summary] = []
    cursor: str | None = None
    while len(found) < MOST:
        part = queries.page(conn, wanted, limit=PAGE, cursor=cursor)
        found += part.items
        cursor = part.next
        if cursor is None:
            break
    return found


def _request_row(one: Summary, clock: ZoneInfo) -> Sequence[Any]:
    took = one.ended_at - one.submitted_at if one.ended_at else None
    return (
        one.id, one.case_number, one.authority, one.purpose, one.state, one.outcome, one.reason,
        _at(one.starts_at, clock), _at(one.ends_at, clock), one.submitted_by, _at(one.submitted_at, clock),
        one.decided_by, _at(one.decided_at, clock), _at(one.ended_at, clock),
        None if took is None else f"{took.total_seconds() / 3600:.2f}", one.cameras, one.received,
    )  # fmt: skip


@router.get("/figures.csv")
async def figures_file(
    request: Request, actor: Reader, group: Choice = "month", days: Choice = "365", table: Choice = "groups"
) -> Response:
    """A table of the figures' page: ``groups``, ``causes`` of misses, or ``cameras`` whose gaps cost most."""
    store, clock = store_of(request), _clock(request)
    until = store.clock()
    known = group if group in figures.GROUPS else "month"
    since = until - SPANS.get(days, SPANS["365"])
    found = await store.read(lambda conn: figures.figures(conn, since, until, group=known, zone=clock))
    match table:
        case "causes":
            return _file("footage-causes.csv", [("reason", "requests"), *found.causes])
        case "cameras":
            return _file("footage-cameras.csv", list(_worst_rows(found)))
        case _:
            return _file(f"footage-by-{known}.csv", list(_group_rows(found, known)))


def _group_rows(found: Figures, group: str) -> Iterable[Sequence[Any]]:
    yield (
        group, "name", "share_fulfilled", "fulfilled", "partial", "impossible", "refused", "running", "median_h", "p95_h",
    )  # fmt: skip
    for row in (*found.rows, found.total):
        key = row.key if row is not found.total else "total"
        yield (
            key, row.name or key, _figure(row.share, 4), row.fulfilled, row.partial, row.impossible, row.refused, row.open,
            _figure(row.median_h, 2), _figure(row.p95_h, 2),
        )  # fmt: skip


def _worst_rows(found: Figures) -> Iterable[Sequence[Any]]:
    yield "device", "camera", "requests", "missing_h", "reason"
    for one in found.worst:
        yield one.device, one.camera, one.requests, _figure(one.missing_h, 2), one.reason


def _figure(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _at(at: datetime | None, clock: ZoneInfo) -> str | None:
    return None if at is None else at.astimezone(clock).isoformat(timespec="seconds")


def _clock(request: Request) -> ZoneInfo:
    return ZoneInfo(request.app.state.settings.timezone)


def _file(name: str, rows: Iterable[Sequence[Any]]) -> Response:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is made one that it shows."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
