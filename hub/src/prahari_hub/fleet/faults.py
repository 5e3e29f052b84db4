"""Faults of peripherals at once from their events; the next heartbeat confirms them."""

from __future__ import annotations

import sqlalchemy as sa
from prahari_wire.camera import CameraFault
from prahari_wire.display import DisplayFault

from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import peripherals
from prahari_hub.store import Unit

_HERE = (peripherals.c.device_id == sa.bindparam("b_device")) & (peripherals.c.id == sa.bindparam("b_id"))
_PRESENT = sa.select(peripherals.c.faults).where(_HERE)
_NOTE = peripherals.update().where(_HERE)


def noted(unit: Unit, fact: Fact) -> None:
    """Add or take away one fault of a peripheral; a late event says nothing about the present."""
    body = fact.body
    assert isinstance(body, CameraFault | DisplayFault)
    if fact.late or fact.peripheral is None:
        return
    here = {"b_device": fact.device, "b_id": fact.peripheral}
    present = unit.conn.scalar(_PRESENT, here)
    if present is None:
        return
    faults = sorted({*present} - {str(body.fault)} | ({str(body.fault)} if body.active else set()))
    state = "fail" if faults else "ok"
    now = {"faults": faults, "state": state, "note": body.detail, "updated_at": unit.now}
    unit.conn.execute(_NOTE, here | now)
    unit.tell("devices", id=fact.device, peripheral=fact.peripheral, faults=faults)
