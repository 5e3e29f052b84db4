"""Footage requests as pages: the list, a new one with what footage there is, one with its steps, the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import AwareDatetime, ValidationError
from sqlalchemy import Connection

from prahari_hub.errors import HubError, Invalid
from prahari_hub.evidence import figures, queries, redaction, release, requests, retention, sheets
from prahari_hub.evidence.api import VIEWERS, as_file, as_film
from prahari_hub.evidence.api_keeping import setting_of
from prahari_hub.evidence.coverage import Camera, at_ms, ms
from prahari_hub.evidence.places import AtSite, CameraName, Named, Point, some_positions, some_sites
from prahari_hub.evidence.reasons import Outcome, Refusal, State
from prahari_hub.evidence.release import Terms
from prahari_hub.evidence.requests import Found, Wanted
from prahari_hub.evidence.sheets import SPANS
from prahari_hub.fleet import owners
from prahari_hub.fleet.map.queries import layers as map_layers
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(prefix="/evidence")
Viewer = Annotated[Actor, Depends(require(*VIEWERS))]
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
Approver = Annotated[Actor, Depends(require())]
RequestId = Annotated[str, Path(max_length=30)]
Name = Annotated[str, Path(max_length=64)]
Text = Annotated[str, Form(max_length=500)]
Choice = Annotated[str, Query(max_length=120)]
PAGE = 50
BEFORE, AFTER = timedelta(seconds=10), timedelta(seconds=60)
"""Of something that happened."""
MOST_NAMES, MOST_DOTS = 500, 5000


@dataclass(frozen=True)
class Draft:
    """What is typed into the form; times as the city's clocks show them."""

    authority: str = ""
    case_number: str = ""
    purpose: str = ""
    kind: str = "point"
    lat: str = ""
    lon: str = ""
    radius_m: str = "200"
    site: str = ""
    cameras: str = ""
    starts_at: str = ""
    ends_at: str = ""

    def place(self) -> Point | AtSite | Named:
        """Invalid names what is missing."""
        try:
            match self.kind:
                case "site":
                    return AtSite(site=self.site)
                case "cameras":
                    pairs = [name.partition(":") for name in self.cameras.replace(",", " ").split()]
                    return Named(
                        cameras=[CameraName(device=device, camera=name) for device, _, name in pairs]
                    )
                case _:
                    return Point(lat=float(self.lat), lon=float(self.lon), radius_m=float(self.radius_m))
        except (ValueError, ValidationError):
            raise Invalid(SAY_WHERE.get(self.kind, SAY_WHERE["point"]), ("place", "a place")) from None

    def interval(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        try:
            start, end = (
                datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
                for text in (self.starts_at, self.ends_at)
            )
        except (ValueError, OverflowError):
            raise Invalid(N_("Say from when until when."), ("starts_at", "a time")) from None
        return start, end


SAY_WHERE = {
    "point": N_("Give the point as latitude and longitude in degrees, and a radius of up to 5000 metres."),
    "site": N_("Choose a site."),
    "cameras": N_("Name cameras as device:camera, with blanks between."),
}


def draft(
    authority: Text = "",
    case_number: Text = "",
    purpose: Text = "",
    kind: Text = "point",
    lat: Text = "",
    lon: Text = "",
    radius_m: Text = "200",
    site: Text = "",
    cameras: Annotated[str, Form(max_length=8000)] = "",
    starts_at: Text = "",
    ends_at: Text = "",
) -> Draft:
    return Draft(authority, case_number, purpose, kind, lat, lon, radius_m, site, cameras, starts_at, ends_at)


Drafted = Annotated[Draft, Depends(draft)]
Chosen = Annotated[list[str], Form()]


@router.get("")
async def list_page(
    request: Request,
    actor: Viewer,
    state: Choice = "",
    outcome: Choice = "",
    text: Choice = "",
    cursor: Cursor = None,
) -> HTMLResponse:
    wanted = sheets.wanted_of(state, outcome, text)
    found = await store_of(request).read(lambda conn: queries.page(conn, wanted, limit=PAGE, cursor=cursor))
    following = request.url.include_query_params(cursor=found.next) if found.next else None
    return page(
        request,
        actor,
        "evidence/list.html",
        items=found.items,
        wanted=wanted,
        states=list(State),
        outcomes=list(Outcome),
        next=f"{following.path}?{following.query}" if following else None,
        **_tools(actor),
    )


@dataclass(frozen=True)
class Suggested:
    """What a page that leads to the form knows already; ``at`` is when something happened."""

    lat: Choice = ""
    lon: Choice = ""
    site: Choice = ""
    cameras: Choice = ""
    purpose: Annotated[str, Query(max_length=500)] = ""
    at: AwareDatetime | None = None

    def draft(self, now: datetime, clock: ZoneInfo) -> Draft:
        """The minutes around what happened, or the last half hour, which is asked for most."""
        start, end = (
            (self.at - BEFORE, min(self.at + AFTER, now))
            if self.at
            else (now - timedelta(minutes=30), now - timedelta(minutes=1))
        )
        form = "%Y-%m-%dT%H:%M:%S" if self.at else "%Y-%m-%dT%H:%M"
        return Draft(
            kind="cameras" if self.cameras else "site" if self.site else "point",
            lat=self.lat,
            lon=self.lon,
            site=self.site,
            cameras=self.cameras,
            purpose=self.purpose,
            starts_at=start.astimezone(clock).strftime(form),
            ends_at=end.astimezone(clock).strftime(form),
        )


@router.get("/new")
async def new_page(
    request: Request, actor: Operator, suggested: Annotated[Suggested, Depends()]
) -> HTMLResponse:
    """A form that holds what is known."""
    return await _new(request, actor, suggested.draft(store_of(request).clock(), zone_of(request)))


@router.post("/new")
async def look(request: Request, actor: Operator, drafted: Drafted) -> HTMLResponse:
    """What footage there is, before anything is submitted."""
    store = store_of(request)
    now = store.clock()
    try:
        place = drafted.place()
        start, end = drafted.interval(zone_of(request))
        found = await store.read(lambda conn: requests.search(conn, place, start, end, now=now))
    except HubError as error:
        return await _new(request, actor, drafted, error=error)
    return await _new(request, actor, drafted, found=found)


@router.post("")
async def submit(request: Request, actor: Operator, drafted: Drafted, camera: Chosen = []) -> Response:  # noqa: B006
    """Submit it with the cameras that are ticked."""
    try:
        place = drafted.place()
        start, end = drafted.interval(zone_of(request))
        only = [_camera(name) for name in camera]
        wanted = Wanted(
            drafted.authority[:200], drafted.case_number[:100], drafted.purpose, place, start, end, only
        )
        made = await store_of(request).write(lambda unit: requests.submit(unit, actor, wanted))
    except HubError as error:
        return await _new(request, actor, drafted, error=error)
    return RedirectResponse(f"/evidence/{made}", 303)


def _camera(name: str) -> Camera:
    device, _, camera = name.partition(":")
    return device, camera


@router.get("/figures")
async def figures_page(
    request: Request, actor: Reader, group: Choice = "month", days: Choice = "365"
) -> HTMLResponse:
    store = store_of(request)
    until = store.clock()
    known = group if group in figures.GROUPS else "month"
    length = days if days in SPANS else "365"
    clock = zone_of(request)
    found = await store.read(
        lambda conn: figures.figures(conn, until - SPANS[length], until, group=known, zone=clock)
    )
    return page(
        request, actor, "evidence/figures.html",
        found=found, group=known, groups=figures.GROUPS, days=length, lengths=list(SPANS), **_tools(actor),
    )  # fmt: skip


@router.get("/{request_id}")
async def request_page(request: Request, actor: Viewer, request_id: RequestId) -> HTMLResponse:
    return await _request(request, actor, request_id)


@router.post("/{request_id}/approve")
async def approve(request: Request, actor: Approver, request_id: RequestId) -> Response:
    return await _do(request, actor, request_id, lambda unit: requests.approve(unit, actor, request_id))


@router.post("/{request_id}/refuse")
async def refuse(
    request: Request, actor: Approver, request_id: RequestId, reason: Text = "", note: Text = ""
) -> Response:
    def work(unit: Unit) -> None:
        if reason not in set(Refusal):
            raise Invalid(N_("Choose why the request is refused."), ("reason", "one of the list"))
        requests.refuse(unit, actor, request_id, Refusal(reason), note.strip() or None)

    return await _do(request, actor, request_id, work)


@router.post("/{request_id}/withdraw")
async def withdraw(request: Request, actor: Operator, request_id: RequestId) -> Response:
    return await _do(request, actor, request_id, lambda unit: requests.withdraw(unit, actor, request_id))


@router.post("/{request_id}/keeping")
async def keep(
    request: Request, actor: Approver, request_id: RequestId, until: Text = "", reason: Text = ""
) -> Response:
    """To the end of the named day; as the setting says where none is named."""
    return await _do(
        request, actor, request_id,
        lambda unit: retention.keep_until(unit, actor, request_id, end_of(until, zone_of(request)), reason=reason),
    )  # fmt: skip


def end_of(day: str, zone: ZoneInfo) -> datetime | None:
    if not day.strip():
        return None
    try:
        return datetime.combine(date.fromisoformat(day.strip()) + timedelta(days=1), time(), zone)
    except (ValueError, OverflowError):
        raise Invalid(N_("Give the last day as a date."), ("until", "a date")) from None


@router.get("/{request_id}/package")
async def fetch(request: Request, actor: Operator, request_id: RequestId) -> Response:
    item = await store_of(request).write(lambda unit: release.downloaded(unit, actor, request_id))
    return as_file(request, item)


@router.get("/{request_id}/films/{device}/{camera}")
async def fetch_film(
    request: Request, actor: Operator, request_id: RequestId, device: Name, camera: Name
) -> Response:
    return await as_film(request, actor, request_id, (device, camera))


@router.post("/{request_id}/links")
async def make_link(
    request: Request,
    actor: Operator,
    request_id: RequestId,
    recipient: Text = "",
    days: Annotated[float, Form(gt=0, le=30)] = 7,
    most_uses: Annotated[int, Form(ge=1, le=50)] = 3,
) -> Response:
    """The page with the new link, which is shown this once."""
    terms = Terms(recipient[:200], timedelta(days=days), most_uses)
    try:
        _, secret = await store_of(request).write(lambda unit: release.link(unit, actor, request_id, terms))
    except HubError as error:
        return await _request(request, actor, request_id, error=error)
    address = f"{str(request.base_url).rstrip('/')}{release.PATH}/{secret}"
    return await _request(request, actor, request_id, fresh=address)


@router.post("/{request_id}/links/{link}/revoke")
async def revoke_link(request: Request, actor: Operator, request_id: RequestId, link: RequestId) -> Response:
    return await _do(request, actor, request_id, lambda unit: release.revoke(unit, actor, request_id, link))


async def _do(request: Request, actor: Actor, request_id: str, work: Callable[[Unit], None]) -> Response:
    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _request(request, actor, request_id, error=error)
    return RedirectResponse(f"/evidence/{request_id}", 303)


async def _request(
    request: Request,
    actor: Actor,
    request_id: str,
    *,
    error: HubError | None = None,
    fresh: str | None = None,
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()

    def work(conn: Connection) -> dict[str, Any]:
        whole = queries.whole(conn, request_id, now)
        return {
            "whole": whole,
            "copies": redaction.listed(conn, request_id),
            "copy_start": whole.summary.starts_at.astimezone(zone_of(request)).strftime("%Y-%m-%dT%H:%M:%S"),
            "keeping": retention.keeping(conn, request_id, setting_of(request)),
            "owners": owners.owners_of(conn, [(one.device, one.camera) for one in whole.cameras]),
            "asked": whole.summary,
            "steps": queries.custody(conn, request_id).items,
            "own": requests.person_of(conn, actor) == requests.get(conn, request_id).submitter,
        }

    found = await store.read(work)
    refusals = [reason for reason in Refusal if reason is not Refusal.WITHDRAWN]
    return page(
        request, actor, "evidence/request.html", status=422 if error else 200,
        error=error, fresh=fresh, refusals=refusals, State=State, **found, **_tools(actor),
    )  # fmt: skip


async def _new(
    request: Request,
    actor: Actor,
    drafted: Draft,
    *,
    found: list[Found] | None = None,
    error: HubError | None = None,
) -> HTMLResponse:
    names, positions, layers = await store_of(request).read(_surroundings)
    start_ms = ms(drafted.interval(zone_of(request))[0]) if found else 0
    dots = [[one.camera.lon, one.camera.lat] for one in found or [] if one.camera.lat is not None]
    return page(
        request, actor, "evidence/new.html", status=422 if error else 200,
        draft=drafted, found=found, start_ms=start_ms, error=error, sites=names, at=at_ms,
        positions=positions, layers=layers, found_at=dots, **_tools(actor),
    )  # fmt: skip


def _surroundings(conn: Connection) -> tuple[dict[str, str], list[list[float]], list[dict[str, str]]]:
    """(names of sites to choose from, positions of sites to draw, layers of the map): no more than a form can hold."""
    drawn = [
        {name: str(getattr(layer, name)) for name in ("id", "name", "format", "source")}
        for layer in map_layers(conn)
    ]
    return some_sites(conn, MOST_NAMES), some_positions(conn, MOST_DOTS), drawn


def zone_of(request: Request) -> ZoneInfo:
    return ZoneInfo(request.app.state.settings.timezone)


def _tools(actor: Actor) -> dict[str, Any]:
    return {
        "may_ask": actor.role in (Role.ADMIN, Role.OPERATOR),
        "may_decide": actor.role is Role.ADMIN,
        "may_see": actor.role in (Role.ADMIN, *VIEWERS),
    }
