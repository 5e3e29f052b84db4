"""A scenario's pictures, each with its truth. A frame depends on nothing but the scenario and its number."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np

from prahari_agent.street.actors import KINDS, Actor, Pose
from prahari_agent.street.backdrop import Backdrop
from prahari_agent.street.faults import missing, shown_number, spoil
from prahari_agent.street.light import LAMPS_ON, Picture, gain_at, lamp_share, lit, shine
from prahari_agent.street.scenario import Scenario, value_at
from prahari_agent.street.shapes import Part, parts
from prahari_agent.street.truth import Crossing, Seen, Truth
from prahari_agent.street.view import View
from prahari_agent.street.weather import Grain, Rain

LEAST_PIXELS = 12
"""What shows fewer pixels is not in the truth: nobody could see what it is."""
_SHIFT = 4
_OUTSIDE = 4000
"""Pixels beyond which a corner is not drawn further: fixed-point numbers are small."""


class _Figure(NamedTuple):
    """An actor as it is drawn in this frame."""

    actor: Actor
    pose: Pose
    drawn: list[Part]


class _Moment(NamedTuple):
    time_s: float
    level: float
    rain: float


class Scene:
    """``frame(number)`` gives the picture, shape (height, width, 3) BGR, and its truth; None instead of a picture where the camera
    gives none.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._backdrop = Backdrop(scenario.view, random.Random(scenario.seed))  # noqa: S311
        noise = np.random.default_rng(scenario.seed)
        self._grain = Grain(scenario.view, noise)
        self._rain = Rain(scenario.view, noise)
        self._marks = np.zeros((scenario.view.height, scenario.view.width), np.uint8)

    def __iter__(self) -> Iterator[tuple[Picture | None, Truth]]:
        for number in range(self.scenario.frames):
            yield self.frame(number)

    def frame(self, number: int) -> tuple[Picture | None, Truth]:
        truth = self.truth(number)
        return (None if truth.missing else self._picture(number, truth.shown)), truth

    def truth(self, number: int) -> Truth:
        """The truth alone, sooner than with its picture."""
        scenario, at_s = self.scenario, number / self.scenario.fps
        shown = shown_number(scenario.faults, number, scenario.fps)
        draw = random.Random(scenario.seed * 1_000_003 + number).random()  # noqa: S311
        time_s = shown / scenario.fps
        seen = self._look(self._figures(time_s))
        before = {one.id: one for one in self._outlined(time_s - 1 / scenario.fps)} if shown == number else {}
        return Truth(
            number=number,
            time_s=at_s,
            shown=shown,
            missing=missing(scenario.faults, number, scenario.fps, draw),
            light=round(value_at(scenario.light, time_s), 3),
            rain=round(value_at(scenario.rain, time_s), 3),
            faults=tuple(fault.name for fault in scenario.faults if fault.holds(at_s)),
            seen=tuple(self._through_camera(one, at_s) for one in seen),
            crossings=self._crossings(before, seen),
        )

    def _picture(self, number: int, shown: int) -> Picture:
        scenario, time_s = self.scenario, shown / self.scenario.fps
        now = _Moment(time_s, value_at(scenario.light, time_s), value_at(scenario.rain, time_s))
        picture = self._backdrop.lit(now.level, now.rain)
        self._backdrop.sway(picture, time_s, scenario.wind_m, gain_at(-7.2, 21.0, now.level))
        self._paint(picture, self._figures(time_s), now)
        self._rain.fall(picture, shown, now.rain, now.level)
        picture = spoil(picture, scenario.faults, number / scenario.fps, number)
        self._grain.add(picture, shown, now.level)
        return picture

    def _figures(self, time_s: float) -> list[_Figure]:
        """Who is there, farthest first."""
        there = [(actor, pose) for actor in self.scenario.actors if (pose := actor.at(time_s))]
        there.sort(key=lambda one: (-one[1].z, one[0].id))
        return [_Figure(actor, pose, parts(actor, pose, self.scenario.view)) for actor, pose in there]

    def _paint(self, picture: Picture, figures: Sequence[_Figure], now: _Moment) -> None:
        beams = [(one.pose.x, one.pose.z) for one in figures if _has_lamps(one.actor, now.level)]
        for one in figures:
            others = [beam for beam in beams if beam != (one.pose.x, one.pose.z)]
            gain = gain_at(one.pose.x, one.pose.z, now.level, others)
            _shadow(picture, one, self.scenario.view, now)
            for part in one.drawn:
                cv2.fillPoly(picture, [_fixed(part)], lit(part.colour, gain), cv2.LINE_AA, _SHIFT)
            if _has_lamps(one.actor, now.level):
                _lamps(picture, one, self.scenario.view, now)

    def _look(self, figures: Sequence[_Figure]) -> list[Seen]:
        """Who can be seen, and how much of each is not hidden by those in front."""
        self._marks[:] = 0
        whole: list[int] = []
        for number, one in enumerate(figures, start=1):
            for part in one.drawn:
                cv2.fillPoly(self._marks, [_fixed(part)], number, cv2.LINE_8, _SHIFT)
            whole.append(self._marked(one, number))
        found = [
            self._seen(one, self._marked(one, number) / whole[number - 1])
            for number, one in enumerate(figures, start=1)
            if whole[number - 1] >= LEAST_PIXELS
        ]
        return [one for one in found if one is not None]

    def _marked(self, one: _Figure, number: int) -> int:
        """Pixels that show the figure now."""
        left, top, right, bottom = _extent(one.drawn)
        rows = slice(max(0, math.floor(top)), max(0, math.ceil(bottom) + 2))
        columns = slice(max(0, math.floor(left)), max(0, math.ceil(right) + 2))
        return int(np.count_nonzero(self._marks[rows, columns] == number))

    def _seen(self, one: _Figure, visible: float) -> Seen | None:
        box = _box(one.drawn, self.scenario.view)
        if box is None:
            return None
        foot = (box[0] + box[2]) / 2, box[3]
        ground = self.scenario.view.ground(foot)
        return Seen(
            id=one.actor.id,
            kind=one.actor.kind,
            label=one.actor.label,
            box=box,
            foot=foot,
            ground=ground,
            visible=round(visible, 3),
            moving=one.pose.moving,
            areas=tuple(area.id for area in self.scenario.areas if area.holds(ground)),
        )

    def _outlined(self, time_s: float) -> list[Seen]:
        """Who was to be seen at a moment, as if nothing hid anybody."""
        found = [self._seen(one, 1.0) for one in self._figures(time_s)]
        return [one for one in found if one is not None]

    def _crossings(self, before: dict[int, Seen], seen: Sequence[Seen]) -> tuple[Crossing, ...]:
        return tuple(
            Crossing(one.id, line.id, direction)
            for one in seen
            if one.id in before
            for line in self.scenario.lines
            if (direction := line.crossed(before[one.id].ground, one.ground))
        )

    def _through_camera(self, one: Seen, time_s: float) -> Seen:
        """Where a turned camera shows it; a covered one shows nothing of it."""
        for fault in self.scenario.faults:
            if fault.holds(time_s) and fault.name == "turn":
                x, y = fault.shift
                left, top, right, bottom = one.box
                box = _clip((left + x, top + y, right + x, bottom + y))
                foot = (box[0] + box[2]) / 2, box[3]
                one = Seen(**{**one.__dict__, "box": box, "foot": foot})
            if fault.holds(time_s) and fault.name == "cover" and one.foot[1] <= fault.amount:
                one = Seen(**{**one.__dict__, "visible": 0.0})
        return one


def _fixed(part: Part) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return cast(
        "np.ndarray[tuple[int, int], np.dtype[np.int32]]",
        np.rint(np.clip(part.outline, -_OUTSIDE, _OUTSIDE) * 2**_SHIFT).astype(np.int32),
    )


def _extent(drawn: Sequence[Part]) -> tuple[float, float, float, float]:
    points = np.concatenate([part.outline for part in drawn])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _box(drawn: Sequence[Part], view: View) -> tuple[float, float, float, float] | None:
    """The extent in shares of the picture; None for what is outside of it, or a mere sliver at its edge."""
    left, top, right, bottom = _extent(drawn)
    box = _clip((left / view.width, top / view.height, right / view.width, bottom / view.height))
    if (box[2] - box[0]) * view.width < 2 or (box[3] - box[1]) * view.height < 3:
        return None
    return box


def _clip(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(min(1.0, max(0.0, value)), 5) for value in box)
    return left, top, right, bottom


def _has_lamps(actor: Actor, level: float) -> bool:
    return level < LAMPS_ON and KINDS[actor.kind].label in ("car", "two-wheeler")


def _shadow(picture: Picture, one: _Figure, view: View, now: _Moment) -> None:
    """A soft one below everything, a long one where the sun shines."""
    column, row = view.project(one.pose.x, one.pose.z)
    metre = view.focal / one.pose.z * one.actor.size
    kind = KINDS[one.actor.kind]
    half = max(kind.width, kind.length * abs(math.cos(one.pose.heading))) / 2 * metre
    spots = [(column, row, half * 1.1, 0.16 * half + 1)]
    sun = max(0.0, (now.level - 0.65) / 0.35) * (1 - now.rain)
    if sun:
        reach = 0.5 * kind.height * metre
        spots.append((column + reach, row, reach + half * 0.5, 0.16 * half + 1))
    for number, (x, y, wide, high) in enumerate(spots):
        left, right = max(0, math.floor(x - wide)), min(view.width, math.ceil(x + wide) + 1)
        top, bottom = max(0, math.floor(y - high)), min(view.height, math.ceil(y + high) + 1)
        if left >= right or top >= bottom:
            continue
        mask = np.zeros((bottom - top, right - left), np.uint8)
        middle = round((x - left) * 2**_SHIFT), round((y - top) * 2**_SHIFT)
        axes = max(16, round(wide * 2**_SHIFT)), max(16, round(high * 2**_SHIFT))
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, -1, cv2.LINE_8, _SHIFT)
        part = picture[top:bottom, left:right]
        depth = 0.6 if number == 0 else 1 - 0.45 * sun
        cv2.copyTo(cv2.convertScaleAbs(part, alpha=depth), mask, part)


def _lamps(picture: Picture, one: _Figure, view: View, now: _Moment) -> None:
    """Head-lights with their beam on the road where it comes towards the camera, tail lights where it goes."""
    coming = math.sin(one.pose.heading) < 0.2
    left, _, right, bottom = _extent(one.drawn)
    metre = view.focal / one.pose.z
    share = lamp_share(now.level)
    row = bottom - 0.75 * metre
    columns = [left + 0.2 * (right - left), right - 0.2 * (right - left)]
    if KINDS[one.actor.kind].label == "two-wheeler":
        columns = [(left + right) / 2]
    for column in columns:
        size = (1.7 if coming else 0.5) * metre
        shine(picture, column, row, size, size, round((255 if coming else 150) * share), red=not coming)
        if now.rain > 0.1:
            streak = round(110 * share * now.rain)
            shine(picture, column, bottom + 1.2 * metre, 0.5 * metre, 3.5 * metre, streak, red=not coming)
    if coming:
        shine(picture, (left + right) / 2, bottom + 0.5 * metre, 6.0 * metre, 1.8 * metre, round(70 * share))
