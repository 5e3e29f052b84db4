"""The page of figures: how available the fleet was in a month, by zone, vendor or day, with its worst devices; and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from prahari_hub.errors import Invalid
from prahari_hub.fleet import places
from prahari_hub.fleet.availability import figures
from prahari_hub.fleet.availability.asked import month_of, zone_of
from prahari_hub.fleet.availability.figures import GROUPS, Chosen, Figure
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]
Choice = Annotated[str, Query(max_length=120)]
WORST, WORST_IN_A_FILE = 20, 1000
COLUMNS = (
    "month", "until", "group", "key", "name", "devices", "availability_percent",
    "up_hours", "down_hours", "unknown_hours", "planned_power_hours", "maintenance_hours",
)  # fmt: skip


@router.get("/figures")
async def figures_page(
    request: Request, actor: Reader, month: Choice = "", group: Choice = "zone", zone: Choice = "", vendor: Choice = "",
) -> HTMLResponse:  # fmt: skip
    first, group, chosen = _asked(request, month, group, zone, vendor)
    clock = zone_of(request)

    def work(conn: Connection) -> dict[str, Any]:
        found = figures.month(conn, first, group=group, chosen=chosen)
        return {
            "found": found,
            "worst": figures.worst(conn, first, zone=clock, chosen=chosen, limit=WORST),
            "months": sorted({first, *figures.months(conn)}, reverse=True),
            "zones": places.zone_names(conn),
            "vendors": figures.vendors(conn, found.until),
        }

    context = await store_of(request).read(work)
    return page(
        request,
        actor,
        "availability/figures.html",
        month=first,
        group=group,
        groups=GROUPS,
        chosen=chosen,
        query_with=lambda **changes: request.url.include_query_params(**changes).query,
        **context,
    )


@router.get("/figures.csv")
async def figures_file(
    request: Request, actor: Reader, month: Choice = "", group: Choice = "zone", zone: Choice = "", vendor: Choice = "",
) -> Response:  # fmt: skip
    """The same as a table for a spreadsheet; ``group=device`` are the thousand worst devices."""
    by_device = group == "device"
    first, group, chosen = _asked(request, month, group, zone, vendor)
    clock = zone_of(request)

    def work(conn: Connection) -> str:
        found = figures.month(conn, first, group=group, chosen=chosen)
        rows = found.rows
        if by_device:
            rows = figures.worst(conn, first, zone=clock, chosen=chosen, limit=WORST_IN_A_FILE)
        return _csv(first, found.until, "device" if by_device else group, rows)

    text = await store_of(request).read(work)
    name = f"availability-{first:%Y-%m}-{'device' if by_device else group}.csv"
    return Response(
        text, media_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _asked(request: Request, month: str, group: str, zone: str, vendor: str) -> tuple[date, str, Chosen]:
    """What the address says; what is not a known word chooses nothing. A vendor of '-' is none at all."""
    try:
        first = month_of(request, month or None)
    except Invalid:
        first = month_of(request, None)
    known = group if group in GROUPS else "zone"
    return first, known, Chosen(zone or None, None if not vendor else "" if vendor == "-" else vendor)


def _csv(month: date, until: date | None, group: str, rows: Iterable[Figure]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        share = row.share
        ratio = "" if share.ratio is None else f"{share.ratio * 100:.4f}"
        hours = [f"{seconds / 3600:.3f}" for seconds in share]
        names = [_plain(row.key), _plain(row.name)]
        writer.writerow([f"{month:%Y-%m}", until or "", group, *names, round(row.devices, 1), ratio, *hours])
    return text.getvalue()


def _plain(text: str) -> str:
    """A spreadsheet would take these for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
