"""On a request's page: copies in which persons are hidden are asked for and fetched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request, Response

from prahari_hub.errors import Invalid
from prahari_hub.evidence import redaction
from prahari_hub.evidence.api_copies import as_package
from prahari_hub.evidence.pages import Operator, RequestId, Text, _do, zone_of
from prahari_hub.evidence.redaction import Wanted
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(prefix="/evidence/{request_id}/copies")


@router.post("")
async def ask(
    request: Request,
    actor: Operator,
    request_id: RequestId,
    camera: Text = "",
    starts_at: Text = "",
    seconds: Annotated[float, Form(gt=0, le=120)] = 30,
    reason: Text = "",
) -> Response:
    def work(unit: Unit) -> None:
        device, _, name = camera.partition(":")
        start = _start(starts_at, zone_of(request))
        wanted = Wanted((device, name), start, start + timedelta(seconds=seconds), reason)
        redaction.ask(unit, actor, request_id, wanted)

    return await _do(request, actor, request_id, work)


def _start(text: str, zone: ZoneInfo) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(N_("Say from when until when."), ("starts_at", "a time")) from None


@router.get("/{copy_id}")
async def fetch(request: Request, actor: Operator, request_id: RequestId, copy_id: RequestId) -> Response:
    return await as_package(request, actor, request_id, copy_id)
