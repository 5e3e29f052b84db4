from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from prahari_agent.camera.boxes import Box, Detection
from prahari_agent.camera.tracker import Changes, Track, Tracker

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP_S = 0.2


def person(left: float, score: float = 0.8, *, top: float = 0.2) -> Detection:
    return Detection("person", score, Box(left, top, left + 0.1, top + 0.5))


def make(confirm_frames: int = 3) -> Tracker:
    return Tracker(threshold=lambda label: 0.5, confirm_frames=confirm_frames)


def play(tracker: Tracker, frames: Iterable[list[Detection]], *, step_s: float = STEP_S) -> list[Changes]:
    return [
        tracker.update(found, START + timedelta(seconds=number * step_s), number * step_s)
        for number, found in enumerate(frames)
    ]


def tracks(tracker: Tracker, changes: list[Changes]) -> list[Track]:
    """Every track that ended, in order of its beginning."""
    ended = [track for change in [*changes, tracker.flush()] for track in change.ended]
    return sorted(ended, key=lambda track: track.started_at)


def test_an_object_is_a_track_once_enough_frames_saw_it() -> None:
    tracker = make(confirm_frames=3)
    changes = play(tracker, [[person(0.1)], [person(0.12)], [person(0.14)], [person(0.16)]])
    assert [len(change.confirmed) for change in changes] == [0, 0, 1, 0]
    assert changes[2].confirmed[0].started_at == START


@pytest.mark.parametrize("frames", [1, 2])
def test_a_false_positive_of_a_frame_or_two_is_no_track(frames: int) -> None:
    tracker = make(confirm_frames=3)
    changes = play(tracker, [[person(0.1)]] * frames + [[]] * 30)
    assert not tracks(tracker, changes)
    assert not any(change.confirmed for change in changes)
    assert not tracker.live


def test_weak_detections_alone_never_begin_a_track_but_keep_one_alive() -> None:
    weak = make()
    assert not tracks(weak, play(weak, [[person(0.1, 0.4)]] * 20))
    kept = make()
    found = tracks(kept, play(kept, [[person(0.1)]] * 10 + [[person(0.1, 0.35)]] * 20 + [[person(0.1)]] * 5))
    assert [track.frames for track in found] == [35]


def test_a_person_who_stands_still_or_is_missed_for_a_second_stays_one_track() -> None:
    tracker = make()
    frames = [[person(0.3)] if number % 7 > 2 else [] for number in range(200)]
    assert len(tracks(tracker, play(tracker, frames))) == 1


def test_passages_with_seconds_of_emptiness_between_them_are_separate_tracks() -> None:
    passage = [[person(0.1 + 0.03 * number)] for number in range(20)]
    empty: list[list[Detection]] = [[]] * 15  # three seconds
    tracker = make()
    found = tracks(tracker, play(tracker, [*passage, *empty, *passage, *empty, *passage]))
    assert [track.frames for track in found] == [20, 20, 20]
    assert len({track.id for track in found}) == 3
    assert found[0].seen_at == START + timedelta(seconds=19 * STEP_S)


@pytest.mark.parametrize("step_s", [0.2, 0.5, 1.5], ids=["5 fps", "2 fps", "frames dropped"])
def test_a_walker_is_one_track_at_any_rate(step_s: float) -> None:
    tracker = make()
    frames = [[person(0.05 + 0.1 * step_s * number)] for number in range(int(8 / step_s))]
    assert len(tracks(tracker, play(tracker, frames, step_s=step_s))) == 1


def test_two_people_who_walk_side_by_side_are_two_tracks() -> None:
    tracker = make()
    frames = [[person(0.1 + 0.02 * number), person(0.35 + 0.02 * number)] for number in range(20)]
    assert [track.frames for track in tracks(tracker, play(tracker, frames))] == [20, 20]


def test_a_second_box_on_the_same_person_begins_no_track() -> None:
    tracker = make(confirm_frames=1)
    whole, half = person(0.3), Detection("person", 0.6, Box(0.31, 0.25, 0.39, 0.55))
    assert len(tracks(tracker, play(tracker, [[whole, half]] * 10))) == 1


def test_a_dog_does_not_continue_a_person() -> None:
    tracker = make()
    dog = Detection("dog", 0.8, person(0.3).box)
    found = tracks(tracker, play(tracker, [[person(0.3)]] * 5 + [[dog]] * 5))
    assert [track.label for track in found] == ["person", "dog"]


def test_the_score_of_a_track_is_the_median_of_its_detections() -> None:
    tracker = make()
    found = tracks(tracker, play(tracker, [[person(0.3, score)] for score in (0.5, 0.9, 0.7, 0.6, 0.8)]))
    assert found[0].score == pytest.approx(0.7)


def test_who_comes_in_is_followed_from_his_first_weak_sight_where_something_moves() -> None:
    def begun(*, moves: bool) -> list[Track]:
        tracker = make()
        for number, score in enumerate((0.4, 0.6, 0.7, 0.7)):
            at_s = number * STEP_S
            found = [person(0.1 + 0.01 * number, score)]
            tracker.update(found, START + timedelta(seconds=at_s), at_s, moving=lambda box: moves)
        return [track for track in tracker.live if track.confirmed]

    assert [track.started_at for track in begun(moves=True)] == [START]
    assert [track.started_at for track in begun(moves=False)] == [START + timedelta(seconds=STEP_S)]


def test_two_weak_sights_do_no_harm_and_weak_ones_alone_are_no_track() -> None:
    def confirmed(*scores: float) -> list[int]:
        tracker = make()
        told = []
        for number, score in enumerate(scores):
            at_s = number * STEP_S
            found = [person(0.1, score)]
            changes = tracker.update(found, START + timedelta(seconds=at_s), at_s, moving=lambda box: True)
            told += [number] * len(changes.confirmed)
        return told

    assert confirmed(0.41, 0.38, 0.63, 0.63) == [3]
    assert confirmed(*[0.4] * 20) == []
    assert confirmed(*[0.4, 0.4, 0.4, 0.4, 0.4, 0.55] * 5) == []


def test_nobody_is_missed_where_the_detector_did_not_look() -> None:
    tracker = make(confirm_frames=1)
    play(tracker, [[person(0.1), person(0.7)]])
    for number in range(1, 6):
        at_s = number * STEP_S
        tracker.update([], START + timedelta(seconds=at_s), at_s, shown=lambda box: box.left < 0.5)
    assert [track.missed for track in sorted(tracker.live, key=lambda one: one.box.left)] == [5, 0]
