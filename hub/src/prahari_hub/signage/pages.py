"""The wall of displays, one display, and the two steps of an override: compose, look at the sign's own drawing, confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from prahari_wire.base import Refused, validate
from prahari_wire.command import TERMINAL, CommandName, CommandState
from prahari_wire.display import DisplayClass, TextContent
from sqlalchemy import Connection

from prahari_hub.errors import Conflict, HubError, Invalid, NotFound
from prahari_hub.fleet import commands, uploads
from prahari_hub.fleet.presence import Presence
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.signage import displays, overrides
from prahari_hub.signage.displays import Display
from prahari_hub.signage.overrides import Wanted
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Checked

router = APIRouter(prefix="/displays")
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
Name = Annotated[str, Path(max_length=70)]
Ulid = Annotated[str, Path(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
PREVIEW_S = 30.0
SHOWN = 500
CLASSES = (DisplayClass.PUBLIC_INFO, DisplayClass.TRAFFIC, DisplayClass.EMERGENCY)
COLOURS = {"#FFB000": "Amber", "#FFFFFF": "White", "#FF4040": "Red", "#40E060": "Green", "#40C8FF": "Blue"}
PATTERNS = (
    "ROAD CLOSED\nAHEAD",
    "ACCIDENT AHEAD\nDRIVE SLOWLY",
    "HEAVY RAIN\nDRIVE SLOWLY",
    "CLEAR THE WAY\nAMBULANCE",
    "आगे सड़क बंद है",
    "आगे दुर्घटना\nधीरे चलें",
    "भारी वर्षा\nधीरे चलें",
    "रास्ता दें\nएम्बुलेंस",
)


@dataclass(frozen=True)
class Draft:
    """What the operator composes. ``cls`` is the class as a number."""

    text: str = ""
    colour: str = "#FFB000"
    cls: int = int(DisplayClass.TRAFFIC)
    reason: str = ""
    minutes: float = 30

    def content(self) -> TextContent:
        """Invalid says which field is wrong."""
        if not self.reason.strip():
            raise Invalid(
                N_("An override needs a reason: say why the sign is taken over."), ("reason", "a reason")
            )
        if self.cls not in CLASSES:
            raise Invalid(N_("Choose one of the classes of an override."), ("cls", "4, 5 or 6"))
        text = self.text.replace("\r\n", "\n").strip()
        try:
            return validate(TextContent, {"text": text, "colour": self.colour})
        except Refused as error:
            raise Invalid(
                N_("The message is not accepted: {detail}"),
                ("text", error.detail),
                detail=Checked(error.detail),
            ) from None


def draft(
    text: Annotated[str, Form(max_length=500)] = "",
    colour: Annotated[str, Form(max_length=7)] = "#FFB000",
    cls: Annotated[int, Form(ge=0, le=7)] = int(DisplayClass.TRAFFIC),
    reason: Annotated[str, Form(max_length=500)] = "",
    minutes: Annotated[float, Form(gt=0, le=43200)] = 30,
) -> Draft:
    return Draft(text, colour, cls, reason, minutes)


Composed = Annotated[Draft, Depends(draft)]


@dataclass(frozen=True)
class Preview:
    """``state`` is drawing, drawn, refused or silent; ``frame`` the hash of the picture once it has arrived."""

    command: str
    state: str
    content: Mapping[str, Any]
    frame: str | None = None
    error: str | None = None


@router.get("")
async def wall(request: Request, actor: Reader) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()
    found = await store.read(lambda conn: displays.list_displays(conn, now, limit=SHOWN))
    return page(request, actor, "signage/wall.html", signs=found, **_tools(actor))


@router.get("/{display}")
async def display_page(request: Request, actor: Reader, display: Name) -> HTMLResponse:
    return await _display(request, actor, display, Draft())


@router.post("/{display}/preview")
async def ask_for_preview(request: Request, actor: Operator, display: Name, composed: Composed) -> Response:
    """Step one is done: the device itself draws the message, without showing it."""
    store = store_of(request)
    now = store.clock()

    def work(unit: Unit) -> str:
        sign = displays.get(unit.conn, display, now)
        args = {"peripheral": sign.peripheral, "content": composed.content().model_dump(mode="json")}
        return commands.issue(unit, actor, sign.device, CommandName.PREVIEW, args, expires_in_s=PREVIEW_S)

    try:
        command = await store.write(work)
    except Invalid as error:
        return await _display(request, actor, display, composed, error=error)
    return await _confirm(request, actor, display, command, composed)


@router.post("/{display}/edit")
async def edit(request: Request, actor: Operator, display: Name, composed: Composed) -> HTMLResponse:
    """Back to the first step with what was composed."""
    return await _display(request, actor, display, composed)


@router.get("/{display}/preview/{command}")
async def preview_state(request: Request, actor: Operator, display: Name, command: Ulid) -> HTMLResponse:
    """The part of the second step that waits for the drawing."""
    store = store_of(request)
    now = store.clock()
    sign, preview = await store.read(
        lambda conn: (displays.get(conn, display, now), _preview(conn, display, command))
    )
    return page(request, actor, "signage/preview.html", sign=sign, preview=preview, **_tools(actor))


@router.post("/{display}/override/{command}")
async def confirm(
    request: Request, actor: Operator, display: Name, command: Ulid, composed: Composed
) -> Response:
    """Step two: put into force exactly what was drawn. A message that the device refused is not sent."""
    store = store_of(request)
    now = store.clock()

    def work(unit: Unit) -> str:
        sign = displays.get(unit.conn, display, now)
        preview = _preview(unit.conn, display, command)
        if preview.state == "refused":
            raise Conflict(N_("The sign refused this message: {error}"), error=preview.error)
        wanted = Wanted(
            cls=DisplayClass(composed.cls),
            priority=2,
            content=validate(TextContent, dict(preview.content)),
            reason=composed.reason.strip(),
            expires_at=unit.now + timedelta(minutes=composed.minutes),
        )
        return overrides.create(unit, actor, (sign.device, sign.peripheral), wanted)

    try:
        await store.write(work)
    except HubError as error:
        return await _display(request, actor, display, composed, error=error)
    return RedirectResponse(f"/displays/{display}", 303)


@router.post("/{display}/cancel/{override}")
async def cancel(request: Request, actor: Operator, display: Name, override: Ulid) -> Response:
    try:
        await store_of(request).write(lambda unit: overrides.cancel(unit, actor, override))
    except Conflict as error:
        return await _display(request, actor, display, Draft(), error=error)
    return RedirectResponse(f"/displays/{display}", 303)


def _preview(conn: Connection, display: str, command: str) -> Preview:
    row = commands.get(conn, command)
    if row["name"] != CommandName.PREVIEW or row["device_id"] != display.partition(":")[0]:
        raise NotFound(N_("There is no preview {command} of {display}."), command=command, display=display)
    state, content = CommandState(row["state"]), row["args"]["content"]
    if state is CommandState.SUCCEEDED:
        sha256 = ((row["result"] or {}).get("frame") or {}).get("sha256")
        known = uploads.expected(conn, row["device_id"], sha256) if sha256 else None
        arrived = known is not None and known["stored_at"] is not None
        return Preview(command, "drawn" if arrived else "drawing", content, sha256 if arrived else None)
    if state in (CommandState.REJECTED, CommandState.FAILED):
        return Preview(command, "refused", content, error=row["error"])
    if state in TERMINAL:
        return Preview(command, "silent", content, error=row["error"])
    return Preview(command, "drawing", content)


async def _display(
    request: Request, actor: Actor, display: str, composed: Draft, *, error: HubError | None = None
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()

    def work(conn: Connection) -> tuple[Display, Any]:
        sign = displays.get(conn, display, now)
        of = (sign.device, sign.peripheral)
        return sign, overrides.list_overrides(conn, display=of, active_only=False, limit=20)

    sign, history = await store.read(work)
    return page(
        request,
        actor,
        "signage/display.html",
        status=422 if error else 200,
        sign=sign,
        in_force=[row for row in history if row["ended_at"] is None],
        ended=[row for row in history if row["ended_at"] is not None],
        draft=composed,
        error=error,
        classes=[int(cls) for cls in CLASSES],
        colours=COLOURS,
        patterns=PATTERNS,
        **_tools(actor),
    )


async def _confirm(
    request: Request, actor: Actor, display: str, command: str, composed: Draft
) -> HTMLResponse:
    store = store_of(request)
    now = store.clock()
    sign, preview = await store.read(
        lambda conn: (displays.get(conn, display, now), _preview(conn, display, command))
    )
    return page(
        request, actor, "signage/confirm.html", sign=sign, preview=preview, draft=composed, **_tools(actor)
    )


def _tools(actor: Actor) -> dict[str, Any]:
    return {"may_act": actor.role in (Role.ADMIN, Role.OPERATOR), "online": Presence.ONLINE}
