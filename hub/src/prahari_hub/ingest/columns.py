"""What ingest keeps of each device, as columns: a row is a device, and takes about a kilobyte less than an object would.

Numbers stand in numpy arrays, which the sweep and the flush read whole; the loop over heartbeats reads and writes single ones
through memoryviews, which is faster than indexing numpy. Rows of retired devices are used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prahari_wire.topics import PARTITIONS

from prahari_hub.fleet.cells import CELLS, CELLS_A_PARTITION, cell_of, cells_of, cells_of_all
from prahari_hub.fleet.presence import Presence
from prahari_hub.ingest.heartbeat import Served, Shape

PRESENCES = (Presence.UNKNOWN, Presence.ONLINE, Presence.SUSPECT, Presence.OFFLINE)
UNKNOWN, ONLINE, SUSPECT, OFFLINE = range(4)
CODE = {str(presence): code for code, presence in enumerate(PRESENCES)}
NO_STATE = 255
ROOM = 1024
CHECKS = 64
"""Check names that have a column; the values of others are shown and do not enter history."""
FIRST_CHECKS = 8
MANY = 20
"""Devices whose cells are found sooner together than one by one."""
SUBJECT = b"prahari.in.%d.%s.health"

COLUMNS: dict[str, tuple[Any, Any]] = {
    "heard_s": (np.float64, np.nan),  # monotonic; -inf: before this process, nan: never
    "seen_at": (np.float64, np.nan),  # Unix time
    "beat_at": (np.float64, np.nan),
    "suspect_s": (np.float32, 0),
    "offline_s": (np.float32, 0),
    "conn": (np.int64, -1),
    "uptime_s": (np.int64, 0),
    "offset_ms": (np.float64, np.nan),
    "due_s": (np.float64, -np.inf),  # when the device's heartbeats would be at rest: see limits.py
    "cell": (np.uint16, 0),
    "state": (np.uint8, UNKNOWN),
    "before": (np.uint8, NO_STATE),
    "written": (np.uint8, UNKNOWN),  # what the store says
    "rank": (np.uint8, 1),
    "dead": (np.uint8, 0),
    "taken": (np.uint8, 0),  # within one fold
    "boot": ("S36", b""),  # of the session; empty for none
    "spelling": (np.uint16, 0),  # of its newest heartbeat: see spelling.py
    "used": (np.uint8, 0),
}


class Columns:
    """``rows`` is {subject of the device's heartbeats: row}. ``checks`` is {name: column of ``values``}."""

    heard_s: NDArray[np.float64]
    seen_at: NDArray[np.float64]
    beat_at: NDArray[np.float64]
    suspect_s: NDArray[np.float32]
    offline_s: NDArray[np.float32]
    conn: NDArray[np.int64]
    uptime_s: NDArray[np.int64]
    offset_ms: NDArray[np.float64]
    due_s: NDArray[np.float64]
    cell: NDArray[np.uint16]
    state: NDArray[np.uint8]
    before: NDArray[np.uint8]
    written: NDArray[np.uint8]
    rank: NDArray[np.uint8]
    dead: NDArray[np.uint8]
    taken: NDArray[np.uint8]
    boot: NDArray[np.bytes_]
    spelling: NDArray[np.uint16]
    used: NDArray[np.uint8]

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.ids: list[str] = []
        self.shapes: list[Shape | None] = []
        self.served: list[Served | None] = []
        self.extra: dict[int, dict[str, float]] = {}
        self.clocks: dict[int, str] = {}  # those that are not synced
        self.cells: list[list[int]] = [[] for _ in range(CELLS)]
        self.dirty = np.zeros(CELLS, np.bool_)
        self.written_s = np.full(CELLS, -np.inf)
        self.checks: dict[str, int] = {}
        self.values = np.full((0, FIRST_CHECKS), np.nan)
        self._free: list[int] = []
        self._room = 0
        for name, (kind, nothing) in COLUMNS.items():
            setattr(self, name, np.full(0, nothing, kind))
        self._grow(ROOM)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, device: str) -> bool:
        return key_of(device) in self.rows

    @property
    def room(self) -> int:
        return self._room

    def row(self, device: str) -> int | None:
        return self.rows.get(key_of(device))

    def add(self, devices: Sequence[str]) -> NDArray[np.intp]:
        """Rows for devices that have none."""
        cells = cells_of_all(devices)
        again = [self._free.pop() for _ in range(min(len(self._free), len(devices)))]
        first = len(self.ids)
        more = len(devices) - len(again)
        if first + more > self._room:
            self._grow(max(self._room * 3 // 2, first + more))
        self.ids += [""] * more
        self.shapes += [None] * more
        self.served += [None] * more
        rows = again + list(range(first, first + more))
        for row, device, cell in zip(rows, devices, cells.tolist(), strict=True):
            self.ids[row] = device
            self.rows[SUBJECT % (cell // CELLS_A_PARTITION, device.encode())] = row
            self.cells[cell].append(row)
        found = np.array(rows, np.intp)
        self.cell[found] = cells
        self.used[found] = 1
        return found

    def drop(self, device: str) -> None:
        """Forget a device; its row is free for another."""
        row = self.rows.pop(key_of(device), None)
        if row is None:
            return
        cell = int(self.cell[row])
        self.cells[cell].remove(row)
        self.dirty[cell] = True
        self.extra.pop(row, None)
        self.clocks.pop(row, None)
        self.ids[row] = ""
        self.shapes[row] = self.served[row] = None
        for name, (_, nothing) in COLUMNS.items():
            getattr(self, name)[row] = nothing
        self.values[row] = np.nan
        self._free.append(row)

    def find(self, devices: Sequence[str]) -> list[int | None]:
        """The row of each, None of one that has none; of many in a tenth of the time that asking for each takes."""
        if len(devices) < MANY:
            return [self.row(device) for device in devices]
        partitions = (cells_of_all(devices) // CELLS_A_PARTITION).tolist()
        row_of = self.rows.get
        return [
            row_of(SUBJECT % (number, device.encode()))
            for number, device in zip(partitions, devices, strict=True)
        ]

    def partition(self, wanted: int) -> list[str]:
        """The devices of a partition."""
        return [self.ids[row] for cell in cells_of(wanted) for row in self.cells[cell]]

    def give_up(self, partition: int) -> NDArray[np.intp]:
        """Forget the devices of a partition, whose cells are no longer to be written here; the rows that they had."""
        cells = cells_of(partition)
        gone = [row for cell in cells for row in self.cells[cell]]
        for row in gone:
            del self.rows[SUBJECT % (partition, self.ids[row].encode())]
            self.ids[row] = ""
            self.shapes[row] = self.served[row] = None
            self.extra.pop(row, None)
            self.clocks.pop(row, None)
        here = np.array(gone, np.intp)
        for name, (_, nothing) in COLUMNS.items():
            getattr(self, name)[here] = nothing
        self.values[here] = np.nan
        for cell in cells:
            self.cells[cell] = []
        self.dirty[cells.start : cells.stop] = False
        self._free += gone
        return here

    def partitions(self) -> NDArray[np.intp]:
        """Of each row."""
        return (self.cell[: len(self.ids)] // CELLS_A_PARTITION).astype(np.intp)

    def column(self, check: str) -> int | None:
        """Of ``values``; None when there is no room for another name."""
        found = self.checks.get(check)
        if found is None and len(self.checks) < CHECKS:
            found = self.checks[check] = len(self.checks)
            if found == self.values.shape[1]:
                wider = np.full((self._room, found * 2), np.nan)
                wider[:, :found] = self.values
                self.values = wider
        return found

    def size(self) -> int:
        """Bytes of the columns and, estimated, of the texts that belong to one device alone."""
        numbers: int = sum(getattr(self, name).nbytes for name in COLUMNS) + self.values.nbytes
        return numbers + len(self.rows) * 350 + 120 * len(self.extra)

    def _grow(self, room: int) -> None:
        for name, (kind, nothing) in COLUMNS.items():
            longer = np.full(room, nothing, kind)
            longer[: self._room] = getattr(self, name)
            setattr(self, name, longer)
        taller = np.full((room, self.values.shape[1]), np.nan)
        taller[: self._room] = self.values
        self.values = taller
        self._room = room


def key_of(device: str) -> bytes:
    """The subject of the device's heartbeats."""
    return SUBJECT % (cell_of(device) // CELLS_A_PARTITION, device.encode())


ALL_PARTITIONS = frozenset(range(PARTITIONS))
