"""From many silences to one cause: which place explains the devices that fell silent together, and when that is over. Pure.

A place is the cause when enough of what it feeds fell silent together and no single thing below it explains it better. So a feeder
beats its switches when both are dark, and a switch alone stays the cause although its feeder's share is high. The whole fleet has a
bar of its own, because what all devices have in common is the hub and its uplink.

``find`` asks only for counts by place: one fault on many cameras of a feeder is found in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from prahari_hub.fleet.tree import ROOT, Tree

ALL_BUT_A_FEW = 0.9
"""Of the fleet: so many silent at once is the hub or its uplink, whatever else they have in common."""


@dataclass(frozen=True)
class Bars:
    """How much must be silent together, within ``window``, to be one cause.

    ``share`` and ``least`` are of a place's devices that were alive before; ``fleet_share`` and ``fleet_least`` of the whole fleet's.
    An outage is over below ``share`` * ``ends_at`` or ``least`` devices, once none has come back for ``settle``.
    """

    window: timedelta = timedelta(seconds=90)
    share: float = 0.6
    least: int = 3
    fleet_share: float = 0.3
    fleet_least: int = 10
    ends_at: float = 0.5
    settle: timedelta = timedelta(minutes=2)


@dataclass
class Counts:
    """Devices by place, the places below it included: that were ``alive`` before, and of those the ``silent``."""

    alive: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    silent: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def share(self, node: str) -> float:
        return self.silent[node] / max(self.alive[node], self.silent[node], 1)


def count(
    tree: Tree, devices: Mapping[str, int], gone: Mapping[str, int], silent: Mapping[str, int]
) -> Counts:
    """Sum up the tree. ``devices`` is by place, what is below included; ``gone`` (silent long before) and ``silent`` are by the site that
    a device stands at, ROOT for those that stand nowhere. Only places with something silent below them are counted."""
    counts = Counts()
    for leaf, n in silent.items():
        for node in tree.chain(leaf):
            counts.silent[node] += n
    for node in counts.silent:
        counts.alive[node] = devices.get(node, 0)
    for leaf, n in gone.items():
        for node in tree.chain(leaf):
            if node in counts.silent:
                counts.alive[node] -= n
    return counts


def summed(tree: Tree, by_leaf: Mapping[str, int]) -> dict[str, int]:
    """Devices by place, what is below included."""
    found: dict[str, int] = defaultdict(int)
    for leaf, n in by_leaf.items():
        for node in tree.chain(leaf):
            found[node] += n
    return dict(found)


def branches(tree: Tree, silent: Iterable[str]) -> dict[str, set[str]]:
    """What hangs on each place and has something silent below it."""
    found: dict[str, set[str]] = defaultdict(set)
    for leaf in silent:
        below = leaf
        for node in tree.chain(leaf):
            if node != below:
                found[node].add(below)
            below = node
    return found


class Found(NamedTuple):
    """A place that is the cause. ``alive``: how many of its devices were alive before."""

    node: str
    alive: int


def find(
    tree: Tree, devices: Mapping[str, int], gone: Mapping[str, int], silent: Mapping[str, int], bars: Bars
) -> list[Found]:
    """The places that are the cause, none above another; what is silent outside them stands for itself. The counts are ``count``'s."""
    silent = {leaf: n for leaf, n in silent.items() if n > 0}
    if sum(silent.values()) < min(bars.least, bars.fleet_least):
        return []
    counts = count(tree, devices, gone, silent)
    below = branches(tree, silent)
    if _is_fleet(counts, below[ROOT], silent.get(ROOT, 0), bars):
        causes = [ROOT]
    else:
        causes = [cause for node in sorted(below[ROOT]) for cause in _causes(node, counts, below, bars)]
    return [Found(node, max(counts.alive[node], counts.silent[node])) for node in sorted(causes)]


def _is_fleet(counts: Counts, parts: set[str], loose: int, bars: Bars) -> bool:
    """So much of everything that only the hub or its uplink explains it. ``loose`` devices stand nowhere."""
    if counts.silent[ROOT] < bars.fleet_least or counts.share(ROOT) < bars.fleet_share:
        return False
    dark = sum(counts.share(part) >= bars.fleet_share for part in parts) + (1 if loose else 0)
    return dark >= 2 or counts.share(ROOT) >= ALL_BUT_A_FEW


def _causes(node: str, counts: Counts, below: Mapping[str, set[str]], bars: Bars) -> list[str]:
    dark = counts.silent[node] >= bars.least and counts.share(node) >= bars.share
    parts = below.get(node, set())
    if dark and not parts:
        return [node]
    if dark and sum(counts.share(part) >= bars.share for part in parts) >= 2:
        return [node]
    nearer = [cause for part in sorted(parts) for cause in _causes(part, counts, below, bars)]
    return [node] if dark and len(nearer) != 1 else nearer


def together(times: Sequence[datetime], window: timedelta) -> list[tuple[datetime, datetime]]:
    """Spans of silences that began together: (first, last) of each, none longer than ``window``, in order."""
    spans: list[tuple[datetime, datetime]] = []
    for at in sorted(times):
        if spans and at - spans[-1][0] <= window:
            spans[-1] = spans[-1][0], at
        else:
            spans.append((at, at))
    return spans


def is_over(node: str, *, children: int, of: int, last_change: datetime, now: datetime, bars: Bars) -> bool:
    """Whether the outage of a place with ``of`` devices ends. While devices still join or come back (``last_change``) it waits, so that
    those which boot a little later do not each become an incident."""
    if children == 0:
        return True
    share = bars.fleet_share if node == ROOT else bars.share
    if children >= bars.least and children >= of * share * bars.ends_at:
        return False
    return now - last_change >= bars.settle


@dataclass(frozen=True)
class Flapping:
    """More than ``per_hour`` falls in an hour is flapping, until ``quiet`` has passed without another."""

    per_hour: int = 5
    quiet: timedelta = timedelta(hours=1)

    def begins(self, falls: int) -> bool:
        return falls > self.per_hour

    def ends(self, last_fall: datetime, now: datetime) -> bool:
        return now - last_fall >= self.quiet
