"""Dark places: cameras whose view has little light by night, as their heartbeats say it, held as columns for the map.

Read from the vitals of all cells, and only while somebody looks at this layer; it moves from night to night.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from prahari_wire.base import now_utc
from sqlalchemy import Connection

from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import CELLS
from prahari_hub.fleet.map.board import BREATH_S, WORST, Columns
from prahari_hub.fleet.map.clusters import CODE, Box, Clusters, Codes, Floats, Rows, grouped, within
from prahari_hub.fleet.stand import Stand
from prahari_hub.fleet.vitals import Cell, Reader

LITTLE, NONE = 25.0, 12.0
"""Median brightness of the picture by night, 0 to 255: below LITTLE it is dark, below NONE hardly anything is seen."""
FRESH_S = 600.0
SILENT = timedelta(hours=36)
"""Of a device that was not heard for so long nobody knows the last night."""
PART = 64
CAMERA = "peripheral:"


class Night(NamedTuple):
    device: str
    camera: str
    level: float


@dataclass(frozen=True)
class Dark:
    """Cameras below LITTLE, sorted by device; ``told``: how many cameras have told of their night, lit ones too."""

    devices: npt.NDArray[np.bytes_]
    cameras: list[str]
    level: Floats
    told: int
    at: datetime


@dataclass(frozen=True)
class DarkView:
    """``rows`` are those of ``dark``; a group's ``bad`` are cameras below NONE, its ``warn`` the others. ``seen``: how many lie in
    the box."""

    dark: Dark
    x: Floats
    y: Floats
    seen: int
    unlit: int
    clusters: Clusters
    singles: Rows
    darkest: Rows


class DarkPlaces:
    """Lives in a process that serves the map; used on a reader's thread."""

    def __init__(
        self, *, mono: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = now_utc
    ) -> None:
        self._mono, self._now = mono, now
        self._lock = threading.Lock()
        self._held: Dark | None = None
        self._read_s = 0.0

    def view(self, conn: Connection, columns: Columns, box: Box | None, zoom: float) -> DarkView:
        """What a window shows of them; ``columns`` say where the devices stand."""
        return view(self._dark(conn), columns, box, zoom)

    def _dark(self, conn: Connection) -> Dark:
        with self._lock:
            if self._held is None or self._mono() - self._read_s > FRESH_S:
                now = self._now()
                self._held, self._read_s = dark_of(nights(conn, now - SILENT), now), self._mono()
            return self._held


def nights(conn: Connection, since: datetime) -> Iterator[Night]:
    """What each camera of a device that was heard since then says of its night."""
    for first in range(0, CELLS, PART):
        for cell in vitals.stored(conn, range(first, first + PART)):
            yield from _of_cell(cell, since.timestamp())
        time.sleep(BREATH_S)


def _of_cell(cell: Cell, since: float) -> Iterator[Night]:
    read = Reader(cell)
    heard = read.beat_at >= since
    for column, name in enumerate(cell.columns):
        if name.startswith(CAMERA):
            levels = read.values[:, column]
            for row in np.flatnonzero(heard & ~np.isnan(levels)).tolist():
                yield Night(cell.devices[row], name.removeprefix(CAMERA), float(levels[row]))
    row_of = {device: row for row, device in enumerate(cell.devices)} if cell.beside else {}
    for device, said in cell.beside.items():
        for name, level in said.items():
            if name.startswith(CAMERA) and not np.isnan(level) and heard[row_of[device]]:
                yield Night(device, name.removeprefix(CAMERA), level)


def dark_of(found: Iterable[Night], at: datetime) -> Dark:
    told, dark = 0, []
    for night in found:
        told += 1
        if night.level < LITTLE:
            dark.append(night)
    dark.sort()
    devices = np.array([night.device for night in dark], dtype="S32")
    level = np.array([night.level for night in dark], dtype=np.float64)
    return Dark(devices, [night.camera for night in dark], level, told, at)


def view(dark: Dark, columns: Columns, box: Box | None, zoom: float) -> DarkView:
    x, y = _places(dark, columns)
    placed = ~np.isnan(x)
    near = placed if box is None else within(x, y, box, margin=0.5)
    seen = placed if box is None else within(x, y, box, margin=0.0)
    clusters, singles = grouped(x, y, _states(dark.level), np.flatnonzero(near), zoom)
    inside = np.flatnonzero(seen)
    darkest = inside[np.argsort(dark.level[inside], kind="stable")[:WORST]]
    unlit = int((dark.level[inside] < NONE).sum())
    return DarkView(dark, x, y, len(inside), unlit, clusters, singles, darkest)


def _places(dark: Dark, columns: Columns) -> tuple[Floats, Floats]:
    """Where each stands; NaN without a site, and for a device that is retired."""
    if not len(columns.ids):
        nowhere = np.full(len(dark.devices), np.nan)
        return nowhere, nowhere
    at = np.minimum(np.searchsorted(columns.ids, dark.devices), len(columns.ids) - 1)
    known = columns.ids[at] == dark.devices
    return np.where(known, columns.x[at], np.nan), np.where(known, columns.y[at], np.nan)


def _states(level: Floats) -> Codes:
    """As groups count them: without light as faulty, with little as degraded."""
    return np.where(level < NONE, CODE[Stand.FAIL], CODE[Stand.WARN]).astype(np.int8)


def cameras_of(dark: Dark, rows: Sequence[int]) -> list[Night]:
    return [Night(dark.devices[row].decode(), dark.cameras[row], float(dark.level[row])) for row in rows]
