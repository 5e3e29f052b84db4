"""Devices: the fleet, one device, what it said, and how it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import StringConstraints
from sqlalchemy import Connection

from prahari_hub.errors import Invalid
from prahari_hub.fleet import history, journal, queries, registry
from prahari_hub.fleet.api_models import (
    Clean,
    DeviceChange,
    DeviceDetail,
    DeviceIn,
    DeviceList,
    DeviceOut,
    DevicePath,
    EventList,
    EventOut,
    HealthSeries,
    HealthState,
    PeripheralType,
    Search,
    Service,
    Slug,
    TransitionList,
    TransitionOut,
)
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.queries import Filter
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.store import Unit

router = APIRouter(prefix="/devices", tags=["devices"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Sort = Literal[
    "id", "-id", "name", "-name", "site", "-site", "presence", "-presence",
    "health_state", "-health_state", "last_seen", "-last_seen",
]  # fmt: skip
Kind = Annotated[str, StringConstraints(max_length=60), Clean]
POINTS_AT_MOST = 9000
CheckName = Annotated[str, StringConstraints(max_length=120), Clean]


@router.get("")
async def list_devices(
    request: Request,
    actor: Reader,
    *,
    q: Search = None,
    presence: Annotated[list[Presence], Query(max_length=4)] = [],  # noqa: B006
    health_state: Annotated[list[HealthState], Query(max_length=4)] = [],  # noqa: B006
    site: Annotated[Slug | None, Query()] = None,
    zone: Annotated[Slug | None, Query()] = None,
    type: PeripheralType | None = None,
    service: Service | None = None,
    sort: Sort = "id",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeviceList:
    """``q`` is looked for in id, name and site; ``zone`` includes the zones below it."""
    wanted = Filter(q, presence, health_state, site, zone, type, service)
    page = await store_of(request).read(
        lambda conn: queries.list_devices(conn, wanted, sort=sort, cursor=cursor, limit=limit)
    )
    return DeviceList(items=[DeviceOut.model_validate(item) for item in page.items], next=page.next)


@router.post("", status_code=201)
async def create_device(request: Request, actor: Technician, body: DeviceIn) -> DeviceDetail:
    """Register a device; it enrols with a claim. 409 if the id is taken."""

    def work(unit: Unit) -> queries.Detail:
        registry.create_device(unit, actor, body.id, **body.model_dump(exclude={"id"}))
        return queries.device(unit.conn, body.id)

    return DeviceDetail.model_validate(await store_of(request).write(work))


@router.get("/{device}")
async def get_device(request: Request, device: DevicePath, actor: Reader) -> DeviceDetail:
    return DeviceDetail.model_validate(
        await store_of(request).read(lambda conn: queries.device(conn, device))
    )


@router.patch("/{device}")
async def change_device(
    request: Request, device: DevicePath, actor: Technician, body: DeviceChange
) -> DeviceDetail:
    """Change name, site, vendor, model or service; what is left out stays."""
    changes = body.model_dump(exclude_unset=True)
    if changes.get("service", "") is None:
        raise Invalid(
            "service cannot be null; leave it out to keep it", ("body.service", "a state of service")
        )

    def work(unit: Unit) -> queries.Detail:
        registry.change_device(unit, actor, device, changes)
        return queries.device(unit.conn, device)

    return DeviceDetail.model_validate(await store_of(request).write(work))


@router.get("/{device}/events")
async def list_events(
    request: Request,
    device: DevicePath,
    actor: Reader,
    *,
    kind: Annotated[list[Kind], Query(max_length=20)] = [],  # noqa: B006
    limit: Limit = 50,
    cursor: Cursor = None,
) -> EventList:
    """What the device said, newest first."""
    before: int | None = paging.decode(cursor, int)[0] if cursor else None

    def work(conn: Connection) -> list[dict[str, Any]]:
        registry.require_device(conn, device)
        return journal.list_events(conn, device, before=before, kinds=kind, limit=limit + 1)

    rows = await store_of(request).read(work)
    items, more = rows[:limit], len(rows) > limit
    return EventList(
        items=[EventOut.model_validate(row) for row in items],
        next=paging.encode(items[-1]["id"]) if more else None,
    )


@router.get("/{device}/health")
async def health_series(
    request: Request,
    device: DevicePath,
    actor: Reader,
    *,
    hours: Annotated[float, Query(gt=0, le=744, allow_inf_nan=False)] = 24,
    until: datetime | None = None,
    check: Annotated[list[CheckName], Query(max_length=20)] = [],  # noqa: B006
) -> HealthSeries:
    """Least, mean and most of each check in buckets of five minutes; null where the device said nothing."""
    end = _utc(until) if until else datetime.now(UTC)
    since = end - timedelta(hours=hours)

    def work(conn: Connection) -> history.Series:
        registry.require_device(conn, device)
        return history.series(conn, device, since=since, until=end, checks=check, step=history.BUCKET)

    return HealthSeries.model_validate(await store_of(request).read(work))


@router.get("/{device}/history")
async def health_history(
    request: Request,
    device: DevicePath,
    actor: Reader,
    *,
    since: Annotated[datetime | None, Query(alias="from", description="a day ago if left out")] = None,
    until: Annotated[datetime | None, Query(alias="to", description="now if left out")] = None,
    step: Annotated[
        Literal["300", "3600", "86400"] | None,
        Query(description="seconds; five minutes for a day, hours for a month, days beyond if left out"),
    ] = None,
    check: Annotated[list[CheckName], Query(max_length=20)] = [],  # noqa: B006
) -> HealthSeries:
    """Least, mean and most of each check; null where the device said nothing. 422 for more than 9,000 steps."""
    end = _utc(until) if until else datetime.now(UTC)
    start = _utc(since) if since else end - timedelta(days=1)
    if start >= end:
        raise Invalid("from is not before to", ("query.from", "a time before to"))
    size = history.STEPS[int(step)] if step else history.step_for(end - start)
    if (end - start) / size > POINTS_AT_MOST:
        raise Invalid(
            f"that is more than {POINTS_AT_MOST} steps; ask for larger steps or less time",
            ("query.step", "300, 3600 or 86400"),
        )

    def work(conn: Connection) -> history.Series:
        registry.require_device(conn, device)
        return history.series(conn, device, since=start, until=end, checks=check, step=size)

    return HealthSeries.model_validate(await store_of(request).read(work))


@router.get("/{device}/transitions")
async def list_transitions(
    request: Request, device: DevicePath, actor: Reader, limit: Limit = 50, cursor: Cursor = None
) -> TransitionList:
    """How its presence changed, newest first."""
    before: int | None = paging.decode(cursor, int)[0] if cursor else None

    def work(conn: Connection) -> list[dict[str, Any]]:
        registry.require_device(conn, device)
        return queries.transitions(conn, device, limit=limit + 1, before=before)

    rows = await store_of(request).read(work)
    items, more = rows[:limit], len(rows) > limit
    return TransitionList(
        items=[TransitionOut.model_validate(row) for row in items],
        next=paging.encode(items[-1]["id"]) if more else None,
    )


def _utc(at: datetime) -> datetime:
    """An aware time within the years that arithmetic can take."""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    if not 1971 <= at.year <= 9000:
        raise Invalid("until is not a time of this world", ("query.until", "a time after 1971"))
    return at.astimezone(UTC)
