"""The page of one camera's owner: the terms, how they came to be, a form to change them, and what a withdrawal does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from prahari_wire.base import Refused, validate
from prahari_wire.owner import Consent, Owner, Tells, Use, denied
from prahari_wire.rules import Day, Hours
from sqlalchemy import Connection

from prahari_hub.errors import HubError, Invalid
from prahari_hub.fleet import owners, twins
from prahari_hub.fleet.availability.asked import zone_of
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Checked

router = APIRouter(prefix="/devices/{device}/cameras/{camera}/owner")
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
Text = Annotated[str, Form(max_length=500)]
Seen = Annotated[int, Form(ge=0)]
_LINE = re.compile(r"^(?P<days>(?:[a-z]{3}\s+)*)(?P<start>\d{2}:\d{2})\s*-\s*(?P<end>\d{2}:\d{2})$")


@dataclass(frozen=True)
class Draft:
    """What is typed into the form."""

    name: str = ""
    contact: str = ""
    consent: str = str(Consent.EVENTS)
    until: str = ""
    hours: str = ""
    tells: tuple[str, ...] = tuple(str(one) for one in Tells)
    classes: str = ""
    pictures: bool = True
    live: bool = False
    reason: str = ""

    def owner(self, zone: ZoneInfo) -> Owner:
        """Invalid names what is wrong. The consent holds to the end of the day ``until``, by the city's clocks."""
        if not self.name.strip() or not self.contact.strip():
            raise Invalid(
                N_("Name the owner, and how to reach the owner."), ("name", "the owner's name and contact")
            )
        fields = {
            "name": self.name.strip(),
            "contact": self.contact.strip(),
            "consent": self.consent,
            "until": _end_of(self.until, zone),
            "hours": [hours_of(line) for line in self.hours.splitlines() if line.strip()],
            "tells": list(self.tells),
            "classes": [one.strip() for one in self.classes.split(",") if one.strip()],
            "pictures": self.pictures,
            "live": self.live,
        }
        try:
            return validate(Owner, fields)
        except Refused as error:
            raise Invalid(
                N_("The terms are not accepted: {detail}"),
                ("terms", error.detail),
                detail=Checked(error.detail),
            ) from None


def _end_of(text: str, zone: ZoneInfo) -> str | None:
    if not text.strip():
        return None
    try:
        day = datetime.fromisoformat(text.strip()).date() + timedelta(days=1)
    except (ValueError, OverflowError):
        raise Invalid(N_("Give the last day of the consent as a date."), ("until", "a date")) from None
    return datetime.combine(day, time(), zone).astimezone(UTC).isoformat()


def hours_of(line: str) -> dict[str, object]:
    """``mon tue 09:00-21:00``, or ``09:00-21:00`` for every day; Invalid for anything else."""
    found = _LINE.match(line.strip().lower().replace(",", " "))
    days = found["days"].split() if found else []
    if found is None or not set(days) <= set(Day):
        raise Invalid(
            N_("Write the owner's hours a line each, such as: mon tue wed 09:00-21:00."), ("hours", "mon 09:00-21:00")
        )  # fmt: skip
    return {"start": found["start"], "end": found["end"], "days": days or [str(day) for day in Day]}


def line_of(hours: Hours) -> str:
    days = "" if len(hours.days) == len(Day) else " ".join(hours.days) + " "
    return f"{days}{hours.start}-{hours.end}"


def draft_of(owner: Owner | None, zone: ZoneInfo) -> Draft:
    if owner is None:
        return Draft()
    last = owner.until and (owner.until - timedelta(seconds=1)).astimezone(zone).date().isoformat()
    return Draft(
        owner.name, owner.contact, str(owner.consent), last or "", "\n".join(map(line_of, owner.hours)),
        tuple(str(one) for one in owner.tells), ", ".join(owner.classes), owner.pictures, owner.live,
    )  # fmt: skip


def typed(
    name: Text = "",
    contact: Text = "",
    consent: Text = "",
    until: Text = "",
    hours: Text = "",
    tells: Annotated[list[str], Form()] = [],  # noqa: B006
    classes: Text = "",
    pictures: Annotated[bool, Form()] = False,
    live: Annotated[bool, Form()] = False,
    reason: Text = "",
) -> Draft:
    return Draft(name, contact, consent, until, hours, tuple(tells), classes, pictures, live, reason)


@router.get("")
async def owner_page(request: Request, actor: Reader, device: str, camera: str) -> HTMLResponse:
    return await _page(request, actor, (device, camera))


@router.post("")
async def write_terms(
    request: Request,
    actor: Technician,
    device: str,
    camera: str,
    version: Seen,
    draft: Annotated[Draft, Depends(typed)],
) -> Response:
    """Write them as the next version of the twin; what is refused comes back with the reason."""

    def work(unit: Unit) -> None:
        owner = draft.owner(zone_of(request))
        owners.write(unit, actor, (device, camera), owner, if_version=version, reason=draft.reason)

    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _page(request, actor, (device, camera), problem=error, draft=draft, version=version)
    return _back(device, camera)


@router.post("/withdraw")
async def withdraw(
    request: Request, actor: Technician, device: str, camera: str, version: Seen, reason: Text = ""
) -> Response:
    return await _do(
        request, actor, (device, camera),
        lambda unit: owners.withdraw(unit, actor, (device, camera), if_version=version, reason=reason),
    )  # fmt: skip


@router.post("/none")
async def no_owner(
    request: Request, actor: Technician, device: str, camera: str, version: Seen, reason: Text = ""
) -> Response:
    """The camera is the city's."""
    return await _do(
        request, actor, (device, camera),
        lambda unit: owners.write(unit, actor, (device, camera), None, if_version=version, reason=reason),
    )  # fmt: skip


async def _do(
    request: Request, actor: Actor, camera: owners.Camera, work: Callable[[Unit], None]
) -> Response:
    try:
        await store_of(request).write(work)
    except HubError as error:
        return await _page(request, actor, camera, problem=error)
    return _back(*camera)


def _back(device: str, camera: str) -> Response:
    return RedirectResponse(f"/devices/{device}/cameras/{camera}/owner", 303)


async def _page(
    request: Request,
    actor: Actor,
    camera: owners.Camera,
    *,
    problem: HubError | None = None,
    draft: Draft | None = None,
    version: int | None = None,
) -> HTMLResponse:
    def work(conn: Connection) -> tuple[twins.Twin, list[owners.Version]]:
        return twins.get(conn, camera[0]), owners.history(conn, camera)

    store = store_of(request)
    twin, versions = await store.read(work)
    config = owners.config_of(twin, camera[1])
    return page(
        request, actor, "fleet/owner.html", status=422 if problem else 200,
        device_id=camera[0], camera=camera[1], config=config, owner=config.owner, versions=versions,
        draft=draft or draft_of(config.owner, zone_of(request)), version=twin.version if version is None else version,
        in_sync=twin.in_sync, problem=problem, line_of=line_of, consents=list(Consent), all_tells=list(Tells),
        no_footage=denied(config.owner, Use.FOOTAGE, store.clock()),
        may_configure=actor.role in (Role.ADMIN, Role.TECHNICIAN),
    )  # fmt: skip
