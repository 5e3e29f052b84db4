"""What ingest hands to history: what the devices of one cell measured in five minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from prahari_hub.fleet.cells import cell_of

BUCKET = timedelta(minutes=5)
Sums = dict[str, list[float]]
"""{check: [least, sum, most, count]}"""


@dataclass(frozen=True)
class Rollup:
    """Devices (D) by checks (C) of one cell. ``start`` is a bucket's start in UTC; a ``count`` of 0 means that nothing was measured."""

    cell: int
    start: datetime
    devices: list[str]
    checks: list[str]
    count: NDArray[np.uint16]
    least: NDArray[np.float32]
    mean: NDArray[np.float32]
    most: NDArray[np.float32]


def bucket_start(at: datetime) -> datetime:
    """The start of the bucket that ``at`` falls into."""
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)


def from_sums(at: datetime, sums: Mapping[str, Sums]) -> list[Rollup]:
    """What some devices measured around ``at``, {device: sums}, as rollups of their cells."""
    cells: dict[int, list[str]] = {}
    for device in sums:
        cells.setdefault(cell_of(device), []).append(device)
    return [_rollup(cell, bucket_start(at), devices, sums) for cell, devices in cells.items()]


def _rollup(cell: int, start: datetime, devices: Sequence[str], sums: Mapping[str, Sums]) -> Rollup:
    checks = sorted({check for device in devices for check in sums[device]})
    column = {check: number for number, check in enumerate(checks)}
    shape = (len(devices), len(checks))
    count = np.zeros(shape, np.uint16)
    least, mean, most = (np.zeros(shape, np.float32) for _ in range(3))
    for row, device in enumerate(devices):
        for check, (low, total, high, times) in sums[device].items():
            here = row, column[check]
            count[here], least[here], most[here] = min(times, 65535), low, high
            mean[here] = total / times
    return Rollup(cell, start, list(devices), checks, count, least, mean, most)


def starts(since: datetime, until: datetime, step: timedelta) -> list[datetime]:
    """``since``, ``since + step``, … before ``until``."""
    found: list[datetime] = []
    while since < until:
        found.append(since)
        since += step
    return found
