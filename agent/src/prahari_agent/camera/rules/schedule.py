"""When a rule is in force: hours of the week by the box's local time, and daylight."""

from __future__ import annotations

from datetime import datetime

from prahari_wire.rules import Light, When


def in_force(when: When, local: datetime, *, night: bool) -> bool:
    """``local``: the box's wall clock."""
    if when.light is not Light.ANY and (when.light is Light.NIGHT) != night:
        return False
    return not when.hours or any(hours.hold(local) for hours in when.hours)
