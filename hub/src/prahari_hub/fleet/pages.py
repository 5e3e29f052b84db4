"""The fleet as a table, and the page of one device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from prahari_wire.command import CommandName
from sqlalchemy import Connection

from prahari_hub.errors import Conflict, HubError, Invalid
from prahari_hub.fleet import commands, journal, owners, places, queries, registry, twins
from prahari_hub.fleet.availability import figures
from prahari_hub.fleet.availability.asked import zone_of
from prahari_hub.fleet.availability.days import day_of, next_month
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.queries import Device, Filter
from prahari_hub.fleet.stand import Stand, stand
from prahari_hub.fleet.verdict import Verdict
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.language import locale_of, translate
from prahari_hub.http.parameters import Cursor
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import is_fragment, page
from prahari_hub.http.words import WORDS
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Text

router = APIRouter(prefix="/devices")
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Choice = Annotated[str, Query(max_length=64)]
PAGE, EVENTS, COMMANDS, SNAPSHOTS = 100, 30, 15, 8
TYPES = ("camera", "callbox", "display")
SERVICES = ("registered", "active", "maintenance", "retired")
HEALTHS = ("ok", "warn", "fail", "unknown")

VERDICTS = {
    "retired": N_("Retired: it is no longer in service"),
    "never-seen": N_("It has never connected: enrol it with a claim"),
    "offline": N_("Offline: no word from it, check power and network at the site"),
    "unknown": N_("Not known: the hub has just started or lost the broker"),
    "suspect": N_("A heartbeat is missing; it may be going offline"),
    "fault": N_("{peripheral}: {fault}"),
    "check-failed": N_("{check}: {text}"),
    "check-warns": N_("{check}: {text}"),
    "twin-rejected": N_("It refused configuration {version} and runs {applied}"),
    "twin-pending": N_("Configuration {version} is on its way; it runs {applied}"),
    "commands-open": N_("Working; {count} commands open"),
    "maintenance": N_("Working; in maintenance, its faults raise no incidents"),
    "fine": N_("Working: nothing to do"),
}


@dataclass(frozen=True)
class View:
    """The filters above the table, as the address says them; what is not a known word filters nothing."""

    q: str
    presence: str
    health: str
    zone: str
    type: str
    service: str
    sort: str

    def filter(self) -> Filter:
        return Filter(
            q=self.q or None,
            presence=[Presence(self.presence)] if self.presence in set(Presence) else (),
            health_state=[self.health] if self.health in HEALTHS else (),
            zone=self.zone or None,
            type=self.type if self.type in TYPES else None,
            service=self.service if self.service in SERVICES else None,
        )


def view(
    q: Annotated[str, Query(max_length=120)] = "",
    presence: Choice = "",
    health: Choice = "",
    zone: Choice = "",
    type: Choice = "",
    service: Choice = "",
    sort: Choice = "presence",
) -> View:
    known = sort.removeprefix("-") in queries.SORTS
    return View(
        q.strip().replace("\0", ""), presence, health, zone, type, service, sort if known else "presence"
    )


Wanted = Annotated[View, Depends(view)]


def stand_of(device: Device) -> Stand:
    return stand(device.service, str(device.presence), device.health_state)


def sentence(verdict: Verdict, locale: str) -> str:
    """The verdict in the reader's language; the fleet's own words where no pattern is known."""
    args = dict(verdict.args)
    if "check" in args:
        check, state = str(args["check"]), WORDS["health"][verdict.level]
        args["check"] = translate(locale, WORDS["check"].get(check, check))
        args["text"] = args.get("text") or translate(locale, state)
    elif locale == "en":
        return verdict.text
    try:
        return translate(locale, VERDICTS[verdict.code]).format(**args)
    except KeyError:
        return verdict.text


@router.get("")
async def table(request: Request, actor: Reader, wanted: Wanted, cursor: Cursor = None) -> HTMLResponse:
    def work(conn: Connection) -> dict[str, Any]:
        asked = wanted.filter()
        found = queries.list_devices(conn, asked, sort=wanted.sort, cursor=cursor, limit=PAGE)
        return {
            "found": found,
            "counts": queries.counts(conn, asked),
            "zones": places.zone_names(conn),
        }

    context = await store_of(request).read(work)
    found = context.pop("found")
    following = request.url.include_query_params(cursor=found.next) if found.next else None
    return page(
        request,
        actor,
        "fleet/more.html" if is_fragment(request) and cursor else "fleet/table.html",
        items=found.items,
        next=f"{following.path}?{following.query}" if following else None,
        wanted=wanted,
        presences=list(Presence),
        healths=HEALTHS,
        types=TYPES,
        services=SERVICES,
        sort_link=lambda name: _sort_link(request, wanted.sort, name),
        **context,
        **_tools(request, actor),
    )


def _sort_link(request: Request, sort: str, name: str) -> str:
    url = request.url.include_query_params(sort=f"-{name}" if sort == name else name)
    return f"{url.path}?{url.remove_query_params('cursor').query}"


@router.get("/rows")
async def rows(
    request: Request, actor: Reader, ids: Annotated[str, Query(max_length=8000)] = ""
) -> HTMLResponse:
    """Rows to patch the table with."""
    asked = Filter(ids=ids.split(","), service="*")
    found = await store_of(request).read(lambda conn: queries.list_devices(conn, asked, limit=PAGE))
    return page(request, actor, "fleet/rows.html", items=found.items, **_tools(request, actor))


@router.get("/{device}")
async def device_page(request: Request, actor: Reader, device: str) -> HTMLResponse:
    return await _device(request, actor, device)


@router.get("/{device}/events")
async def more_events(request: Request, actor: Reader, device: str, before: int) -> HTMLResponse:
    found = await store_of(request).read(
        lambda conn: journal.list_events(conn, device, before=before, limit=EVENTS + 1)
    )
    return page(request, actor, "fleet/events-more.html", device_id=device, **_events(found))


@router.post("/{device}/service")
async def set_service(
    request: Request,
    actor: Technician,
    device: str,
    service: Annotated[Literal["active", "maintenance", "retired"], Form()],
) -> Response:
    await store_of(request).write(
        lambda unit: registry.change_device(unit, actor, device, {"service": service})
    )
    return RedirectResponse(f"/devices/{device}", 303)


@router.post("/{device}/twin")
async def put_twin(
    request: Request,
    actor: Technician,
    device: str,
    version: Annotated[int, Form(ge=0)],
    document: Annotated[str, Form(max_length=300_000)],
) -> Response:
    """Write the next version; a refused text comes back with the reason, so that nobody's work is lost."""
    try:
        desired = twins.parse_desired(_json(document, "document"))
        await store_of(request).write(
            lambda unit: twins.put(unit, actor, device, desired, if_version=version)
        )
    except (Invalid, Conflict) as error:
        return await _device(request, actor, device, twin_error=error, draft=document, version=version)
    return RedirectResponse(f"/devices/{device}#twin", 303)


@router.post("/{device}/commands")
async def issue_command(
    request: Request,
    actor: Operator,
    device: str,
    name: Annotated[CommandName, Form()],
    args: Annotated[str, Form(max_length=8000)] = "{}",
    minutes: Annotated[float, Form(gt=0, le=10080)] = 10,
) -> Response:
    def work(unit: Unit) -> str:
        return commands.issue_by_hand(
            unit, actor, device, name, _json(args, "args"), expires_in_s=minutes * 60
        )

    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _device(request, actor, device, command_error=error)
    return RedirectResponse(f"/devices/{device}#commands", 303)


@router.post("/{device}/commands/{command}/cancel")
async def cancel_command(request: Request, actor: Operator, device: str, command: str) -> Response:
    try:
        await store_of(request).write(lambda unit: commands.cancel(unit, actor, command))
    except Conflict as error:
        return await _device(request, actor, device, command_error=error)
    return RedirectResponse(f"/devices/{device}#commands", 303)


async def _device(
    request: Request,
    actor: Actor,
    device: str,
    *,
    twin_error: HubError | None = None,
    draft: str | None = None,
    version: int | None = None,
    command_error: HubError | None = None,
) -> HTMLResponse:
    clock, now = zone_of(request), datetime.now(UTC)
    first = day_of(now, clock).replace(day=1)

    def work(conn: Connection) -> dict[str, Any]:
        found = queries.device(conn, device)
        tracks = journal.list_events(conn, device, kinds=["camera.track", "camera.rule"], limit=60)
        return {
            "device": found,
            "owners": owners.named(conn, device),
            "commands": commands.list_commands(conn, device, limit=COMMANDS).items,
            "snapshots": _snapshots(tracks),
            "transitions": queries.transitions(conn, device, limit=10),
            "availability": figures.device_days(conn, device, first, next_month(first), zone=clock, now=now),
            **_events(journal.list_events(conn, device, limit=EVENTS + 1)),
        }

    context = await store_of(request).read(work)
    twin = context["device"].twin
    desired = json.dumps(twin.desired.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    return page(
        request,
        actor,
        "fleet/device.html",
        status=422 if twin_error or command_error else 200,
        twin=twin,
        available=figures.total_of(context["availability"].values()),
        device_id=device,
        draft=draft if draft is not None else desired,
        version=twin.version if version is None else version,
        twin_error=twin_error,
        command_error=command_error,
        command_names=[name for name in CommandName if name not in commands.ELSEWHERE],
        may_command=actor.role in (Role.ADMIN, Role.OPERATOR),
        may_configure=actor.role in (Role.ADMIN, Role.TECHNICIAN),
        **context,
        **_tools(request, actor),
    )


def _events(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    more = found[EVENTS - 1]["id"] if len(found) > EVENTS else None
    return {"events": found[:EVENTS], "events_before": more}


def _snapshots(tracks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest track events that have a picture, one a picture."""
    found: dict[str, dict[str, Any]] = {}
    for event in tracks:
        snapshot = event["body"].get("snapshot")
        if snapshot:
            found.setdefault(snapshot["sha256"], event)
    return list(found.values())[:SNAPSHOTS]


def _json(text: str, path: str) -> Any:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        where: object = path
        if isinstance(error, json.JSONDecodeError):
            where = Text(N_("line {line}, column {column}"), {"line": error.lineno, "column": error.colno})
        raise Invalid(N_("The text is not JSON: see {where}."), (path, "JSON"), where=where) from None


def _tools(request: Request, actor: Actor) -> dict[str, Any]:
    locale = locale_of(request, actor)
    return {
        "stand_of": stand_of,
        "sentence": lambda verdict: sentence(verdict, locale),
    }
