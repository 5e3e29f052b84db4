"""Faults of the picture, drawn: how soon each is told, and whether rain, dusk and head-lights are taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

import cv2
import numpy as np
from prahari_agent.camera.content import Content
from prahari_agent.camera.signals import Luma
from prahari_agent.street.faults import Fault, fault
from prahari_agent.street.scenario import Course, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.traffic import traffic
from prahari_wire.camera import ContentFault

from bench.results import Results

START = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
BEGIN_S, END_S, LENGTH_S = 25.0, 45.0, 62.0
FROZEN_S = 10.0
MOST_S, HOUR_S = 15.0, 3600.0
QUALITY = 50
LIGHTS: dict[str, Course] = {"day": ((0.0, 1.0),), "dusk": ((0.0, 0.55),), "night": ((0.0, 0.0),)}
CASES: dict[str, tuple[Fault, ContentFault]] = {
    "frozen": (fault("freeze", BEGIN_S, END_S), ContentFault.FROZEN),
    "lost": (fault("loss", BEGIN_S, END_S), ContentFault.SIGNAL_LOSS),
    "blurred": (fault("blur", BEGIN_S, END_S), ContentFault.IMAGE_TOO_BLURRY),
    "dark": (fault("dark", BEGIN_S, END_S), ContentFault.IMAGE_TOO_DARK),
    "glare": (fault("glare", BEGIN_S, END_S), ContentFault.IMAGE_TOO_BRIGHT),
    "covered": (fault("cover", BEGIN_S, END_S), ContentFault.GLOBAL_SCENE_CHANGE),
    "half covered": (Fault("cover", BEGIN_S, END_S, 0.7), ContentFault.GLOBAL_SCENE_CHANGE),
    "turned": (fault("turn", BEGIN_S, END_S), ContentFault.GLOBAL_SCENE_CHANGE),
    "turned a little": (fault("turn", BEGIN_S, END_S, shift=(0.03, 0.0)), ContentFault.GLOBAL_SCENE_CHANGE),
}


class Said(NamedTuple):
    at_s: float
    fault: ContentFault
    active: bool


def play(scenario: Scenario) -> list[Said]:
    """What is told of a street, its pictures seen through an encoder's blocks, one a second."""
    content = Content(frozen_after_s=FROZEN_S, signal_loss_after_s=FROZEN_S)
    scene, before, heard_s = Scene(scenario), None, 0.0
    told: list[Said] = []
    for number in range(scenario.frames):
        drawn, truth = scene.frame(number)
        time_s = truth.time_s
        at = START + timedelta(seconds=time_s)
        if drawn is None:
            told += [
                Said(time_s, one.fault, one.active) for one in content.silence(at, time_s - heard_s, None)
            ]
            continue
        heard_s = time_s
        same = before is not None and np.array_equal(drawn, before)
        before = drawn
        told += [
            Said(time_s, one.fault, one.active) for one in content.frame(at, time_s, seen(drawn), same=same)
        ]
    return told


def seen(drawn: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Luma:
    coded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    grey = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    return cast("Luma", cv2.resize(grey, (320, 180), interpolation=cv2.INTER_AREA))


def street(length_s: float, light: Course, *faults: Fault, rain: Course = ((0.0, 0.0),)) -> Scenario:
    return Scenario(9, length_s, traffic(9, length_s), light=light, rain=rain, fps=1.0, faults=faults)


def take_faults(results: Results) -> None:
    for name, (spoiled, expected) in CASES.items():
        delays, others, cleared = [], 0, 0
        for light in LIGHTS.values():
            told = play(street(LENGTH_S, light, spoiled))
            delays += [one.at_s - BEGIN_S for one in told if one.fault is expected and one.active][:1]
            others += sum(one.fault is not expected for one in told)
            cleared += any(one.fault is expected and not one.active for one in told)
        found = (
            f"{len(delays)} of {len(LIGHTS)} lights, after {', '.join(f'{delay:.0f}' for delay in delays)} s"
        )
        good = len(delays) == len(LIGHTS) and max(delays) <= MOST_S and not others
        what = f"{expected.value}: {name}, by {', '.join(LIGHTS)}"
        measured = f"{found}; cleared {cleared}, other faults {others}"
        results.row(what, measured, aim=f"≤ {MOST_S:.0f} s, no other", met=good)


def take_hour(results: Results, seconds: float) -> None:
    """From day to night and back to dusk, showers, lamps and head-lights."""
    share = seconds / HOUR_S
    light = tuple(
        (share * at, value) for at, value in ((0, 1.0), (600, 1.0), (1800, 0.0), (2700, 0.0), (3600, 0.5))
    )
    showers = (
        (0, 0.0),
        (300, 0.0),
        (360, 1.0),
        (900, 0.7),
        (960, 0.0),
        (2000, 0.0),
        (2060, 1.0),
        (2500, 0.0),
    )
    rain = tuple((share * at, value) for at, value in showers)
    false = sum(one.active for one in play(street(seconds, light, rain=rain)))
    what = f"false faults in {seconds / 60:.0f} minutes of rain, dusk, night and head-lights, one picture a second"
    results.row(what, str(false), aim="0", met=not false)
