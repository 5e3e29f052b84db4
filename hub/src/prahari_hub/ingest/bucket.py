"""The running five minutes of history: least, sum, most and count of each check, by row and column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prahari_hub.fleet.history import BUCKET, Rollup

BUCKET_S = BUCKET.total_seconds()
LARGEST_VALUE = 1e15
"""Beyond it a check's value is nonsense and would spoil the sums."""

KINDS: tuple[tuple[Any, Any], ...] = (
    (0, np.uint16),
    (np.inf, np.float32),
    (0, np.float32),
    (-np.inf, np.float32),
)
"""Nothing, and the type, of count, least, total and most."""

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
        self.count, self.least, self.total, self.most = (np.full((room, checks), *kind) for kind in KINDS)

    def fit(self, room: int, checks: int) -> None:
        """Make room for more rows or columns."""
        have = self.count.shape
        if have[0] >= room and have[1] >= checks:
            return
        for name, kind in zip(("count", "least", "total", "most"), KINDS, strict=True):
            new = np.full((max(room, have[0]), max(checks, have[1])), *kind)
            new[: have[0], : have[1]] = getattr(self, name)
            setattr(self, name, new)

    def fold(self, rows: Rows, columns: Rows, values: Values) -> None:
        """Add values[n, k] of different ``rows`` in these columns; NaN says nothing."""
        self.empty = False
        wide = np.full((len(rows), self.count.shape[1]), np.nan, np.float32)
        wide[:, columns] = np.where(np.abs(values) <= LARGEST_VALUE, values, np.nan)
        said = ~np.isnan(wide)
        self.count[rows] += said
        self.least[rows] = np.fmin(self.least[rows], wide)
        self.most[rows] = np.fmax(self.most[rows], wide)
        wide[~said] = 0
        self.total[rows] += wide

    def forget(self, rows: int | Rows) -> None:
        """What these devices measured."""
        for kept, (nothing, _) in zip((self.count, self.least, self.total, self.most), KINDS, strict=True):
            kept[rows] = nothing

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
        self.forget(here)
        return found
