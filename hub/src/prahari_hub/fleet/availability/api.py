"""Availability in the API: figures of a month, the worst devices, the days of one device."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import Connection

from prahari_hub.fleet.api_models import Clean, DevicePath, Slug
from prahari_hub.fleet.availability import figures
from prahari_hub.fleet.availability.asked import MonthText, month_of, zone_of
from prahari_hub.fleet.availability.calculus import Share
from prahari_hub.fleet.availability.days import next_month
from prahari_hub.fleet.availability.figures import Chosen, Figure
from prahari_hub.http.actor import Actor
from prahari_hub.http.auth import READERS, require
from prahari_hub.http.state import store_of

router = APIRouter(tags=["figures"])
Reader = Annotated[Actor, Depends(require(*READERS))]
Group = Literal["zone", "vendor", "day"]
Vendor = Annotated[
    str | None, StringConstraints(max_length=120), Clean, Query(description="empty: devices without one")
]


class Seconds(BaseModel):
    """Seconds by kind. ``availability`` is up / (up + down), null where neither was seen."""

    up_s: int
    down_s: int
    unknown_s: int
    planned_s: int
    maintenance_s: int
    availability: float | None


class FigureOut(Seconds):
    """``key`` is a zone's id, a vendor, a day or a device; empty for what has none. ``devices``: counted on a day, on average."""

    key: str
    name: str
    devices: float


class Figures(BaseModel):
    """``until`` is the last day that is counted; null while none of the month is."""

    month: date
    until: date | None
    total: Seconds
    items: list[FigureOut]


class Worst(BaseModel):
    items: list[FigureOut]


class DayOut(Seconds):
    day: date
    closed: bool = Field(description="false: it runs, and is counted up to now")


class DeviceDays(BaseModel):
    total: Seconds
    items: list[DayOut]


def seconds(share: Share) -> dict[str, int | float | None]:
    return share._asdict() | {"availability": None if share.ratio is None else round(share.ratio, 6)}


@router.get("/figures/availability")
async def availability(
    request: Request,
    actor: Reader,
    *,
    month: MonthText = None,
    group: Group = "zone",
    zone: Annotated[Slug | None, Query()] = None,
    vendor: Vendor = None,
) -> Figures:
    """The closed days of a month, by zone (each with those below it), vendor or day."""
    first = month_of(request, month)
    found = await store_of(request).read(
        lambda conn: figures.month(conn, first, group=group, chosen=Chosen(zone, vendor))
    )
    return Figures(
        month=found.month,
        until=found.until,
        total=Seconds.model_validate(seconds(found.total.share)),
        items=[_figure(row) for row in found.rows],
    )


@router.get("/figures/availability/worst")
async def worst(
    request: Request,
    actor: Reader,
    *,
    month: MonthText = None,
    zone: Annotated[Slug | None, Query()] = None,
    vendor: Vendor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Worst:
    """The devices that were down longest."""
    first, clock = month_of(request, month), zone_of(request)
    found = await store_of(request).read(
        lambda conn: figures.worst(conn, first, zone=clock, chosen=Chosen(zone, vendor), limit=limit)
    )
    return Worst(items=[_figure(row) for row in found])


@router.get("/devices/{device}/availability")
async def device_availability(
    request: Request, device: DevicePath, actor: Reader, month: MonthText = None
) -> DeviceDays:
    """Each day of a month on which the device was counted; days that are not closed yet as they stand now."""
    first, clock = month_of(request, month), zone_of(request)

    def work(conn: Connection) -> tuple[dict[date, Share], set[date]]:
        found = figures.device_days(conn, device, first, next_month(first), zone=clock, now=datetime.now(UTC))
        return found, set(figures.closed_days(conn, first))

    found, closed = await store_of(request).read(work)
    return DeviceDays(
        total=Seconds.model_validate(seconds(figures.total_of(found.values()))),
        items=[DayOut(day=day, closed=day in closed, **seconds(share)) for day, share in found.items()],
    )


def _figure(row: Figure) -> FigureOut:
    return FigureOut.model_validate(
        {"key": row.key, "name": row.name, "devices": round(row.devices, 1), **seconds(row.share)}
    )
