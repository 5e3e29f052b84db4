"""Between ingest's columns and the vitals of a cell in the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from prahari_hub.fleet.vitals import Cell, Reader
from prahari_hub.ingest.columns import NO_STATE, UNKNOWN, Columns
from prahari_hub.ingest.heartbeat import NOTHING, Served, rank_of, served
from prahari_hub.ingest.memory import Memory

T = TypeVar("T")
NO_PERIPHERALS = served(bytes(NOTHING))


def cell_of_columns(columns: Columns, number: int) -> Cell:
    """What the columns say of the devices of a cell."""
    rows = columns.cells[number]
    here = np.array(rows, np.intp)
    shapes, shape_of = _looked_up([columns.shapes[row] for row in rows])
    peripherals, peripherals_of = _looked_up([columns.served[row] or NO_PERIPHERALS for row in rows])
    values = columns.values[here]
    used = np.flatnonzero(~np.isnan(values).all(axis=0)) if len(rows) else here
    names = list(columns.checks)
    state = np.where(columns.state[here] == UNKNOWN, columns.before[here], columns.state[here])
    return Cell(
        devices=[columns.ids[row] for row in rows],
        seen_at=columns.seen_at[here].tobytes(),
        beat_at=columns.beat_at[here].tobytes(),
        offset_ms=columns.offset_ms[here].tobytes(),
        uptime_s=columns.uptime_s[here].tobytes(),
        state=state.astype(np.uint8).tobytes(),
        columns=[names[column] for column in used],
        values=values[:, used].tobytes(),
        shapes=[[] if shape is None else list(shape.said) for shape in shapes],
        shape_of=shape_of,
        peripherals=[one.raw for one in peripherals],
        peripherals_of=peripherals_of,
        clocks={columns.ids[row]: columns.clocks[row] for row in rows if row in columns.clocks},
        beside={columns.ids[row]: columns.extra[row] for row in rows if row in columns.extra},
    )


def _looked_up(items: Sequence[T]) -> tuple[list[T], bytes]:
    """The different ones among ``items``, and of each item its place among them."""
    places: dict[int, int] = {}
    found: list[T] = []
    at = np.empty(len(items), np.uint16)
    for number, item in enumerate(items):
        place = places.setdefault(id(item), len(found))
        if place == len(found):
            found.append(item)
        at[number] = place
    return found, at.tobytes()


def restore(memory: Memory, cells: Iterable[Cell]) -> None:
    """Take up what was written of devices that are in memory already and have not spoken since."""
    for cell in cells:
        _restore(memory, cell)


def _restore(memory: Memory, cell: Cell) -> None:
    columns, read = memory.columns, Reader(cell)
    places = [(at, row) for at, row in enumerate(columns.find(cell.devices)) if row is not None]
    if not places:
        return
    shapes = [memory.shape_of(tuple((n, s, t) for n, s, t in said)) for said in cell.shapes]
    peripherals: list[Served] = [served(raw) for raw in cell.peripherals]
    at, rows = (np.array(numbers, np.intp) for numbers in zip(*places, strict=True))
    columns.seen_at[rows] = read.seen_at[at]
    columns.beat_at[rows] = read.beat_at[at]
    columns.offset_ms[rows] = read.offset_ms[at]
    columns.uptime_s[rows] = read.uptime_s[at]
    lost = (columns.before[rows] == NO_STATE) & (read.state[at] != UNKNOWN)
    columns.before[rows[lost]] = read.state[at[lost]]
    heard = ~np.isnan(read.beat_at[at])
    for place, row, spoke in zip(at.tolist(), rows.tolist(), heard.tolist(), strict=True):
        if spoke:
            shape, one = shapes[read.shape_of[place]], peripherals[read.peripherals_of[place]]
            columns.shapes[row], columns.served[row] = shape, one
            columns.rank[row] = rank_of(shape, one)
    for name, values in zip(cell.columns, read.values[at].T, strict=True):
        column = columns.column(name)
        if column is not None:
            columns.values[rows, column] = values
    for kept, given in ((columns.clocks, cell.clocks), (columns.extra, cell.beside)):
        for device, value in given.items():
            if (row := columns.row(device)) is not None:
                kept[row] = value  # type: ignore[assignment]
