"""History as Parquet: what a spreadsheet is too small for and what others analyse. Memory is bounded: one row group at a time.

pyarrow is an extra of the hub's (``prahari-hub[export]``) and loaded here alone, when somebody exports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Table

from prahari_hub.errors import Invalid, SetupError
from prahari_hub.fleet.availability import figures
from prahari_hub.fleet.availability.calculus import KINDS
from prahari_hub.fleet.availability.days import days, span_of
from prahari_hub.fleet.availability.past import counted
from prahari_hub.fleet.history.codec import unpack
from prahari_hub.fleet.history.rollup import BUCKET, starts
from prahari_hub.fleet.history.tiers import DAY, HOUR, SLOTS_A_MONTH, day_of, hour_of, month_of
from prahari_hub.fleet.tables import (
    availability_closed,
    events,
    health_days,
    health_hours,
    health_months,
    transitions,
)
from prahari_hub.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

WHAT = ("health", "transitions", "events", "availability")
ROWS = 20_000
CELLS, DEVICES = 16, 1000
"""Cells and devices that are in memory at a time."""
Batch = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Written:
    path: Path
    rows: int


def export(
    store: Store, what: str, first: date, last: date, *, out: Path, zone: ZoneInfo, step_s: int = 3600
) -> Written:
    """Write the days ``first`` to ``last`` of the city's time zone into one file in ``out``; ``step_s`` is that of health.

    The file appears whole or not at all. SetupError without pyarrow or where ``out`` cannot be written.
    """
    if last < first:
        raise Invalid(f"{last} is before {first}: name the first day first", ("to", "a day from --from on"))
    span = span_of(first, zone)[0], span_of(last, zone)[1]
    match what:
        case "health":
            batches = _health(store, *span, step_s)
        case "transitions":
            batches = _log(store, transitions, transitions.c.at, *span)
        case "events":
            batches = _log(store, events, events.c.received_at, *span)
        case "availability":
            batches = _availability(store, first, last, zone)
        case _:
            raise Invalid(f"there is no {what[:40]!r} to export", ("what", f"one of {', '.join(WHAT)}"))
    return _write(out / f"{what}-{first}-{last}.parquet", _schemas()[what], batches)


def _write(path: Path, schema: pa.Schema, batches: Iterator[Batch]) -> Written:
    import pyarrow as pa
    from pyarrow import parquet

    unfinished = path.with_suffix(".part")
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for batch in batches:
                table = pa.table({name: batch[name] for name in schema.names}, schema=schema)
                writer.write_table(table)
                rows += table.num_rows
        unfinished.replace(path)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from error
    finally:
        if unfinished.exists():
            unfinished.unlink()
    return Written(path, rows)


def _schemas() -> dict[str, pa.Schema]:
    try:
        import pyarrow as pa
    except ImportError:
        raise SetupError(
            "exporting needs pyarrow: install it with pip install 'prahari-hub[export]'"
        ) from None
    at, name = pa.timestamp("ms", "UTC"), pa.dictionary(pa.int32(), pa.string())
    return {
        "health": pa.schema(
            [
                ("start", at), ("step_s", pa.int32()), ("device", name), ("check", name), ("count", pa.uint32()),
                ("min", pa.float32()), ("mean", pa.float32()), ("max", pa.float32()),
            ]
        ),
        "transitions": pa.schema(
            [
                ("id", pa.int64()), ("device_id", name), ("peripheral", name), ("kind", name), ("before", name),
                ("after", name), ("at", at), ("detail", pa.string()),
            ]
        ),
        "events": pa.schema(
            [
                ("id", pa.int64()), ("ulid", pa.string()), ("device_id", name), ("peripheral", name), ("kind", name),
                ("at", at), ("received_at", at), ("late", pa.bool_()), ("clock", name), ("body", pa.string()),
            ]
        ),
        "availability": pa.schema(
            [
                ("day", pa.date32()), ("device", name), ("zone", name), ("vendor", name), ("up_s", pa.int32()),
                ("down_s", pa.int32()), ("unknown_s", pa.int32()), ("planned_s", pa.int32()), ("maintenance_s", pa.int32()),
            ]
        ),
    }  # fmt: skip


def _log(
    store: Store, table: Table, column: sa.ColumnElement[datetime], since: datetime, until: datetime
) -> Iterator[Batch]:
    """Rows of a log in the order of their ids."""
    last = 0
    while True:
        query = (
            sa.select(table)
            .where(table.c.id > last, column >= since, column < until)
            .order_by(table.c.id)
            .limit(ROWS)
        )
        found = store.read_sync(lambda conn, query=query: conn.execute(query).all())  # type: ignore[misc]
        if not found:
            return
        last = found[-1].id
        columns = {column.name: [row._mapping[column] for row in found] for column in table.c}
        if "body" in columns:
            columns["body"] = [
                json.dumps(body, ensure_ascii=False, separators=(",", ":")) for body in columns["body"]
            ]
        yield columns
        if len(found) < ROWS:
            return


TIERS = {
    300: (health_hours, HOUR, 12, BUCKET),
    3600: (health_days, DAY, 24, HOUR),
    86400: (health_months, None, SLOTS_A_MONTH, DAY),
}


def _health(store: Store, since: datetime, until: datetime, step_s: int) -> Iterator[Batch]:
    """What has been packed of each span, some cells at a time: not the hour, and for hours not the day, that runs."""
    if step_s not in TIERS:
        raise Invalid("health has no such step", ("step", "300, 3600 or 86400"))
    table, span, _, step = TIERS[step_s]
    spans = (
        starts(hour_of(since) if step_s == 300 else day_of(since), until, span)
        if span is not None
        else sorted({month_of(day) for day in starts(day_of(since), until, DAY)})
    )
    for start in spans:
        after = -1
        while found := store.read_sync(partial(_some_cells, table=table, start=start, after=after)):
            after = found[-1][0]
            for _, packed in found:
                batch = _rows_of(packed, start, step, since, until)
                if batch["device"]:
                    yield batch


def _some_cells(conn: Connection, table: Table, start: datetime, after: int) -> list[tuple[int, bytes]]:
    query = sa.select(table.c.cell, table.c.packed).where(table.c.start == start, table.c.cell > after)
    return [(row.cell, row.packed) for row in conn.execute(query.order_by(table.c.cell).limit(CELLS))]


def _rows_of(packed: bytes, start: datetime, step: Any, since: datetime, until: datetime) -> Batch:
    block = unpack(packed)
    times = [start + slot * step for slot in range(block.slots)]
    asked = np.array([since <= at < until for at in times])
    check, device, slot = np.nonzero((block.count > 0) & asked)
    return {
        "start": [times[number] for number in slot],
        "step_s": [int(step.total_seconds())] * len(slot),
        "device": [block.devices[number] for number in device],
        "check": [block.checks[number] for number in check],
        "count": block.count[check, device, slot].tolist(),
        "min": block.least[check, device, slot].tolist(),
        "mean": block.mean[check, device, slot].tolist(),
        "max": block.most[check, device, slot].tolist(),
    }


def _availability(store: Store, first: date, last: date, zone: ZoneInfo) -> Iterator[Batch]:
    """Every device-day that is closed and on which the device was counted; zone and vendor as they are now."""
    asked = sa.select(availability_closed.c.day).where(
        availability_closed.c.day.in_([*days(first, last), last]),
        availability_closed.c.closed_at.is_not(None),
    )
    closed = sorted(store.read_sync(lambda conn: list(conn.scalars(asked))))
    after = ""
    while chosen := store.read_sync(lambda conn, after=after: counted(conn, after=after, limit=DEVICES)):  # type: ignore[misc]
        after = chosen[-1].id
        ids = [device.id for device in chosen]
        found = store.read_sync(lambda conn, ids=ids: figures.of_devices(conn, ids, closed, zone))  # type: ignore[misc]
        rows = [(day, device, *share) for device in chosen for day, share in found[device.id].items()]
        yield {
            "day": [row[0] for row in rows],
            "device": [row[1].id for row in rows],
            "zone": [row[1].zone for row in rows],
            "vendor": [row[1].vendor for row in rows],
            **{kind: [row[2 + n] for row in rows] for n, kind in enumerate(KINDS)},
        }
