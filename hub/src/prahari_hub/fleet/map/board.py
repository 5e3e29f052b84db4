"""Where every device stands and how, held as columns for the map: read once, then kept by what changed.

A state's 400,000 devices take 15 MB here, and a browser gets what its window shows, never all of them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.fleet.map import queries
from prahari_hub.fleet.map.clusters import CODE, Box, Codes, Floats, View, mercator_x, mercator_y, view
from prahari_hub.fleet.map.queries import Standing
from prahari_hub.store import Change, Store

FRESH_S = 900.0
"""After so long everything is read again, in case a change was not heard of."""
MOST_CHANGES = 5000
"""More devices than that at once, and all of them are read again."""
AGAIN_S, UNSEEN_AGAIN_S = 30.0, 240.0
"""But not sooner than so: reading a state's devices costs seconds of CPU, and the map may be so old while everything moves; the second
where nobody has looked for LOOKS_S."""
LOOKS_S = 60.0
OLDEST_S = 300.0
"""What nobody has kept up to date and is older than that is not shown: whoever looks waits for it to be read."""
LOOK_S = 1.0
WORST = 100
PART = 2_000
BREATH_S = 0.01
"""After each part, so that heartbeats and events are not kept waiting by who looks at a map."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """Sorted by id."""

    ids: npt.NDArray[np.bytes_]
    x: Floats
    y: Floats
    state: Codes


class Board:
    """Lives in a process that serves the map. ``on_changes`` and ``due`` run on the event loop, the rest on a reader's thread."""

    def __init__(self, *, mono: Callable[[], float] = time.monotonic) -> None:
        self._mono = mono
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._columns: Columns | None = None
        self._read_s = self._looked_s = float("-inf")
        self._changed: set[str] | None = set()  # None: too many to name

    @property
    def held(self) -> Columns | None:
        """As they were last seen, None before anybody has."""
        return self._columns

    def on_changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.topic != "devices":
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
        """As they are now, or AGAIN_S ago where too many changed to ask for each."""
        self._looked_s = self._mono()
        if (
            self._columns is None
            or self._age_s > FRESH_S
            or (self._changed is None and self._age_s > OLDEST_S)
        ):
            with self._reading:
                if self._columns is None or self._age_s > OLDEST_S:  # not read while this waited
                    self._read(conn)
        with self._lock:
            assert self._columns is not None
            changed = self._changed
            if changed:
                if not self._reading.locked():  # what is being read may be older than these
                    self._changed = set()
                now = columns_of(queries.standings(conn, sorted(changed)))
                self._columns = merged(self._columns, sorted(changed), now)
            return self._columns

    def due(self) -> bool:
        """Whether everything should be read (again), so that nobody who looks has to wait for it."""
        seen = self._mono() - self._looked_s < LOOKS_S
        return self._age_s > FRESH_S or (
            self._changed is None and self._age_s > (AGAIN_S if seen else UNSEEN_AGAIN_S)
        )

    def read(self, conn: Connection) -> None:
        """Read everything; who looks meanwhile is shown what was there before."""
        with self._reading:
            self._read(conn)

    @property
    def _age_s(self) -> float:
        return self._mono() - self._read_s

    def _read(self, conn: Connection) -> None:
        with self._lock:
            before, self._changed = self._changed, set()
        try:
            found = columns_of(queries.standings(conn))
        except BaseException:
            with self._lock:
                self._changed = None if before is None or self._changed is None else before | self._changed
            raise
        with self._lock:
            self._columns, self._read_s = found, self._mono()


async def keep(board: Board, store: Store) -> None:
    """Read the board before anybody looks, and again when it is due; runs until it is cancelled."""
    while True:
        if board.due():
            try:
                await store.read(board.read)
            except Unavailable as error:
                log.info("the map shows what was known before: %s", error)
            except Exception:
                metrics.WORKER_FAILURES.labels("board").inc()
                log.exception("the devices of the map could not be read again")
        await asyncio.sleep(LOOK_S)


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
    lat, lon = (np.array([row[at] for row in rows], dtype=np.float64) for at in (1, 2))  # None becomes NaN
    state = np.array([CODE[row[3]] for row in rows], dtype=np.int8)
    return Columns(ids, mercator_x(lon), mercator_y(lat), state)


def merged(held: Columns, changed: Sequence[str], now: Columns) -> Columns:
    """``held`` with the rows of ``changed`` replaced by ``now``, which lacks those that are gone."""
    named = np.array(changed, dtype="S32")
    at, known = _places(held.ids, named)
    if known.sum() == len(now.ids) and (there := _places(held.ids, now.ids))[1].all():
        x, y, state = held.x.copy(), held.y.copy(), held.state.copy()  # who shows a map reads the others
        x[there[0]], y[there[0]], state[there[0]] = now.x, now.y, now.state
        return Columns(held.ids, x, y, state)
    keep = np.ones(len(held.ids), np.bool_)
    keep[at[known]] = False
    ids = np.concatenate([held.ids[keep], now.ids])
    order = np.argsort(ids, kind="stable")
    x, y, state = (
        np.concatenate([getattr(held, name)[keep], getattr(now, name)])[order] for name in ("x", "y", "state")
    )
    return Columns(ids[order], x, y, state)


def _places(
    ids: npt.NDArray[np.bytes_], wanted: npt.NDArray[np.bytes_]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Where each stands among sorted ``ids``, and whether it does."""
    if not len(ids):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return at, ids[at] == wanted
