"""Blocks: what the devices of one cell measured in T equal slots of time, as columns. Pure functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prahari_hub.fleet.history.rollup import Rollup

Values = NDArray[np.float64]
Counts = NDArray[np.uint32]
MAX_CHECKS = 64
"""Names of checks in one block. The ones that most devices use stay, so that a device that invents names loses only its own."""


@dataclass(frozen=True)
class Block:
    """Arrays are [C, D, T]: checks, devices, slots. Where ``count`` is 0 nothing was measured and the values mean nothing."""

    devices: list[str]
    checks: list[str]
    count: Counts
    least: Values
    mean: Values
    most: Values

    @property
    def slots(self) -> int:
        return int(self.count.shape[2])


def empty(devices: Sequence[str], checks: Sequence[str], slots: int) -> Block:
    shape = (len(checks), len(devices), slots)
    return Block(
        list(devices), list(checks), np.zeros(shape, np.uint32), *(np.zeros(shape) for _ in range(3))
    )


def from_rollup(rollup: Rollup) -> Block:
    """One slot."""

    known = rollup.count > 0

    def column(values: NDArray[np.float32]) -> Values:
        return np.where(known, values, 0).T[:, :, None].astype(np.float64)

    count = rollup.count.T[:, :, None].astype(np.uint32)
    values = column(rollup.least), column(rollup.mean), column(rollup.most)
    return Block(rollup.devices, rollup.checks, count, *values)


def merged(slots: int, parts: Iterable[tuple[int, Block]], *, replace: bool = False) -> Block:
    """Parts (first slot, block) laid into one block of ``slots``.

    What meets in one slot is added up, or the later part's takes its place where ``replace`` and it has measured anything.
    """
    given = list(parts)
    devices = sorted({device for _, block in given for device in block.devices})
    found = empty(devices, _checks(block for _, block in given), slots)
    row = {device: number for number, device in enumerate(found.devices)}
    column = {check: number for number, check in enumerate(found.checks)}
    for first, block in given:
        kept = [number for number, check in enumerate(block.checks) if check in column]
        here = np.ix_(
            [column[block.checks[number]] for number in kept],
            [row[device] for device in block.devices],
            range(first, first + block.slots),
        )
        _lay(found, here, block, kept, replace)
    return found


def _checks(blocks: Iterable[Block]) -> list[str]:
    """All names, or those that most devices use if there are too many."""
    users: dict[str, int] = {}
    for block in blocks:
        used = (block.count > 0).any(axis=2).sum(axis=1)
        for check, times in zip(block.checks, used.tolist(), strict=True):
            users[check] = users.get(check, 0) + times
    return sorted(sorted(users, key=lambda check: (-users[check], check))[:MAX_CHECKS])


def _lay(found: Block, here: Any, block: Block, kept: list[int], replace: bool) -> None:
    count, least, mean, most = (part[kept] for part in (block.count, block.least, block.mean, block.most))
    stood = np.zeros_like(count) if replace else found.count[here]
    fresh = count > 0
    total = stood + count
    weight = np.where(total > 0, count / np.maximum(total, 1), 0.0)
    first = stood == 0
    before = found.mean[here]
    found.mean[here] = np.where(fresh, np.where(first, mean, before + (mean - before) * weight), before)
    found.least[here] = np.where(
        fresh, np.where(first, least, np.minimum(least, found.least[here])), found.least[here]
    )
    found.most[here] = np.where(
        fresh, np.where(first, most, np.maximum(most, found.most[here])), found.most[here]
    )
    found.count[here] = np.where(fresh, total, found.count[here])


def condensed(block: Block) -> Block:
    """All slots of a block as one."""
    count = block.count.sum(axis=2, keepdims=True, dtype=np.uint32)
    known = block.count > 0
    total = np.where(known, block.mean * block.count, 0.0).sum(axis=2, keepdims=True)
    return Block(
        block.devices,
        block.checks,
        count,
        _zero(np.where(known, block.least, np.inf).min(axis=2, keepdims=True)),
        total / np.maximum(count, 1),
        _zero(np.where(known, block.most, -np.inf).max(axis=2, keepdims=True)),
    )


def _zero(values: Values) -> Values:
    return np.where(np.isfinite(values), values, 0.0)
