"""Is the picture fit: the rules on numbers, and each fault on the drawn street."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from prahari_agent.camera.content import GOOD_FRAMES, HOLD_S, Content
from prahari_agent.camera.signals import Luma
from prahari_agent.street.faults import Fault, fault
from prahari_agent.street.scenario import Course, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.traffic import traffic
from prahari_wire.camera import CameraFault, ContentFault

START = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_S, END_S = 25.0, 42.0
"""When the faults of the drawn street last."""


def make(*active: CameraFault) -> Content:
    return Content(frozen_after_s=10, signal_loss_after_s=5, active=active)


def picture(number: int) -> Luma:
    """One with steps in it, and something that moves."""
    drawn = np.full((180, 320), 90, np.uint8)
    drawn[20:60, 40:90] = 200
    drawn[120:170, 200:300] = 20
    x = 10 + 7 * number % 260
    drawn[70:110, x : x + 30] = 160
    return drawn


def frames(content: Content, same: list[bool], begin_s: float = 0.0) -> list[CameraFault]:
    changes, shown = [], 0
    for number, is_same in enumerate(same):
        shown = shown if is_same else number
        time_s = begin_s + number * 0.2
        changes += content.frame(START + timedelta(seconds=time_s), time_s, picture(shown), same=is_same)
    return changes


def test_single_duplicates_as_in_good_video_are_no_fault() -> None:
    assert not frames(make(), [number % 9 == 0 for number in range(500)])


def test_the_same_picture_for_long_is_frozen_once_since_it_began() -> None:
    (fault,) = frames(make(), [False] * 5 + [True] * 100)
    assert (fault.fault, fault.active) == (ContentFault.FROZEN, True)
    assert fault.since == START + timedelta(seconds=0.8)


def test_a_living_picture_clears_frozen_with_its_beginning() -> None:
    content = make()
    raised, cleared = frames(content, [True] * 60 + [False] * 5)
    assert (cleared.fault, cleared.active, cleared.since) == (ContentFault.FROZEN, False, raised.since)
    assert not content.active


def test_a_picture_that_an_encoder_codes_anew_is_frozen_and_a_still_street_with_grain_is_not() -> None:
    grain = np.random.default_rng(1)
    still = picture(0)

    def play(content: Content, *, each: int) -> list[CameraFault]:
        """Every ``each``-th frame is a little different in its pixels."""
        changes, shown = [], still
        for number in range(100):
            anew = number % each == 0
            if anew:
                shown = np.clip(still + grain.normal(0, 2, still.shape), 0, 255).astype(np.uint8)
            at = START + timedelta(seconds=number / 5)
            changes += content.frame(at, number / 5, shown, same=not anew)
        return changes

    assert [change.fault for change in play(make(), each=10)] == [ContentFault.FROZEN]
    assert play(make(), each=1) == []


def test_silence_is_signal_loss_once_and_says_what_the_source_says() -> None:
    content = make()
    assert not content.silence(START, 4.9, "refused")
    (fault,) = content.silence(START, 5.1, "refused")
    assert (fault.fault, fault.active, fault.detail) == (ContentFault.SIGNAL_LOSS, True, "refused")
    assert fault.since == START - timedelta(seconds=5.1)
    assert not content.silence(START, 60, "refused")


def test_a_few_frames_clear_signal_loss() -> None:
    content = make()
    content.silence(START, 6, None)
    changes = frames(content, [False] * GOOD_FRAMES)
    assert [(change.fault, change.active) for change in changes] == [(ContentFault.SIGNAL_LOSS, False)]


def test_one_frame_between_silences_does_not_flap() -> None:
    content = make()
    content.silence(START, 6, None)
    assert not frames(content, [False])
    assert not content.silence(START, 6, None)
    assert not frames(content, [False] * (GOOD_FRAMES - 1))


def test_a_fault_told_before_a_restart_is_not_told_again_but_cleared() -> None:
    told = CameraFault(fault=ContentFault.SIGNAL_LOSS, active=True, since=START)
    content = make(told)
    assert not content.silence(START, 60, None)
    (cleared,) = frames(content, [False] * GOOD_FRAMES)
    assert (cleared.active, cleared.since) == (False, START)


def street(
    *faults: Fault, light: Course = ((0, 1),), rain: Course = ((0, 0),), length_s: float = 58, fps: float = 1
) -> Scenario:
    return Scenario(9, length_s, tuple(traffic(9, length_s)), light=light, rain=rain, fps=fps, faults=faults)


class Film:
    """A street's pictures, seen through an encoder's blocks; each is drawn once. Where no fault holds, they are those of the street
    without faults, as tests of the street show.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._usual = usual(replace(scenario, faults=())) if scenario.faults else self
        self._scene = Scene(scenario)
        self._drawn: dict[int, tuple[Luma, bytes]] = {}

    def frame(self, number: int) -> tuple[Luma, bytes]:
        """Its brightness, and its code."""
        if not any(fault.holds(number / self._scenario.fps) for fault in self._scenario.faults):
            return self._usual.draw(number)
        return self.draw(number)

    def draw(self, number: int) -> tuple[Luma, bytes]:
        if number not in self._drawn:
            coded = cv2.imencode(".jpg", self._scene.picture(number), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
            grey = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
            luma = cv2.resize(grey, (320, 180), interpolation=cv2.INTER_AREA)
            self._drawn[number] = cast("Luma", luma), coded.tobytes()
        return self._drawn[number]


usual = lru_cache(maxsize=3)(Film)


def play(
    scenario: Scenario, content: Content, begin_s: float = 0.0
) -> list[tuple[float, ContentFault, bool]]:
    """(second, fault, begins) of a scenario."""
    film = Film(scenario) if scenario.faults else usual(scenario)
    before, told = b"", []
    for number in range(scenario.frames):
        luma, coded = film.frame(number)
        same, before = coded == before, coded
        time_s = begin_s + number / scenario.fps
        at = START + timedelta(seconds=time_s)
        told += [(time_s, one.fault, one.active) for one in content.frame(at, time_s, luma, same=same)]
    return told


LIGHTS = {"day": 1.0, "night": 0.0}


@pytest.mark.parametrize("light", LIGHTS.values(), ids=LIGHTS)
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (fault("blur", BEGIN_S, END_S), ContentFault.IMAGE_TOO_BLURRY),
        (fault("dark", BEGIN_S, END_S), ContentFault.IMAGE_TOO_DARK),
        (fault("glare", BEGIN_S, END_S), ContentFault.IMAGE_TOO_BRIGHT),
        (fault("cover", BEGIN_S, END_S), ContentFault.GLOBAL_SCENE_CHANGE),
        (Fault("cover", BEGIN_S, END_S, 0.7), ContentFault.GLOBAL_SCENE_CHANGE),
        (fault("turn", BEGIN_S, END_S), ContentFault.GLOBAL_SCENE_CHANGE),
        (fault("turn", BEGIN_S, END_S, shift=(0.03, 0.0)), ContentFault.GLOBAL_SCENE_CHANGE),
        (fault("freeze", BEGIN_S, END_S), ContentFault.FROZEN),
    ],
    ids=["blurred", "dark", "glare", "covered", "half-covered", "turned", "turned a little", "frozen"],
)
def test_each_fault_is_raised_within_fifteen_seconds_alone_and_cleared(
    what: Fault, expected: ContentFault, light: float
) -> None:
    told = play(street(what, light=((0, light),)), make())
    assert [(fault, begins) for _, fault, begins in told] == [(expected, True), (expected, False)]
    raised_s, cleared_s = (at for at, _, _ in told)
    assert BEGIN_S < raised_s <= BEGIN_S + 15
    assert END_S <= cleared_s <= END_S + 15


def test_rain_dusk_lamps_head_lights_and_flicker_raise_nothing() -> None:
    light = ((0, 1.0), (60, 1.0), (420, 0.0), (500, 0.0), (600, 0.4))
    rain = ((0, 0.0), (30, 0.0), (40, 1.0), (200, 0.7), (210, 0.0), (460, 0.0), (470, 1.0))
    flicker = fault("flicker", 100, 130)
    assert play(street(flicker, light=light, rain=rain, length_s=600, fps=0.5), make()) == []


def test_how_the_camera_is_turned_is_said() -> None:
    content, film = make(), Film(street(fault("turn", BEGIN_S, END_S)))
    details = []
    for second in range(58):
        at = START + timedelta(seconds=second)
        told = content.frame(at, second, film.frame(second)[0], same=False)
        details += [one.detail for one in told if one.active]
    assert details == [
        "the camera is turned, its picture moved by +12% and +4%: turn it back, or take this view as right"
    ]


def kept(path: Path, *active: CameraFault, source: str = "rtsp://10.0.0.5/sub") -> Content:
    return Content(frozen_after_s=10, signal_loss_after_s=5, kept=path, source=source, active=active)


def test_the_usual_view_outlives_a_restart_and_a_turned_camera_is_found_after_it(tmp_path: Path) -> None:
    content = kept(tmp_path / "view.npz")
    assert play(street(length_s=30), content) == []
    content.save()
    turned = street(fault("turn", 0, 99), length_s=20)
    assert [told for _, *told in play(turned, kept(tmp_path / "view.npz"), 100)] == [
        [ContentFault.GLOBAL_SCENE_CHANGE, True]
    ]
    assert play(turned, kept(tmp_path / "view.npz", source="rtsp://10.0.0.6/sub"), 100) == []


def test_a_view_that_a_person_takes_as_right_is_no_fault_any_more(tmp_path: Path) -> None:
    content = kept(tmp_path / "view.npz")
    play(street(length_s=30), content)
    turned = street(fault("turn", 0, 99), length_s=40)
    assert len(play(turned, content, 100)) == 1
    content.relearn()
    assert [told for _, *told in play(turned, content, 200)] == [[ContentFault.GLOBAL_SCENE_CHANGE, False]]


def test_a_broken_file_of_the_usual_view_is_learned_anew(tmp_path: Path) -> None:
    (tmp_path / "view.npz").write_bytes(b"PK\x03\x04 not a whole archive")
    assert play(street(length_s=10), kept(tmp_path / "view.npz")) == []


def test_an_ignored_fault_is_never_raised() -> None:
    content = Content(frozen_after_s=10, signal_loss_after_s=5, ignored=[ContentFault.GLOBAL_SCENE_CHANGE])
    assert play(street(fault("turn", BEGIN_S, END_S)), content) == []


def test_a_fault_shorter_than_its_patience_is_not_told() -> None:
    assert play(street(fault("cover", BEGIN_S, BEGIN_S + HOLD_S - 2)), make()) == []


def test_the_picture_says_whether_it_is_night() -> None:
    day, night = make(), make()
    play(street(length_s=5), day)
    play(street(length_s=5, light=((0, 0),)), night)
    assert (day.night, night.night) == (False, True)


def test_a_stream_of_other_proportions_is_learned_anew() -> None:
    content = make()
    play(street(length_s=30), content)
    for number in range(40):
        luma = cv2.resize(picture(number), (240, 180))
        time_s = 100.0 + number
        assert not content.frame(START + timedelta(seconds=time_s), time_s, cast("Luma", luma), same=False)
