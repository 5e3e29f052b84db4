"""History and figures at full size: bytes on disk a device-day, the time of a device page's query, of figures, of closing a day.

    python -m bench.history [disk] [page] [figures] [--short]

It measures on SQLite in a temporary folder, or on the empty database that PRAHARI_BENCH_DATABASE names. Values are noisy as a real
box's are: processor, memory, temperature, round trip and clock offset; disk, outbox and power hardly move.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from prahari_hub.fleet import history
from prahari_hub.fleet.cells import CELLS, cell_of
from prahari_hub.fleet.history import tiers
from prahari_hub.fleet.history.block import empty
from prahari_hub.fleet.history.codec import pack
from prahari_hub.fleet.history.rollup import Rollup
from prahari_hub.fleet.tables import (
    health_buckets,
    health_days,
    health_hours,
    health_months,
)
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate

from bench.figures import DAY, FLEET, fleet
from bench.results import Results
from bench.timing import compact, timed, times

MEASURED_CELLS, SHORT_CELLS, BEATS = 16, 4, 10
CHECKS = ["clock", "cpu", "disk", "link", "memory", "outbox", "power", "temperature"]
SPREAD = timedelta(days=60)
"""So far back every cell has rows: a million in all, and no index is deeper with ten."""
PARTS = ("disk", "page", "figures")


class Noise:
    """What the devices of one cell measure: levels that differ by device, a slow drift, and noise from beat to beat."""

    def __init__(self, number: int, seed: int) -> None:
        self._rng = rng = np.random.default_rng(seed)
        self._number = number
        self._level = np.stack(
            [
                rng.normal(0, 20, number), rng.normal(40, 12, number), rng.uniform(10, 85, number), rng.normal(45, 12, number),
                rng.normal(45, 8, number), np.zeros(number), np.zeros(number), rng.normal(55, 6, number),
            ],
            axis=1,
        )  # fmt: skip
        self._drift = np.array([0.5, 1.0, 0.002, 1.0, 0.2, 0, 0, 0.3])
        self._spread = np.array([4.0, 6.0, 0, 1.0, 0.6, 0, 0, 0.5])

    def bucket(self, cell: int, start: datetime, ids: list[str]) -> Rollup:
        """Five minutes of heartbeats, every twentieth device with one less."""
        rng, shape = self._rng, (BEATS, self._number, len(CHECKS))
        self._level += rng.normal(0, 1, shape[1:]) * self._drift
        beats = self._level + rng.normal(0, 1, shape) * self._spread
        beats[:, :, 3] += rng.exponential(15, shape[:2])
        beats[:, :, 1:5] = np.clip(beats[:, :, 1:5], 0.5, 1000)
        beats = np.round(beats, 1)
        count = np.full(shape[1:], BEATS, np.uint16)
        count[rng.random(self._number) < 0.05] -= 1
        parts: list[NDArray[np.float32]] = [
            part.astype(np.float32) for part in (beats.min(axis=0), beats.mean(axis=0), beats.max(axis=0))
        ]
        return Rollup(cell, start, ids, CHECKS, count, *parts)


def by_cell() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for number in range(FLEET):
        device = f"mh-cam-{number:06d}"
        found.setdefault(cell_of(device), []).append(device)
    return found


def size_of(store: Store, table: sa.Table) -> int:
    """Bytes of a table with its indexes."""
    with store.engine.connect() as conn:
        if conn.dialect.name == "sqlite":
            names = [
                table.name,
                *(row[1] for row in conn.exec_driver_sql(f"PRAGMA index_list({table.name})")),
            ]
            marks = ",".join("?" * len(names))
            query = f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({marks})"
            return int(conn.exec_driver_sql(query, tuple(names)).scalar() or 0)
        return int(conn.exec_driver_sql(f"SELECT pg_total_relation_size('{table.name}')").scalar() or 0)


def measure_disk(store: Store, cells: dict[int, list[str]], measured: int) -> dict[str, Any]:
    """One day of full cells, as ingest and the scheduler write it."""
    chosen = dict(sorted(cells.items())[:measured])
    noise = {cell: Noise(len(ids), cell) for cell, ids in chosen.items()}
    number = sum(map(len, chosen.values()))
    added: list[float] = []
    compacted: list[float] = []
    for slot in range(288):
        start = DAY + slot * history.BUCKET
        rollups = [noise[cell].bucket(cell, start, ids) for cell, ids in chosen.items()]
        began = time.process_time()
        store.write_sync(lambda unit, rollups=rollups: history.add(unit, rollups))  # type: ignore[misc]
        added.append(time.process_time() - began)
        if slot == 11:
            buckets = size_of(store, health_buckets)
        if slot % 12 == 11:
            compact(store, start + timedelta(minutes=75), tiers.compact_hours, compacted)
    rolled: list[float] = []
    compact(store, DAY + timedelta(days=1, hours=2), tiers.compact_days, rolled)
    return {
        "devices": number,
        "cells": len(chosen),
        "checks": len(CHECKS),
        "five_minutes_bytes_a_device_day": round(size_of(store, health_hours) / number),
        "hourly_bytes_a_device_day": round(size_of(store, health_days) / number),
        "daily_bytes_a_device_day": round(size_of(store, health_months) / number),
        "running_hour_bytes_a_device": round(buckets / number),
        "add_cpu_us_a_device_bucket": round(sum(added) / 288 / number * 1e6, 1),
        "hour_compaction_cpu_ms_a_cell": round(sum(compacted) / 24 / len(chosen) * 1000, 1),
        "hour_compaction_step_max_cpu_ms": round(max(compacted) * 1000),
        "day_compaction_cpu_ms_a_cell": round(sum(rolled) / len(chosen) * 1000, 1),
        "day_compaction_step_max_cpu_ms": round(max(rolled) * 1000),
    }


def fill_tiers(store: Store, real: list[str], cell: int) -> None:
    """Full tables: the rows of one cell whole, the newest of all others with a small block, so that the indexes have their real depth."""
    noise = Noise(len(real), 1)
    hours = [DAY - timedelta(hours=hour) for hour in range(1, 7 * 24)]
    days = [DAY - timedelta(days=day) for day in range(1, 730)]
    months = sorted({day.replace(day=1) for day in days})
    for table, spans, slots in (
        (health_hours, hours, 12),
        (health_days, days, 24),
        (health_months, months, 31),
    ):
        more = {"rolled": True} if table is health_hours else {}
        whole = pack(noise_block(noise, cell, real, slots))
        rows = [{"start": span, "cell": cell, "packed": whole, **more} for span in spans]
        store.write_sync(lambda unit, table=table, rows=rows: put(unit, table, rows))  # type: ignore[misc]
        store.write_sync(lambda unit, table=table: spread(unit, table, cell))  # type: ignore[misc]


def put(unit: Unit, table: sa.Table, rows: list[dict[str, object]]) -> None:
    unit.conn.execute(table.delete())
    unit.conn.execute(table.insert(), rows)


def spread(unit: Unit, table: sa.Table, cell: int) -> None:
    """The newest rows of one cell for every other cell too, with a small block."""
    small = pack(empty(["mh-cam-000000"], ["cpu"], 1))
    every = sa.select(sa.literal(0).label("cell")).cte(recursive=True)
    every = every.union_all(sa.select(every.c.cell + 1).where(every.c.cell < CELLS - 1))
    other = [
        every.c.cell if c.name == "cell" else sa.literal(small) if c.name == "packed" else c for c in table.c
    ]
    recent = table.c.start >= DAY - SPREAD
    chosen = sa.select(*other).join_from(table, every, every.c.cell != table.c.cell)
    chosen = chosen.where(table.c.cell == cell, recent)
    unit.conn.execute(table.insert().from_select([c.name for c in table.c], chosen))


def noise_block(noise: Noise, cell: int, ids: list[str], slots: int) -> tiers.Block:
    from prahari_hub.fleet.history.block import from_rollup, merged

    return merged(slots, [(slot, from_rollup(noise.bucket(cell, DAY, ids))) for slot in range(slots)])


def measure_pages(store: Store, device: str) -> dict[str, dict[str, float]]:
    found = {}
    for name, days in (("24 h", 1), ("7 d", 7), ("30 d", 30), ("1 y", 366)):
        since = DAY - timedelta(days=days)
        found[name] = timed(
            lambda since=since: store.read_sync(  # type: ignore[misc]
                lambda conn: history.series(conn, device, since=since, until=DAY)
            )
        )
    return found


def disk(results: Results, store: Store, cells: dict[int, list[str]], measured: int) -> None:
    found = results.details["disk"] = measure_disk(store, cells, measured)
    of = f"{found['checks']} noisy checks, {found['devices']:,} devices in {found['cells']} cells, {store.engine.dialect.name}"
    five, hour = found["five_minutes_bytes_a_device_day"], found["hourly_bytes_a_device_day"]
    results.row(
        f"5-minute tier a device-day with indexes, {of}", f"{five:,} bytes", aim="≤ 6 kB", met=five <= 6000
    )
    results.row("hourly tier a device-day", f"{hour:,} bytes", aim="≤ 1 kB", met=hour <= 1000)
    results.row(
        "daily tier a device-day; the running hour a device",
        f"{found['daily_bytes_a_device_day']:,} bytes; {found['running_hour_bytes_a_device']:,} bytes",
    )
    results.row(
        "CPU to write them",
        f"{found['add_cpu_us_a_device_bucket']} µs a device and bucket; compaction of a cell's hour "
        f"{found['hour_compaction_cpu_ms_a_cell']} ms, of its day {found['day_compaction_cpu_ms_a_cell']} ms",
    )


def page(results: Results, store: Store, cells: dict[int, list[str]]) -> None:
    cell = max(cells)
    fill_tiers(store, cells[cell], cell)
    found = results.details["page"] = measure_pages(store, cells[cell][0])
    for name, took in found.items():
        results.row(
            f"query of a device page, {name}, tables of full depth, by the clock",
            times(took),
            aim="≤ 50 ms",
            met=took["p50_ms"] <= 50,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if left out")
    parser.add_argument("--short", action="store_true", help="fewer cells, and no fleet figures")
    given = parser.parse_args()
    parts = given.parts or (PARTS[:2] if given.short else PARTS)
    results = Results("history")
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = os.environ.get("PRAHARI_BENCH_DATABASE", f"sqlite:///{Path(folder) / 'hub.db'}")
            store = Store.open(url, clock=lambda: DAY)
            migrate(store.engine)
            cells = by_cell()
            measured = SHORT_CELLS if given.short else MEASURED_CELLS
            if "disk" in parts:
                results.take("disk", lambda: disk(results, store, cells, measured))
            if "page" in parts:
                results.take("page", lambda: page(results, store, cells))
            if "figures" in parts:
                results.take("figures", lambda: fleet(results, store))
            store.close()
    finally:
        results.print()


if __name__ == "__main__":
    main()
