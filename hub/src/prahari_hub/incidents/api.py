"""Incidents: the queue, one with its history, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from prahari_wire.base import DeviceId, Severity
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.paging import Page
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.incidents import actions, of_place, queries
from prahari_hub.store import Unit

router = APIRouter(prefix="/incidents", tags=["incidents"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
IncidentId = Annotated[str, Path(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Comment = Annotated[str | None, Field(max_length=2000)]


class LogOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    at: datetime
    actor: str
    action: str
    text: str | None
    event: str | None


class ToldOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    step: int
    channel: str
    target: str
    state: str
    attempts: int
    due_at: datetime
    error: str | None


class IncidentOut(BaseModel):
    """``active``: the cause still holds; ``acknowledged``: somebody has it; ``open``: it is in the queue.

    An outage is of a place: it has no ``device`` but a ``scope`` and as many ``children`` as are silent now. ``parent`` took this one in.
    ``hold``: escalation waits for this window, or for the device's ``maintenance``.
    """

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    severity: Severity
    device: str | None
    peripheral: str | None
    site: str | None
    title: str
    detail: dict[str, Any]
    opened_at: datetime
    last_at: datetime
    count: int
    active: bool
    acknowledged: bool
    open: bool
    cleared_at: datetime | None
    acked_at: datetime | None
    acked_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    assignee: str | None
    snapshot: str | None
    version: int
    scope_type: Literal["device", "site", "asset", "zone", "fleet"]
    scope: str | None
    children: int
    parent: str | None
    hold: str | None


class IncidentWithLog(IncidentOut):
    log: list[LogOut]
    notifications: list[ToldOut]


class IncidentList(BaseModel):
    items: list[IncidentOut]
    next: str | None


class ChildOut(BaseModel):
    """A device of an outage; ``left_at`` is null while it is silent in it."""

    model_config = ConfigDict(from_attributes=True)

    device: str
    site: str | None
    silent_since: datetime | None
    joined_at: datetime
    left_at: datetime | None


class ChildList(BaseModel):
    items: list[ChildOut]
    next: str | None


class Ack(BaseModel):
    model_config = ConfigDict(extra="forbid")

    comment: Comment = None


class Resolve(Ack):
    """``comment`` is needed for a critical incident that nobody acknowledged."""


class Assign(Ack):
    """``assignee`` null takes it from whoever has it."""

    assignee: str | None = Field(max_length=64)


class NewComment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=2000)


@router.get("")
async def list_incidents(
    request: Request,
    actor: Reader,
    *,
    state: Literal["open", "closed", "all"] = "open",
    severity: Severity | None = None,
    kind: Annotated[str | None, Query(max_length=60)] = None,
    device: Annotated[DeviceId | None, Query()] = None,
    site: Annotated[str | None, Query(max_length=64)] = None,
    unacked: bool | None = None,
    assignee: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> IncidentList:
    wanted = queries.Filter(state, severity, kind, device, site, unacked, assignee)
    page = await store_of(request).read(lambda conn: queries.page(conn, wanted, limit=limit, cursor=cursor))
    return IncidentList(items=[IncidentOut.model_validate(item) for item in page.items], next=page.next)


@router.get("/{incident}")
async def get_incident(request: Request, incident: IncidentId, actor: Reader) -> IncidentWithLog:
    found, log, told = await store_of(request).read(
        lambda conn: (
            queries.get(conn, incident),
            queries.log_of(conn, incident),
            queries.told(conn, incident),
        )
    )
    return IncidentWithLog(
        **IncidentOut.model_validate(found).model_dump(),
        log=[LogOut.model_validate(entry) for entry in log],
        notifications=[ToldOut.model_validate(entry) for entry in told],
    )


@router.get("/{incident}/children")
async def list_children(
    request: Request,
    incident: IncidentId,
    actor: Reader,
    *,
    silent: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ChildList:
    """The devices of an outage; ``silent`` leaves out those that are back."""

    def work(conn: Connection) -> Page[of_place.Child]:
        queries.get(conn, incident)
        return of_place.children(conn, incident, limit=limit, cursor=cursor, silent=silent)

    page = await store_of(request).read(work)
    return ChildList(items=[ChildOut.model_validate(item) for item in page.items], next=page.next)


@router.post("/{incident}/ack")
async def acknowledge(
    request: Request, incident: IncidentId, actor: Operator, body: Ack | None = None
) -> IncidentOut:
    """Once is enough: a second acknowledgement changes nothing and shows who was first."""
    text = body.comment if body else None
    return await _do(request, incident, lambda unit: actions.acknowledge(unit, actor, incident, comment=text))


@router.post("/{incident}/resolve")
async def resolve(
    request: Request, incident: IncidentId, actor: Operator, body: Resolve | None = None
) -> IncidentOut:
    text = body.comment if body else None
    return await _do(request, incident, lambda unit: actions.resolve(unit, actor, incident, comment=text))


@router.post("/{incident}/assign")
async def assign(request: Request, incident: IncidentId, actor: Operator, body: Assign) -> IncidentOut:
    return await _do(
        request,
        incident,
        lambda unit: actions.assign(unit, actor, incident, assignee=body.assignee, comment=body.comment),
    )


@router.post("/{incident}/comment")
async def comment(request: Request, incident: IncidentId, actor: Operator, body: NewComment) -> IncidentOut:
    return await _do(request, incident, lambda unit: actions.comment(unit, actor, incident, text=body.text))


async def _do(request: Request, incident: str, work: Callable[[Unit], None]) -> IncidentOut:
    def done(unit: Unit) -> queries.Incident:
        work(unit)
        return queries.get(unit.conn, incident)

    return IncidentOut.model_validate(await store_of(request).write(done))
