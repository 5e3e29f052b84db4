"""The incident queue and the page of one incident."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse
from prahari_wire.base import Severity
from sqlalchemy import Connection

from prahari_hub.access import users
from prahari_hub.fleet import places, topology, windows
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.language import locale_of, translate
from prahari_hub.http.parameters import Cursor
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import is_fragment, page
from prahari_hub.http.words import WORDS
from prahari_hub.incidents import actions, holds, of_place, queries
from prahari_hub.incidents.queries import Filter, Incident
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(prefix="/incidents")
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
State = Literal["open", "closed", "all"]
Choice = Annotated[str, Query(max_length=64)]
Comment = Annotated[str, Form(max_length=2000)]
PAGE = 100

HEADLINES = {
    "callbox.press": N_("Emergency call"),
    "camera.track": N_("{label} in {region}"),
    "camera.rule": N_("{label}: {rule}"),
    "camera.fault": N_("Camera fault: {fault}"),
    "display.fault": N_("Display fault: {fault}"),
    "callbox.stuck": N_("Button stuck"),
    "callbox.selftest": N_("Call box failed its self-test"),
    "agent.fault": N_("The device's {part} fails"),
    "device.offline": N_("Device offline"),
    "device.flapping": N_("Comes and goes: offline {falls} times in an hour"),
    "place.outage": N_("{place}: {silent} of {devices} devices silent"),
    "fleet.outage": N_(
        "{silent} of {devices} devices silent at once: look at the hub's network and uplink first"
    ),
    "place.fault": N_("{place}: {fault} at {faulty} of {devices} devices with cameras"),
    "device.clone": N_("Two devices under one name"),
    "device.stranger": N_("A box that was taken out of service speaks again"),
    "device.flood": N_("Floods the hub and is shut out for a while"),
    "claim.second_key": N_("Another box tried to use a claim that is taken"),
}
LABELS = {
    "person": N_("Person"),
    "motion": N_("Motion"),
    "car": N_("Car"),
    "bicycle": N_("Bicycle"),
    "motorcycle": N_("Motorcycle"),
    "bus": N_("Bus"),
    "truck": N_("Truck"),
    "dog": N_("Dog"),
    "two-wheeler": N_("Two-wheeler"),
    "animal": N_("Animal"),
    "object": N_("Object"),
    **WORDS["fault"],
}


@dataclass(frozen=True)
class View:
    """What the filters above the queue say; ``mine`` asks for the reader's own."""

    state: State
    severity: Severity | None
    mine: bool
    unacked: bool
    device: str


def view(
    state: State = "open",
    severity: Choice = "",
    mine: bool = False,
    unacked: bool = False,
    device: Choice = "",
) -> View:
    known = Severity(severity) if severity in {str(one) for one in Severity} else None
    return View(state, known, mine, unacked, device)


Wanted = Annotated[View, Depends(view)]


def headline(incident: Incident, locale: str) -> str:
    """The incident in a few words of the reader's language; the service's own words where no pattern is known."""
    pattern = HEADLINES.get(incident.kind)
    if locale == "en" or pattern is None:
        return incident.title
    parts = {
        name: translate(locale, LABELS.get(str(value), str(value))) for name, value in incident.detail.items()
    }
    try:
        return translate(locale, pattern).format(**parts)
    except KeyError:
        return incident.title


@router.get("")
async def queue(request: Request, actor: Reader, wanted: Wanted, cursor: Cursor = None) -> HTMLResponse:
    """The whole page, or the next rows for "show more"."""
    asked = Filter(
        wanted.state,
        wanted.severity,
        device=wanted.device or None,
        assignee=actor.name if wanted.mine else None,
        unacked=True if wanted.unacked else None,
    )

    def work(conn: Connection) -> tuple[Any, dict[str, str]]:
        found = queries.page(conn, asked, limit=PAGE, cursor=cursor)
        return found, _sites(conn, found.items)

    found, sites = await store_of(request).read(work)
    following = request.url.include_query_params(cursor=found.next) if found.next else None
    return page(
        request,
        actor,
        "incidents/more.html" if is_fragment(request) and cursor else "incidents/queue.html",
        items=found.items,
        next=f"{following.path}?{following.query}" if following else None,
        sites=sites,
        wanted=wanted,
        **_tools(request, actor),
    )


def _sites(conn: Connection, shown: Sequence[Incident | of_place.Child]) -> dict[str, str]:
    return places.site_names(conn, {one.site for one in shown if one.site})


@router.get("/rows")
async def rows(
    request: Request, actor: Reader, ids: Annotated[str, Query(max_length=4000)] = ""
) -> HTMLResponse:
    """Rows to patch a queue with."""

    def work(conn: Connection) -> tuple[list[Incident], dict[str, str]]:
        items = queries.many(conn, ids.split(","))
        return items, _sites(conn, items)

    items, sites = await store_of(request).read(work)
    return page(request, actor, "incidents/rows.html", items=items, sites=sites, **_tools(request, actor))


@router.get("/counts")
async def counts(request: Request, actor: Reader) -> HTMLResponse:
    """Unacknowledged ones by severity, for the header."""
    found = await store_of(request).read(queries.counts)
    return page(request, actor, "incidents/counts.html", counts=found)


@router.get("/{incident}")
async def incident_page(request: Request, incident: str, actor: Reader) -> HTMLResponse:
    def work(conn: Connection) -> dict[str, Any]:
        found = queries.get(conn, incident)
        around = _around(conn, found)
        return {
            "incident": found,
            **around,
            "log": queries.log_of(conn, incident),
            "told": queries.told(conn, incident),
            "sites": _sites(conn, [found, *around["children"].items]),
            "people": [
                user.name
                for user in users.listed(conn)
                if not user.disabled and user.role in (Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN)
            ],
        }

    found = await store_of(request).read(work)
    following = _following(incident)
    return page(
        request, actor, "incidents/incident.html", more_children=following, **found, **_tools(request, actor)
    )


def _around(conn: Connection, found: Incident) -> dict[str, Any]:
    """What an incident belongs to: the places above it, the incident that took it in, its devices, and the window it waits for."""
    above: list[tuple[str, str]] = []
    if found.device is None:
        nodes = topology.chain_of(conn, f"{found.scope_type}/{found.scope or ''}")[:-1]
        named = topology.names(conn, nodes)
        above = list(zip(topology.kinds(conn, nodes), named.values(), strict=True))
    waits = windows.get(conn, found.hold) if found.hold and found.hold != holds.MAINTENANCE else None
    return {
        "above": above,
        "footage": _footage_form(found),
        "parent": queries.get(conn, found.parent) if found.parent else None,
        "children": of_place.children(conn, found.id, limit=PAGE),
        "waits": waits,
    }


def _footage_form(found: Incident) -> str | None:
    """Where footage of it is asked for: of its camera, else of the cameras at its site."""
    if found.device and found.kind.startswith("camera."):
        place = {"cameras": f"{found.device}:{found.peripheral}"}
    elif found.site:
        place = {"site": found.site}
    else:
        return None
    known = {**place, "at": found.opened_at.isoformat(), "purpose": found.title}
    return f"/evidence/new?{urlencode(known)}"


@router.get("/{incident}/children")
async def more_children(
    request: Request, incident: str, actor: Reader, cursor: Annotated[str, Query(max_length=400)]
) -> HTMLResponse:
    """The next devices of an outage."""

    def work(conn: Connection) -> dict[str, Any]:
        found = of_place.children(conn, incident, limit=PAGE, cursor=cursor)
        return {
            "incident": queries.get(conn, incident),
            "children": found,
            "sites": _sites(conn, found.items),
        }

    found = await store_of(request).read(work)
    return page(request, actor, "incidents/children-more.html", more_children=_following(incident), **found)


def _following(incident: str) -> Callable[[str | None], str | None]:
    """From a cursor to the address of the next devices."""
    return lambda cursor: f"/incidents/{incident}/children?cursor={cursor}" if cursor else None


@router.post("/{incident}/ack")
async def acknowledge(request: Request, incident: str, actor: Operator, text: Comment = "") -> Response:
    return await _do(
        request, incident, lambda unit: actions.acknowledge(unit, actor, incident, comment=text or None)
    )


@router.post("/{incident}/resolve")
async def resolve(request: Request, incident: str, actor: Operator, text: Comment = "") -> Response:
    return await _do(
        request, incident, lambda unit: actions.resolve(unit, actor, incident, comment=text or None)
    )


@router.post("/{incident}/assign")
async def assign(
    request: Request, incident: str, actor: Operator, assignee: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    return await _do(
        request, incident, lambda unit: actions.assign(unit, actor, incident, assignee=assignee or None)
    )


@router.post("/{incident}/comment")
async def comment(request: Request, incident: str, actor: Operator, text: Comment = "") -> Response:
    return await _do(request, incident, lambda unit: actions.comment(unit, actor, incident, text=text))


async def _do(request: Request, incident: str, work: Callable[[Unit], None]) -> Response:
    """Do it and name the incident as changed, so that the page patches itself also while the live feed is down."""
    await store_of(request).write(work)
    changed = json.dumps({"prahari:incidents": {"changes": [{"id": incident}]}})
    return Response(status_code=204, headers={"HX-Trigger": changed})


def _tools(request: Request, actor: Actor) -> dict[str, Any]:
    locale = locale_of(request, actor)
    return {
        "headline": lambda incident: headline(incident, locale),
        "may_act": actor.role in (Role.ADMIN, Role.OPERATOR),
    }
