"""The page of a camera's live view: a reason first, then a picture a second until it is over."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from prahari_wire.live import LONGEST_S
from prahari_wire.owner import Use, denied
from sqlalchemy import Connection

from prahari_hub.errors import HubError
from prahari_hub.fleet import commands, live_views, owners, twins
from prahari_hub.fleet.api_live import picture_of
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.store import Unit

router = APIRouter(prefix="/devices/{device}/cameras/{camera}/live")
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
View = Annotated[str, Path(max_length=30)]
LENGTHS = (30, 60, LONGEST_S)


@router.get("")
async def form_page(request: Request, actor: Operator, device: str, camera: str) -> HTMLResponse:
    return await _page(request, actor, (device, camera))


@router.post("")
async def begin(
    request: Request,
    actor: Operator,
    device: str,
    camera: str,
    reason: Annotated[str, Form(max_length=500)] = "",
    seconds: Annotated[int, Form(ge=1, le=LONGEST_S)] = 60,
) -> Response:
    def work(unit: Unit) -> str:
        return live_views.begin(unit, actor, (device, camera), reason=reason, seconds=seconds)

    try:
        view = await store_of(request).write(work)
    except HubError as error:
        return await _page(request, actor, (device, camera), problem=error, reason=reason)
    return RedirectResponse(f"/devices/{device}/cameras/{camera}/live/{view}", 303)


@router.get("/{view}")
async def view_page(request: Request, actor: Operator, device: str, camera: str, view: View) -> HTMLResponse:
    return await _page(request, actor, (device, camera), view=view)


@router.get("/{view}/picture")
async def picture(request: Request, actor: Operator, device: str, camera: str, view: View) -> Response:
    return await picture_of(request, actor, view)


@router.post("/{view}/end")
async def end(request: Request, actor: Operator, device: str, camera: str, view: View) -> Response:
    await store_of(request).write(lambda unit: live_views.end(unit, actor, view))
    return RedirectResponse(f"/devices/{device}/cameras/{camera}/live/{view}", 303)


async def _page(
    request: Request,
    actor: Actor,
    camera: owners.Camera,
    *,
    view: str | None = None,
    problem: HubError | None = None,
    reason: str = "",
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()

    def work(conn: Connection) -> dict[str, Any]:
        config = owners.config_of(twins.get(conn, camera[0]), camera[1])
        found = live_views.get(conn, actor, view) if view else None
        said = commands.get(conn, found.command)["error"] if found else None
        return {
            "config": config,
            "view": found,
            "refused": said,
            "denied": denied(config.owner, Use.LIVE, now),
        }

    found = await store.read(work)
    row = found["view"]
    running = row is not None and row.ended_at is None and row.ends_at > now and not found["refused"]
    left_s = max(0, round((row.ends_at - now).total_seconds())) if row is not None else 0
    return page(
        request, actor, "fleet/live.html", status=422 if problem else 200, device_id=camera[0], camera=camera[1],
        running=running, left_s=left_s, problem=problem, reason=reason, lengths=LENGTHS, **found,
    )  # fmt: skip
