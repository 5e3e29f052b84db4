"""The call box's lamp: blinking by itself when pressed, steady once acknowledged, off when resolved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
import structlog
from prahari_wire import events
from prahari_wire.callbox import Lamp
from prahari_wire.command import CommandName, CommandState
from sqlalchemy import Connection

from prahari_hub.errors import HubError
from prahari_hub.fleet import commands
from prahari_hub.fleet.tables import commands as told
from prahari_hub.http.actor import system
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit

LIFE = timedelta(hours=1)
REMEMBERED = timedelta(days=1)
"""For so long after an incident was closed, its lamp is turned off at a birth of the device if that has not worked yet."""
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


def pressed(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of many devices that ever had an incident of a call box."""
    where = incidents.c.device_id.in_(ids) & (incidents.c.kind == events.PRESS)
    return set(conn.scalars(sa.select(incidents.c.device_id).where(where).distinct()))


def on_birth(unit: Unit, device: str) -> None:
    """A device is back: its call boxes' lamps are set again from what is open.

    A closed incident whose own last command has worked says nothing: somebody may have pressed during the outage.
    """
    query = (
        sa.select(incidents.c.id, incidents.c.peripheral, incidents.c.acked_at, incidents.c.resolved_at)
        .where(
            incidents.c.device_id == device,
            incidents.c.kind == events.PRESS,
            sa.or_(incidents.c.resolved_at.is_(None), incidents.c.resolved_at > unit.now - REMEMBERED),
        )
        .order_by(incidents.c.opened_at)
    )
    newest = {row.peripheral: row for row in unit.conn.execute(query)}
    for peripheral, row in newest.items():
        if row.resolved_at is not None:
            if not _was_obeyed(unit.conn, device, peripheral, row.id):
                light(unit, device, peripheral, incident=row.id, state=Lamp.OFF)
            continue
        state = Lamp.BLINKING if row.acked_at is None else Lamp.STEADY
        light(unit, device, peripheral, incident=row.id, state=state)


def _was_obeyed(conn: Connection, device: str, peripheral: str | None, incident: str) -> bool:
    """Whether the last lamp command for the incident has succeeded."""
    query = (
        sa.select(told.c.args, told.c.state)
        .where(told.c.device_id == device, told.c.name == str(CommandName.LAMP))
        .order_by(told.c.id.desc())
    )
    for args, state in conn.execute(query):
        if args["peripheral"] == peripheral and args["incident"] == incident:
            return bool(state == CommandState.SUCCEEDED)
    return False
