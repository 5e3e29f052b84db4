"""Blocks of the first release, a row a device and hour as JSON: read until they have aged out, written no more."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.history.block import Block, empty
from prahari_hub.fleet.history.rollup import Sums
from prahari_hub.fleet.tables import health_blocks


def hours(conn: Connection, device: str, *, since: datetime, until: datetime) -> dict[datetime, Block]:
    """Blocks of twelve slots by hour, of the hours from ``since`` to before ``until``."""
    query = sa.select(health_blocks.c.hour, health_blocks.c.packed).where(
        health_blocks.c.device_id == device, health_blocks.c.hour >= since, health_blocks.c.hour < until
    )
    return {row.hour: _block(device, json.loads(zlib.decompress(row.packed))) for row in conn.execute(query)}


def _block(device: str, buckets: Mapping[str, Sums]) -> Block:
    checks = sorted({check for sums in buckets.values() for check in sums})
    found = empty([device], checks, 12)
    for bucket, sums in buckets.items():
        for check, (least, total, most, count) in sums.items():
            here = checks.index(check), 0, int(bucket)
            found.count[here], found.least[here], found.most[here] = count, least, most
            found.mean[here] = np.float64(total) / count
    return found
