"""Displays and overrides in the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from prahari_wire.base import DeviceId
from prahari_wire.display import Content, DisplayClass, DisplayConfig, ImageContent, TextContent
from prahari_wire.topics import PERIPHERAL_ID
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainValidator

from prahari_hub.errors import Invalid
from prahari_hub.fleet.api_models import Clean, In, Out, Reason, UlidPath
from prahari_hub.fleet.wire_body import strictly
from prahari_hub.http import paging
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of
from prahari_hub.signage import displays, overrides
from prahari_hub.signage.overrides import DEFAULT_LEASE_S, LONGEST, Wanted
from prahari_hub.store import Unit

router = APIRouter(tags=["displays"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
DISPLAY_ID = r"^[a-z0-9][a-z0-9-]{2,31}:[a-z0-9][a-z0-9-]{0,31}$"
DisplayName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{2,31}(:[a-z0-9][a-z0-9-]{0,31})?$")]
PeripheralPath = Annotated[str, Path(pattern=PERIPHERAL_ID)]
DevicePath = Annotated[DeviceId, Path()]


def _content(value: Any) -> Content:
    if isinstance(value, dict) and value.get("type") == "image":
        return strictly(ImageContent, path="body.content")(value)
    return strictly(TextContent, path="body.content")(value)


ContentBody = Annotated[
    TextContent | ImageContent, PlainValidator(_content, json_schema_input_type=TextContent | ImageContent)
]


class OverrideIn(In):
    """It ends at ``expires_at`` or after ``minutes``: one of them must be given, within 30 days."""

    display: Annotated[str, Field(pattern=DISPLAY_ID, description="device:peripheral")]
    cls: Annotated[Literal[4, 5, 6, 7], Field(alias="class")]
    priority: Annotated[int, Field(ge=1, le=4)] = 2
    content: ContentBody
    reason: Reason
    expires_at: AwareDatetime | None = None
    minutes: Annotated[float | None, Field(gt=0, le=30 * 24 * 60, allow_inf_nan=False)] = None
    lease_s: Annotated[int, Field(ge=5, le=86400)] = DEFAULT_LEASE_S


class OverrideOut(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    id: str
    display: str
    cls: Annotated[int, Field(alias="class")]
    priority: int
    content: Content
    reason: str
    issued_by: str
    issued_at: datetime
    expires_at: datetime
    lease_s: int
    ended_at: datetime | None
    cancelled_by: str | None
    active: bool


class OverrideList(BaseModel):
    items: list[OverrideOut]
    next: str | None


class ShownOut(Out):
    """The display's own report. ``frame_sha256`` is the picture that it rendered, at /blobs once it has arrived."""

    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True, validate_by_name=True)

    source: str
    item: str | None
    cls: Annotated[int, Field(alias="class")]
    epoch: int
    text: str | None
    frame_sha256: str
    frame_stored: bool
    at: datetime


class ShouldOut(BaseModel):
    """What the rule that hub and device share says for this moment."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    source: str
    item: str | None
    cls: Annotated[int, Field(alias="class")]
    content: Content


class DisplayOut(BaseModel):
    """``agrees`` is null while nobody can tell; ``confirmed`` says that the display has the newest set of overrides."""

    id: str
    device: str
    peripheral: str
    name: str | None
    device_name: str | None
    site: str | None
    presence: str
    state: str
    faults: list[str]
    config: DisplayConfig | None
    shown: ShownOut | None
    should: ShouldOut | None
    agrees: bool | None
    epoch: int
    confirmed_epoch: int
    confirmed: bool
    outcome: str | None
    detail: str | None
    refused: dict[str, str]
    overrides: list[str]


class DisplayList(BaseModel):
    items: list[DisplayOut]
    next: str | None


def _display(found: displays.Display) -> DisplayOut:
    should = found.should
    return DisplayOut(
        id=found.id,
        device=found.device,
        peripheral=found.peripheral,
        name=found.name,
        device_name=found.device_name,
        site=found.site_id,
        presence=found.presence,
        state=found.state,
        faults=found.faults,
        config=found.config,
        shown=_shown(found.shown) if found.shown else None,
        should=(
            ShouldOut(source=str(should.source), item=should.id, cls=should.cls, content=should.content)
            if should
            else None
        ),
        agrees=found.agrees,
        epoch=found.epoch,
        confirmed_epoch=found.confirmed_epoch,
        confirmed=found.confirmed,
        outcome=found.outcome,
        detail=found.detail,
        refused=found.refused,
        overrides=[item.id for item in found.overrides],
    )


def _shown(found: displays.Reported) -> ShownOut:
    return ShownOut(
        source=found.source,
        item=found.item,
        cls=found.cls,
        epoch=found.epoch,
        text=found.text,
        frame_sha256=found.frame_sha256,
        frame_stored=found.frame_stored,
        at=found.at,
    )


def _override(row: dict[str, Any]) -> OverrideOut:
    return OverrideOut(
        id=row["id"],
        display=f"{row['device_id']}:{row['peripheral']}",
        cls=row["class"],
        priority=row["priority"],
        content=_content(row["content"]),
        reason=row["reason"],
        issued_by=row["issued_by"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        lease_s=row["lease_s"],
        ended_at=row["ended_at"],
        cancelled_by=row["cancelled_by"],
        active=row["ended_at"] is None,
    )


@router.get("/displays")
async def list_displays(
    request: Request, actor: Reader, limit: Limit = 50, cursor: Cursor = None
) -> DisplayList:
    """Every display with what it shows and what it should."""
    store = store_of(request)
    now = store.clock()
    after = None
    if cursor:
        device, peripheral = paging.decode(cursor, str, str)
        after = (device, peripheral)
    found = await store.read(lambda conn: displays.list_displays(conn, now, after=after, limit=limit + 1))
    page, more = found[:limit], len(found) > limit
    end = paging.encode(page[-1].device, page[-1].peripheral) if more else None
    return DisplayList(items=[_display(item) for item in page], next=end)


@router.get("/displays/{display}")
async def get_display(request: Request, display: DisplayName, actor: Reader) -> DisplayOut:
    """``display`` is device:peripheral, or the device's id where it serves one display."""
    store = store_of(request)
    now = store.clock()
    return _display(await store.read(lambda conn: displays.get(conn, display, now)))


@router.get("/displays/{device}/{peripheral}")
async def get_display_of(
    request: Request, device: DevicePath, peripheral: PeripheralPath, actor: Reader
) -> DisplayOut:
    store = store_of(request)
    now = store.clock()
    return _display(await store.read(lambda conn: displays.get(conn, f"{device}:{peripheral}", now)))


@router.get("/overrides")
async def list_overrides(
    request: Request,
    actor: Reader,
    *,
    display: Annotated[str | None, Query(pattern=DISPLAY_ID)] = None,
    state: Literal["active", "all"] = "active",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> OverrideList:
    """Newest first."""
    before: str | None = paging.decode(cursor, str)[0] if cursor else None
    of = overrides.split(display) if display else None
    rows = await store_of(request).read(
        lambda conn: overrides.list_overrides(
            conn, display=of, active_only=state == "active", before=before, limit=limit + 1
        )
    )
    page, more = rows[:limit], len(rows) > limit
    return OverrideList(
        items=[_override(row) for row in page], next=paging.encode(page[-1]["id"]) if more else None
    )


@router.post("/overrides", status_code=201)
async def create_override(request: Request, actor: Operator, body: OverrideIn) -> OverrideOut:
    """Take a display over at once; 422 without a reason and an end."""
    now = store_of(request).clock()
    wanted = Wanted(
        cls=DisplayClass(body.cls),
        priority=body.priority,
        content=body.content,
        reason=body.reason,
        expires_at=_end(body, now),
        lease_s=body.lease_s,
    )

    def work(unit: Unit) -> dict[str, Any]:
        made = overrides.create(unit, actor, overrides.split(body.display), wanted)
        return overrides.get(unit.conn, made)

    return _override(await store_of(request).write(work))


def _end(body: OverrideIn, now: datetime) -> datetime:
    if (body.expires_at is None) == (body.minutes is None):
        raise Invalid("an override needs an end", ("body.expires_at", "expires_at or minutes, one of them"))
    if body.expires_at is not None:
        try:
            return body.expires_at.astimezone(UTC)
        except OverflowError:
            raise Invalid("the end is out of range", ("body.expires_at", "within 30 days")) from None
    return min(now + LONGEST, now + timedelta(minutes=body.minutes or 0))


@router.get("/overrides/{override}")
async def get_override(request: Request, override: UlidPath, actor: Reader) -> OverrideOut:
    return _override(await store_of(request).read(lambda conn: overrides.get(conn, override)))


@router.delete("/overrides/{override}")
async def cancel_override(
    request: Request,
    override: UlidPath,
    actor: Operator,
    reason: Annotated[str | None, Query(max_length=500), Clean] = None,
) -> OverrideOut:
    """End it now; 409 if it has ended."""

    def work(unit: Unit) -> dict[str, Any]:
        overrides.cancel(unit, actor, override, reason=reason)
        return overrides.get(unit.conn, override)

    return _override(await store_of(request).write(work))
