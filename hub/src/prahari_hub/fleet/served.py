"""Which peripherals a device serves: those of its birth, and those of the document that it has applied since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from prahari_hub.fleet.tables import peripherals
from prahari_hub.store import Unit


def serve(unit: Unit, device: str, types: Mapping[str, str], names: Mapping[str, str | None]) -> None:
    """Make the device's peripherals those of ``types``; what is known of those that stay is kept."""
    mine = peripherals.c.device_id == device
    unit.conn.execute(peripherals.delete().where(mine, peripherals.c.id.not_in(list(types))))
    known = set(unit.conn.scalars(sa.select(peripherals.c.id).where(mine)))
    for peripheral, kind in types.items():
        values = {"type": kind, "name": names.get(peripheral)}
        if peripheral in known:
            unit.conn.execute(peripherals.update().where(mine, peripherals.c.id == peripheral).values(values))
        else:
            new = {"device_id": device, "id": peripheral, "faults": [], "updated_at": unit.now}
            unit.conn.execute(peripherals.insert().values(new | values))


def of_document(document: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str | None]]:
    """(types, names) of the peripherals that a desired document configures."""
    configs: Mapping[str, Mapping[str, Any]] = document.get("peripherals", {})
    types = {peripheral: str(config["type"]) for peripheral, config in configs.items()}
    return types, {peripheral: config.get("name") for peripheral, config in configs.items()}
