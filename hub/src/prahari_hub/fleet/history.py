"""Health history: buckets of five minutes, packed and compressed in one row a device and hour, finite in time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.tables import health_blocks
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert

BUCKET = timedelta(minutes=5)
KEEP = timedelta(days=92)
MAX_CHECKS = 40
"""Names of checks in one block, so that a device that invents names cannot grow its history without end."""

Sums = dict[str, list[float]]
"""{check: [least, sum, most, count]}"""


@dataclass(frozen=True)
class Series:
    """One value a bucket, None where the device said nothing: a gap is shown as a gap. ``times`` are the buckets' starts."""

    step_s: int
    times: list[datetime]
    checks: dict[str, dict[str, list[float | None]]]


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def bucket_of(at: datetime) -> int:
    """0 to 11 within the hour."""
    return at.minute // 5


def add(unit: Unit, at: datetime, sums: Mapping[str, Sums]) -> None:
    """Merge what each device measured around ``at`` into its bucket: {device: sums}."""
    hour, bucket = hour_of(at), str(bucket_of(at))
    devices = list(sums)
    query = sa.select(health_blocks.c.device_id, health_blocks.c.packed).where(
        health_blocks.c.hour == hour, health_blocks.c.device_id.in_(devices)
    )
    present = {row.device_id: unpack(row.packed) for row in unit.conn.execute(query)}
    rows = []
    for device, measured in sums.items():
        block = present.get(device, {})
        block[bucket] = merged(block.get(bucket, {}), measured)
        rows.append({"device_id": device, "hour": hour, "packed": pack(block)})
    upsert(unit.conn, health_blocks, rows, keys=("device_id", "hour"))


def merged(old: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]]) -> Sums:
    found: Sums = {name: list(values) for name, values in old.items()}
    for name, values in new.items():
        known = found.get(name)
        if known is not None:
            found[name] = [
                min(known[0], values[0]),
                known[1] + values[1],
                max(known[2], values[2]),
                known[3] + values[3],
            ]
        elif len(found) < MAX_CHECKS:
            found[name] = list(values)
    return found


def pack(block: Mapping[str, Sums]) -> bytes:
    rounded = {
        bucket: {name: [round(value, 3) for value in values] for name, values in checks.items()}
        for bucket, checks in block.items()
    }
    return zlib.compress(json.dumps(rounded, separators=(",", ":")).encode())


def unpack(packed: bytes) -> dict[str, Sums]:
    found: dict[str, Sums] = json.loads(zlib.decompress(packed))
    return found


def series(
    conn: Connection, device: str, *, since: datetime, until: datetime, checks: Sequence[str] = ()
) -> Series:
    """The buckets from ``since`` to ``until``; of every check if none is named."""
    start = hour_of(since) + bucket_of(since) * BUCKET
    times = []
    while start < until:
        times.append(start)
        start += BUCKET
    query = sa.select(health_blocks.c.hour, health_blocks.c.packed).where(
        health_blocks.c.device_id == device,
        health_blocks.c.hour >= hour_of(since),
        health_blocks.c.hour < until,
    )
    blocks = {row.hour: unpack(row.packed) for row in conn.execute(query)}
    buckets = [blocks.get(hour_of(at), {}).get(str(bucket_of(at)), {}) for at in times]
    names = list(checks) or sorted({name for bucket in buckets for name in bucket})
    return Series(int(BUCKET.total_seconds()), times, {name: _columns(buckets, name) for name in names})


def _columns(buckets: Sequence[Sums], name: str) -> dict[str, list[float | None]]:
    columns: dict[str, list[float | None]] = {"min": [], "mean": [], "max": []}
    for bucket in buckets:
        found: Any = bucket.get(name)
        least, mean, most = (found[0], round(found[1] / found[3], 3), found[2]) if found else (None,) * 3
        columns["min"].append(least)
        columns["mean"].append(mean)
        columns["max"].append(most)
    return columns


def forget(unit: Unit, *, before: datetime) -> int:
    """Delete the blocks of hours before ``before``; how many."""
    return unit.conn.execute(health_blocks.delete().where(health_blocks.c.hour < before)).rowcount
