"""Claims, as a technician makes and hands them over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse

from prahari_hub.errors import HubError
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.identity import claims
from prahari_hub.identity.claims import Claim, Purpose
from prahari_hub.identity.service import Identity
from prahari_hub.store import Unit

router = APIRouter()
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Word = Annotated[str, Form(max_length=64)]
SHOWN = 100


@router.get("/claims")
async def claims_page(
    request: Request, actor: Technician, device: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    return await _page(request, actor, device=device)


@router.post("/claims")
async def create_claim(
    request: Request, actor: Technician, device: Word, purpose: Annotated[Purpose, Form()] = Purpose.BENCH
) -> HTMLResponse:
    identity: Identity = request.app.state.identity
    register: Callable[[Unit, Actor, str, str | None], None] | None = getattr(
        request.app.state, "register_device", None
    )

    def work(unit: Unit) -> tuple[Claim, str]:
        if register:
            register(unit, actor, device.strip(), None)
        return identity.issue_claim(unit, actor, device.strip(), purpose=purpose, ttl=None)

    try:
        claim, token = await store_of(request).write(work)
    except HubError as error:
        return await _page(request, actor, device=device, error=error)
    return await _page(request, actor, made=claim, token=token)


@router.post("/claims/{claim_id}/revoke")
async def revoke_claim(request: Request, actor: Technician, claim_id: str) -> HTMLResponse:
    try:
        await store_of(request).write(lambda unit: claims.revoke(unit, actor, claim_id))
    except HubError as error:
        return await _page(request, actor, error=error)
    return await _page(request, actor)


async def _page(
    request: Request,
    actor: Actor,
    *,
    device: str = "",
    made: Claim | None = None,
    token: str | None = None,
    error: HubError | None = None,
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()
    items = await store.read(lambda conn: claims.listed(conn, now, limit=SHOWN))
    status = 422 if error else 200
    context = {"device": device, "made": made, "token": token, "error": error, "purposes": list(Purpose)}
    return page(request, actor, "access/claims.html", status=status, items=items, **context)
