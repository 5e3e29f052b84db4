"""Put many simulated devices into service at once, in the hub's own home, before the hub starts.

The certificates are real ones of the hub's own authority and stand in its store; only the way there is short: no claim and no EST.
All devices of one swarm share one key, so that 15,000 certificates are made in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_hub.fleet.tables import devices, journals, peripherals, sites, zones
from prahari_hub.identity.admission import Standing
from prahari_hub.identity.ca import Authority, open_authority, pem, serial_text, spki_sha256
from prahari_hub.identity.tables import certificates
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate

from bench.swarm import payloads

ROWS = 5000
DEVICES_A_SITE = 10
SITES_A_ZONE = 100
SOUTH, WEST, NORTH, EAST = 15.7, 73.0, 22.0, 80.5
"""About the state of Maharashtra."""


@dataclass(frozen=True)
class Identity:
    """A device and the file that holds its key and its certificate with the chain."""

    device: str
    index: int
    pem: Path
    callbox: bool = True


def name_of(index: int) -> str:
    return f"swarm-{index:06d}"


def issue(
    settings: Settings, count: int, *, first: int = 0, folder: Path | None = None, callbox: bool = True
) -> list[Identity]:
    """Register ``count`` devices and certify each; give what a swarm needs. Call it before the hub starts."""
    store = open_store(settings)
    try:
        register(store, range(first, first + count))
        return _certify(
            store, settings, [name_of(i) for i in range(first, first + count)], folder, first, callbox
        )
    finally:
        store.close()


def issue_named(
    settings: Settings, names: Sequence[str], *, folder: Path | None = None, callbox: bool = True
) -> list[Identity]:
    """The same for devices with names of their own."""
    store = open_store(settings)
    try:
        with store.engine.begin() as conn:
            known = set(conn.scalars(sa.select(devices.c.id)))
        store.write_sync(
            lambda unit: _insert(
                unit,
                devices,
                ({"id": name, "created_at": unit.now} for name in names if name not in known),
            )
        )
        return _certify(store, settings, names, folder, 0, callbox)
    finally:
        store.close()


def open_store(settings: Settings) -> Store:
    store = Store.open(settings.store_url)
    migrate(store.engine)
    return store


def register(store: Store, numbers: Sequence[int], *, born_epoch: int | None = None) -> None:
    """Insert zones, sites and devices in bulk.

    With ``born_epoch`` the rows are as after each device's birth of boot ``payloads.boot_of(index, born_epoch)``, connection 1: a
    hub that is started on them takes up a running state, and heartbeats of that session go on.
    """
    store.write_sync(lambda unit: _register(unit, numbers, born_epoch))


def _register(unit: Unit, numbers: Sequence[int], born_epoch: int | None) -> None:
    places = sorted({number // DEVICES_A_SITE for number in numbers})
    have = set(unit.conn.scalars(sa.select(sites.c.id)))
    have_zones = set(unit.conn.scalars(sa.select(zones.c.id)))
    areas = sorted({place // SITES_A_ZONE for place in places})
    _insert(
        unit,
        zones,
        (
            {"id": f"zone-{a:03d}", "name": f"District {a}"}
            for a in areas
            if f"zone-{a:03d}" not in have_zones
        ),
    )
    _insert(unit, sites, (_site(place) for place in places if f"site-{place:05d}" not in have))
    known = set(unit.conn.scalars(sa.select(devices.c.id)))
    fresh = [number for number in numbers if name_of(number) not in known]
    _insert(unit, devices, (_device(number, unit.now, born_epoch) for number in fresh))
    if born_epoch is not None:
        _insert(unit, peripherals, (row for number in fresh for row in _peripherals(number, unit.now)))
        _insert(unit, journals, (_journal(number, born_epoch) for number in fresh))


def _site(place: int) -> dict[str, Any]:
    across, down = place % 211, place // 211 % 199
    return {
        "id": f"site-{place:05d}",
        "name": f"Junction {place}",
        "zone_id": f"zone-{place // SITES_A_ZONE:03d}",
        "lat": SOUTH + (NORTH - SOUTH) * down / 199,
        "lon": WEST + (EAST - WEST) * across / 211,
    }


def _device(number: int, now: datetime, born_epoch: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": name_of(number),
        "name": f"Simulated {number}",
        "site_id": f"site-{number // DEVICES_A_SITE:05d}",
        "created_at": now,
        "service": "registered",
    }
    if born_epoch is not None:
        body = payloads.birth_body(journal_of(number, born_epoch), 1, None, callbox=has_callbox(number))
        row |= {
            "service": "active",
            "born_at": now,
            "last_seen": now,
            "presence": "online",
            "presence_since": now,
            "boot": payloads.boot_of(number, born_epoch),
            "conn": 1,
            "clock": "synced",
            "clock_offset_ms": 0.0,
            "birth": json.loads(body),
        }
    return row


def has_callbox(number: int) -> bool:
    """Of the state's devices one in twenty serves a call box beside its camera."""
    return number % 20 == 0


def journal_of(number: int, epoch: int) -> str:
    return f"{epoch & 0xFFFFFFFF:08x}-0001-4000-8000-{number:012x}"


def _peripherals(number: int, now: datetime) -> Iterator[dict[str, Any]]:
    served = [payloads.CAMERA, payloads.CALLBOX] if has_callbox(number) else [payloads.CAMERA]
    for name, kind in served:
        yield {"device_id": name_of(number), "id": name, "type": kind, "faults": [], "updated_at": now}


def _journal(number: int, epoch: int) -> dict[str, Any]:
    return {"device_id": name_of(number), "journal": journal_of(number, epoch), "upto": 0, "beyond": []}


def _insert(unit: Unit, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    put = _copy if unit.conn.dialect.name == "postgresql" else _execute
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == ROWS:
            put(unit, table, part)
            part = []
    if part:
        put(unit, table, part)


def _execute(unit: Unit, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    unit.conn.execute(table.insert(), rows)


def _copy(unit: Unit, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """The same by COPY, which PostgreSQL takes in much sooner; every row names the same columns, none has a default made here."""
    dialect, names = unit.conn.dialect, list(rows[0])
    binds = [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    values = [(name, bind or _as_is) for name, bind in zip(names, binds, strict=True)]
    connection: Any = unit.conn.connection.driver_connection
    with connection.cursor().copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([bind(row[name]) for name, bind in values])


def _as_is(value: Any) -> Any:
    return value


def _certify(
    store: Store, settings: Settings, names: Sequence[str], folder: Path | None, first: int, callbox: bool
) -> list[Identity]:
    authority = open_authority(settings.home, city=settings.city, now=store.clock())
    folder = folder or settings.home.parent / "swarm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found = [
        Identity(name, first + number, folder / f"{name}.pem", callbox) for number, name in enumerate(names)
    ]
    store.write_sync(
        lambda unit: _insert(
            unit, certificates, (_certified(unit.now, authority, item, key, key_pem) for item in found)
        )
    )
    return found


def _certified(
    now: datetime, authority: Authority, item: Identity, key: ec.EllipticCurvePrivateKey, key_pem: bytes
) -> dict[str, Any]:
    """Make one device's file; the row of its certificate."""
    made = authority.device_certificate(item.device, key.public_key(), now=now)
    item.pem.touch(mode=0o600)
    item.pem.write_bytes(key_pem + pem([made, *authority.issuing[:1]]))
    return {
        "serial": serial_text(made),
        "device_id": item.device,
        "pubkey_sha256": spki_sha256(key.public_key()),
        "state": Standing.CURRENT,
        "not_before": made.not_valid_before_utc,
        "not_after": made.not_valid_after_utc,
        "issued_at": now,
        "pem": pem([made]).decode(),
    }
