"""The one table from an event's kind to what the hub does with it, in the transaction that stores the event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from prahari_wire import events
from sqlalchemy import Connection

from prahari_hub.evidence import coverage, receiving, redaction
from prahari_hub.fleet import commands, faults, twins, uploads
from prahari_hub.fleet.facts import Fact
from prahari_hub.signage import displays, overrides
from prahari_hub.store import Unit

Handler = Callable[[Unit, Fact], None]


class BirthHook(NamedTuple):
    """What else happens at a device's birth. ``concerns`` names, in one query, those of many devices for which there is anything to do."""

    concerns: Callable[[Connection, Sequence[str]], set[str]]
    run: Callable[[Unit, str], None]


Handlers = Mapping[str, tuple[Handler, ...]]


def table(incident: Handler) -> Handlers:
    """``incident`` is ``prahari_hub.incidents.service.on_event``."""
    return {
        events.PRESS: (incident,),
        events.BUTTON_STUCK: (incident,),
        events.SELF_TEST: (incident,),
        events.TRACK: (uploads.announce, incident),
        events.RULE: (uploads.announce, incident),
        events.CAMERA_FAULT: (faults.noted, incident),
        events.DISPLAY_FAULT: (faults.noted, incident),
        events.AGENT_FAULT: (incident,),
        events.SHED: (incident,),
        events.SET_ASIDE: (incident,),
        events.COMMAND_STATE: (uploads.announce, commands.reported),
        events.TWIN_REPORT: (twins.reported,),
        events.OVERRIDE_STATE: (overrides.reported,),
        events.SHOWN: (uploads.announce, displays.shown),
        events.COVERAGE: (coverage.noted,),
        events.SENT: (receiving.ended,),
        events.REDACTED: (uploads.announce, redaction.told),
    }


WRITE_PERIPHERALS = frozenset({events.CAMERA_FAULT, events.DISPLAY_FAULT, events.TWIN_REPORT})
"""Kinds whose handlers change what the store says of peripherals; the next heartbeat has to be written over it."""

BIRTH_HOOKS: tuple[BirthHook, ...] = (BirthHook(overrides.showing, overrides.on_birth),)
"""What else goes to a device at its birth; the composition root adds the lamps of open incidents."""
