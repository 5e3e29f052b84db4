"""The page of one camera's rules: drawn over its last picture, changed there, written as the next version of the device's twin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from prahari_wire.camera import CameraConfig
from prahari_wire.command import CommandName
from prahari_wire.rules import AnyRule, WrongDirection
from prahari_wire.twin import Desired
from sqlalchemy import Connection

from prahari_hub.errors import Conflict, HubError, Invalid, NotFound
from prahari_hub.fleet import commands, journal, twins
from prahari_hub.fleet.twins import Twin
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of
from prahari_hub.http.templates import page
from prahari_hub.store import Unit
from prahari_hub.texts import N_

router = APIRouter(prefix="/devices")
Reader = Annotated[Actor, Depends(require(*READERS))]
Technician = Annotated[Actor, Depends(require(Role.TECHNICIAN))]
LOOKED_AT = 60
"""Newest events of the device among which its last picture is looked for."""


@router.get("/{device}/cameras/{camera}/rules")
async def rules_page(request: Request, actor: Reader, device: str, camera: str) -> HTMLResponse:
    return await _page(request, actor, device, camera)


@router.post("/{device}/cameras/{camera}/rules")
async def write_rules(
    request: Request,
    actor: Technician,
    device: str,
    camera: str,
    version: Annotated[int, Form(ge=0)],
    rules: Annotated[str, Form(max_length=200_000)],
) -> Response:
    """Write the next version of the twin; rules that are refused come back with the reason, so that nobody's work is lost."""

    def work(unit: Unit) -> None:
        twin = twins.get(unit.conn, device)
        twins.put(unit, actor, device, _with_rules(twin, camera, _parsed(rules)), if_version=version)

    try:
        await store_of(request).write(work)
    except (Invalid, Conflict) as error:
        return await _page(request, actor, device, camera, problem=error, draft=rules, version=version)
    return RedirectResponse(f"/devices/{device}/cameras/{camera}/rules", 303)


def _parsed(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(N_("The rules are not JSON."), ("rules", "JSON")) from None
    if not isinstance(found, list):
        raise Invalid(N_("The rules are a list."), ("rules", "a list"))
    return found


def _with_rules(twin: Twin, camera: str, rules: list[Any]) -> Desired:
    """The device's document with these rules for the camera, checked as a whole."""
    _camera_of(twin, camera)
    document = twin.desired.model_dump(mode="json", by_alias=True)
    document["peripherals"][camera]["rules"] = rules
    return twins.parse_desired(document)


def _camera_of(twin: Twin, camera: str) -> CameraConfig:
    config = twin.desired.peripherals.get(camera)
    if not isinstance(config, CameraConfig):
        raise NotFound(N_("the twin of {device} names no camera {camera}"), device=twin.device, camera=camera)
    return config


async def _page(
    request: Request,
    actor: Actor,
    device: str,
    camera: str,
    *,
    problem: HubError | None = None,
    draft: str | None = None,
    version: int | None = None,
) -> HTMLResponse:
    def work(conn: Connection) -> tuple[Twin, str | None]:
        return twins.get(conn, device), _last_picture(conn, device, camera)

    twin, picture = await store_of(request).read(work)
    config = _camera_of(twin, camera)
    rules = [rule.model_dump(mode="json") for rule in config.rules]
    return page(
        request,
        actor,
        "fleet/rules.html",
        status=422 if problem else 200,
        device_id=device,
        camera=camera,
        config=config,
        shapes=[shape_of(rule) for rule in config.rules],
        picture=picture,
        draft=draft if draft is not None else json.dumps(rules, indent=1, ensure_ascii=False),
        version=twin.version if version is None else version,
        in_sync=twin.in_sync,
        problem=problem,
        may_configure=actor.role in (Role.ADMIN, Role.TECHNICIAN),
        may_command=actor.role in (Role.ADMIN, Role.OPERATOR),
    )


def shape_of(rule: AnyRule) -> dict[str, Any]:
    """What is drawn of a rule, in thousandths of the picture."""
    points = getattr(rule, "region", None) or getattr(rule, "line", [])
    return {
        "id": rule.id,
        "name": rule.name,
        "closed": hasattr(rule, "region"),
        "points": _points(points),
        "arrow": _points(rule.allowed) if isinstance(rule, WrongDirection) else "",
    }


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{1000 * x:.0f},{1000 * y:.0f}" for x, y in points)


def _last_picture(conn: Connection, device: str, camera: str) -> str | None:
    """The hash of the camera's newest picture: one that somebody asked for, or one of a track or a rule."""
    for command in commands.list_commands(conn, device, limit=LOOKED_AT).items:
        snapshot = (command["result"] or {}).get("snapshot")
        asked = command["name"] == CommandName.SNAPSHOT and command["args"].get("peripheral") == camera
        if asked and isinstance(snapshot, dict):
            return str(snapshot["sha256"])
    for event in journal.list_events(conn, device, kinds=["camera.track", "camera.rule"], limit=LOOKED_AT):
        snapshot = event["body"].get("snapshot")
        if event["peripheral"] == camera and snapshot:
            return str(snapshot["sha256"])
    return None
