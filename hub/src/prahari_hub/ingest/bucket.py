"""The running five minutes of history: least, sum, most and count of each check, by row and column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from prahari_hub.fleet.history import BUCKET, Rollup

BUCKET_S = BUCKET.total_seconds()
LARGEST_VALUE = 1e15
"""Beyond it a check's value is nonsense and would spoil the sums."""

Rows = NDArray[np.intp]
Values = NDArray[np.float64]


def start_of(at_s: float) -> float:
    """Of the bucket that holds a Unix time."""
    return at_s - at_s % BUCKET_S


class Bucket:
    """``start_s`` is Unix time. Grows with the columns that it is given."""

    def __init__(self, start_s: float, room: int, checks: int) -> None:
        self.start_s = start_s
        self.empty = True
        self.next_cell = 0  # of those that are to be written, once it is closed
        self.count = np.zeros((room, checks), np.uint16)
        self.least = np.zeros((room, checks), np.float32)
        self.total = np.zeros((room, checks), np.float32)
        self.most = np.zeros((room, checks), np.float32)

    def fit(self, room: int, checks: int) -> None:
        """Make room for more rows or columns."""
        have = self.count.shape
        if have[0] >= room and have[1] >= checks:
            return
        for name in ("count", "least", "total", "most"):
            old = getattr(self, name)
            new = np.zeros((max(room, have[0]), max(checks, have[1])), old.dtype)
            new[: have[0], : have[1]] = old
            setattr(self, name, new)

    def fold(self, rows: Rows, columns: Rows, values: Values) -> None:
        """Add values[n, k] of different ``rows`` in these columns; NaN says nothing."""
        self.empty = False
        at = rows[:, None], columns
        said = np.abs(values) <= LARGEST_VALUE
        known = self.count[at]
        first = said & (known == 0)
        old = said & (known != 0)
        self.count[at] = known + said
        for name, merge in (("least", np.fmin), ("most", np.fmax)):
            kept = getattr(self, name)
            there = kept[at]
            there = np.where(first, values, np.where(old, merge(there, values), there))
            kept[at] = there
        self.total[at] += np.where(said, values, 0.0)

    def forget(self, row: int) -> None:
        if row < len(self.count):
            self.count[row] = 0
            self.total[row] = 0

    def rollup(
        self, cell: int, rows: Sequence[int], ids: Sequence[str], checks: Sequence[str]
    ) -> Rollup | None:
        """Of the devices of one cell, and what they measured since this was last asked; None if nothing."""
        here = np.array([row for row in rows if row < len(self.count)], np.intp)
        counts = self.count[here]
        devices = counts.any(axis=1)
        columns = np.flatnonzero(counts.any(axis=0))
        if not len(columns):
            return None
        here = here[devices]
        at = here[:, None], columns
        count = self.count[at]
        mean = np.divide(self.total[at], count, out=np.zeros(count.shape, np.float32), where=count > 0)
        found = Rollup(
            cell,
            datetime.fromtimestamp(self.start_s, UTC),
            [ids[row] for row in here.tolist()],
            [checks[column] for column in columns.tolist()],
            count,
            self.least[at],
            mean,
            self.most[at],
        )
        self.count[here] = 0
        self.total[here] = 0
        return found
