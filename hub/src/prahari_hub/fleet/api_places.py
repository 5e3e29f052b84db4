"""Zones, sites, and files by their hash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from prahari_hub.access.audit import record
from prahari_hub.errors import Invalid
from prahari_hub.fleet import queries, registry, uploads
from prahari_hub.fleet.api_models import (
    ShaPath,
    SiteChange,
    SiteIn,
    SiteList,
    SiteOut,
    Slug,
    SlugPath,
    StoredOut,
    ZoneChange,
    ZoneIn,
    ZoneList,
    ZoneOut,
    blobs_of,
)
from prahari_hub.fleet.blobs import media_type
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.store import Unit

router = APIRouter()
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Uploader = Annotated[Actor, Depends(require(Role.TECHNICIAN, Role.OPERATOR))]
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the file",
        "content": {"image/png": {}, "image/jpeg": {}, "application/octet-stream": {}},
    }
}
FOR_EVER = "private, max-age=31536000, immutable"


@router.get("/zones", tags=["places"])
async def list_zones(request: Request, actor: Reader, limit: Limit = 50, cursor: Cursor = None) -> ZoneList:
    page = await store_of(request).read(lambda conn: queries.list_zones(conn, cursor=cursor, limit=limit))
    return ZoneList(items=[ZoneOut.model_validate(row) for row in page.items], next=page.next)


@router.post("/zones", status_code=201, tags=["places"])
async def create_zone(request: Request, actor: Technician, body: ZoneIn) -> ZoneOut:
    return ZoneOut.model_validate(
        await store_of(request).write(
            lambda unit: registry.create_zone(unit, actor, body.id, body.name, parent=body.parent)
        )
    )


@router.get("/zones/{zone}", tags=["places"])
async def get_zone(request: Request, zone: SlugPath, actor: Reader) -> ZoneOut:
    return ZoneOut.model_validate(await store_of(request).read(lambda conn: registry.zone_of(conn, zone)))


@router.put("/zones/{zone}", tags=["places"])
async def put_zone(request: Request, zone: SlugPath, actor: Technician, body: ZoneChange) -> ZoneOut:
    return ZoneOut.model_validate(
        await store_of(request).write(
            lambda unit: registry.put_zone(unit, actor, zone, body.name, parent=body.parent)
        )
    )


@router.delete("/zones/{zone}", status_code=204, tags=["places"])
async def delete_zone(request: Request, zone: SlugPath, actor: Technician) -> None:
    """409 while something stands in it."""
    await store_of(request).write(lambda unit: registry.delete_zone(unit, actor, zone))


@router.get("/sites", tags=["places"])
async def list_sites(
    request: Request,
    actor: Reader,
    *,
    zone: Annotated[Slug | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> SiteList:
    page = await store_of(request).read(
        lambda conn: queries.list_sites(conn, zone=zone, cursor=cursor, limit=limit)
    )
    return SiteList(items=[SiteOut.model_validate(row) for row in page.items], next=page.next)


@router.post("/sites", status_code=201, tags=["places"])
async def create_site(request: Request, actor: Technician, body: SiteIn) -> SiteOut:
    return SiteOut.model_validate(
        await store_of(request).write(
            lambda unit: registry.create_site(
                unit, actor, body.id, body.name, lat=body.lat, lon=body.lon, zone=body.zone
            )
        )
    )


@router.get("/sites/{site}", tags=["places"])
async def get_site(request: Request, site: SlugPath, actor: Reader) -> SiteOut:
    return SiteOut.model_validate(await store_of(request).read(lambda conn: registry.site_of(conn, site)))


@router.put("/sites/{site}", tags=["places"])
async def put_site(request: Request, site: SlugPath, actor: Technician, body: SiteChange) -> SiteOut:
    return SiteOut.model_validate(
        await store_of(request).write(
            lambda unit: registry.put_site(
                unit, actor, site, body.name, lat=body.lat, lon=body.lon, zone=body.zone
            )
        )
    )


@router.delete("/sites/{site}", status_code=204, tags=["places"])
async def delete_site(request: Request, site: SlugPath, actor: Technician) -> None:
    """409 while devices stand at it."""
    await store_of(request).write(lambda unit: registry.delete_site(unit, actor, site))


@router.get("/blobs/{sha256}", response_class=Response, responses=FILE, tags=["files"])
async def get_blob(request: Request, sha256: ShaPath, actor: Reader) -> Response:
    """A snapshot, a rendered frame or a picture."""
    content = await blobs_of(request).get(sha256)
    return Response(
        content,
        media_type=media_type(content),
        headers={"Cache-Control": FOR_EVER, "ETag": f'"{sha256}"', "X-Content-Type-Options": "nosniff"},
    )


@router.put(
    "/blobs/{sha256}",
    status_code=201,
    tags=["files"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_blob(request: Request, sha256: ShaPath, actor: Uploader) -> StoredOut:
    """Bring in a PNG or JPEG that displays may show, under its SHA-256."""
    blobs = blobs_of(request)
    size = await blobs.put(sha256, _picture(request.stream()))

    def work(unit: Unit) -> None:
        uploads.bring(unit, sha256, size, by=actor.name)
        record(unit, actor, "blob.put", f"blob:{sha256}", detail={"size": size})

    await store_of(request).write(work)
    return StoredOut(sha256=sha256, size=size)


async def _picture(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes; Invalid unless they begin as a PNG or JPEG does."""
    head = b""
    checked = False
    async for chunk in chunks:
        if not checked:
            head += chunk
            if len(head) < 8:
                continue
            if media_type(head) == "application/octet-stream":
                break
            checked = True
            yield head
        else:
            yield chunk
    if not checked:
        raise Invalid("only PNG and JPEG pictures are taken", ("body", "a PNG or JPEG"))
