"""How long sealed footage is kept, in the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel

from prahari_hub.errors import Conflict
from prahari_hub.evidence import retention
from prahari_hub.evidence.api import RequestId, Viewer, utc
from prahari_hub.fleet.api_models import In, Reason
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import require
from prahari_hub.http.state import store_of
from prahari_hub.texts import N_

router = APIRouter(prefix="/evidence/requests/{request_id}/keeping", tags=["evidence"])
Approver = Annotated[Actor, Depends(require())]


class KeepIn(In):
    """``until`` null: as long as the setting keep_sealed_days says."""

    until: AwareDatetime | None
    reason: Reason


class KeepingOut(BaseModel):
    """``until`` null: nothing says when the footage goes; ``named``: a person chose the date; ``deleted_at``: it is gone."""

    until: datetime | None
    named: bool
    deleted_at: datetime | None


def setting_of(request: Request) -> timedelta | None:
    days = request.app.state.settings.keep_sealed_days
    return None if days is None else timedelta(days=days)


@router.get("")
async def get_keeping(request: Request, request_id: RequestId, actor: Viewer) -> KeepingOut:
    """409 while nothing is sealed."""
    usual = setting_of(request)
    found = await store_of(request).read(lambda conn: retention.keeping(conn, request_id, usual))
    if found is None:
        raise Conflict(N_("Nothing of this request has been sealed yet."))
    return KeepingOut(until=found.until, named=found.named, deleted_at=found.deleted_at)


@router.put("")
async def put_keeping(request: Request, request_id: RequestId, actor: Approver, body: KeepIn) -> KeepingOut:
    until = utc(body.until) if body.until is not None else None
    await store_of(request).write(
        lambda unit: retention.keep_until(unit, actor, request_id, until, reason=body.reason)
    )
    return await get_keeping(request, request_id, actor)
