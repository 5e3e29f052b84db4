"""Rules on drawn streets, whose truth is exact: an eye that errs as detectors do, what surely had to be told, and what may have been.

The bench and the tests of the rules share it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from prahari_agent.camera.boxes import Box, Detection, iou
from prahari_agent.camera.rules.engine import Engine
from prahari_agent.camera.rules.objects import Moment, Object
from prahari_agent.camera.tracker import Tracker
from prahari_agent.street.scenario import AREAS, LINES, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.truth import Seen, Truth
from prahari_agent.street.view import View
from prahari_wire import rules as config
from prahari_wire.camera import RuleEvent, RulePhase

BEGIN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
FPS, LENGTH_S = 5.0, 180.0
LABELS: list[str] = ["person", "two-wheeler", "car", "animal"]
AREA = {area.id: area.polygon(View()) for area in AREAS}
LINE = {line.id: line.points(View()) for line in LINES}
SEEN_FROM, LEAST_HEIGHT = 0.45, 0.05
"""An object that shows less of itself, or is smaller, is not asked for."""
STRAY_S = 1.5
_SAME = 0.2


class Told(NamedTuple):
    """``actor`` None: something that is not there."""

    rule: str
    actor: int | None
    time_s: float


def truths_of(scenario: Scenario) -> list[Truth]:
    """As often as a camera looks."""
    scene = Scene(replace(scenario, fps=FPS))
    return [scene.truth(number) for number in range(scene.scenario.frames)]


def could_be_seen(one: Seen) -> bool:
    return one.visible >= SEEN_FROM and one.box[3] - one.box[1] >= LEAST_HEIGHT


def erring(truth: Truth, chance: random.Random) -> list[Detection]:
    """What a detector makes of a frame: boxes tremble, one in ten is missed, and now and then there is something that is not there."""
    found = []
    for one in truth.seen:
        if not could_be_seen(one) or chance.random() < 0.1:
            continue
        wide, high = one.box[2] - one.box[0], one.box[3] - one.box[1]
        across, down = chance.gauss(0, 0.03) * wide, chance.gauss(0, 0.02) * high
        box = Box(*one.box).moved((across, down)).grown(chance.gauss(0, 0.02)).clipped()
        found.append(Detection(one.label, min(1.0, max(0.3, chance.gauss(0.75, 0.1))), box))
    if chance.random() < 0.03:
        x, y = chance.uniform(0, 0.9), chance.uniform(0.3, 0.8)
        found.append(Detection(chance.choice(LABELS), 0.6, Box(x, y, x + 0.06, y + 0.15)))
    return found


def by_truth(truths: Sequence[Truth], rules: Sequence[config.AnyRule], seed: int) -> list[Told]:
    """What begins by the tracker and the rules behind the erring eye."""
    chance = random.Random(seed)
    tracker, engine = Tracker(threshold=lambda label: 0.5), Engine(rules, zone=UTC)
    told: list[Told] = []
    for truth in truths:
        at = BEGIN + timedelta(seconds=truth.time_s)
        tracker.update(erring(truth, chance), at, truth.time_s)
        objects = [
            Object(one.id, one.label, one.score, one.box, one.seen_s == truth.time_s)
            for one in tracker.live
            if one.confirmed
        ]
        found = engine.see(objects, at, Moment(truth.time_s), night=truth.light < 0.4)
        told += [Told(body.rule, who(body, truth), truth.time_s) for body, _ in found if begins(body)]
    return told


def begins(body: RuleEvent) -> bool:
    return body.phase is RulePhase.STARTED


def who(body: RuleEvent, truth: Truth) -> int | None:
    """The actor of its label whom its box covers best."""
    assert body.box is not None
    box = Box(body.box.left, body.box.top, body.box.right, body.box.bottom)
    own = [one for one in truth.seen if one.label == body.label]
    near = max(own, key=lambda one: iou(box, Box(*one.box)), default=None)
    return near.id if near and iou(box, Box(*near.box)) > _SAME else None


def inside(truths: Sequence[Truth], area: str, labels: Sequence[str], dwell_s: float) -> set[int]:
    """Who of these was there, well enough to be seen, for at least so long."""
    since: dict[int, float] = {}
    last: dict[int, float] = {}
    found = set()
    for truth in truths:
        for one in truth.seen:
            if area in one.areas and one.label in labels and could_be_seen(one):
                if truth.time_s - last.get(one.id, float("-inf")) > STRAY_S:
                    since[one.id] = truth.time_s
                last[one.id] = truth.time_s
                if truth.time_s - since[one.id] >= dwell_s:
                    found.add(one.id)
    return found


def crossed(truths: Sequence[Truth], line: str) -> set[int]:
    """Who went over it while seen for a second before and after."""
    on_ground = next(one for one in LINES if one.id == line)
    before: dict[int, Seen] = {}
    ways: dict[int, float] = {}
    frames: dict[int, list[float]] = {}
    for truth in truths:
        for one in truth.seen:
            if could_be_seen(one):
                frames.setdefault(one.id, []).append(truth.time_s)
            if one.id in before and on_ground.crossed(before[one.id].ground, one.ground):
                ways[one.id] = truth.time_s
            before[one.id] = one
    return {id for id, at_s in ways.items() if sum(abs(t - at_s) <= 1.2 for t in frames.get(id, [])) >= 9}


def near_line(one: Seen) -> bool:
    """Near the stop line, whatever way."""
    return 18.0 <= one.ground[1] <= 27.0 and abs(one.ground[0]) <= 5.6
