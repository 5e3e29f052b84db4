"""Twins: read with an ETag, written with If-Match."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from sqlalchemy import Connection

from prahari_hub.errors import Invalid
from prahari_hub.fleet import registry, twins
from prahari_hub.fleet.api_models import DesiredBody, DevicePath, TwinHistory, TwinOut, TwinVersion
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of

router = APIRouter(prefix="/devices/{device}/twin", tags=["twins"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
_TAG = re.compile(r'^"(0|[1-9][0-9]{0,8})"$')
NEEDS_VERSION: dict[int | str, dict[str, Any]] = {
    428: {
        "description": "If-Match is missing",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
IfMatch = Annotated[
    str | None, Header(max_length=40, description='the ETag of the version that you changed, such as "3"')
]


@router.get("")
async def get_twin(request: Request, response: Response, device: DevicePath, actor: Reader) -> TwinOut:
    found = await store_of(request).read(lambda conn: twins.get(conn, device))
    response.headers["ETag"] = f'"{found.version}"'
    return TwinOut.model_validate(found)


@router.put("", responses=NEEDS_VERSION)
async def put_twin(
    request: Request,
    response: Response,
    device: DevicePath,
    actor: Technician,
    body: DesiredBody,
    if_match: IfMatch = None,
) -> TwinOut:
    """Write the next version of the whole document; 409 if it changed since you read it."""
    if if_match is None:
        raise HTTPException(428, 'send If-Match with the ETag of the version that you changed, such as "0"')
    tag = _TAG.match(if_match.strip())
    if tag is None:
        raise Invalid(
            "If-Match is not a version of a twin", ("header.If-Match", 'a number in quotes, such as "3"')
        )
    version = int(tag[1])
    found = await store_of(request).write(
        lambda unit: twins.put(unit, actor, device, body, if_version=version)
    )
    response.headers["ETag"] = f'"{found.version}"'
    return TwinOut.model_validate(found)


@router.get("/history")
async def list_versions(
    request: Request, device: DevicePath, actor: Reader, limit: Limit = 50, cursor: Cursor = None
) -> TwinHistory:
    """Every version with its author, newest first."""
    before: int | None = paging.decode(cursor, int)[0] if cursor else None

    def work(conn: Connection) -> list[dict[str, Any]]:
        registry.require_device(conn, device)
        return twins.history(conn, device, limit=limit + 1, before=before)

    rows = await store_of(request).read(work)
    items, more = rows[:limit], len(rows) > limit
    return TwinHistory(
        items=[TwinVersion.model_validate(row) for row in items],
        next=paging.encode(items[-1]["version"]) if more else None,
    )
