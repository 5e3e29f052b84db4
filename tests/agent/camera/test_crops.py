"""Which parts of a large picture the detector looks at, and how what they show becomes one list."""

from __future__ import annotations

import pytest
from prahari_agent.camera.boxes import Box, Detection, contains
from prahari_agent.camera.crops import LEAST_PIXELS, WHOLE, Budget, Crops, Wish, merged

FULL_HD = (1920, 1080)
SIDE = 300


def crops() -> Crops:
    return Crops(SIDE, SIDE)


def at(x: float, y: float, high: float = 0.1) -> Box:
    return Box(x, y, x + high / 4, y + high)


def pixels(part: Box) -> tuple[int, int]:
    return round((part.right - part.left) * FULL_HD[0]), round((part.bottom - part.top) * FULL_HD[1])


def test_a_picture_that_the_input_resolves_is_looked_at_once_and_whole() -> None:
    wishes = [Wish(at(0.1, 0.2), 1), Wish(at(0.8, 0.2), 2), Wish(None, 3)]
    assert crops().plan(wishes, (768, 432), 8) == [WHOLE]
    assert crops().plan([], (768, 432), 8) == crops().plan(wishes, (768, 432), 0) == []


def test_in_a_large_picture_parts_are_square_within_it_and_around_what_asks() -> None:
    box = at(0.9, 0.85)
    (part,) = crops().plan([Wish(box, 1)], FULL_HD, 8)
    assert pixels(part) == (SIDE, SIDE)
    assert 0 <= part.left < box.left < box.right < part.right <= 1
    assert 0 <= part.top < box.top < box.bottom < part.bottom <= 1


def test_a_part_has_the_proportions_of_the_input() -> None:
    (part,) = Crops(320, 192).plan([Wish(at(0.4, 0.4), 1)], FULL_HD, 8)
    assert pixels(part) == (320, 192)


def test_what_fills_the_picture_is_looked_at_whole() -> None:
    assert crops().plan([Wish(Box(0.1, 0.0, 0.5, 0.9), 1)], FULL_HD, 8) == [WHOLE]


def test_neighbours_share_a_part_and_who_is_far_away_has_one_of_his_own() -> None:
    near = [Wish(at(0.40, 0.4), 1), Wish(at(0.44, 0.42), 1), Wish(at(0.47, 0.4), 1)]
    assert len(crops().plan(near, FULL_HD, 8)) == 1
    parts = crops().plan([*near, Wish(at(0.9, 0.1), 1)], FULL_HD, 8)
    assert len(parts) == 2
    assert all(any(contains(corners(part), wish.box.foot) for part in parts) for wish in near if wish.box)


def corners(part: Box) -> list[tuple[float, float]]:
    left, top, right, bottom = part
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def test_where_not_all_find_a_place_the_most_urgent_do() -> None:
    wishes = [Wish(at(0.05 + 0.22 * n, 0.1 + 0.2 * (n % 2)), float(n)) for n in range(4)]
    parts = crops().plan(wishes, FULL_HD, 2)
    assert len(parts) == 2
    for wish in wishes[2:]:
        assert wish.box is not None
        assert any(contains(corners(part), wish.box.centre) for part in parts)


def test_looks_somewhere_see_the_whole_and_every_part_of_it_by_turns() -> None:
    one = crops()
    parts = [one.plan([Wish(None, 1)], FULL_HD, 8)[0] for _ in range(40)]
    assert parts[::2] == [WHOLE] * 20
    tiles = set(parts[1::2])
    points = [(x / 20, y / 20) for x in range(1, 20) for y in range(1, 20)]
    assert all(any(contains(corners(tile), point) for tile in tiles) for point in points)
    assert all(0 <= edge <= 1.0001 for tile in tiles for edge in tile)


def test_nobody_is_looked_for_where_the_look_was_not_or_too_coarse() -> None:
    one = crops()
    small = at(0.5, 0.5, 0.9 * LEAST_PIXELS / SIDE)
    (around,) = one.plan([Wish(small, 1)], FULL_HD, 8)
    assert one.shows(around, small, FULL_HD)
    assert not one.shows(WHOLE, small, FULL_HD)
    assert not one.shows(around, at(0.1, 0.1), FULL_HD)
    assert one.shows(WHOLE, at(0.5, 0.5, 0.3), FULL_HD)


def test_a_budget_holds_over_a_minute_and_leaves_what_a_second_may_have_at_once() -> None:
    budget, spent = Budget(3), []
    for number in range(300):
        left = budget.left(number / 5)
        budget.spend(left)
        spent.append(left)
    assert spent[0] == 3
    assert sum(spent) == pytest.approx(3 * 60, abs=3)


def test_a_budget_below_one_a_second_still_looks_at_times() -> None:
    budget, spent = Budget(0.25), 0
    for number in range(100):
        if budget.left(number / 5):
            budget.spend(1)
            spent += 1
    assert spent == 5


LEFT, RIGHT = Box(0.0, 0.0, 0.5, 1.0), Box(0.4, 0.0, 0.9, 1.0)


def test_one_object_that_two_parts_show_is_one_and_the_better_seen() -> None:
    left = Detection("person", 0.6, Box(0.84, 0.2, 0.94, 0.6))
    right = Detection("person", 0.8, Box(0.04, 0.2, 0.14, 0.6))
    (one,) = merged([(LEFT, [left]), (RIGHT, [right])])
    assert one.score == 0.8
    assert one.box == pytest.approx((0.42, 0.2, 0.47, 0.6))


def test_what_an_edge_cuts_off_yields_to_the_whole_object_though_it_scores_higher() -> None:
    cut = Detection("person", 0.95, Box(0.9, 0.2, 1.0, 0.6))
    whole = Detection("person", 0.7, Box(0.1, 0.2, 0.3, 0.6))
    (one,) = merged([(LEFT, [cut]), (RIGHT, [whole])])
    assert one == Detection("person", 0.7, pytest.approx((0.45, 0.2, 0.55, 0.6)))  # type: ignore[arg-type]


def test_what_is_cut_off_alone_counts_for_less_and_not_at_the_edge_of_the_picture() -> None:
    (cut,) = merged([(LEFT, [Detection("person", 0.8, Box(0.9, 0.2, 1.0, 0.6))])])
    assert cut.score == pytest.approx(0.48)
    (coming,) = merged([(LEFT, [Detection("person", 0.8, Box(0.0, 0.2, 0.1, 0.6))])])
    assert coming.score == 0.8


def test_two_who_stand_beside_each_other_and_two_kinds_stay_two() -> None:
    pair = [Detection("person", 0.8, at(0.2, 0.2, 0.4)), Detection("person", 0.7, at(0.32, 0.2, 0.4))]
    kinds = [Detection("person", 0.8, at(0.6, 0.2, 0.4)), Detection("bicycle", 0.7, at(0.6, 0.2, 0.4))]
    assert len(merged([(LEFT, [*pair, *kinds]), (RIGHT, [])])) == 4
