"""What devices ask over HTTPS (8443): their twin by version, and files in both directions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.exceptions import HTTPException

from prahari_hub.errors import NotFound
from prahari_hub.fleet import twins, uploads
from prahari_hub.fleet.blobs import MOST_BYTES, Blobs, media_type
from prahari_hub.fleet.quota import Quota
from prahari_hub.http.state import store_of
from prahari_hub.identity.peer import client_device

router = APIRouter(prefix="/device/v1")
Device = Annotated[str, Depends(client_device)]
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
MIB = 1024 * 1024
Version = Annotated[int, Path(ge=0, lt=2**31)]


def blobs_of(request: Request) -> Blobs:
    blobs: Blobs = request.app.state.blobs
    return blobs


@router.get("/twin/{version}")
async def get_twin(request: Request, device: Device, version: Version) -> Response:
    """The canonical document, whose SHA-256 the signed message names."""
    found = await store_of(request).read(lambda conn: twins.document(conn, device, version))
    return Response(found, media_type="application/json")


@router.put("/blobs/{sha256}")
async def put_blob(request: Request, device: Device, sha256: Sha256) -> Response:
    """201 stored, 200 already there, 404 while no committed event of this device names the file."""
    store, blobs = store_of(request), blobs_of(request)
    row = await store.read(lambda conn: uploads.expected(conn, device, sha256))
    if row is None:
        raise NotFound("not announced yet: no event of this device names this file; try again later")
    stored = await blobs.size(sha256)
    known = stored is not None and stored == (row["size"] or stored)
    if not known:
        said = request.headers.get("content-length")
        await _within_quota(request, device, row["size"] or int(said or MOST_BYTES))
        await blobs.put(sha256, request.stream(), size=row["size"])
    if row["stored_at"] is None:
        await store.write(lambda unit: uploads.stored(unit, device, sha256))
    return Response(status_code=200 if known else 201)


async def _within_quota(request: Request, device: str, size: int) -> None:
    quota: Quota = request.app.state.quota
    if not await store_of(request).write(lambda unit: quota.take(unit, device, size)):
        raise HTTPException(
            429,
            f"{device} has sent the {quota.most_bytes // MIB} MiB that a device may send in a day; "
            "try again tomorrow, or raise the setting upload_mib_a_day",
            headers={"Retry-After": "3600"},
        )


@router.get("/blobs/{sha256}")
async def get_blob(request: Request, device: Device, sha256: Sha256) -> Response:
    """A file that this device's twin or overrides name."""
    store = store_of(request)
    now = store.clock()
    if not await store.read(lambda conn: uploads.may_fetch(conn, device, sha256, now)):
        raise NotFound("nothing that this device should show or run names this file")
    content = await blobs_of(request).get(sha256)
    return Response(content, media_type=media_type(content))
