"""Cabinets, switches and feeders, and what hangs on them; windows of planned work."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field

from prahari_hub.errors import Invalid
from prahari_hub.fleet import topology, topology_csv, windows
from prahari_hub.fleet.api_models import In, Name, Out, Reason, Slug, SlugPath, UlidPath
from prahari_hub.fleet.topology import Link
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Planner = Annotated[Actor, Depends(require(Role.TECHNICIAN, Role.OPERATOR))]
AssetKind = Literal["cabinet", "switch", "feeder"]
WindowKind = Literal["planned_power", "maintenance"]
MOST = 500_000


class AssetChange(In):
    """``parent`` is the asset that it hangs on; ``zone`` counts where there is none."""

    kind: AssetKind
    name: Name
    parent: Slug | None = None
    zone: Slug | None = None


class AssetIn(AssetChange):
    id: Slug


class AssetOut(Out):
    id: str
    kind: AssetKind
    name: str
    parent: str | None = Field(validation_alias="parent_id")
    zone: str | None = Field(validation_alias="zone_id")


class AssetList(Out):
    items: list[AssetOut]
    next: str | None


class Hang(In):
    """``asset`` null takes the site off."""

    asset: Slug | None


class SiteHang(Hang):
    id: Slug


class TopologyIn(In):
    """Assets in any order; sites must be registered."""

    assets: Annotated[list[AssetIn], Field(max_length=MOST)] = []
    sites: Annotated[list[SiteHang], Field(max_length=MOST)] = []


class Brought(Out):
    assets: int
    sites: int


class WindowIn(In):
    """``scope_id`` is the id of a device, site, asset or zone; what hangs on it or stands in it is covered too."""

    kind: WindowKind
    scope_type: Literal["device", "site", "asset", "zone"]
    scope_id: Slug
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    reason: Reason


class WindowOut(Out):
    """``followed_at``: when the hub looked for what was still silent after its end and grace."""

    id: str
    kind: WindowKind
    scope_type: str
    scope_id: str
    starts_at: datetime
    ends_at: datetime
    reason: str
    created_by: str
    created_at: datetime
    cancelled_at: datetime | None
    followed_at: datetime | None


class WindowList(Out):
    items: list[WindowOut]
    next: str | None


@router.get("/assets", tags=["places"])
async def list_assets(
    request: Request,
    actor: Reader,
    *,
    kind: AssetKind | None = None,
    parent: Annotated[Slug | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AssetList:
    page = await store_of(request).read(
        lambda conn: topology.list_assets(conn, kind=kind, parent=parent, cursor=cursor, limit=limit)
    )
    return AssetList(items=[AssetOut.model_validate(row) for row in page.items], next=page.next)


@router.get("/assets/{asset}", tags=["places"])
async def get_asset(request: Request, asset: SlugPath, actor: Reader) -> AssetOut:
    return AssetOut.model_validate(await store_of(request).read(lambda conn: topology.asset_of(conn, asset)))


@router.put("/assets/{asset}", tags=["places"])
async def put_asset(request: Request, asset: SlugPath, actor: Technician, body: AssetChange) -> AssetOut:
    """Register it or replace what is known of it; 409 when it would hang on itself."""
    link = Link(asset, body.kind, body.name, body.parent, body.zone)
    return AssetOut.model_validate(
        await store_of(request).write(lambda unit: topology.put_asset(unit, actor, link))
    )


@router.delete("/assets/{asset}", status_code=204, tags=["places"])
async def delete_asset(request: Request, asset: SlugPath, actor: Technician) -> None:
    """409 while something hangs on it."""
    await store_of(request).write(lambda unit: topology.delete_asset(unit, actor, asset))


@router.put("/sites/{site}/asset", status_code=204, tags=["places"])
async def hang_site(request: Request, site: SlugPath, actor: Technician, body: Hang) -> None:
    """Say what a site hangs on."""
    await store_of(request).write(lambda unit: topology.hang_site(unit, actor, site, body.asset))


@router.post("/topology", tags=["places"])
async def bring_topology(request: Request, actor: Technician, body: TopologyIn) -> Brought:
    """A city's topology at once: all of it, or nothing when one row is wrong."""
    links = [Link(one.id, one.kind, one.name, one.parent, one.zone) for one in body.assets]
    hangs = {one.id: one.asset for one in body.sites}
    return Brought(**await store_of(request).write(lambda unit: topology.bring(unit, actor, links, hangs)))


@router.post(
    "/topology/csv",
    tags=["places"],
    openapi_extra={
        "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}
    },
)
async def bring_csv(request: Request, actor: Technician) -> Brought:
    """The same from a table with the columns kind, id, name, parent, zone; a row of kind ``site`` names in parent what it hangs on."""
    try:
        text = (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid("The table is not UTF-8: save it as CSV UTF-8.", ("body", "UTF-8")) from error
    links, hangs = topology_csv.parse(text)
    return Brought(**await store_of(request).write(lambda unit: topology.bring(unit, actor, links, hangs)))


@router.get("/windows", tags=["windows"])
async def list_windows(
    request: Request,
    actor: Reader,
    *,
    state: Literal["current", "past", "all"] = "current",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> WindowList:
    """``current`` are planned and running, ``past`` are over and cancelled."""
    store = store_of(request)
    page = await store.read(
        lambda conn: windows.page(conn, store.clock(), state=state, limit=limit, cursor=cursor)
    )
    return WindowList(items=[WindowOut.model_validate(row) for row in page.items], next=page.next)


@router.post("/windows", status_code=201, tags=["windows"])
async def plan_window(request: Request, actor: Planner, body: WindowIn) -> WindowOut:
    """One that has begun already starts now."""
    found = await store_of(request).write(
        lambda unit: windows.plan(
            unit,
            actor,
            kind=body.kind,
            scope=(body.scope_type, body.scope_id),
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            reason=body.reason,
        )
    )
    return WindowOut.model_validate(found)


@router.get("/windows/{window}", tags=["windows"])
async def get_window(request: Request, window: UlidPath, actor: Reader) -> WindowOut:
    return WindowOut.model_validate(await store_of(request).read(lambda conn: windows.get(conn, window)))


@router.post("/windows/{window}/end", tags=["windows"])
async def end_window(request: Request, window: UlidPath, actor: Planner) -> WindowOut:
    """Cancel one that has not begun, end one that runs; 409 when it is over."""
    return WindowOut.model_validate(
        await store_of(request).write(lambda unit: windows.end(unit, actor, window))
    )
