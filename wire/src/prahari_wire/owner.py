"""Whose camera it is, where it is not the city's, and what its owner allows: data in the twin, kept by the box whatever the hub asks.

Pure functions of the terms and the time, so that box and hub say the same of the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints

from prahari_wire.base import Message, Utc
from prahari_wire.rules import Classes, Hours

Named = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Consent(StrEnum):
    """``events``: what the camera sees is told and nothing is recorded; ``footage``: it is recorded, and sent on request."""

    EVENTS = "events"
    FOOTAGE = "footage"


class Tells(StrEnum):
    """What may be told of what the camera sees. Faults of the camera itself always are."""

    TRACKS = "tracks"
    RULES = "rules"
    COUNTS = "counts"


class Use(StrEnum):
    """What somebody wants of a camera."""

    FOOTAGE = "footage"
    PICTURE = "picture"
    LIVE = "live"


class Owner(Message):
    """The owner of a camera that is not the city's, and the terms.

    ``until``: when the consent ends; ``withdrawn_at``: that it was taken back, whatever the time. ``hours``: when the camera may be
    looked at, by the box's local time, always if there are none. ``classes``: the only ones that are told, every one if none is
    named. ``pictures``: masked ones, with events and on command. ``live``: the live view, which needs ``pictures`` too.
    """

    name: Named
    contact: Named
    consent: Consent = Consent.EVENTS
    until: Utc | None = None
    withdrawn_at: Utc | None = None
    hours: Annotated[list[Hours], Field(max_length=14)] = []
    tells: Annotated[list[Tells], Field(max_length=3)] = list(Tells)
    classes: Classes = []
    pictures: bool = True
    live: bool = False

    @property
    def bound_to_time(self) -> bool:
        """Whether only a trusted clock can tell that the camera may be looked at."""
        return self.until is not None or bool(self.hours)


class Denied(StrEnum):
    """Why the owner's terms forbid something now."""

    WITHDRAWN = "consent_withdrawn"
    ENDED = "consent_ended"
    HOURS = "outside_hours"
    EVENTS_ONLY = "events_only"
    NO_PICTURES = "no_pictures"
    NO_LIVE = "no_live"
    CLOCK = "clock"


SENTENCES: Mapping[Denied, str] = MappingProxyType(
    {
        Denied.WITHDRAWN: "the camera's owner has withdrawn the consent: ask the owner, then enter new terms",
        Denied.ENDED: "the consent of the camera's owner has ended: ask the owner to renew it, then enter the new date",
        Denied.HOURS: "by its owner's terms the camera is off at this hour: try again within the owner's hours",
        Denied.EVENTS_ONLY: "the camera's owner allows events only: ask the owner for consent to footage",
        Denied.NO_PICTURES: "the camera's owner allows no pictures: ask the owner for consent to them",
        Denied.NO_LIVE: "the camera's owner allows no live view: ask the owner for consent to it",
        Denied.CLOCK: "the owner's terms depend on the time, and the box's clock is not trusted yet: wait for its time server",
    }
)
"""What is said of it; at most 120 characters each."""


def denied_in(text: str | None) -> Denied | None:
    """The refusal that a box spoke, if it was one of these."""
    return next((denied for denied, sentence in SENTENCES.items() if text and sentence in text), None)


def off(owner: Owner | None, at: datetime, local: datetime) -> Denied | None:
    """Why the camera must not be looked at; ``local``: the box's wall clock at ``at``."""
    if owner is None:
        return None
    if (over := _over(owner, at)) is not None:
        return over
    within = not owner.hours or any(hours.hold(local) for hours in owner.hours)
    return None if within else Denied.HOURS


def denied(owner: Owner | None, use: Use, at: datetime) -> Denied | None:
    """Why ``use`` is not allowed, the hours aside: footage of allowed hours may be sent at any hour."""
    if owner is None:
        return None
    if (over := _over(owner, at)) is not None:
        return over
    if use is Use.FOOTAGE:
        return Denied.EVENTS_ONLY if owner.consent is Consent.EVENTS else None
    if not owner.pictures:
        return Denied.NO_PICTURES
    return Denied.NO_LIVE if use is Use.LIVE and not owner.live else None


def _over(owner: Owner, at: datetime) -> Denied | None:
    if owner.withdrawn_at is not None:
        return Denied.WITHDRAWN
    return Denied.ENDED if owner.until is not None and at >= owner.until else None
