"""What requests for figures say: a month, a part of the fleet, the city's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query, Request

from prahari_hub.errors import Invalid
from prahari_hub.fleet.availability.days import day_of
from prahari_hub.texts import N_

MonthText = Annotated[
    str | None, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="as 2026-03; this one if left out")
]


def zone_of(request: Request) -> ZoneInfo:
    return ZoneInfo(request.app.state.settings.timezone)


def today(request: Request) -> date:
    return day_of(datetime.now(UTC), zone_of(request))


def month_of(request: Request, text: str | None) -> date:
    """The month's first day. Invalid if the text names none."""
    if text is None:
        return today(request).replace(day=1)
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise Invalid(N_("a month is written as 2026-03"), ("query.month", "year and month")) from None
