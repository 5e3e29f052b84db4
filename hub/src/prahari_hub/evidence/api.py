"""Footage requests in the API: what there is, requests with their steps, packages, links, figures."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, StreamingResponse
from prahari_wire.topics import DEVICE_ID, PERIPHERAL_ID
from pydantic import AwareDatetime, Field
from starlette.background import BackgroundTask

from prahari_hub.errors import HubError, Invalid
from prahari_hub.evidence import cutting, figures, queries, release, requests, sealing
from prahari_hub.evidence.api_models import (
    CauseOut,
    CostlyOut,
    CoveringList,
    CoveringOut,
    FiguresOut,
    GapOut,
    LinkIn,
    NewLink,
    RefuseIn,
    RequestIn,
    RequestList,
    RequestOut,
    SpanOut,
    StepList,
    StepOut,
    TallyOut,
    TrustOut,
    WholeOut,
)
from prahari_hub.evidence.coverage import Camera, at_ms
from prahari_hub.evidence.places import MOST_RADIUS_M, AtSite, CameraName, Named, Point
from prahari_hub.evidence.reasons import Outcome, Refusal, State
from prahari_hub.evidence.release import PATH, Terms
from prahari_hub.evidence.requests import Found, Wanted
from prahari_hub.evidence.trust import trust_of
from prahari_hub.fleet.api_models import DevicePath, Search, Slug
from prahari_hub.fleet.blobs import Blobs
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(prefix="/evidence", tags=["evidence"])
VIEWERS = (Role.OPERATOR, Role.AUDITOR)
"""Who may know what the police ask for."""
Viewer = Annotated[Actor, Depends(require(*VIEWERS))]
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
Approver = Annotated[Actor, Depends(require())]
RequestId = Annotated[str, InPath(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
CameraPath = Annotated[str, InPath(pattern=PERIPHERAL_ID)]
ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
FILM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "Partial Content"},
    416: {"description": "Range Not Satisfiable"},
}
CAMERA = f"{DEVICE_ID[:-1]}:{PERIPHERAL_ID[1:]}"
NO_CAMERAS: Sequence[str] = ()
YEAR = timedelta(days=366)


def footage_of(request: Request) -> Blobs:
    found: Blobs = request.app.state.footage
    return found


def place_of(
    lat: float | None, lon: float | None, radius_m: float, site: str | None, camera: Sequence[str]
) -> Point | AtSite | Named:
    """Of the three ways to say where, the one that was used; Invalid for none or several."""
    given = [lat is not None or lon is not None, site is not None, bool(camera)]
    if sum(given) != 1 or (lat is None) != (lon is None):
        raise Invalid(N_("Say where in one way: lat and lon, or site, or cameras."), ("query.lat", "a place"))
    if lat is not None and lon is not None:
        return Point(lat=lat, lon=lon, radius_m=radius_m)
    if site is not None:
        return AtSite(site=site)
    pairs = [name.partition(":") for name in camera]
    return Named(cameras=[CameraName(device=device, camera=name) for device, _, name in pairs])


@router.get("/coverage")
async def get_coverage(
    request: Request,
    actor: Viewer,
    starts_at: AwareDatetime,
    ends_at: AwareDatetime,
    *,
    lat: Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False)] = None,
    lon: Annotated[float | None, Query(ge=-180, le=180, allow_inf_nan=False)] = None,
    radius_m: Annotated[float, Query(gt=0, le=MOST_RADIUS_M, allow_inf_nan=False)] = 200,
    site: Annotated[Slug | None, Query()] = None,
    camera: Annotated[Sequence[Annotated[str, Field(pattern=CAMERA)]], Query(max_length=200)] = NO_CAMERAS,
) -> CoveringList:
    """Which cameras cover a place and what they have of a time, also those of devices that are offline."""
    place = place_of(lat, lon, radius_m, site, camera)
    since, until = utc(starts_at), utc(ends_at)
    store = store_of(request)
    now = store.clock()
    found = await store.read(lambda conn: requests.search(conn, place, since, until, now=now))
    return CoveringList(items=[covering(one) for one in found])


def covering(found: Found) -> CoveringOut:
    one = found.camera
    return CoveringOut(
        device=one.device,
        camera=one.camera,
        name=one.name,
        site=one.site_name,
        lat=one.lat,
        lon=one.lon,
        metres=one.metres,
        presence=one.presence,
        told=found.known.told,
        share=found.share,
        owner=found.owner.name if found.owner else None,
        ruled_out=found.ruled_out,
        spans=[SpanOut(start=at_ms(start), end=at_ms(end)) for start, end in found.known.spans],
        gaps=[GapOut(start=at_ms(g.start_ms), end=at_ms(g.end_ms), cause=g.cause) for g in found.known.gaps],
    )


def utc(at: datetime) -> datetime:
    """Invalid for a time that no calendar has in UTC."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Invalid(N_("The time is out of range."), ("starts_at", "a time of this century")) from None


@router.get("/requests")
async def list_requests(
    request: Request,
    actor: Viewer,
    *,
    state: State | None = None,
    outcome: Outcome | None = None,
    text: Search = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RequestList:
    """Newest first."""
    wanted = queries.Filter(state, outcome, text)
    found = await store_of(request).read(lambda conn: queries.page(conn, wanted, limit=limit, cursor=cursor))
    return RequestList(items=[RequestOut.model_validate(one) for one in found.items], next=found.next)


@router.post("/requests", status_code=201)
async def submit_request(request: Request, actor: Operator, body: RequestIn) -> WholeOut:
    """Another person approves it; where no camera stands it ends at once as impossible."""
    only = None if body.cameras is None else [(one.device, one.camera) for one in body.cameras]
    wanted = Wanted(
        body.authority,
        body.case_number,
        body.purpose,
        body.place,
        utc(body.starts_at),
        utc(body.ends_at),
        only,
    )
    return await _after(request, lambda unit: requests.submit(unit, actor, wanted))


@router.get("/requests/{request_id}")
async def get_request(request: Request, request_id: RequestId, actor: Viewer) -> WholeOut:
    store = store_of(request)
    now = store.clock()
    return WholeOut.model_validate(await store.read(lambda conn: queries.whole(conn, request_id, now)))


@router.post("/requests/{request_id}/approve")
async def approve_request(request: Request, request_id: RequestId, actor: Approver) -> WholeOut:
    """Forbidden for the person who submitted it, also by a token of that person."""
    return await _after(request, lambda unit: requests.approve(unit, actor, request_id), request_id)


@router.post("/requests/{request_id}/refuse")
async def refuse_request(
    request: Request, request_id: RequestId, actor: Approver, body: RefuseIn
) -> WholeOut:
    reason = Refusal(body.reason)
    return await _after(
        request, lambda unit: requests.refuse(unit, actor, request_id, reason, body.note), request_id
    )


@router.post("/requests/{request_id}/withdraw")
async def withdraw_request(request: Request, request_id: RequestId, actor: Operator) -> WholeOut:
    return await _after(request, lambda unit: requests.withdraw(unit, actor, request_id), request_id)


@router.get("/requests/{request_id}/custody")
async def get_custody(
    request: Request, request_id: RequestId, actor: Viewer, *, limit: Limit = 200, cursor: Cursor = None
) -> StepList:
    """Every step and every access, newest first; ``sealed`` once the audit log's hash chain holds it."""
    found = await store_of(request).read(
        lambda conn: queries.custody(conn, request_id, limit=limit, cursor=cursor)
    )
    return StepList(items=[StepOut.model_validate(one) for one in found.items], next=found.next)


@router.get("/requests/{request_id}/package", response_class=StreamingResponse, responses=ZIP)
async def get_package(request: Request, request_id: RequestId, actor: Operator) -> StreamingResponse:
    """The sealed package; that it was fetched is in the custody log. 409 while nothing is sealed."""
    item = await store_of(request).write(lambda unit: release.downloaded(unit, actor, request_id))
    return as_file(request, item)


@router.get("/requests/{request_id}/films/{device}/{camera}", response_class=FileResponse, responses=FILM)
async def get_film(
    request: Request, request_id: RequestId, device: DevicePath, camera: CameraPath, actor: Operator
) -> FileResponse:
    """One film that shows the asked interval alone: a copy for looking at, its hash in the custody log. 503 without PyAV."""
    return await as_film(request, actor, request_id, (device, camera))


async def as_film(request: Request, actor: Actor, request_id: str, camera: Camera) -> FileResponse:
    store = store_of(request)
    found, start_ms, end_ms = await store.read(lambda conn: cutting.pieces(conn, request_id, *camera))
    target = Path(tempfile.mkstemp(suffix=".mp4")[1])
    try:
        sha256 = await cutting.film(found, start_ms, end_ms, target, footage_of(request).get)
        await store.write(lambda unit: cutting.noted(unit, actor, request_id, camera, sha256))
    except HubError:
        await asyncio.to_thread(target.unlink)
        raise
    name = f"{request_id}-{camera[0]}-{camera[1]}.mp4"
    return FileResponse(
        target,
        media_type="video/mp4",
        filename=name,
        background=BackgroundTask(target.unlink, missing_ok=True),
    )


def as_file(request: Request, item: Any) -> StreamingResponse:
    content = sealing.package(item, footage_of(request).get)
    named = {"Content-Disposition": f'attachment; filename="{item.id}.zip"'}
    return StreamingResponse(content, media_type="application/zip", headers=named)


@router.post("/requests/{request_id}/links", status_code=201)
async def make_link(request: Request, request_id: RequestId, actor: Operator, body: LinkIn) -> NewLink:
    terms = Terms(body.recipient, timedelta(days=body.days), body.most_uses)
    name, secret = await store_of(request).write(lambda unit: release.link(unit, actor, request_id, terms))
    return NewLink(id=name, path=f"{PATH}/{secret}")


@router.delete("/requests/{request_id}/links/{link}")
async def revoke_link(request: Request, request_id: RequestId, link: RequestId, actor: Operator) -> WholeOut:
    return await _after(request, lambda unit: release.revoke(unit, actor, request_id, link), request_id)


@router.get("/figures")
async def get_figures(
    request: Request,
    actor: Reader,
    *,
    group: Literal["month", "zone", "authority", "camera"] = "month",
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> FiguresOut:
    """Of the requests that were submitted in the interval, the last year if left out."""
    store = store_of(request)
    end = utc(until) if until else store.clock()
    begin = utc(since) if since else end - YEAR
    zone = ZoneInfo(request.app.state.settings.timezone)
    found = await store.read(lambda conn: figures.figures(conn, begin, end, group=group, zone=zone))
    return FiguresOut(
        since=found.since,
        until=found.until,
        total=TallyOut.model_validate(found.total),
        items=[TallyOut.model_validate(one) for one in found.rows],
        causes=[CauseOut(reason=reason, requests=count) for reason, count in found.causes],
        worst=[CostlyOut.model_validate(one) for one in found.worst],
    )


@router.get("/trust")
async def get_trust(request: Request, actor: Reader) -> TrustOut:
    """What others verify this city's packages with; publish it."""
    return TrustOut.model_validate(trust_of(request.app.state.identity))


async def _after(
    request: Request, work: Callable[[Unit], str | None], request_id: str | None = None
) -> WholeOut:
    """Do it and give the whole request as it is then: the named one, or the one whose id ``work`` gives."""

    def done(unit: Unit) -> queries.Whole:
        return queries.whole(unit.conn, work(unit) or request_id or "", unit.now)

    return WholeOut.model_validate(await store_of(request).write(done))
