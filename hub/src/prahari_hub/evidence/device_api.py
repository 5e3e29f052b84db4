"""What devices bring for a footage request, over HTTPS with their certificate: the account of a transfer, then its segments.

The contract, with every answer's meaning, stands in ``prahari_wire.recording``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from prahari_wire.base import Refused, parse
from prahari_wire.recording import TransferManifest
from sqlalchemy import Connection, Row

from prahari_hub.errors import Invalid
from prahari_hub.evidence import parts, receiving
from prahari_hub.evidence.parts import Parts
from prahari_hub.fleet.blobs import Blobs
from prahari_hub.http.state import store_of
from prahari_hub.identity.peer import client_device

router = APIRouter(prefix="/device/v1/transfers")
Device = Annotated[str, Depends(client_device)]
Transfer = Annotated[str, Path(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0, lt=2**53)]
LARGEST_MANIFEST = 12 * 1024 * 1024


def footage_of(request: Request) -> Blobs:
    found: Blobs = request.app.state.footage
    return found


def parts_of(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


@router.put("/{transfer}")
async def put_manifest(request: Request, device: Device, transfer: Transfer) -> Response:
    """201 taken, 200 the same again, 409 another one stands, 422 not what was asked or a chain that does not hold."""
    store = store_of(request)
    row = await store.read(lambda conn: receiving.transfer_of(conn, device, transfer))
    body = await _body(request)
    try:
        manifest = await asyncio.to_thread(_manifest, body)
        before = await store.read(lambda conn: receiving.before(conn, row, manifest))
        await asyncio.to_thread(receiving.check, row, manifest, before)
    except Invalid as error:
        said = str(error)
        await store.write(lambda unit: receiving.refused(unit, device, transfer, said, account=True))
        raise
    content = receiving.manifest_bytes(manifest)
    sha256 = hashlib.sha256(content).hexdigest()
    await footage_of(request).put(sha256, _chunks(content))
    pins = before.pins_for(manifest)
    fresh = await store.write(lambda unit: receiving.accept(unit, device, manifest, content, pins))
    return Response(status_code=201 if fresh else 200)


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > LARGEST_MANIFEST:
            raise Invalid(
                f"the manifest has more than {LARGEST_MANIFEST} bytes; ask for a shorter time",
                ("body", "shorter"),
            )
    return bytes(found)


def _manifest(body: bytes) -> TransferManifest:
    try:
        return parse(TransferManifest, body, limit=LARGEST_MANIFEST, strict_scan=True)
    except Refused as error:
        raise Invalid(f"the manifest is not accepted: {error.detail}", ("body", error.detail)) from None


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


@router.head("/{transfer}/segments/{sha256}")
async def offset_of(request: Request, device: Device, transfer: Transfer, sha256: Sha256) -> Response:
    """How many bytes of the segment the hub has."""
    store = store_of(request)

    def work(conn: Connection) -> Row[Any]:
        receiving.transfer_of(conn, device, transfer)
        return receiving.segment_of(conn, transfer, sha256)

    segment = await store.read(work)
    have = segment.size if segment.stored_at else parts_of(request).offset(transfer, sha256)
    return _at(200, have)


@router.put("/{transfer}/segments/{sha256}")
async def put_segment(
    request: Request, device: Device, transfer: Transfer, sha256: Sha256, offset: Offset = 0
) -> Response:
    """The bytes from ``Upload-Offset`` on: 202 some are missing, 201 whole, 200 it was, 409 go on from another offset, 422 another file."""
    store = store_of(request)

    def work(conn: Connection) -> tuple[Row[Any], bool]:
        receiving.transfer_of(conn, device, transfer)
        return receiving.segment_of(conn, transfer, sha256), receiving.have(conn, device, sha256)

    segment, brought_before = await store.read(work)
    if segment.stored_at is not None:
        return _at(200, segment.size)
    if brought_before and await footage_of(request).size(sha256) == segment.size:
        await store.write(lambda unit: receiving.stored(unit, device, transfer, sha256))
        return _at(200, segment.size)
    async with parts_of(request).taken(transfer, sha256) as path:
        have = parts_of(request).offset(transfer, sha256)
        if offset != have:
            return _at(409, have)
        have = await parts.append(path, request.stream(), size=segment.size)
        if have < segment.size:
            return _at(202, have)
        if await asyncio.to_thread(parts.digest, path) != sha256:
            path.unlink(missing_ok=True)
            said = f"segment {segment.position} of {segment.day} came with other bytes than those that were recorded"
            await store.write(lambda unit: receiving.refused(unit, device, transfer, said))
            raise Invalid(
                "the bytes are not those that the manifest names; send the segment anew", ("body", "sha256")
            )
        await footage_of(request).take(sha256, path)
    await store.write(lambda unit: receiving.stored(unit, device, transfer, sha256))
    return _at(201, segment.size)


def _at(status: int, offset: int) -> Response:
    return Response(status_code=status, headers={"Upload-Offset": str(offset)})
