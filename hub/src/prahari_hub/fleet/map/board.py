"""Where every device stands and how, held as columns for the map: read once, then kept by what changed.

A state's 400,000 devices take 15 MB here, and a browser gets what its window shows, never all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from prahari_hub.fleet.map import queries
from prahari_hub.fleet.map.clusters import CODE, Box, Codes, Floats, View, mercator_x, mercator_y, view
from prahari_hub.fleet.map.queries import Standing
from prahari_hub.store import Change

FRESH_S = 900.0
"""After so long everything is read again, in case a change was not heard of."""
MOST_CHANGES = 5000
"""More devices than that at once, and all of them are read again."""
AGAIN_S = 30.0
"""But not sooner than so: reading a state's devices costs seconds of CPU, and the map may be so old while everything moves."""
WORST = 100
PART = 2_000
BREATH_S = 0.01
"""After each part, so that heartbeats and events are not kept waiting by who looks at a map."""


@dataclass(frozen=True)
class Columns:
    """Sorted by id."""

    ids: npt.NDArray[np.bytes_]
    x: Floats
    y: Floats
    state: Codes


class Board:
    """Lives in a process that serves the map. ``on_changes`` runs on the event loop, the rest on a reader's thread."""

    def __init__(self, *, mono: Callable[[], float] = time.monotonic) -> None:
        self._mono = mono
        self._lock = threading.Lock()
        self._columns: Columns | None = None
        self._read_s = 0.0
        self._changed: set[str] | None = set()  # None: too many to name

    @property
    def held(self) -> Columns | None:
        """As they were last seen, None before anybody has."""
        return self._columns

    def on_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.topic != "devices" or self._columns is None:
                continue
            if "id" not in change.data or self._changed is None or len(self._changed) >= MOST_CHANGES:
                self._changed = None
            else:
                self._changed.add(str(change.data["id"]))

    def view(self, conn: Connection, box: Box | None, zoom: float, *, abnormal: bool) -> tuple[Columns, View]:
        """The columns as they are now and what a window shows of them."""
        columns = self.columns(conn)
        return columns, view(
            columns.x, columns.y, columns.state, box=box, zoom=zoom, abnormal=abnormal, most=WORST
        )

    def columns(self, conn: Connection) -> Columns:
        with self._lock:
            held, age_s = self._columns, self._mono() - self._read_s
            if held is not None and self._changed is None and age_s < AGAIN_S:
                return held
            changed, self._changed = self._changed, set()
            if held is None or changed is None or age_s > FRESH_S:
                held, self._read_s = columns_of(queries.standings(conn)), self._mono()
            elif changed:
                held = merged(held, sorted(changed), columns_of(queries.standings(conn, sorted(changed))))
            self._columns = held
            return held


def columns_of(found: Iterable[Standing]) -> Columns:
    """Packed part by part, so that a state's rows never lie in memory together."""
    rows = iter(found)
    parts = [_packed([])]
    while part := list(islice(rows, PART)):
        parts.append(_packed(part))
        time.sleep(BREATH_S)
    ids = np.concatenate([part.ids for part in parts])
    order = np.argsort(ids, kind="stable")
    x, y, state = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("x", "y", "state")
    )
    return Columns(ids[order], x, y, state)


def _packed(rows: Sequence[Standing]) -> Columns:
    ids = np.array([row[0] for row in rows], dtype="S32")
    lat = np.array([np.nan if row[1] is None else row[1] for row in rows], dtype=np.float64)
    lon = np.array([np.nan if row[2] is None else row[2] for row in rows], dtype=np.float64)
    state = np.array([CODE[row[3]] for row in rows], dtype=np.int8)
    return Columns(ids, mercator_x(lon), mercator_y(lat), state)


def merged(held: Columns, changed: Sequence[str], now: Columns) -> Columns:
    """``held`` with the rows of ``changed`` replaced by ``now``, which lacks those that are gone."""
    keep = ~np.isin(held.ids, np.array(changed, dtype="S32"))
    ids = np.concatenate([held.ids[keep], now.ids])
    order = np.argsort(ids, kind="stable")
    x, y, state = (
        np.concatenate([getattr(held, name)[keep], getattr(now, name)])[order] for name in ("x", "y", "state")
    )
    return Columns(ids[order], x, y, state)
