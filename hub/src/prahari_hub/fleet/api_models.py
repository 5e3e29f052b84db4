"""What the fleet's routes take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from prahari_wire.base import DeviceId
from prahari_wire.twin import Desired
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints

from prahari_hub.fleet.blobs import Blobs
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.registry import MAX_NAME, SLUG
from prahari_hub.fleet.wire_body import strictly
from prahari_hub.http.paging import checked_text

Clean = AfterValidator(checked_text)
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strip_whitespace=True), Clean]
Slug = Annotated[str, StringConstraints(pattern=SLUG)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True), Clean]
DevicePath = Annotated[DeviceId, Path(description="the device's id")]
SlugPath = Annotated[str, Path(pattern=SLUG)]
UlidPath = Annotated[str, Path(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
ShaPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
HealthState = Literal["ok", "warn", "fail", "unknown"]
PeripheralType = Literal["camera", "callbox", "display"]
Service = Literal["registered", "active", "maintenance", "retired"]
Search = Annotated[str | None, Query(max_length=100), Clean]
DesiredBody = Annotated[Desired, PlainValidator(strictly(Desired), json_schema_input_type=Desired)]


def blobs_of(request: Request) -> Blobs:
    blobs: Blobs = request.app.state.blobs
    return blobs


class In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ZoneIn(In):
    id: Slug
    name: Name
    parent: Slug | None = None


class ZoneChange(In):
    name: Name
    parent: Slug | None = None


class ZoneOut(Out):
    id: str
    name: str
    parent: str | None = Field(validation_alias="parent_id")


class ZoneList(BaseModel):
    items: list[ZoneOut]
    next: str | None


class SiteChange(In):
    """Position in degrees, WGS 84."""

    name: Name
    zone: Slug | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class SiteIn(SiteChange):
    id: Slug


class SiteOut(Out):
    id: str
    name: str
    zone: str | None = Field(validation_alias="zone_id")
    lat: float
    lon: float


class SiteList(BaseModel):
    items: list[SiteOut]
    next: str | None


class VerdictOut(Out):
    """The one line on a device. ``code`` and ``args`` let a client say it in its own words."""

    level: HealthState
    code: str
    text: str
    args: dict[str, Any]


class PeripheralOut(Out):
    id: str
    type: str
    name: str | None
    state: str
    faults: list[str]
    note: str | None
    updated_at: datetime


class DeviceOut(Out):
    id: str
    name: str | None
    service: Service
    vendor: str | None
    model: str | None
    site: SiteOut | None
    presence: Presence
    presence_since: datetime | None
    last_seen: datetime | None
    health_state: HealthState
    twin_version: int
    applied_version: int | None
    verdict: VerdictOut
    peripherals: list[PeripheralOut]


class DeviceList(BaseModel):
    items: list[DeviceOut]
    next: str | None


class DeviceDetail(DeviceOut):
    """``birth`` and ``health`` are what the device last said; ``clock_offset_ms`` is how far its clock is ahead.

    ``refused`` counts by reason the messages that were not accepted; ``quarantine`` are the newest of them.
    """

    created_at: datetime
    born_at: datetime | None
    boot: str | None
    conn: int | None
    clock: str | None
    clock_offset_ms: float | None
    heartbeat_s: int | None
    birth: dict[str, Any] | None
    health: dict[str, Any] | None
    open_commands: int
    refused: dict[str, int]
    quarantine: list[dict[str, Any]]


class DeviceIn(In):
    id: DeviceId
    name: Name | None = None
    site: Slug | None = None
    vendor: Name | None = None
    model: Name | None = None


class DeviceChange(In):
    """What is left out stays as it is."""

    name: Name | None = None
    site: Slug | None = None
    vendor: Name | None = None
    model: Name | None = None
    service: Service | None = None


class TwinOut(Out):
    """``document`` is what the hub wants; ``applied_version`` what the device runs. Version 0 is the empty document."""

    device: str
    version: int
    document: Desired = Field(validation_alias="desired")
    updated_at: datetime | None
    updated_by: str | None
    reported_version: int | None
    applied_version: int | None
    outcome: str | None
    errors: list[dict[str, str]]
    reported_at: datetime | None
    in_sync: bool


class TwinVersion(Out):
    version: int
    document: dict[str, Any]
    at: datetime
    by: str


class TwinHistory(BaseModel):
    items: list[TwinVersion]
    next: str | None = None


class CommandIn(In):
    """``args`` are those of the named command; it ends ``expires_in_s`` from now if the device has not accepted it."""

    name: Literal["callbox.lamp", "display.preview", "camera.snapshot", "camera.learn_view", "agent.restart"]
    args: dict[str, Any] = {}
    expires_in_s: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] = 60
    reason: Reason | None = None


class CommandOut(Out):
    id: str
    device: str = Field(validation_alias="device_id")
    name: str
    args: dict[str, Any]
    state: str
    state_at: datetime
    issued_at: datetime
    issued_by: str
    expires_at: datetime
    sent: int
    result: dict[str, Any] | None
    error: str | None


class CommandList(BaseModel):
    items: list[CommandOut]
    next: str | None


class EventOut(Out):
    """``at`` is the device's time and ``clock`` how good it is, ``received_at`` the hub's."""

    id: str = Field(validation_alias="ulid")
    kind: str
    peripheral: str | None
    at: datetime
    received_at: datetime
    clock: str
    late: bool
    body: dict[str, Any]


class EventList(BaseModel):
    items: list[EventOut]
    next: str | None


class HealthSeries(Out):
    """One value a bucket of ``step_s`` seconds from each of ``times``; null where the device said nothing."""

    step_s: int
    times: list[datetime]
    checks: dict[str, dict[str, list[float | None]]]


class TransitionOut(Out):
    kind: str
    before: str
    after: str
    at: datetime
    detail: str | None


class TransitionList(BaseModel):
    items: list[TransitionOut]
    next: str | None = None


class StoredOut(BaseModel):
    sha256: str
    size: int
