"""Live views in the API: begun with a reason, looked at picture by picture, ended. Devices bring the pictures over HTTPS."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from prahari_wire.live import LONGEST_S, MOST_BYTES
from prahari_wire.topics import PERIPHERAL_ID
from pydantic import Field

from prahari_hub.errors import Invalid, NotFound
from prahari_hub.fleet import live_views
from prahari_hub.fleet.api_models import DevicePath, In, Out, Reason, UlidPath
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import require
from prahari_hub.http.state import store_of
from prahari_hub.identity.peer import client_device
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(tags=["live views"])
device_router = APIRouter(prefix="/device/v1/live")
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
CameraPath = Annotated[str, Path(pattern=PERIPHERAL_ID)]
Device = Annotated[str, Depends(client_device)]
View = Annotated[str, Path(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]


class LiveIn(In):
    """``reason`` stands in the audit log."""

    reason: Reason
    seconds: Annotated[int, Field(ge=1, le=LONGEST_S)] = 60


class LiveOut(Out):
    """``pictures``: how many have come; the newest is at /live-views/{id}/picture until the view ends."""

    id: str
    device_id: str
    camera: str
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    pictures: int


@router.post("/devices/{device}/cameras/{camera}/live", status_code=201)
async def begin_view(
    request: Request, device: DevicePath, camera: CameraPath, actor: Operator, body: LiveIn
) -> LiveOut:
    """One picture a second for so long, persons hidden; 403 where the camera's owner does not allow it."""

    def work(unit: Unit) -> LiveOut:
        view = live_views.begin(unit, actor, (device, camera), reason=body.reason, seconds=body.seconds)
        return LiveOut.model_validate(live_views.get(unit.conn, actor, view))

    return await store_of(request).write(work)


@router.get("/live-views/{view}")
async def get_view(request: Request, view: UlidPath, actor: Operator) -> LiveOut:
    found = await store_of(request).read(lambda conn: live_views.get(conn, actor, view))
    return LiveOut.model_validate(found)


@router.get(
    "/live-views/{view}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_picture(request: Request, view: UlidPath, actor: Operator) -> Response:
    """The newest picture; 404 before the first and once the view has ended."""
    return await picture_of(request, actor, view)


async def picture_of(request: Request, actor: Actor, view: str) -> Response:
    row = await store_of(request).read(lambda conn: live_views.get(conn, actor, view))
    if row.picture is None:
        raise NotFound(N_("There is no picture: the view has ended, or the first is on its way."))
    return Response(row.picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


@router.delete("/live-views/{view}")
async def end_view(request: Request, view: UlidPath, actor: Operator) -> LiveOut:
    def work(unit: Unit) -> LiveOut:
        live_views.end(unit, actor, view)
        return LiveOut.model_validate(live_views.get(unit.conn, actor, view))

    return await store_of(request).write(work)


@device_router.put("/{view}")
async def put_picture(request: Request, device: Device, view: View) -> Response:
    """204 shown, 404 not asked of this device, 410 nobody looks any more, 422 no picture; see prahari_wire.live."""
    store = store_of(request)
    now = store.clock()
    await store.read(lambda conn: live_views.expected(conn, device, view, now))
    jpeg = bytearray()
    async for chunk in request.stream():
        jpeg += chunk
        if len(jpeg) > MOST_BYTES:
            raise Invalid(
                N_("a picture is a JPEG of at most {most} bytes"),
                ("body", "a JPEG"),
                most=MOST_BYTES,
            )
    await store.write(lambda unit: live_views.shown(unit, device, view, bytes(jpeg)))
    return Response(status_code=204)
