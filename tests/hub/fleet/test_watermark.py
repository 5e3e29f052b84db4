"""Which seq is committed: the same as a set would say, in ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.fleet.watermark import Watermark


@given(st.lists(st.integers(0, 60), max_size=80), st.integers(0, 40))
def test_a_watermark_knows_what_a_set_knows(seqs: list[int], low: int) -> None:
    mark, known = Watermark(), set()
    for seq in seqs:
        mark.add(seq)
        known.add(seq)
    mark.raise_to(low)
    known |= set(range(low))
    assert {seq for seq in range(70) if seq in mark} == known
    assert mark.upto + 1 not in mark
    flat = [bound for part in mark.beyond for bound in part]
    assert flat == sorted(flat)
    for before, after in pairwise(mark.beyond):
        assert after[0] > before[1] + 1


@given(st.sets(st.integers(1, 200), max_size=100), st.integers(1, 20))
def test_ranges_near_hold_only_committed_and_the_asked_first(seqs: set[int], most: int) -> None:
    mark = Watermark()
    for seq in seqs:
        mark.add(seq)
    asked = sorted(seqs)[-3:]
    near = mark.near(asked, most=most)
    assert len(near) <= most
    assert near == sorted(near)
    assert set(near) <= set(mark.beyond)
    if most >= 3:
        covered = {seq for first, last in near for seq in range(first, last + 1)}
        assert {seq for seq in asked if seq > mark.upto} <= covered
