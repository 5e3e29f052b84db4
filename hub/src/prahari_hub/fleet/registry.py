"""Zones, sites and devices: what people register and change. Every function is one part of a caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from prahari_wire.topics import is_device_id
from sqlalchemy import Connection, Table
from sqlalchemy.exc import IntegrityError

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet.tables import devices, sites, transitions, zones
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Term

SLUG = r"^[a-z0-9][a-z0-9-]{0,63}$"
SERVICES = ("registered", "active", "maintenance", "retired")
MAX_NAME = 120
MAX_DEPTH = 8


def create_zone(
    unit: Unit, actor: Actor, zone: str, name: str, *, parent: str | None = None
) -> dict[str, Any]:
    check_slug(zone)
    if parent is not None:
        _require(unit.conn, zones, parent, "zone")
    _insert(unit, zones, {"id": zone, "name": check_name(name), "parent_id": parent}, "zone")
    record(unit, actor, "zone.create", f"zone:{zone}", detail={"name": name, "parent": parent})
    return zone_of(unit.conn, zone)


def put_zone(unit: Unit, actor: Actor, zone: str, name: str, *, parent: str | None = None) -> dict[str, Any]:
    """Replace a zone's name and parent; a zone never stands below itself."""
    _require(unit.conn, zones, zone, "zone")
    above = parent
    for _ in range(MAX_DEPTH):
        if above is None:
            break
        if above == zone:
            raise Conflict(N_("zone {zone} cannot stand below itself"), zone=zone)
        _require(unit.conn, zones, above, "zone")
        above = unit.conn.scalar(sa.select(zones.c.parent_id).where(zones.c.id == above))
    else:
        raise Conflict(N_("zones nest at most {most} deep"), most=MAX_DEPTH)
    values = {"name": check_name(name), "parent_id": parent}
    unit.conn.execute(zones.update().where(zones.c.id == zone).values(values))
    record(unit, actor, "zone.change", f"zone:{zone}", detail={"name": name, "parent": parent})
    return zone_of(unit.conn, zone)


def delete_zone(unit: Unit, actor: Actor, zone: str) -> None:
    _require(unit.conn, zones, zone, "zone")
    _delete(unit, zones, zone, "zone")
    record(unit, actor, "zone.delete", f"zone:{zone}")


def zone_of(conn: Connection, zone: str) -> dict[str, Any]:
    row = conn.execute(sa.select(zones).where(zones.c.id == zone)).first()
    if row is None:
        raise NotFound(N_("there is no zone {zone}"), zone=zone)
    return dict(row._mapping)


def below(conn: Connection, zone: str) -> list[str]:
    """The zone and every zone under it."""
    found = [zone]
    layer = [zone]
    for _ in range(MAX_DEPTH):
        layer = list(conn.scalars(sa.select(zones.c.id).where(zones.c.parent_id.in_(layer))))
        if not layer:
            break
        found += layer
    return found


def create_site(
    unit: Unit, actor: Actor, site: str, name: str, *, lat: float, lon: float, zone: str | None = None
) -> dict[str, Any]:
    check_slug(site)
    values = _site_values(unit, name, lat, lon, zone)
    _insert(unit, sites, {"id": site, **values}, "site")
    record(unit, actor, "site.create", f"site:{site}", detail=values)
    return site_of(unit.conn, site)


def put_site(
    unit: Unit, actor: Actor, site: str, name: str, *, lat: float, lon: float, zone: str | None = None
) -> dict[str, Any]:
    """Replace a site's name, position and zone."""
    _require(unit.conn, sites, site, "site")
    values = _site_values(unit, name, lat, lon, zone)
    unit.conn.execute(sites.update().where(sites.c.id == site).values(values))
    record(unit, actor, "site.change", f"site:{site}", detail=values)
    unit.tell("sites", id=site)
    return site_of(unit.conn, site)


def delete_site(unit: Unit, actor: Actor, site: str) -> None:
    _require(unit.conn, sites, site, "site")
    _delete(unit, sites, site, "site")
    record(unit, actor, "site.delete", f"site:{site}")


def site_of(conn: Connection, site: str) -> dict[str, Any]:
    row = conn.execute(sa.select(sites).where(sites.c.id == site)).first()
    if row is None:
        raise NotFound(N_("there is no site {site}"), site=site)
    return dict(row._mapping)


def _site_values(unit: Unit, name: str, lat: float, lon: float, zone: str | None) -> dict[str, Any]:
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise Invalid(
            N_("a position is a latitude of -90 to 90 and a longitude of -180 to 180"), ("lat", "degrees")
        )
    if zone is not None:
        _require(unit.conn, zones, zone, "zone")
    return {"name": check_name(name), "zone_id": zone, "lat": lat, "lon": lon}


def create_device(
    unit: Unit,
    actor: Actor,
    device: str,
    *,
    name: str | None = None,
    site: str | None = None,
    vendor: str | None = None,
    model: str | None = None,
) -> None:
    """Register a device; it may enrol once a claim has been made for it. ``vendor`` is who answers for it in the figures."""
    if not is_device_id(device):
        raise Invalid(
            N_("{device!r} is not a device id"),
            ("id", "3 to 32 of a-z, 0-9 and '-', not beginning with '-'"),
            device=device[:40],
        )
    if site is not None:
        _require(unit.conn, sites, site, "site")
    values = {
        "id": device,
        "name": check_name(name) if name else None,
        "site_id": site,
        "vendor": check_name(vendor) if vendor else None,
        "model": check_name(model) if model else None,
        "created_at": unit.now,
    }
    _insert(unit, devices, values, "device")
    detail = {"name": name, "site": site, "vendor": vendor, "model": model}
    record(unit, actor, "device.create", f"device:{device}", detail=detail)
    unit.tell("devices", id=device, service="registered")


def ensure_device(unit: Unit, actor: Actor, device: str, site: str | None) -> None:
    """A claim makes the fleet know its device; a site that it names is where the device stands from now on."""
    known = unit.conn.scalar(sa.select(devices.c.id).where(devices.c.id == device))
    if known is None:
        create_device(unit, actor, device, site=site)
    elif site is not None:
        change_device(unit, actor, device, {"site": site})


def change_device(unit: Unit, actor: Actor, device: str, changes: Mapping[str, Any]) -> None:
    """Change ``name``, ``site``, ``vendor``, ``model`` or ``service``; what is not named stays."""
    _require(unit.conn, devices, device, "device")
    values: dict[str, Any] = {
        key: check_name(changes[key]) if changes[key] else None
        for key in ("name", "vendor", "model")
        if key in changes
    }
    if "site" in changes:
        if changes["site"] is not None:
            _require(unit.conn, sites, changes["site"], "site")
        values["site_id"] = changes["site"]
    if "service" in changes:
        if changes["service"] not in SERVICES:
            raise Invalid(N_("no such state of service"), ("service", f"one of {', '.join(SERVICES)}"))
        values["service"] = changes["service"]
        if changes["service"] == "retired":
            values |= {"presence": "unknown", "presence_since": unit.now, "presence_before": None}
        _note_service(unit, actor, device, changes["service"])
    if not values:
        return
    unit.conn.execute(devices.update().where(devices.c.id == device).values(values))
    record(unit, actor, "device.change", f"device:{device}", detail=dict(changes))
    unit.tell("devices", id=device, **({"service": values["service"]} if "service" in values else {}))


def _note_service(unit: Unit, actor: Actor, device: str, service: str) -> None:
    """Changes of service stand among the transitions, from which availability is counted."""
    row = unit.conn.execute(
        sa.select(devices.c.service, devices.c.presence).where(devices.c.id == device)
    ).one()
    steps = [("service", row.service, service)]
    if service == "retired":
        steps.append(("presence", row.presence, "unknown"))
    rows = [
        {
            "device_id": device,
            "kind": kind,
            "before": before,
            "after": after,
            "at": unit.now,
            "detail": f"by {actor.name}",
        }
        for kind, before, after in steps
        if before != after
    ]
    if rows:
        unit.conn.execute(transitions.insert(), rows)


def retired(conn: Connection) -> set[str]:
    """Devices that are out of service: nobody speaks with them."""
    return set(conn.scalars(sa.select(devices.c.id).where(devices.c.service == "retired")))


def require_device(conn: Connection, device: str) -> None:
    """NotFound unless the device is registered."""
    _require(conn, devices, device, "device")


def check_name(name: str) -> str:
    text = name.strip()
    if not 0 < len(text) <= MAX_NAME or "\0" in text:
        raise Invalid(N_("a name has 1 to 120 characters"), ("name", "1 to 120 characters"))
    return text


def check_slug(text: str) -> None:
    if not re.fullmatch(SLUG, text):
        raise Invalid(
            N_("{text!r} is not an id"),
            ("id", "1 to 64 of a-z, 0-9 and '-', not beginning with '-'"),
            text=text[:40],
        )


def _require(conn: Connection, table: Table, wanted: str, what: str) -> None:
    if conn.scalar(sa.select(table.c.id).where(table.c.id == wanted)) is None:
        raise NotFound(N_("there is no {what} {wanted}"), what=Term("place", what), wanted=wanted)


def _insert(unit: Unit, table: Table, values: dict[str, Any], what: str) -> None:
    if unit.conn.scalar(sa.select(table.c.id).where(table.c.id == values["id"])) is not None:
        raise Conflict(N_("there is a {what} {id} already"), what=Term("place", what), id=values["id"])
    unit.conn.execute(table.insert().values(values))


def _delete(unit: Unit, table: Table, wanted: str, what: str) -> None:
    try:
        with unit.conn.begin_nested():
            unit.conn.execute(table.delete().where(table.c.id == wanted))
    except IntegrityError as error:
        raise Conflict(
            N_("{what} {wanted} is in use; move what stands in it first"),
            what=Term("place", what),
            wanted=wanted,
        ) from error
