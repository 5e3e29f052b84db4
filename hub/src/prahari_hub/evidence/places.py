"""Which cameras stand where footage is asked for: near a point, at a site, or named."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import sqlalchemy as sa
from prahari_wire.base import DeviceId, PeripheralId
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from prahari_hub.errors import Invalid, NotFound
from prahari_hub.evidence import coverage
from prahari_hub.evidence.coverage import IN_CLAUSE, Camera
from prahari_hub.fleet.tables import devices, peripherals, sites
from prahari_hub.texts import N_

MOST_RADIUS_M = 5_000
MOST_CAMERAS = 200
METRES_A_DEGREE = 111_195.0
"""Of a great circle, on a sphere of 6371 km."""


class Place(BaseModel):
    """Base of the three ways to say where."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(Place):
    """Every camera whose site lies within ``radius_m`` of a position (WGS 84)."""

    kind: Literal["point"] = "point"
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    radius_m: Annotated[float, Field(gt=0, le=MOST_RADIUS_M, allow_inf_nan=False)] = 200


class AtSite(Place):
    """Every camera of a site."""

    kind: Literal["site"] = "site"
    site: Annotated[str, Field(max_length=64)]


class CameraName(Place):
    device: DeviceId
    camera: PeripheralId


class Named(Place):
    """These cameras."""

    kind: Literal["cameras"] = "cameras"
    cameras: Annotated[list[CameraName], Field(min_length=1, max_length=MOST_CAMERAS)]


AnyPlace = Annotated[Point | AtSite | Named, Field(discriminator="kind")]


@dataclass(frozen=True)
class Standing:
    """A camera, where it stands and how its device is. ``metres`` from the asked point, None where none was asked."""

    device: str
    camera: str
    name: str | None
    site: str | None
    site_name: str | None
    zone: str | None
    lat: float | None
    lon: float | None
    service: str
    presence: str
    metres: float | None = None

    @property
    def key(self) -> Camera:
        return self.device, self.camera


def cameras_at(conn: Connection, place: Point | AtSite | Named) -> list[Standing]:
    """The nearest first, else by name; NotFound for a site or camera that is not there, Invalid where there are too many."""
    match place:
        case Point():
            found = _near(conn, place)
        case AtSite():
            if conn.scalar(sa.select(sites.c.id).where(sites.c.id == place.site)) is None:
                raise NotFound(N_("There is no site {site}; look it up under Devices."), site=place.site)
            found = _standing(conn, devices.c.site_id == place.site)
        case Named():
            found = _named(conn, [(one.device, one.camera) for one in place.cameras])
    if len(found) > MOST_CAMERAS:
        raise Invalid(
            N_("{count} cameras stand there, a request takes at most {most}: make the circle smaller."),
            ("place", f"at most {MOST_CAMERAS} cameras"),
            count=len(found),
            most=MOST_CAMERAS,
        )
    return found


def _near(conn: Connection, place: Point) -> list[Standing]:
    """By the index over positions: a box around the circle, then the true distance."""
    high = place.radius_m / METRES_A_DEGREE
    wide = high / max(math.cos(math.radians(min(89.9, abs(place.lat) + high))), 1e-3)
    query = sa.select(sites.c.id, sites.c.lat, sites.c.lon).where(
        sites.c.lat.between(place.lat - high, place.lat + high)
    )
    if place.lon - wide >= -180 and place.lon + wide <= 180:
        query = query.where(sites.c.lon.between(place.lon - wide, place.lon + wide))
    away = {
        site: metres
        for site, lat, lon in conn.execute(query)
        if (metres := distance_m(place.lat, place.lon, lat, lon)) <= place.radius_m
    }
    ids = sorted(away)
    found: list[Standing] = []
    for at in range(0, len(ids), IN_CLAUSE):
        found += _standing(conn, devices.c.site_id.in_(ids[at : at + IN_CLAUSE]))
    measured = [Standing(**(vars(one) | {"metres": away[one.site or ""]})) for one in found]
    return sorted(measured, key=lambda one: (one.metres or 0.0, one.key))


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Along a great circle (haversine)."""
    a, b = math.radians(lat), math.radians(other_lat)
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(other_lon - lon) / 2) ** 2
    return 2 * math.degrees(math.asin(min(1.0, math.sqrt(half)))) * METRES_A_DEGREE


def _named(conn: Connection, wanted: Collection[Camera]) -> list[Standing]:
    found = {
        one.key: one for one in _standing(conn, devices.c.id.in_(sorted({device for device, _ in wanted})))
    }
    for device, camera in wanted:
        if (device, camera) not in found:
            raise NotFound(
                N_(
                    "There is no camera {camera} at {device}: names are device:camera, as the device's page shows them."
                ),
                camera=camera,
                device=device,
            )
    return [found[key] for key in dict.fromkeys(wanted)]


def _standing(conn: Connection, where: sa.ColumnElement[bool]) -> list[Standing]:
    """The cameras of devices that match: those that they serve now, and those that once told of footage."""
    query = (
        sa.select(devices.c.id, devices.c.service, devices.c.presence, sites.c.id.label("site"))
        .add_columns(sites.c.name.label("site_name"), sites.c.zone_id.label("zone"), sites.c.lat, sites.c.lon)
        .outerjoin(sites, sites.c.id == devices.c.site_id)
        .where(where)
    )
    rows = {row.id: row for row in conn.execute(query)}
    names = _cameras(conn, sorted(rows))
    return [
        Standing(
            device, camera, name, rows[device].site, rows[device].site_name, rows[device].zone,
            rows[device].lat, rows[device].lon, rows[device].service, rows[device].presence,
        )
        for (device, camera), name in sorted(names.items())
    ]  # fmt: skip


def _cameras(conn: Connection, ids: list[str]) -> dict[Camera, str | None]:
    found: dict[Camera, str | None] = dict.fromkeys(coverage.cameras_of(conn, ids))
    for at in range(0, len(ids), IN_CLAUSE):
        query = sa.select(peripherals.c.device_id, peripherals.c.id, peripherals.c.name).where(
            peripherals.c.device_id.in_(ids[at : at + IN_CLAUSE]), peripherals.c.type == "camera"
        )
        found |= {(device, camera): name for device, camera, name in conn.execute(query)}
    return found


def some_sites(conn: Connection, most: int) -> dict[str, str]:
    """Names by id, the first by name."""
    query = sa.select(sites.c.id, sites.c.name).order_by(sites.c.name, sites.c.id).limit(most)
    return {row.id: row.name for row in conn.execute(query)}


def some_positions(conn: Connection, most: int) -> list[list[float]]:
    """Longitude and latitude of sites."""
    return [[lon, lat] for lon, lat in conn.execute(sa.select(sites.c.lon, sites.c.lat).limit(most))]


def zone_of(cameras: Iterable[Standing]) -> str | None:
    """The zone that most of them stand in, for the figures."""
    zones = [one.zone for one in cameras if one.zone is not None]
    return max(sorted(set(zones)), key=zones.count) if zones else None
