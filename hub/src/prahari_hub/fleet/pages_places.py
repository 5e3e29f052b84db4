"""Two pages: planned work, and what hangs on what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection

from prahari_hub.errors import HubError, Invalid
from prahari_hub.fleet import places, topology, topology_csv, windows
from prahari_hub.fleet.topology import Link
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import IST, page
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Planner = Annotated[Actor, Depends(require(Role.TECHNICIAN, Role.OPERATOR))]
Word = Annotated[str, Form(max_length=120)]
STATES = ("current", "past")
PAGE = 100
FIELDS = ("kind", "scope_type", "scope_id", "starts_at", "ends_at", "reason")


@router.get("/windows")
async def windows_page(
    request: Request,
    actor: Reader,
    state: Annotated[str, Query(max_length=20)] = "current",
    cursor: Cursor = None,
) -> HTMLResponse:
    return await _windows(request, actor, state=state, cursor=cursor)


@router.post("/windows")
async def plan_window(
    request: Request,
    actor: Planner,
    *,
    kind: Word,
    scope_type: Word,
    scope_id: Word,
    starts_at: Word = "",
    ends_at: Word,
    reason: Annotated[str, Form(max_length=500)],
) -> Response:
    """Times are Indian time; one without a beginning starts now."""

    def work(unit: Unit) -> None:
        windows.plan(
            unit,
            actor,
            kind=kind,
            scope=(scope_type, scope_id.strip()),
            starts_at=_local(starts_at, "starts_at") if starts_at else unit.now,
            ends_at=_local(ends_at, "ends_at"),
            reason=reason,
        )

    said = {"kind": kind, "scope_type": scope_type, "scope_id": scope_id, "reason": reason}
    said |= {"starts_at": starts_at, "ends_at": ends_at}
    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _windows(request, actor, error=error, said=said)
    return RedirectResponse("/windows", 303)


@router.post("/windows/{window}/end")
async def end_window(request: Request, actor: Planner, window: str) -> Response:
    try:
        await store_of(request).write(lambda unit: windows.end(unit, actor, window))
    except HubError as error:
        return await _windows(request, actor, error=error)
    return RedirectResponse("/windows", 303)


async def _windows(
    request: Request,
    actor: Actor,
    *,
    state: str = "current",
    cursor: str | None = None,
    error: HubError | None = None,
    said: dict[str, str] | None = None,
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()
    shown = state if state in STATES else "current"

    def work(conn: Connection) -> dict[str, Any]:
        found = windows.page(conn, now, state=shown, limit=PAGE, cursor=cursor)
        return {"found": found, "names": topology.names(conn, [one.node for one in found.items])}

    read = await store.read(work)
    return page(
        request,
        actor,
        "fleet/windows.html",
        status=422 if error else 200,
        items=read["found"].items,
        next=_next(request, read["found"].next),
        names=read["names"],
        state=shown,
        now_at=now,
        error=error,
        said=dict.fromkeys(FIELDS, "") | (said or {}),
        kinds=windows.KINDS,
        scopes=list(windows.SCOPES),
        may_plan=actor.role in (Role.ADMIN, Role.TECHNICIAN, Role.OPERATOR),
    )


@router.get("/topology")
async def topology_page(
    request: Request,
    actor: Reader,
    kind: Annotated[str, Query(max_length=20)] = "",
    edit: Annotated[str, Query(max_length=64)] = "",
    cursor: Cursor = None,
) -> HTMLResponse:
    return await _topology(request, actor, kind=kind, edit=edit, cursor=cursor)


@router.post("/topology/assets")
async def put_asset(
    request: Request,
    actor: Technician,
    *,
    id: Word,
    kind: Word,
    name: Word,
    parent: Word = "",
    zone: Word = "",
) -> Response:
    link = Link(id.strip(), kind, name, parent.strip() or None, zone or None)
    return await _change(request, actor, lambda unit: topology.put_asset(unit, actor, link), said=link)


@router.post("/topology/assets/{asset}/delete")
async def delete_asset(request: Request, actor: Technician, asset: str) -> Response:
    return await _change(request, actor, lambda unit: topology.delete_asset(unit, actor, asset))


@router.post("/topology/sites")
async def hang_site(request: Request, actor: Technician, *, site: Word, asset: Word = "") -> Response:
    return await _change(
        request,
        actor,
        lambda unit: topology.hang_site(unit, actor, site.strip(), asset.strip() or None),
    )


@router.post("/topology/import")
async def bring(
    request: Request, actor: Technician, table: Annotated[str, Form(max_length=50_000_000)]
) -> Response:
    def work(unit: Unit) -> object:
        links, hangs = topology_csv.parse(table)
        return topology.bring(unit, actor, links, hangs)

    return await _change(request, actor, work, table=table[:200_000])


async def _change(
    request: Request,
    actor: Actor,
    work: Callable[[Unit], object],
    *,
    said: Link | None = None,
    table: str = "",
) -> Response:
    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _topology(request, actor, error=error, said=said, table=table)
    return RedirectResponse("/topology", 303)


async def _topology(
    request: Request,
    actor: Actor,
    *,
    kind: str = "",
    edit: str = "",
    cursor: str | None = None,
    error: HubError | None = None,
    said: Link | None = None,
    table: str = "",
) -> HTMLResponse:
    shown = kind if kind in topology.KINDS else None

    def work(conn: Connection) -> dict[str, Any]:
        found = topology.list_assets(conn, kind=shown, cursor=cursor, limit=PAGE)
        chosen = said
        if chosen is None and edit:
            row = topology.asset_of(conn, edit)
            chosen = Link(row["id"], row["kind"], row["name"], row["parent_id"], row["zone_id"])
        return {
            "found": found,
            "hangs": topology.hangs_on(conn, [row["id"] for row in found.items]),
            "zones": places.zone_names(conn),
            "chosen": chosen,
        }

    read = await store_of(request).read(work)
    found = read.pop("found")
    return page(
        request,
        actor,
        "fleet/topology.html",
        status=422 if error else 200,
        items=found.items,
        next=_next(request, found.next),
        kinds=topology.KINDS,
        kind=shown,
        error=error,
        table=table,
        may_change=actor.role in (Role.ADMIN, Role.TECHNICIAN),
        **read,
    )


def _next(request: Request, cursor: str | None) -> str | None:
    """The address of the page after this one."""
    if cursor is None:
        return None
    url = request.url.include_query_params(cursor=cursor)
    return f"{url.path}?{url.query}"


def _local(text: str, name: str) -> datetime:
    """What a browser's field of date and time says, in Indian time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=IST)
    except ValueError:
        raise Invalid(N_("Choose a date and a time."), (name, "date and time")) from None
