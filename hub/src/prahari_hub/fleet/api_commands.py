"""Commands: given to a device, followed, recalled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from prahari_wire.command import CommandName
from sqlalchemy import Connection

from prahari_hub.fleet import commands, registry
from prahari_hub.fleet.api_models import CommandIn, CommandList, CommandOut, DevicePath, UlidPath
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.paging import Page
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.store import Unit

router = APIRouter(tags=["commands"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]


@router.get("/devices/{device}/commands")
async def list_commands(
    request: Request,
    device: DevicePath,
    actor: Reader,
    *,
    open: Annotated[bool, Query(description="only those that have not ended")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> CommandList:
    """Newest first."""

    def work(conn: Connection) -> Page[dict[str, object]]:
        registry.require_device(conn, device)
        return commands.list_commands(conn, device, cursor=cursor, limit=limit, open_only=open)

    page = await store_of(request).read(work)
    return CommandList(items=[CommandOut.model_validate(row) for row in page.items], next=page.next)


@router.post("/devices/{device}/commands", status_code=201)
async def issue_command(request: Request, device: DevicePath, actor: Operator, body: CommandIn) -> CommandOut:
    """Queue a command; it is sent at once, and again until the device accepts it or it expires."""

    def work(unit: Unit) -> dict[str, object]:
        command = commands.issue_by_hand(
            unit,
            actor,
            device,
            CommandName(body.name),
            body.args,
            expires_in_s=body.expires_in_s,
            reason=body.reason,
        )
        return commands.get(unit.conn, command)

    return CommandOut.model_validate(await store_of(request).write(work))


@router.get("/commands/{command}")
async def get_command(request: Request, command: UlidPath, actor: Reader) -> CommandOut:
    return CommandOut.model_validate(await store_of(request).read(lambda conn: commands.get(conn, command)))


@router.delete("/commands/{command}")
async def cancel_command(request: Request, command: UlidPath, actor: Operator) -> CommandOut:
    """Stop sending it; 409 once the device has accepted it."""

    def work(unit: Unit) -> dict[str, object]:
        commands.cancel(unit, actor, command)
        return commands.get(unit.conn, command)

    return CommandOut.model_validate(await store_of(request).write(work))
