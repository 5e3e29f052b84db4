"""Days of the city: dates of its time zone as spans of UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from prahari_hub.fleet.availability.calculus import Span


def span_of(day: date, zone: ZoneInfo) -> Span:
    """From midnight to midnight; 23 or 25 hours where clocks are changed."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def day_of(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()


def month_of(day: date) -> date:
    """Its first day."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def days(first: date, until: date) -> list[date]:
    """``first`` to before ``until``."""
    return [first + timedelta(days=number) for number in range((until - first).days)]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
