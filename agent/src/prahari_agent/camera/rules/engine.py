"""All rules of one camera at work: a frame's objects go in, what is to be told comes out. No clocks, no pictures.

>>> from prahari_wire.rules import ObjectsInside
>>> everywhere = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
>>> engine = Engine([ObjectsInside(id="gate", name="Gate", region=everywhere)])
>>> [rule for rule, _ in engine._watches]
[ObjectsInside(id='gate', ...)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from prahari_wire import camera as wire
from prahari_wire import rules as config
from prahari_wire.ids import ulid

from prahari_agent.camera.boxes import Box, contains
from prahari_agent.camera.rules.lines import Count, LineWatch
from prahari_agent.camera.rules.objects import Change, Moment, Object, Turn, Watch
from prahari_agent.camera.rules.regions import Against, Dwell, Occupancy
from prahari_agent.camera.rules.schedule import in_force
from prahari_agent.camera.rules.standing import Standing

STILL_MET_S = 60.0
"""A case that lasts is told again this often, so that who looks at it sees its present place and score."""

WATCHES: dict[type, Callable[[Any], Watch]] = {
    config.ObjectsInside: Dwell.inside,
    config.LoiteringDetector: Dwell.loitering,
    config.OccupancyCounter: Occupancy,
    config.Crossed: LineWatch,
    config.WrongDirection: Against,
    config.StationaryObject: Standing.stationary,
    config.ObjectAbandoned: Standing.abandoned,
}


class Told(NamedTuple):
    """``subject``: whom the picture of it should mark; the body carries no snapshot yet."""

    body: wire.RuleEvent
    subject: Object | None


@dataclass
class _Case:
    """What is open under a rule: the last that was told of it."""

    body: wire.RuleEvent
    told_s: float


@dataclass
class _Counted:
    rule: config.LineCounting
    count: Count
    since: datetime | None = None


class Engine:
    """``zone``: of the hours in the rules, the box's own if left out. ``aspect``: the picture's width over its height."""

    def __init__(
        self,
        rules: Sequence[config.AnyRule],
        *,
        masks: Sequence[config.Mask] = (),
        zone: tzinfo | None = None,
    ) -> None:
        self._masks, self._zone = masks, zone
        self._watches = [(rule, WATCHES[type(rule)](rule)) for rule in rules if type(rule) in WATCHES]
        self._counts = [
            _Counted(rule, Count(rule.line)) for rule in rules if isinstance(rule, config.LineCounting)
        ]
        self._cases: dict[tuple[str, str], _Case] = {}

    def change(
        self, rules: Sequence[config.AnyRule], masks: Sequence[config.Mask], at: datetime | None
    ) -> list[Told]:
        """Other rules from now on. One that stays as it is goes on with what it knows; the cases of the others end."""
        fresh = Engine(rules, masks=masks, zone=self._zone)
        watches = {rule.id: (rule, watch) for rule, watch in self._watches if rule in rules}
        counts = {counted.rule.id: counted for counted in self._counts if counted.rule in rules}
        self._masks = masks
        self._watches = [watches.get(rule.id, (rule, watch)) for rule, watch in fresh._watches]
        self._counts = [counts.get(counted.rule.id, counted) for counted in fresh._counts]
        over = {key: case for key, case in self._cases.items() if key[0] not in watches}
        for key in over:
            del self._cases[key]
        return [_ended(case, at) for case in over.values()]

    def see(self, objects: Sequence[Object], at: datetime, now: Moment, *, night: bool) -> list[Told]:
        """``objects``: every confirmed track, also those that this frame did not see. ``at`` is the frame's time."""
        visible = [one for one in objects if not masked(self._masks, one.label, one.box)]
        now = now._replace(everyone=visible)
        local = at.astimezone(self._zone)
        told: list[Told] = []
        for rule, watch in self._watches:
            mine = self._mine(rule, visible, local, night=night)
            changes = watch.look(mine, now)
            told += [self._tell(rule, change, at, now) for change in changes]
            told += self._again(rule, mine, at, now)
        for counted in self._counts:
            counted.since = counted.since or at
            counted.count.look(self._mine(counted.rule, visible, local, night=night), now)
        return told

    def counts(self, at: datetime) -> list[wire.LineCount]:
        """The counts whose time is over; they begin anew."""
        due = []
        for counted in self._counts:
            if counted.since and (at - counted.since).total_seconds() >= counted.rule.every_s:
                due.append(_line_count(counted, counted.since, at))
                counted.since = at
        return due

    def end(self, at: datetime | None = None) -> list[Told]:
        """The camera stops: every case ends, at the time it was told last if no other is given."""
        cases, self._cases = self._cases, {}
        return [_ended(case, at) for case in cases.values()]

    def _mine(
        self, rule: config.RuleBase, objects: Sequence[Object], local: datetime, *, night: bool
    ) -> list[Object]:
        """The objects that are the rule's business now."""
        if not in_force(rule.when, local, night=night):
            return []
        return [
            one
            for one in objects
            if (not rule.classes or one.label in rule.classes) and one.height >= rule.min_height
        ]

    def _tell(self, rule: config.AnyRule, change: Change, at: datetime, now: Moment) -> Told:
        key = rule.id, change.key
        if change.turn is Turn.STARTED:
            body = _started(rule, change, at, now.time_s)
            self._cases[key] = _Case(body, now.time_s)
            return Told(body, change.subject)
        case = self._cases[key]
        phase = wire.RulePhase.ENDED if change.turn is Turn.ENDED else wire.RulePhase.UPDATED
        body = _later(case.body, phase, at, change.subject, change.number)
        if change.turn is Turn.ENDED:
            del self._cases[key]
        else:
            self._cases[key] = _Case(body, now.time_s)
        return Told(body, change.subject)

    def _again(self, rule: config.AnyRule, mine: Sequence[Object], at: datetime, now: Moment) -> list[Told]:
        """Cases of one object that have lasted."""
        told = []
        there = {one.id: one for one in mine}
        for (id, key), case in self._cases.items():
            if id == rule.id and key in there and now.time_s - case.told_s >= STILL_MET_S:
                case.body = _later(case.body, wire.RulePhase.UPDATED, at, there[key])
                case.told_s = now.time_s
                told.append(Told(case.body, there[key]))
        return told


def masked(masks: Sequence[config.Mask], label: str, box: Box) -> bool:
    """Its feet are in a mask for its label."""
    return any(
        (not mask.classes or label in mask.classes) and contains(mask.polygon, box.foot) for mask in masks
    )


def _started(rule: config.AnyRule, change: Change, at: datetime, time_s: float) -> wire.RuleEvent:
    subject = change.subject
    crowd = isinstance(rule, config.OccupancyCounter)
    return wire.RuleEvent(
        phase=wire.RulePhase.STARTED,
        event=ulid(),
        rule=rule.id,
        type=rule.type,
        track=None if crowd else change.key,
        label=subject.label if subject else "",
        score=subject.score if subject else 0.0,
        started_at=at - timedelta(seconds=max(0.0, time_s - change.since_s)),
        seen_at=at,
        box=_box(subject.box) if subject else None,
        box_age_s=subject.age_s if subject else None,
        count=change.number,
        direction=change.direction,
    )


def _ended(case: _Case, at: datetime | None) -> Told:
    return Told(_later(case.body, wire.RulePhase.ENDED, at or case.body.seen_at), None)


def _later(
    body: wire.RuleEvent,
    phase: wire.RulePhase,
    at: datetime,
    subject: Object | None = None,
    count: int | None = None,
) -> wire.RuleEvent:
    """What is told next of the same case; of an object that is gone what was known last."""
    changes: dict[str, object] = {"phase": phase, "seen_at": at, "snapshot": None}
    if subject:
        changes |= {"score": subject.score, "box": _box(subject.box), "box_age_s": subject.age_s}
    if count is not None:
        changes["count"] = count
    return body.model_copy(update=changes)


def _box(box: Box) -> wire.Box:
    left, top, right, bottom = box.clipped()
    return wire.Box(left=left, top=top, right=right, bottom=bottom)


def _line_count(counted: _Counted, since: datetime, until: datetime) -> wire.LineCount:
    counts = [
        wire.LabelCount(label=label, to_right=right, to_left=left)
        for label, (right, left) in counted.count.take().items()
    ]
    return wire.LineCount(rule=counted.rule.id, since=since, until=until, counts=counts)
