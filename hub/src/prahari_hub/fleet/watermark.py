"""Which seq of a device's journal the hub has committed: a contiguous floor and closed ranges above it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Range = tuple[int, int]
MOST_RANGES = 5000
"""More gaps than any outbox makes; it bounds what one device can make the hub keep."""


@dataclass(slots=True)
class Watermark:
    """Every seq ≤ ``upto`` or within one of the sorted, disjoint ``beyond`` is committed, refused or was shed."""

    upto: int = -1
    beyond: list[Range] = field(default_factory=list)

    def __contains__(self, seq: int) -> bool:
        if seq <= self.upto:
            return True
        index = bisect_right(self.beyond, seq, key=lambda item: item[0]) - 1
        return index >= 0 and seq <= self.beyond[index][1]

    def takes(self, seq: int) -> bool:
        """Whether ``seq`` may be added: beyond MOST_RANGES only what joins a range, so that gaps must be filled first."""
        if len(self.beyond) < MOST_RANGES or seq == self.upto + 1:
            return True
        return self._holding(seq - 1) is not None or self._holding(seq + 1) is not None

    def add(self, seq: int) -> None:
        """Mark one seq and join it with its neighbours."""
        if seq in self:
            return
        index = bisect_right(self.beyond, seq, key=lambda item: item[0])
        first = last = seq
        if index < len(self.beyond) and self.beyond[index][0] == seq + 1:
            last = self.beyond.pop(index)[1]
        if index > 0 and self.beyond[index - 1][1] == seq - 1:
            index -= 1
            first = self.beyond.pop(index)[0]
        self.beyond.insert(index, (first, last))
        self._settle()

    def raise_to(self, low: int) -> None:
        """Nothing below ``low`` is held by the device any more: it was acknowledged or shed."""
        self.upto = max(self.upto, low - 1)
        self._settle()

    def near(self, seqs: Iterable[int], *, most: int) -> list[Range]:
        """At most ``most`` of the ranges above the floor, those that hold one of ``seqs`` first; sorted."""
        wanted = {index for seq in seqs if (index := self._holding(seq)) is not None}
        others = (index for index in range(len(self.beyond)) if index not in wanted)
        chosen = [*sorted(wanted), *others][:most]
        return [self.beyond[index] for index in sorted(chosen)]

    def _holding(self, seq: int) -> int | None:
        index = bisect_right(self.beyond, seq, key=lambda item: item[0]) - 1
        return index if index >= 0 and seq <= self.beyond[index][1] else None

    def _settle(self) -> None:
        """Let the floor rise through every range that it touches."""
        gone = 0
        for first, last in self.beyond:
            if first > self.upto + 1:
                break
            self.upto = max(self.upto, last)
            gone += 1
        del self.beyond[:gone]


def from_json(upto: int, beyond: Sequence[Sequence[int]]) -> Watermark:
    return Watermark(upto, [(int(first), int(last)) for first, last in beyond])
