"""A scenario's pictures, each with its truth. A frame depends on nothing but the scenario and its number."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple, cast

import cv2
import numpy as np

from prahari_agent.street.actors import KINDS, Actor, Pose
from prahari_agent.street.backdrop import Backdrop
from prahari_agent.street.faults import missing, shown_number, spoil
from prahari_agent.street.light import LAMPS_ON, Picture, gain_at, lamp_share, lit, shine
from prahari_agent.street.scenario import Scenario, value_at
from prahari_agent.street.shapes import Drawn, drawn
from prahari_agent.street.truth import Crossing, Seen, Truth
from prahari_agent.street.view import Ground, View
from prahari_agent.street.weather import Grain, Rain

LEAST_PIXELS = 12
"""What shows fewer pixels is not in the truth: nobody could see what it is."""
_SHIFT = 4
_OUTSIDE = 4000
"""Pixels beyond which a corner is not drawn further: fixed-point numbers are small."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_Outline = np.ndarray[tuple[int, int], np.dtype[np.int32]]


@dataclass(frozen=True)
class _Figure:
    """An actor as it is drawn in this frame. ``extent``: in pixels."""

    actor: Actor
    pose: Pose
    drawn: Drawn
    extent: Box

    @cached_property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        left, top, right, bottom = self.extent
        rows = slice(max(0, math.floor(top)), max(0, math.ceil(bottom) + 2))
        return rows, slice(max(0, math.floor(left)), max(0, math.ceil(right) + 2))

    @cached_property
    def outlines(self) -> list[_Outline]:
        """Of each part, fixed-point."""
        near = np.minimum(np.maximum(self.drawn.corners, -_OUTSIDE), _OUTSIDE)
        fixed = cast("_Outline", np.rint(near * 2**_SHIFT).astype(np.int32))
        ends = accumulate(self.drawn.counts)
        return [fixed[end - count : end] for count, end in zip(self.drawn.counts, ends, strict=True)]


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
        self._marks = np.zeros((scenario.view.height, scenario.view.width), np.uint8)
        times = [(actor.way[0].at_s, actor.way[-1].at_s) for actor in scenario.actors]
        self._there = np.array(times).reshape(-1, 2)
        self._figures = lru_cache(maxsize=3)(self._drawn)  # those of the frame before are asked for again

    def __iter__(self) -> Iterator[tuple[Picture | None, Truth]]:
        for number in range(self.scenario.frames):
            yield self.frame(number)

    def frame(self, number: int) -> tuple[Picture | None, Truth]:
        truth = self.truth(number)
        return (None if truth.missing else self.picture(number)), truth

    @cached_property
    def _sight(self) -> tuple[Backdrop, Grain, Rain]:
        """What a picture needs and its truth does not."""
        view, seed = self.scenario.view, self.scenario.seed
        noise = np.random.default_rng(seed)
        return Backdrop(view, random.Random(seed)), Grain(view, noise), Rain(view, noise)  # noqa: S311

    def truth(self, number: int) -> Truth:
        """The truth alone, sooner than with its picture."""
        scenario, at_s = self.scenario, number / self.scenario.fps
        shown = shown_number(scenario.faults, number, scenario.fps)
        draw = random.Random(scenario.seed * 1_000_003 + number).random()  # noqa: S311
        time_s = shown / scenario.fps
        seen = self._look(self._figures(shown))
        return Truth(
            number=number,
            time_s=at_s,
            shown=shown,
            missing=missing(scenario.faults, number, scenario.fps, draw),
            light=round(value_at(scenario.light, time_s), 3),
            rain=round(value_at(scenario.rain, time_s), 3),
            faults=tuple(fault.name for fault in scenario.faults if fault.holds(at_s)),
            seen=tuple(self._through_camera(one, at_s) for one in seen),
            crossings=self._crossings(number - 1, seen) if shown == number else (),
        )

    def picture(self, number: int) -> Picture:
        """The picture alone, also where the camera does not give it."""
        scenario = self.scenario
        shown = shown_number(scenario.faults, number, scenario.fps)
        time_s = shown / scenario.fps
        now = _Moment(time_s, value_at(scenario.light, time_s), value_at(scenario.rain, time_s))
        backdrop, grain, rain = self._sight
        picture = backdrop.lit(now.level, now.rain)
        backdrop.sway(picture, time_s, scenario.wind_m, gain_at(-7.2, 21.0, now.level))
        self._paint(picture, self._figures(shown), now)
        rain.fall(picture, shown, now.rain, now.level)
        picture = spoil(picture, scenario.faults, number / scenario.fps, number)
        grain.add(picture, shown, now.level)
        return picture

    def _drawn(self, number: int) -> list[_Figure]:
        """Who is there, farthest first."""
        time_s = number / self.scenario.fps
        on_their_way = np.flatnonzero((self._there[:, 0] <= time_s) & (time_s <= self._there[:, 1]))
        actors = [self.scenario.actors[int(one)] for one in on_their_way]
        there = [(actor, pose) for actor in actors if (pose := actor.at(time_s))]
        there.sort(key=lambda one: (-one[1].z, one[0].id))
        return [_figure(actor, pose, self.scenario.view) for actor, pose in there]

    def _paint(self, picture: Picture, figures: Sequence[_Figure], now: _Moment) -> None:
        beams = [(one.pose.x, one.pose.z) for one in figures if _has_lamps(one.actor, now.level)]
        for one in figures:
            others = [beam for beam in beams if beam != (one.pose.x, one.pose.z)]
            gain = gain_at(one.pose.x, one.pose.z, now.level, others)
            _shadow(picture, one, self.scenario.view, now)
            for outline, colour in zip(one.outlines, one.drawn.colours, strict=True):
                cv2.fillPoly(picture, [outline], lit(colour, gain), cv2.LINE_AA, _SHIFT)
            if _has_lamps(one.actor, now.level):
                _lamps(picture, one, self.scenario.view, now)

    def _look(self, figures: Sequence[_Figure]) -> list[Seen]:
        """Who can be seen, and how much of each is not hidden by those in front."""
        self._marks[:] = 0
        whole: list[int] = []
        for number, one in enumerate(figures, start=1):
            for outline in one.outlines:
                cv2.fillPoly(self._marks, [outline], number, cv2.LINE_8, _SHIFT)
            whole.append(self._marked(one, number))
        found = [
            self._seen(one, self._marked(one, number) / whole[number - 1])
            for number, one in enumerate(figures, start=1)
            if whole[number - 1] >= LEAST_PIXELS
        ]
        return [one for one in found if one is not None]

    def _marked(self, one: _Figure, number: int) -> int:
        """Pixels that show the figure now."""
        return int(np.count_nonzero(self._marks[one.window] == number))

    def _seen(self, one: _Figure, visible: float) -> Seen | None:
        box = _box(one, self.scenario.view)
        if box is None:
            return None
        foot = _foot(box)
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

    def _grounds(self, number: int) -> dict[int, Ground]:
        """Where each stood in a frame, as if nothing hid anybody."""
        boxes = ((one.actor.id, _box(one, self.scenario.view)) for one in self._figures(number))
        return {id: self.scenario.view.ground(_foot(box)) for id, box in boxes if box is not None}

    def _crossings(self, before: int, seen: Sequence[Seen]) -> tuple[Crossing, ...]:
        """Of lines since the frame ``before``."""
        grounds = self._grounds(before)
        return tuple(
            Crossing(one.id, line.id, direction)
            for one in seen
            if one.id in grounds
            for line in self.scenario.lines
            if (direction := line.crossed(grounds[one.id], one.ground))
        )

    def _through_camera(self, one: Seen, time_s: float) -> Seen:
        """Where a turned camera shows it; a covered one shows nothing of it."""
        for fault in self.scenario.faults:
            if fault.holds(time_s) and fault.name == "turn":
                x, y = fault.shift
                left, top, right, bottom = one.box
                box = _clip((left + x, top + y, right + x, bottom + y))
                one = Seen(**{**one.__dict__, "box": box, "foot": _foot(box)})
            if fault.holds(time_s) and fault.name == "cover" and one.foot[1] <= fault.amount:
                one = Seen(**{**one.__dict__, "visible": 0.0})
        return one


def _figure(actor: Actor, pose: Pose, view: View) -> _Figure:
    found = drawn(actor, pose, view)
    left, top = np.minimum.reduce(found.corners).tolist()
    right, bottom = np.maximum.reduce(found.corners).tolist()
    return _Figure(actor, pose, found, (left, top, right, bottom))


def _box(one: _Figure, view: View) -> Box | None:
    """The extent in shares of the picture; None for what is outside of it, or a mere sliver at its edge."""
    left, top, right, bottom = one.extent
    box = _clip((left / view.width, top / view.height, right / view.width, bottom / view.height))
    if (box[2] - box[0]) * view.width < 2 or (box[3] - box[1]) * view.height < 3:
        return None
    return box


def _foot(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, box[3]


def _clip(box: Box) -> Box:
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
    left, _, right, bottom = one.extent
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
