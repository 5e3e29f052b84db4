"""Cameras that are not the city's: their owners' terms as the twins have them, written there, and how they came to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Refused, validate
from prahari_wire.camera import CameraConfig
from prahari_wire.owner import Owner
from prahari_wire.twin import Desired
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.errors import Invalid, NotFound
from prahari_hub.fleet import twins
from prahari_hub.fleet.tables import twins as twins_table
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_

Camera = tuple[str, str]
"""Device and peripheral."""
IN_CLAUSE = 400
MOST_VERSIONS = 500


@dataclass(frozen=True)
class Version:
    """The terms from one version of the twin on; ``owner`` None: the camera was the city's."""

    version: int
    at: datetime
    by: str
    owner: Owner | None


def owner_in(document: Mapping[str, Any] | None, camera: str) -> Owner | None:
    """The terms of one camera in a desired document as it is kept."""
    found = (document or {}).get("peripherals", {}).get(camera, {}).get("owner")
    if found is None:
        return None
    try:
        return validate(Owner, found)
    except Refused:
        return None  # of a version of the contract that this hub does not know; the box judges by itself


def owners_of(conn: Connection, cameras: Collection[Camera]) -> dict[Camera, Owner]:
    """Of those of many cameras that are not the city's."""
    devices = sorted({device for device, _ in cameras})
    found: dict[Camera, Owner] = {}
    for at in range(0, len(devices), IN_CLAUSE):
        documents = twins.documents(conn, devices[at : at + IN_CLAUSE])
        for device, camera in cameras:
            owner = owner_in(documents.get(device), camera)
            if owner is not None:
                found[device, camera] = owner
    return found


def config_of(twin: twins.Twin, camera: str) -> CameraConfig:
    """NotFound where the twin names no such camera."""
    config = twin.desired.peripherals.get(camera)
    if not isinstance(config, CameraConfig):
        raise NotFound(N_("the twin of {device} names no camera {camera}"), device=twin.device, camera=camera)
    return config


def write(
    unit: Unit, actor: Actor, camera: Camera, owner: Owner | None, *, if_version: int, reason: str
) -> None:
    """Write terms as the next version of the device's twin, None where the camera is the city's from now on.

    Invalid without a reason; Conflict where somebody else wrote the twin meanwhile.
    """
    device, name = camera
    if not reason.strip():
        raise Invalid(
            N_("Say why the terms change: what the owner has signed, or who asked."), ("reason", "why")
        )
    twin = twins.get(unit.conn, device)
    before = config_of(twin, name)
    peripherals = dict(twin.desired.peripherals) | {name: before.model_copy(update={"owner": owner})}
    desired = twin.desired.model_copy(update={"peripherals": peripherals})
    written = twins.put(unit, actor, device, _checked(desired), if_version=if_version)
    said = owner.model_dump(mode="json", exclude={"contact"}) if owner else None
    record(
        unit, actor, "camera.terms", f"device:{device}", reason=reason.strip()[:500],
        detail={"camera": name, "version": written.version, "terms": said},
    )  # fmt: skip


def _checked(desired: Desired) -> Desired:
    return twins.parse_desired(desired.model_dump(mode="json", by_alias=True))


def withdraw(unit: Unit, actor: Actor, camera: Camera, *, if_version: int, reason: str) -> None:
    """The owner takes the consent back: from then on the camera is off, and the box deletes what nobody holds."""
    device, name = camera
    owner = config_of(twins.get(unit.conn, device), name).owner
    if owner is None:
        raise Invalid(
            N_("The camera is the city's: there is no consent to withdraw."), ("camera", "of an owner")
        )
    gone = owner.model_copy(update={"withdrawn_at": unit.now})
    write(unit, actor, camera, gone, if_version=if_version, reason=reason)


def history(conn: Connection, camera: Camera) -> list[Version]:
    """Every change of the terms, newest first."""
    device, name = camera
    found: list[Version] = []
    for row in reversed(twins.history(conn, device, limit=MOST_VERSIONS)):
        owner = owner_in(row["document"], name)
        if owner != (found[-1].owner if found else None):
            found.append(Version(row["version"], row["at"], row["by"], owner))
    return found[::-1]


def named(conn: Connection, device: str) -> dict[str, Owner]:
    """The owners of a device's cameras, by camera."""
    document = conn.scalar(sa.select(twins_table.c.document).where(twins_table.c.device_id == device))
    cameras = (document or {}).get("peripherals", {})
    found = {camera: owner_in(document, camera) for camera in cameras}
    return {camera: owner for camera, owner in found.items() if owner is not None}
