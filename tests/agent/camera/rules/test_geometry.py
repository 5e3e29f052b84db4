from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prahari_agent.camera.boxes import Point, contains
from prahari_agent.camera.rules.geometry import crossings, distance, side
from prahari_agent.camera.rules.schedule import in_force
from prahari_wire.base import Refused, validate
from prahari_wire.camera import CameraConfig
from prahari_wire.rules import Day, Hours, Light, When, edges_meet

unit = st.integers(0, 64).map(lambda value: value / 64)
point = st.tuples(unit, unit)
LINE = [(0.5, 0.2), (0.5, 0.8)]


@given(start=point, end=point, before=point, after=point)
def test_a_way_back_undoes_the_way_there(
    start: Point,
    end: Point,
    before: Point,
    after: Point,
) -> None:
    assume(start != end)
    assert crossings([start, end], before, after) == -crossings([start, end], after, before)


@given(points=st.lists(point, min_size=2, max_size=8), line=st.tuples(point, point))
def test_a_closed_walk_around_an_endless_line_crosses_it_as_often_each_way(
    points: list[Point], line: tuple[Point, Point]
) -> None:
    assume(line[0] != line[1])
    (x1, y1), (x2, y2) = line
    endless = [(x1 - 999 * (x2 - x1), y1 - 999 * (y2 - y1)), (x2 + 999 * (x2 - x1), y2 + 999 * (y2 - y1))]
    walk = [*points, points[0]]
    assert sum(crossings(endless, a, b) for a, b in pairwise(walk)) == 0


@given(before=point, after=point, middle=unit)
def test_a_bent_line_counts_a_way_through_its_corner_once(before: Point, after: Point, middle: float) -> None:
    straight = [(middle, -1.0), (middle, 2.0)]
    bent = [(middle, -1.0), (middle, 0.5), (middle, 2.0)]
    assert crossings(bent, before, after) == crossings(straight, before, after)


def test_right_is_to_the_right_of_who_walks_along_the_line_in_the_picture() -> None:
    down = LINE
    assert crossings(down, (0.6, 0.5), (0.4, 0.5)) == 1
    assert crossings(down, (0.4, 0.5), (0.6, 0.5)) == -1
    assert side((0.0, 0.5), (1.0, 0.5), (0.5, 0.9)) > 0


def test_a_way_past_the_end_of_the_line_does_not_cross_it() -> None:
    assert crossings(LINE, (0.4, 0.9), (0.6, 0.9)) == 0


@given(at=point)
def test_distance_is_nothing_on_the_line_and_grows_aside(at: Point) -> None:
    nearest = max(0.2, min(0.8, at[1]))
    expected = math.hypot((at[0] - 0.5) * 2, at[1] - nearest)
    assert distance(LINE, at, 2.0) == pytest.approx(expected)


@given(
    corners=st.lists(st.floats(0, 2 * math.pi, exclude_max=True), min_size=3, max_size=12, unique=True),
    at=point,
)
def test_a_convex_polygon_contains_what_is_on_one_side_of_all_its_edges(
    corners: list[float], at: Point
) -> None:
    polygon = [(0.5 + 0.4 * math.cos(a), 0.5 + 0.4 * math.sin(a)) for a in sorted(corners)]
    sides = [side(a, b, at) for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True)]
    assume(all(abs(value) > 1e-9 for value in sides))
    assume(0.002 < at[0] < 0.998 and 0.002 < at[1] < 0.998)
    assert contains(polygon, at) == all(value > 0 for value in sides)


@given(a=point, b=point, c=point, d=point)
def test_that_edges_meet_does_not_depend_on_their_order(a: Point, b: Point, c: Point, d: Point) -> None:
    assert edges_meet(a, b, c, d) == edges_meet(c, d, a, b) == edges_meet(b, a, d, c)


def rules(*rule: object) -> dict[str, object]:
    return {"type": "camera", "source": "/clip.mp4", "rules": list(rule)}


def inside(id: str, *polygon: Point) -> dict[str, object]:
    return {"type": "ObjectsInside", "id": id, "name": id, "region": polygon}


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        ([(0, 0), (1, 1), (1, 0), (0, 1)], "crosses itself (edge 1 meets edge 3): draw its corners in order"),
        ([(0, 0), (0, 0), (1, 1)], "corner 1 stands twice in a row"),
        ([(0, 0), (0.5, 0.5), (1, 1)], "encloses nothing"),
        ([(0, 0), (1, 0), (0.5, 0), (0.5, 1)], "crosses itself"),
    ],
    ids=["bow tie", "double corner", "flat", "back on itself"],
)
def test_a_polygon_that_cannot_be_meant_is_refused_in_one_sentence(polygon: list[Point], says: str) -> None:
    with pytest.raises(Refused) as refused:
        validate(CameraConfig, rules(inside("gate", *polygon)))
    assert says in refused.value.detail


def test_two_rules_of_one_id_are_refused() -> None:
    square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    with pytest.raises(Refused, match="two rules are called 'gate'"):
        validate(CameraConfig, rules(inside("gate", *square), inside("gate", *square)))


def test_a_crowd_that_could_never_be_over_is_refused() -> None:
    crowd = {
        "type": "OccupancyCounter",
        "id": "c",
        "name": "c",
        "region": [(0, 0), (1, 0), (1, 1)],
        "most": 3,
        "clear": 3,
    }
    with pytest.raises(Refused, match="clear must be less than most"):
        validate(CameraConfig, rules(crowd))


@given(count=st.integers(3, 12), turn=st.floats(0, 6.28))
def test_every_star_shaped_polygon_is_accepted(count: int, turn: float) -> None:
    corners = [
        (
            0.5 + r * math.cos(turn + 2 * math.pi * n / count),
            0.5 + r * math.sin(turn + 2 * math.pi * n / count),
        )
        for n, r in ((n, 0.25 if n % 2 else 0.45) for n in range(count))
    ]
    validate(CameraConfig, rules(inside("star", *corners)))


@pytest.mark.parametrize(
    ("when", "at", "night", "holds"),
    [
        (When(), "2026-11-21 12:00", False, True),
        (When(light=Light.NIGHT), "2026-11-21 12:00", False, False),
        (When(light=Light.NIGHT), "2026-11-21 12:00", True, True),
        (When(light=Light.DAY), "2026-11-21 12:00", True, False),
        (When(hours=[Hours(start="09:00", end="17:00")]), "2026-11-21 09:00", False, True),
        (When(hours=[Hours(start="09:00", end="17:00")]), "2026-11-21 17:00", False, False),
        (
            When(hours=[Hours(start="22:00", end="05:00", days=[Day.SATURDAY])]),
            "2026-11-21 23:00",
            True,
            True,
        ),
        (
            When(hours=[Hours(start="22:00", end="05:00", days=[Day.SATURDAY])]),
            "2026-11-22 04:59",
            True,
            True,
        ),
        (
            When(hours=[Hours(start="22:00", end="05:00", days=[Day.SATURDAY])]),
            "2026-11-22 05:00",
            True,
            False,
        ),
        (
            When(hours=[Hours(start="22:00", end="05:00", days=[Day.SATURDAY])]),
            "2026-11-21 04:00",
            True,
            False,
        ),
        (When(hours=[Hours(start="00:00", end="00:00", days=[Day.SUNDAY])]), "2026-11-22 13:00", False, True),
    ],
)  # 21 November 2026 is a Saturday
def test_a_rule_is_in_force_at_its_hours_and_in_its_light(
    when: When, at: str, night: bool, holds: bool
) -> None:
    assert in_force(when, datetime.fromisoformat(at), night=night) is holds
