"""When the detector looks, and where boxes are between its looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.carry import HELD, Carried, carry
from prahari_agent.camera.pace import HELD_S, IDLE_S, PATIENCE, STILL_S, Pace
from prahari_agent.camera.signals import Luma
from prahari_agent.camera.tracker import Changes, Track, Tracker

START = datetime(2026, 1, 1, tzinfo=UTC)
BOX = Box(0.3, 0.3, 0.4, 0.6)
TREE = Box(0.8, 0.1, 0.95, 0.3)
SURE = Carried(BOX, 0.8, 0.1)


def track(*, confirmed: bool = True, missed: int = 0) -> Track:
    return Track("t", "person", BOX, START, START, 0.0, confirmed=confirmed, missed=missed)


def looks(pace: Pace, frames: int, found: list[Detection], **seen: Any) -> list[float]:
    """The seconds of five frames a second at which it looked."""
    asked = {"warm": False, "moving": [], "tracks": [], "carried": {}} | seen
    times = []
    for number in range(frames):
        if pace.wishes(number / 5, **asked):
            pace.looked(number / 5, found, asked["tracks"], lambda box: True)
            times.append(number / 5)
    return times


def test_an_empty_street_is_looked_at_once_a_minute() -> None:
    assert looks(Pace(), 5 * 150, []) == [0.0, IDLE_S, 2 * IDLE_S]


def test_what_is_not_confirmed_is_looked_at_in_every_frame() -> None:
    assert len(looks(Pace(), 10, [], tracks=[track(confirmed=False)])) == 10


def test_a_held_walker_is_looked_at_once_a_second_and_a_still_one_rarely() -> None:
    walks = looks(Pace(), 51, [], tracks=[track()], carried={"t": SURE})
    assert walks == pytest.approx([HELD_S * n for n in range(1, 11)])
    stands = looks(Pace(), 100, [], tracks=[track()], carried={"t": Carried(BOX, 0.99, 0.0)})
    assert max(b - a for a, b in pairwise(stands)) == pytest.approx(STILL_S)
    assert len(stands) <= 7


def test_what_was_lost_is_looked_for_at_once_and_then_often() -> None:
    pace = Pace()
    held = {"warm": False, "moving": [], "tracks": [track()]}
    pace.looked(0.0, [], [track()], lambda box: True)
    assert not pace.wishes(0.4, **held, carried={"t": SURE})
    assert pace.wishes(0.6, **held, carried={"t": Carried(BOX, HELD - 0.1, 0.0)})


def test_a_tree_is_looked_at_less_and_less_and_who_comes_from_elsewhere_at_once() -> None:
    pace = Pace()
    times = looks(pace, 200, [], moving=[TREE])
    assert len(times) < 30
    assert times[:PATIENCE] == pytest.approx([0.2 * n for n in range(PATIENCE)])
    assert pace.wishes(40.0, warm=False, moving=[TREE, Box(0.0, 0.5, 0.1, 0.9)], tracks=[], carried={})


def test_motion_around_somebody_known_is_his() -> None:
    pace = Pace()
    pace.looked(0.0, [], [track()], lambda box: True)
    moving = [BOX.grown(0.2)]
    assert not pace.wishes(0.4, warm=False, moving=moving, tracks=[track()], carried={"t": SURE})
    assert pace.wishes(0.4, warm=False, moving=[TREE], tracks=[track()], carried={"t": SURE})


def test_each_who_is_held_has_his_own_second_and_who_waits_longest_comes_first() -> None:
    pace = Pace()
    pair = [replace(track(), id="a", box=BOX), replace(track(), id="b", box=TREE)]
    asked = {"warm": False, "moving": [], "tracks": pair, "carried": {"a": SURE, "b": SURE}}
    pace.looked(0.0, [], pair, lambda box: True)
    pace.looked(0.6, [], pair, lambda box: box == BOX)
    (first,) = pace.wishes(1.0, **asked)
    assert first.box == TREE
    both = sorted(pace.wishes(1.8, **asked), key=lambda wish: -wish.urgency)
    assert [wish.box for wish in both] == [TREE, BOX]


def test_who_is_not_confirmed_comes_before_who_is_held() -> None:
    unsure = replace(track(confirmed=False), id="u", box=TREE)
    wishes = Pace().wishes(30.0, warm=False, moving=[], tracks=[track(), unsure], carried={"t": SURE})
    assert max(wishes, key=lambda wish: wish.urgency).box == TREE


def street(x: int, y: int) -> Luma:
    """A figure with limbs before a plain wall."""
    picture = np.full((180, 320), 120, np.uint8)
    picture[y : y + 40, x : x + 16] = 40
    picture[y + 4 : y + 12, x + 4 : x + 12] = 200
    picture[y + 24 : y + 40, x + 7 : x + 9] = 120
    return picture


def box_at(x: int, y: int) -> Box:
    return Box(x / 320, y / 180, (x + 16) / 320, (y + 40) / 180)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, 1), (-7, 0), (9, 2)])
def test_a_figure_is_carried_to_where_it_went(dx: int, dy: int) -> None:
    found = carry(street(100, 80), street(100 + dx, 80 + dy), box_at(100, 80))
    assert found.score > 0.9
    assert found.box == pytest.approx(box_at(100 + dx, 80 + dy), abs=0.004)


def test_a_figure_that_is_gone_is_not_carried() -> None:
    empty = np.full((180, 320), 120, np.uint8)
    assert carry(street(100, 80), empty, box_at(100, 80)).score < HELD
    assert carry(empty, empty, box_at(100, 80)).score == 0.0
    assert carry(street(100, 80), street(100, 80)[:90], box_at(100, 80)).score == 0.0


def see(tracker: Tracker, time_s: float, *boxes: Box) -> Changes:
    found = [Detection("person", 0.9, box) for box in boxes]
    return tracker.update(found, START + timedelta(seconds=time_s), time_s)


def test_a_carried_track_is_seen_where_it_was_carried_and_its_velocity_goes_on() -> None:
    tracker = Tracker(threshold=lambda label: 0.5, confirm_frames=1)
    see(tracker, 0.0, BOX)
    (walker,) = tracker.live
    tracker.carry({walker.id: BOX.moved((0.02, 0.0))}, START + timedelta(seconds=0.2), 0.2)
    assert (walker.seen_s, walker.box) == (0.2, BOX.moved((0.02, 0.0)))
    assert walker.velocity[0] == pytest.approx(0.05)
    assert walker.frames == 1


def test_somebody_behind_another_is_waited_for_and_keeps_his_id() -> None:
    tracker = Tracker(threshold=lambda label: 0.5, confirm_frames=1)
    far, near = Box(0.5, 0.4, 0.55, 0.6), Box(0.1, 0.3, 0.25, 0.9)
    for number in range(5):
        see(tracker, number / 5, far, near.moved((0.08 * number, 0.0)))
    walker = next(one.id for one in tracker.live if one.box == far)
    ended = []
    for number in range(5, 16):
        hides = Box(0.42 + 0.001 * number, 0.3, 0.57 + 0.001 * number, 0.9)
        ended += see(tracker, number / 5, hides).ended
    assert not ended
    see(tracker, 3.2, far)
    assert walker in {one.id for one in tracker.live}


def test_somebody_who_is_gone_with_nobody_before_him_has_ended_within_a_second_and_a_half() -> None:
    tracker = Tracker(threshold=lambda label: 0.5, confirm_frames=1)
    see(tracker, 0.0, BOX)
    ended = [(number / 5, see(tracker, number / 5).ended) for number in range(1, 12)]
    assert next(at_s for at_s, tracks in ended if tracks) <= 1.61
