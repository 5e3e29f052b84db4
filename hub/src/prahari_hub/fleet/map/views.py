"""A window of the map as the API gives it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from prahari_hub.fleet.map import queries
from prahari_hub.fleet.map.board import Board, Columns
from prahari_hub.fleet.map.clusters import Box, Clusters, Floats, Rows, latitude, longitude
from prahari_hub.fleet.map.dark import NONE, DarkPlaces, DarkView, cameras_of


class MapDevices(BaseModel):
    """Columns, one entry a device in each; positions in units of 1e-5 degrees, null for a device without a site."""

    model_config = ConfigDict(from_attributes=True)

    id: list[str]
    name: list[str | None]
    site: list[str | None]
    state: list[Literal["offline", "fail", "warn", "suspect", "unknown", "maintenance", "normal"]]
    lat: list[int | None]
    lon: list[int | None]


class MapGroups(BaseModel):
    """Columns, one entry a group of devices in each; positions in units of 1e-5 degrees."""

    lat: list[int]
    lon: list[int]
    count: list[int]
    bad: list[int]
    warn: list[int]
    south: list[int]
    west: list[int]
    north: list[int]
    east: list[int]


class MapView(BaseModel):
    """What one window of the map shows. ``worst`` are up to 100 of the devices in it, the worst first; ``bounds`` are west,
    south, east and north of all devices that have a site."""

    seen: int
    bad: int
    groups: MapGroups
    devices: MapDevices
    worst: MapDevices
    bounds: list[int] | None


def window(conn: Connection, board: Board, box: Box | None, zoom: float, *, abnormal: bool) -> MapView:
    """Names come from the store, for the devices that are shown alone."""
    columns, found = board.view(conn, box, zoom, abnormal=abnormal)
    return MapView(
        seen=found.seen,
        bad=found.bad,
        groups=_groups(found.clusters),
        devices=_devices(conn, columns, found.singles),
        worst=_devices(conn, columns, found.worst),
        bounds=_bounds(columns),
    )


class DarkCameras(BaseModel):
    """Columns, one entry a camera in each; positions in units of 1e-5 degrees. ``level`` is the picture's median brightness of the
    last night, 0 to 255; ``light`` says the same in a word."""

    id: list[str]
    name: list[str | None]
    site: list[str | None]
    camera: list[str]
    level: list[float]
    light: list[Literal["none", "little"]]
    lat: list[int | None]
    lon: list[int | None]


class MapDark(BaseModel):
    """Dark places in one window of the map. Of a group ``bad`` are the cameras that see hardly any light, ``warn`` those that see little.

    ``seen`` of them lie in the window, ``unlit`` of these without light; ``darkest`` are up to 100 of them. ``told``: how many cameras of
    the whole fleet have told of their last night, as of ``at``."""

    seen: int
    unlit: int
    told: int
    at: datetime
    groups: MapGroups
    cameras: DarkCameras
    darkest: DarkCameras


def dark(conn: Connection, board: Board, places: DarkPlaces, box: Box | None, zoom: float) -> MapDark:
    found = places.view(conn, board.columns(conn), box, zoom)
    return MapDark(
        seen=found.seen,
        unlit=found.unlit,
        told=found.dark.told,
        at=found.dark.at,
        groups=_groups(found.clusters),
        cameras=_cameras(conn, found, found.singles),
        darkest=_cameras(conn, found, found.darkest),
    )


def _cameras(conn: Connection, found: DarkView, rows: Rows) -> DarkCameras:
    nights = cameras_of(found.dark, rows.tolist())
    ids = sorted({night.device for night in nights})
    said = queries.columns(conn, ids) if ids else queries.Columns([], [], [], [], [], [])
    at = {device: place for place, device in enumerate(said.id)}
    nights = [night for night in nights if night.device in at]
    here = [at[night.device] for night in nights]
    return DarkCameras(
        id=[night.device for night in nights],
        name=[said.name[place] for place in here],
        site=[said.site[place] for place in here],
        camera=[night.camera for night in nights],
        level=[round(night.level, 1) for night in nights],
        light=["none" if night.level < NONE else "little" for night in nights],
        lat=[said.lat[place] for place in here],
        lon=[said.lon[place] for place in here],
    )


def bounds_held(board: Board) -> list[int] | None:
    """The bounds of all devices as they were last seen; None where nobody has looked at the map yet. It reads nothing."""
    return None if board.held is None else _bounds(board.held)


def _devices(conn: Connection, columns: Columns, rows: Rows) -> MapDevices:
    ids = [device.decode() for device in columns.ids[rows].tolist()]
    found = queries.columns(conn, ids) if ids else queries.Columns([], [], [], [], [], [])
    return MapDevices.model_validate(found)


def _groups(groups: Clusters) -> MapGroups:
    west, north, east, south = groups.corners
    return MapGroups(
        lat=_units(latitude(groups.y)),
        lon=_units(longitude(groups.x)),
        count=groups.count.tolist(),
        bad=groups.bad.tolist(),
        warn=groups.warn.tolist(),
        south=_units(latitude(south)),
        west=_units(longitude(west)),
        north=_units(latitude(north)),
        east=_units(longitude(east)),
    )


def _bounds(columns: Columns) -> list[int] | None:
    placed = ~np.isnan(columns.x)
    if not placed.any():
        return None
    x, y = columns.x[placed], columns.y[placed]
    corners: Iterable[Floats] = (longitude(x.min()), latitude(y.max()), longitude(x.max()), latitude(y.min()))
    return [round(float(corner) * queries.SCALE) for corner in corners]


def _units(degrees: Floats) -> list[int]:
    found: list[int] = np.rint(degrees * queries.SCALE).astype(np.int64).tolist()
    return found
