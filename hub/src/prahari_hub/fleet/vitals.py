"""What the devices of a cell said last: when they were heard, their clock, uptime and current checks, packed in one row a cell.

Ingest writes them now and then, and reads them back when it starts; pages and the API read them here, decoding only the cells that
they need. What must be found by SQL stands in the rows of devices and peripherals instead, written on change.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Connection

from prahari_hub.fleet.cells import cell_of
from prahari_hub.fleet.tables import vitals
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert

IN_CLAUSE = 500
Said = tuple[str, str, str | None]
"""Name, state and text of a check."""


class Cell(msgspec.Struct, array_like=True):
    """Columns over ``devices``; ``shapes`` and ``peripherals`` are looked up by ``shape_of`` and ``peripherals_of``.

    ``seen_at``, ``beat_at`` are Unix times (float64, NaN for never), ``offset_ms`` float64, ``uptime_s`` int64, ``state`` uint8
    (ingest's own code), ``values`` float64 [D, len(columns)]; the lookups are uint16.
    """

    devices: list[str]
    seen_at: bytes
    beat_at: bytes
    offset_ms: bytes
    uptime_s: bytes
    state: bytes
    columns: list[str]
    values: bytes
    shapes: list[list[Said]]
    shape_of: bytes
    peripherals: list[bytes]
    peripherals_of: bytes
    clocks: dict[str, str]
    beside: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Vitals:
    """``health`` is the newest heartbeat's uptime and checks, None if the device has sent none."""

    last_seen: datetime | None
    clock: str | None
    clock_offset_ms: float | None
    health: dict[str, Any] | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Cell)


def pack(cell: Cell) -> bytes:
    return zlib.compress(_encoder.encode(cell), 1)


def unpack(packed: bytes) -> Cell:
    return _decoder.decode(zlib.decompress(packed))


def write(unit: Unit, cells: Iterable[tuple[int, Cell]]) -> None:
    """Each cell as it is now."""
    rows = [{"cell": number, "at": unit.now, "packed": pack(cell)} for number, cell in cells]
    upsert(unit.conn, vitals, rows, keys=("cell",))


def stored(conn: Connection, cells: Sequence[int]) -> Iterator[Cell]:
    """The cells among these that have been written."""
    for start in range(0, len(cells), IN_CLAUSE):
        part = cells[start : start + IN_CLAUSE]
        for packed in conn.scalars(sa.select(vitals.c.packed).where(vitals.c.cell.in_(part))):
            yield unpack(packed)


def of_devices(conn: Connection, devices: Iterable[str]) -> dict[str, Vitals]:
    """The vitals of those of ``devices`` that have any."""
    wanted = set(devices)
    found: dict[str, Vitals] = {}
    for cell in stored(conn, sorted({cell_of(device) for device in wanted})):
        read = Reader(cell)
        for row, device in enumerate(cell.devices):
            if device in wanted:
                found[device] = read.vitals(row)
    return found


class Reader:
    """Rows of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.seen_at = np.frombuffer(cell.seen_at)
        self.beat_at = np.frombuffer(cell.beat_at)
        self.offset_ms = np.frombuffer(cell.offset_ms)
        self.uptime_s = np.frombuffer(cell.uptime_s, np.int64)
        self.state = np.frombuffer(cell.state, np.uint8)
        self.shape_of = np.frombuffer(cell.shape_of, np.uint16)
        self.peripherals_of = np.frombuffer(cell.peripherals_of, np.uint16)
        self.values: NDArray[np.float64] = np.frombuffer(cell.values).reshape(
            len(cell.devices), len(cell.columns)
        )
        self._column = {name: at for at, name in enumerate(cell.columns)}

    def vitals(self, row: int) -> Vitals:
        beat_at = _time(self.beat_at[row])
        if beat_at is None:
            return Vitals(_time(self.seen_at[row]), None, None, None)
        health = {
            "at": beat_at.isoformat(),
            "uptime_s": int(self.uptime_s[row]),
            "checks": [self._check(row, *said) for said in self.cell.shapes[self.shape_of[row]]],
        }
        offset_ms = round(float(self.offset_ms[row]), 1)
        clock = self.cell.clocks.get(self.cell.devices[row], "synced")
        return Vitals(_time(self.seen_at[row]), clock, offset_ms, health)

    def _check(self, row: int, name: str, state: str, text: str | None) -> dict[str, Any]:
        column = self._column.get(name)
        if column is not None:
            value = float(self.values[row, column])
        else:
            value = self.cell.beside.get(self.cell.devices[row], {}).get(name, np.nan)
        found: dict[str, Any] = {"name": name, "state": state}
        if not np.isnan(value):
            found["value"] = value
        if text is not None:
            found["text"] = text
        return found


def _time(at: float) -> datetime | None:
    return None if np.isnan(at) else datetime.fromtimestamp(float(at), UTC)
