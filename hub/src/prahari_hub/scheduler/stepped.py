"""Times that a clock which ran ahead has written, and for which something waits: put right as soon as the clock is.

``SOONER`` is harmless whichever time is the wrong one: it looks for waits that are longer than any can be. ``RIGHTED`` changes what people
ordered and runs only while the hub believes its clock: then nothing was written later than now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from prahari_hub.access import stepped as access
from prahari_hub.access.audit import record
from prahari_hub.evidence import stepped as evidence
from prahari_hub.fleet import stepped as fleet
from prahari_hub.http.actor import system
from prahari_hub.incidents import stepped as incidents
from prahari_hub.signage import stepped as signage
from prahari_hub.store import Unit

SLACK = timedelta(minutes=1)
"""Clocks of several processes of one hub, and those that are only slewed, differ by less."""
SOONER: Mapping[str, Callable[[Unit], int]] = {
    "twins and commands": fleet.sooner,
    "sets of overrides": signage.sooner,
    "calls": incidents.sooner,
    "transfers of footage": evidence.sooner,
    "locked accounts": access.sooner,
}
RIGHTED: Mapping[str, Callable[[Unit, datetime], int]] = {
    "commands, live views and windows": fleet.righted,
    "displays": signage.righted,
    "incidents": incidents.righted,
    "footage": evidence.righted,
    "sessions": access.righted,
}
RECORD_EVERY = timedelta(hours=1)
WHY = "a clock of the hub ran ahead and was put right, or still does on one of its machines"
log = logging.getLogger(__name__)


def mend(unit: Unit) -> dict[str, int]:
    """Do now what waits for a time that comes no more; how many of each."""
    return _told({what: work(unit) for what, work in SOONER.items()})


class Righting:
    """Puts right what was written later than now, and gives how many of each.

    The audit log keeps that it was done, once an hour: one of several machines may have a wrong clock for long.
    """

    def __init__(self) -> None:
        self._recorded: datetime | None = None

    def __call__(self, unit: Unit) -> dict[str, int]:
        later = unit.now + SLACK
        found = _told({what: work(unit, later) for what, work in RIGHTED.items()})
        if found and (self._recorded is None or abs(unit.now - self._recorded) >= RECORD_EVERY):
            self._recorded = unit.now
            record(unit, system("scheduler"), "clock.right", "hub:clock", reason=WHY, detail=found)
        return found


def _told(counts: dict[str, int]) -> dict[str, int]:
    found = {what: count for what, count in counts.items() if count}
    if found:
        said = ", ".join(f"{count} {what}" for what, count in found.items())
        log.warning("%s; put right: %s", WHY, said)
    return found
