"""The call box's lamp: blinking by itself when pressed, steady once acknowledged, off when resolved."""

from __future__ import annotations

from datetime import timedelta

import structlog
from prahari_wire.callbox import Lamp
from prahari_wire.command import CommandName

from prahari_hub.errors import HubError
from prahari_hub.fleet import commands
from prahari_hub.http.actor import system
from prahari_hub.store import Unit

LIFE = timedelta(hours=1)
REMEMBERED = timedelta(days=1)
"""A lamp is set again on each birth of its device, until the incident has been closed for so long."""
log = structlog.get_logger(__name__)


def light(unit: Unit, device: str, peripheral: str | None, *, incident: str, state: Lamp) -> None:
    """Queue ``callbox.lamp``. An incident never fails because its lamp cannot be reached."""
    if peripheral is None:
        return
    args = {"peripheral": peripheral, "incident": incident, "state": str(state)}
    try:
        commands.issue(
            unit,
            system("incidents"),
            device,
            CommandName.LAMP,
            args,
            expires_in_s=LIFE.total_seconds(),
            reason=f"incident {incident}",
        )
    except HubError as error:
        log.warning("the lamp was not set", device=device, peripheral=peripheral, reason=str(error))
