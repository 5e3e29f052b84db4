"""The street is what it says: the same from the same seed, boxes around what was drawn, places decided on the ground."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.faults import FaultName, fault
from prahari_agent.street.light import Picture
from prahari_agent.street.scenario import AREAS, LINES, NIGHT, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.traffic import busy, staged
from prahari_agent.street.truth import Truth, read
from prahari_agent.street.view import Area, GroundLine, View
from prahari_agent.street.writer import truth_path, write

RED = (40, 40, 230)


def standing(number: int, kind: str, x: float, z: float) -> Actor:
    return Actor(number, kind, (Stop(0, x, z), Stop(60, x, z)), RED)


def frame(scenario: Scenario, number: int = 0) -> tuple[Picture, Truth]:
    picture, truth = Scene(scenario).frame(number)
    assert picture is not None
    return picture, truth


@cache
def empty_street() -> Scene:
    return Scene(Scenario(1, 10))


@pytest.mark.parametrize("light", [1.0, 0.5, 0.0], ids=["day", "dusk", "night"])
def test_a_frame_is_the_same_bit_for_bit_whatever_was_drawn_before(light: float) -> None:
    scenario = busy(5, 20, light=((0, light),), rain=((0, 0.5),))
    one, other = Scene(scenario), Scene(scenario)
    for number in range(0, 60, 20):
        other.frame(number)
    for number in (77, 30):
        (picture, truth), (again, truth_again) = one.frame(number), other.frame(number)
        assert picture is not None
        assert again is not None
        assert np.array_equal(picture, again)
        assert truth == truth_again


def test_a_picture_without_its_truth_is_that_with_it() -> None:
    frozen = replace(busy(5, 20), faults=[fault("freeze", 1, 3), fault("loss", 4, 5)])
    picture, truth = Scene(frozen).frame(20)
    assert truth.shown == 10
    assert np.array_equal(Scene(frozen).picture(20), picture)
    assert Scene(frozen).frame(40)[0] is None
    assert np.array_equal(Scene(frozen).picture(40), Scene(busy(5, 20)).picture(40))


def test_another_seed_gives_another_street() -> None:
    assert (frame(busy(1, 5))[0] != frame(busy(2, 5))[0]).any()


@pytest.mark.parametrize("kind", ["person", "scooter", "car", "rickshaw", "bus", "cow", "dog", "bag", "cart"])
def test_a_box_encloses_what_was_drawn_to_the_pixel(kind: str) -> None:
    with_one = Scenario(1, 1, [standing(1, kind, 1.0, 20.0)])
    picture, truth = frame(with_one)
    empty = empty_street().picture(0)
    (seen,) = truth.seen
    left, top, right, bottom = (
        share * size for share, size in zip(seen.box, (640, 360, 640, 360), strict=True)
    )
    differs = np.abs(picture.astype(int) - empty).max(axis=2) > 4  # the grain is the same in both
    above = differs[: round(bottom - 0.35 * (bottom - top))]  # without the shadow
    rows, columns = np.nonzero(above[:, : round(right) + 2])
    assert abs(rows.min() - top) <= 1.5
    assert columns.min() - left >= -1.5
    assert np.nonzero(differs)[0].max() >= bottom - 2
    assert seen.visible == 1.0


def test_what_stands_behind_another_is_less_visible_and_keeps_its_box() -> None:
    alone = frame(Scenario(1, 1, [standing(1, "person", 0.0, 24.0)]))[1].seen[0]
    hidden = {
        one.id: one
        for one in frame(Scenario(1, 1, [standing(1, "person", 0.0, 24.0), standing(2, "bus", 0.0, 18.0)]))[
            1
        ].seen
    }
    assert hidden[1].box == alone.box
    assert hidden[1].visible < 0.2
    assert hidden[2].visible == 1.0


@given(x=st.floats(-6, 6), z=st.floats(12, 60))
def test_a_place_on_the_ground_is_found_again_from_its_place_in_the_picture(x: float, z: float) -> None:
    assert View().ground(View().share(x, z)) == pytest.approx((x, z), abs=1e-6)


@given(x=st.floats(-12, 12), z=st.floats(5, 60))
def test_an_area_holds_what_lies_within_its_four_sides(x: float, z: float) -> None:
    area = Area("a", -2, 3, 10, 20)
    assert area.holds((x, z)) == (-2 <= x <= 3 and 10 <= z <= 20)


def test_a_line_is_crossed_to_the_right_or_left_seen_from_its_start() -> None:
    line = GroundLine("l", (0.0, 10.0), (0.0, 20.0))
    assert line.crossed((-1, 15), (1, 15)) == 1
    assert line.crossed((1, 15), (-1, 15)) == -1
    assert line.crossed((-1, 25), (1, 25)) == 0
    assert line.crossed((1, 15), (2, 15)) == 0


def test_all_areas_and_lines_lie_within_the_picture() -> None:
    points = [point for area in AREAS for point in area.polygon(View())]
    points += [point for line in LINES for point in line.points(View())]
    assert all(0 <= value <= 1 for point in points for value in point)


def test_crossings_tell_each_way_over_a_line_once() -> None:
    scenario = staged(1, 14, [Actor(1, "person", way(1.5, 0, (-6, 17), (6, 17), (-6, 17)), RED)])
    crossed = [one for _, truth in Scene(scenario) for one in truth.crossings if one.line == "middle"]
    assert [one.direction for one in crossed] == [1, -1]


def _mean(scenario: Scenario, number: int) -> float:
    return float(frame(scenario, number)[0].mean())


@pytest.mark.parametrize("name", ["blur", "dark", "glare", "cover", "turn", "flicker"])
def test_a_fault_spoils_the_picture_while_it_lasts_and_no_longer(name: FaultName) -> None:
    bad = Scene(Scenario(1, 10, faults=[fault(name, 2, 4)]))
    assert np.array_equal(empty_street().picture(19), bad.picture(19))
    assert not np.array_equal(empty_street().picture(20), bad.picture(20))
    assert np.array_equal(empty_street().picture(40), bad.picture(40))
    assert bad.truth(20).faults == (name,)


def test_a_frozen_picture_is_the_same_in_every_bit_and_lives_on_afterwards() -> None:
    scene = Scene(Scenario(1, 10, faults=[fault("freeze", 2, 4)]))
    shown = [scene.frame(number) for number in (20, 30, 39, 40)]
    pictures = [picture for picture, _ in shown if picture is not None]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[3])
    assert [truth.shown for _, truth in shown] == [20, 20, 20, 40]


def test_a_turned_camera_shows_the_boxes_where_the_picture_moved_to() -> None:
    actors = [standing(1, "person", 0.0, 24.0)]
    before = frame(Scenario(1, 1, actors))[1].seen[0]
    after = frame(Scenario(1, 1, actors, faults=[fault("turn", 0, 1, shift=(0.1, -0.05))]))[1].seen[0]
    assert after.foot == pytest.approx((before.foot[0] + 0.1, before.foot[1] - 0.05), abs=1e-4)


def test_lost_and_dropped_frames_are_gaps_in_the_time_of_the_video(tmp_path: Path) -> None:
    scenario = Scenario(1, 6, faults=[fault("loss", 2, 4), fault("drop", 4, 6)])
    video = write(tmp_path / "gaps.mp4", scenario)
    missing = [truth.time_s for truth in read(truth_path(video)) if truth.missing]
    with av.open(str(video)) as container:
        times = [float(image.pts * image.time_base) for image in container.decode(video=0)]  # type: ignore[operator]
    assert len(times) + len(missing) == scenario.frames
    assert [at for at in missing if at < 4] == pytest.approx([2 + n / 10 for n in range(20)])
    assert any(at > 4 for at in missing)
    assert max(b - a for a, b in pairwise(times)) == pytest.approx(2.1, abs=0.5)


def test_night_is_dark_with_bright_lamps_and_day_is_not() -> None:
    day, night = frame(busy(3, 5))[0], frame(busy(3, 5, light=NIGHT))[0]
    assert day.mean() > 100
    assert night.mean() < 50
    assert night.max() > 230


def test_a_minute_is_drawn_in_a_fraction_of_a_minute() -> None:
    scene = Scene(busy(4, 60))
    began_s = time.process_time()
    for number in range(40):
        scene.frame(number)
    assert 40 / (time.process_time() - began_s) > 25
