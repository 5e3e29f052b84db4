"""Which peripherals a device serves: those of its birth, and those of the document that it has applied since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.tables import peripherals
from prahari_hub.store import Unit
from prahari_hub.store.many import insert_many, update_many


class Serves(NamedTuple):
    """{peripheral: type} of a device, and the names of those that have one."""

    types: Mapping[str, str]
    names: Mapping[str, str | None]


def serve(unit: Unit, device: str, serves: Serves) -> None:
    """Make the device's peripherals those of ``serves``; what is known of those that stay is kept."""
    serve_all(unit, {device: serves})


def serve_all(unit: Unit, wanted: Mapping[str, Serves]) -> None:
    """The same for many devices; only what differs from what is stored is written."""
    known = _stored(unit.conn, list(wanted))
    new, changed = [], []
    for device, serves in wanted.items():
        found = known.get(device, {})
        for peripheral, kind in serves.types.items():
            now = kind, serves.names.get(peripheral)
            row = {"device_id": device, "id": peripheral, "type": now[0], "name": now[1]}
            if peripheral not in found:
                new.append(row | {"faults": [], "updated_at": unit.now})
            elif found[peripheral] != now:
                changed.append(row)
        if gone := found.keys() - serves.types.keys():
            mine = (peripherals.c.device_id == device) & peripherals.c.id.in_(sorted(gone))
            unit.conn.execute(peripherals.delete().where(mine))
    insert_many(unit.conn, peripherals, new)
    update_many(unit.conn, peripherals, changed, keys=("device_id", "id"))


def of_document(document: Mapping[str, Any]) -> Serves:
    """What a desired document configures."""
    configs: Mapping[str, Mapping[str, Any]] = document.get("peripherals", {})
    types = {peripheral: str(config["type"]) for peripheral, config in configs.items()}
    return Serves(types, {peripheral: config.get("name") for peripheral, config in configs.items()})


_STORED = sa.select(peripherals.c.device_id, peripherals.c.id, peripherals.c.type, peripherals.c.name).where(
    peripherals.c.device_id.in_(sa.bindparam("ids", expanding=True))
)


def _stored(conn: Connection, ids: Sequence[str]) -> dict[str, dict[str, tuple[str, str | None]]]:
    """{device: {peripheral: (type, name)}}."""
    found: dict[str, dict[str, tuple[str, str | None]]] = {}
    for device, peripheral, kind, name in conn.execute(_STORED, {"ids": ids}):
        found.setdefault(device, {})[peripheral] = kind, name
    return found
