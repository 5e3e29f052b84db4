"""Devices as numpy columns, and what of them one view of the map shows: groups, single devices, the worst. Pure.

Positions are web mercator from 0 to 1 (x east, y south), as tiles count them; a device without a site has NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from prahari_hub.fleet.stand import Stand

STATES = tuple(Stand)
"""A state's code is its place here: the worst is 0."""
CODE = {state: code for code, state in enumerate(STATES)}
NORMAL = CODE[Stand.NORMAL]
BAD = (Stand.OFFLINE, Stand.FAIL)
WARN = (Stand.WARN, Stand.SUSPECT)
TILE_PX = 512
CLUSTER_PX = 64
POLE_PX = 6
CLUSTER_ZOOM = 16
"""From here on only devices at one pole form a group."""
MOST_MARKS = 2500
MOST_SQUARES = 4_000_000
"""Of a grid that is counted square by square, in which no device has to be sorted; 32 MB."""

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64]


class Box(NamedTuple):
    """Degrees."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True)
class Clusters:
    """One entry a group in each column: its middle, its members by kind, and the corners of what it covers (mercator)."""

    x: Floats
    y: Floats
    count: Rows
    bad: Rows
    warn: Rows
    corners: tuple[Floats, Floats, Floats, Floats]  # least x, least y, most x, most y


@dataclass(frozen=True)
class View:
    """``singles`` and ``worst`` are rows of the columns; ``seen`` and ``bad`` count what lies in the box."""

    seen: int
    bad: int
    clusters: Clusters
    singles: Rows
    worst: Rows


def mercator_x(lon: npt.ArrayLike) -> Floats:
    return (np.asarray(lon, dtype=np.float64) + 180.0) / 360.0


def mercator_y(lat: npt.ArrayLike) -> Floats:
    radians = np.radians(np.clip(np.asarray(lat, dtype=np.float64), -85.05, 85.05))
    return (1.0 - np.log(np.tan(radians) + 1.0 / np.cos(radians)) / np.pi) / 2.0


def longitude(x: npt.ArrayLike) -> Floats:
    return np.asarray(x, dtype=np.float64) * 360.0 - 180.0


def latitude(y: npt.ArrayLike) -> Floats:
    return np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * np.asarray(y, dtype=np.float64)))))


def view(
    x: Floats, y: Floats, state: Codes, *, box: Box | None, zoom: float, abnormal: bool, most: int
) -> View:
    """What a window of the map shows; without a box everything, also what has no place.

    Groups are squares of a grid that does not move with the window, so panning rearranges nothing. The window is widened to
    whole squares and by half its size, so that a short pan needs no new answer.
    """
    wanted = state != NORMAL if abnormal else np.ones(len(state), dtype=np.bool_)
    if box is None:
        seen, near = wanted, wanted & ~np.isnan(x)
    else:
        seen = wanted & within(x, y, box, margin=0.0)
        near = wanted & within(x, y, box, margin=0.5)
    rows = np.flatnonzero(near)
    clusters, singles = grouped(x, y, state, rows, zoom)
    inside = np.flatnonzero(seen)
    worst = inside[np.argsort(state[inside], kind="stable")[:most]]
    return View(len(inside), int(_is(state[inside], BAD).sum()), clusters, singles, worst)


def grouped(x: Floats, y: Floats, state: Codes, rows: Rows, zoom: float) -> tuple[Clusters, Rows]:
    """Groups of two and more within a square, and the rows that stand alone; at most MOST_MARKS together."""
    side = (CLUSTER_PX if zoom < CLUSTER_ZOOM else POLE_PX) / (TILE_PX * 2.0**zoom)
    while True:
        member, count = _squares(x[rows], y[rows], side)
        if len(count) <= MOST_MARKS:
            break
        side *= 2
    alone = count[member] == 1
    several = count > 1
    weights = {"bad": _is(state[rows], BAD), "warn": _is(state[rows], WARN)}
    sums = {
        name: np.bincount(member, values.astype(np.float64), len(count))[several].astype(np.int64)
        for name, values in weights.items()
    }
    found = Clusters(
        (np.bincount(member, x[rows], len(count))[several] / count[several]),
        (np.bincount(member, y[rows], len(count))[several] / count[several]),
        count[several].astype(np.int64),
        sums["bad"],
        sums["warn"],
        _corners(x[rows], y[rows], member, several),
    )
    return found, rows[alone]


def _squares(x: Floats, y: Floats, side: float) -> tuple[Rows, npt.NDArray[np.intp]]:
    """(which square each lies in, how many lie in each), of the squares in which anything lies."""
    columns, lines = np.floor(x / side).astype(np.int64), np.floor(y / side).astype(np.int64)
    if not len(columns):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    columns -= columns.min()
    lines -= lines.min()
    high = int(lines.max()) + 1
    if (int(columns.max()) + 1) * high > MOST_SQUARES:
        _, member, count = np.unique(columns * high + lines, return_inverse=True, return_counts=True)
        return member, count
    squares = columns * high + lines
    filled = np.bincount(squares)
    used = np.flatnonzero(filled)
    number = np.zeros(len(filled), np.intp)
    number[used] = np.arange(len(used))
    return number[squares], filled[used]


def _corners(
    x: Floats, y: Floats, member: Rows, several: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats, Floats]:
    def each(pick: np.ufunc, values: Floats, start: float) -> Floats:
        found = np.full(len(several), start)
        pick.at(found, member, values)
        return found[several]

    return (
        each(np.minimum, x, np.inf),
        each(np.minimum, y, np.inf),
        each(np.maximum, x, -np.inf),
        each(np.maximum, y, -np.inf),
    )


def within(x: Floats, y: Floats, box: Box, *, margin: float) -> npt.NDArray[np.bool_]:
    """What lies in the box, widened on each side by ``margin`` of its size."""
    west, east = float(mercator_x(box.west)), float(mercator_x(box.east))
    north, south = float(mercator_y(box.north)), float(mercator_y(box.south))
    wide, high = (east - west) * margin, (south - north) * margin
    with np.errstate(invalid="ignore"):
        return (x >= west - wide) & (x <= east + wide) & (y >= north - high) & (y <= south + high)


def _is(state: Codes, kinds: tuple[Stand, ...]) -> npt.NDArray[np.bool_]:
    return np.isin(state, [CODE[kind] for kind in kinds])
