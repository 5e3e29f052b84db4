"""When a rule is in force: hours of the week by the box's local time, and daylight."""

from __future__ import annotations

from datetime import datetime, timedelta

from prahari_wire.rules import Day, Hours, Light, When

_DAYS = list(Day)


def in_force(when: When, local: datetime, *, night: bool) -> bool:
    """``local``: the box's wall clock."""
    if when.light is not Light.ANY and (when.light is Light.NIGHT) != night:
        return False
    return not when.hours or any(_within(hours, local) for hours in when.hours)


def _within(hours: Hours, local: datetime) -> bool:
    now = local.strftime("%H:%M")
    today, yesterday = (_DAYS[at.weekday()] in hours.days for at in (local, local - timedelta(days=1)))
    if hours.start < hours.end:
        return today and hours.start <= now < hours.end
    return (today and now >= hours.start) or (yesterday and now < hours.end)
