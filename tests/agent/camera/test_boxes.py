from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_agent.camera.boxes import Box, Detection, contains, covered, iou, without_doubles

unit = st.floats(0, 1, allow_nan=False)
boxes = st.tuples(unit, unit, unit, unit).map(
    lambda corners: Box(
        min(corners[0], corners[2]),
        min(corners[1], corners[3]),
        max(corners[0], corners[2]),
        max(corners[1], corners[3]),
    )
)
EVERYWHERE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
ARROW = [(0.1, 0.1), (0.9, 0.1), (0.5, 0.5), (0.9, 0.9), (0.1, 0.9)]


@given(boxes, boxes)
def test_overlap_shares_are_symmetric_and_between_nothing_and_all(one: Box, other: Box) -> None:
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0 <= iou(one, other) <= 1.000001
    assert iou(one, other) <= covered(one, other) + 1e-9


@pytest.mark.parametrize("point", [(0.5, 1.0), (0.0, 0.0), (1.0, 1.0), (0.3, 0.3)])
def test_a_region_over_the_whole_picture_contains_feet_on_its_edge(point: tuple[float, float]) -> None:
    assert contains(EVERYWHERE, point)


@pytest.mark.parametrize(
    ("point", "inside"), [((0.2, 0.5), True), ((0.8, 0.5), False), ((0.8, 0.15), True), ((0.05, 0.5), False)]
)
def test_a_concave_region_contains_what_lies_in_it(point: tuple[float, float], inside: bool) -> None:
    assert contains(ARROW, point) is inside


def test_two_boxes_on_one_person_count_once_and_the_better_stays() -> None:
    better = Detection("person", 0.9, Box(0.1, 0.1, 0.3, 0.9))
    worse = Detection("person", 0.4, Box(0.12, 0.1, 0.3, 0.85))
    part = Detection("person", 0.5, Box(0.15, 0.2, 0.25, 0.5))
    dog = Detection("dog", 0.4, Box(0.12, 0.1, 0.3, 0.85))
    beside = Detection("person", 0.5, Box(0.5, 0.1, 0.7, 0.9))
    assert without_doubles([worse, part, dog, better, beside]) == [better, beside, dog]
