"""Copies of sealed footage in which persons are hidden, in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from prahari_wire.base import DeviceId, PeripheralId
from pydantic import AwareDatetime

from prahari_hub.evidence import redaction
from prahari_hub.evidence.api import ZIP, Operator, RequestId, Viewer, footage_of, utc
from prahari_hub.evidence.redaction import Wanted
from prahari_hub.fleet.api_models import In, Out, Reason
from prahari_hub.http.actor import Actor
from prahari_hub.http.state import store_of

router = APIRouter(prefix="/evidence/requests/{request_id}/copies", tags=["evidence"])
CopyId = RequestId


class CopyIn(In):
    """Of at most two minutes within the time of the request."""

    device: DeviceId
    camera: PeripheralId
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    reason: Reason


class CopyOut(Out):
    """``note``: why it failed. ``sha256`` of the film, once it has been drawn."""

    id: str
    device_id: str
    camera: str
    starts_at: datetime
    ends_at: datetime
    asked_by: str
    asked_at: datetime
    reason: str
    state: Literal["asked", "coming", "ready", "failed", "deleted"]
    note: str | None
    sha256: str | None
    size: int | None


class CopyList(Out):
    items: list[CopyOut]


@router.get("")
async def list_copies(request: Request, request_id: RequestId, actor: Viewer) -> CopyList:
    """Newest first."""
    rows = await store_of(request).read(lambda conn: redaction.listed(conn, request_id))
    return CopyList(items=[CopyOut.model_validate(row) for row in rows])


@router.post("", status_code=201)
async def ask_for_copy(request: Request, request_id: RequestId, actor: Operator, body: CopyIn) -> CopyOut:
    """The box draws it, as long as it has the footage; 409 while nothing is sealed."""
    wanted = Wanted((body.device, body.camera), utc(body.starts_at), utc(body.ends_at), body.reason)
    store = store_of(request)
    copy = await store.write(lambda unit: redaction.ask(unit, actor, request_id, wanted))
    return CopyOut.model_validate(await store.read(lambda conn: redaction.get(conn, request_id, copy)))


@router.get("/{copy_id}", response_class=Response, responses=ZIP)
async def get_copy(request: Request, request_id: RequestId, copy_id: CopyId, actor: Operator) -> Response:
    """The film with its signed statement, as a ZIP file; that it was fetched is in the custody log."""
    return await as_package(request, actor, request_id, copy_id)


async def as_package(request: Request, actor: Actor, request_id: str, copy: str) -> Response:
    row = await store_of(request).write(lambda unit: redaction.downloaded(unit, actor, request_id, copy))
    film = await footage_of(request).get(row.sha256)
    content = redaction.package(row, film, request.app.state.identity.signer)
    named = {"Content-Disposition": f'attachment; filename="{copy}.zip"'}
    return Response(content, media_type="application/zip", headers=named)
