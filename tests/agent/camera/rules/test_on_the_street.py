"""Each rule on the drawn street, its objects taken from the truth: what the rule finds in the picture is what happened on the ground."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from prahari_agent.camera.boxes import Box
from prahari_agent.camera.rules.engine import Engine
from prahari_agent.camera.rules.objects import Moment, Object
from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.scenario import AREAS, LINES, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.scenes import COVERED_S, incidents
from prahari_agent.street.traffic import traffic
from prahari_agent.street.truth import Seen, Truth
from prahari_agent.street.view import Ground, View
from prahari_provisioning.demo import street as demo
from prahari_wire import rules as config
from prahari_wire.camera import RuleEvent, RulePhase
from prahari_wire.events import RULE, parse_body
from prahari_wire.ids import ulid

BEGIN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
AREA = {area.id: area.polygon(View()) for area in AREAS}
LINE = {line.id: line.points(View()) for line in LINES}
EVERY: list[str] = ["person", "two-wheeler", "car", "animal"]
RED = (60, 60, 190)
PASSERS_BY = 100
"""From this id on the scene of incidents has those who came by chance."""


class Street:
    """A scenario's truth as often as a camera looks, as tracks under ids of their own."""

    def __init__(self, scenario: Scenario, fps: float = 5.0) -> None:
        scene = Scene(replace(scenario, fps=fps))
        self.truths: list[Truth] = [scene.truth(number) for number in range(scene.scenario.frames)]
        self.ids = {actor.id: ulid() for actor in scenario.actors}
        self.names = {id: number for number, id in self.ids.items()}

    def objects(self, truth: Truth) -> list[Object]:
        return [Object(self.ids[one.id], one.label, 0.9, Box(*one.box)) for one in truth.seen]

    def play(self, *rules: config.AnyRule, **more: Any) -> list[RuleEvent]:
        engine = Engine(rules, zone=UTC, **more)
        told: list[RuleEvent] = []
        for truth in self.truths:
            at = BEGIN + timedelta(seconds=truth.time_s)
            found = engine.see(self.objects(truth), at, Moment(truth.time_s), night=truth.light < 0.4)
            told += [body for body, _ in found]
        told += [body for body, _ in engine.end()]
        for body in told:
            assert parse_body(RULE, body.model_dump(mode="json")) == body
        return told

    def who(self, told: Sequence[RuleEvent], phase: RulePhase = RulePhase.STARTED) -> list[int]:
        return [self.names[body.track] for body in told if body.phase is phase and body.track]


def times(told: Sequence[RuleEvent], phase: RulePhase) -> list[float]:
    return [(body.seen_at - BEGIN).total_seconds() for body in told if body.phase is phase]


@cache
def busy(light: float = 1.0) -> Street:
    """Two and a half minutes of ordinary traffic."""
    return Street(Scenario(11, 150, traffic(11, 150), light=((0, light),)))


def stays(street: Street, area: str, labels: Sequence[str]) -> dict[int, list[tuple[float, float]]]:
    """When whose feet were in an area, by the ground; feet that were out for a second came back."""
    found: dict[int, list[tuple[float, float]]] = {}
    for truth in street.truths:
        for one in truth.seen:
            if area in one.areas and one.label in labels:
                spells = found.setdefault(one.id, [])
                if spells and truth.time_s - spells[-1][1] <= 1.01:
                    spells[-1] = (spells[-1][0], truth.time_s)
                else:
                    spells.append((truth.time_s, truth.time_s))
    return found


@pytest.mark.parametrize("area", ["road", "crossing", "left-path", "right-path", "right-kerb"])
@pytest.mark.parametrize("labels", [["person"], ["animal"], EVERY], ids=["persons", "animals", "all"])
def test_objects_inside_are_those_whose_feet_were_there_and_no_others(area: str, labels: list[str]) -> None:
    street = busy()
    told = street.play(config.ObjectsInside(id="in", name="In", region=AREA[area], classes=labels))
    truth = stays(street, area, labels)
    assert sorted(street.who(told)) == sorted(id for id, spells in truth.items() for _ in spells)
    assert sorted(times(told, RulePhase.STARTED)) == pytest.approx(
        sorted(begin for spells in truth.values() for begin, _ in spells)
    )


@pytest.mark.parametrize("dwell_s", [2.0, 6.0])
def test_dwelling_counts_from_the_first_moment_inside(dwell_s: float) -> None:
    street = busy()
    told = street.play(config.ObjectsInside(id="in", name="In", region=AREA["crossing"], dwell_s=dwell_s))
    long = [
        begin
        for spells in stays(street, "crossing", ["person"]).values()
        for begin, end in spells
        if end - begin >= dwell_s
    ]
    started = [body for body in told if body.phase is RulePhase.STARTED]
    assert len(long) >= 3
    assert sorted((body.started_at - BEGIN).total_seconds() for body in started) == pytest.approx(
        sorted(long)
    )
    assert all((body.seen_at - body.started_at).total_seconds() >= dwell_s for body in started)


def test_every_case_ends_once_after_the_feet_have_left() -> None:
    street = busy()
    told = street.play(config.ObjectsInside(id="in", name="In", region=AREA["road"], classes=EVERY))
    started = {body.event: body for body in told if body.phase is RulePhase.STARTED}
    ended = [body.event for body in told if body.phase is RulePhase.ENDED]
    assert sorted(started) == sorted(ended)


@pytest.mark.parametrize("line", ["stop", "middle"])
@pytest.mark.parametrize("direction", list(config.Direction))
def test_crossings_are_those_of_the_ground_each_way(line: str, direction: config.Direction) -> None:
    street = busy()
    told = street.play(
        config.Crossed(id="line", name="Line", line=LINE[line], direction=direction, classes=EVERY)
    )
    ways = {1: config.Direction.TO_RIGHT, -1: config.Direction.TO_LEFT}
    truth = [
        (one.id, ways[way])
        for one, way in crossings(street, line)
        if direction in (config.Direction.ANY, ways[way])
    ]
    found = [
        (street.names[body.track or ""], body.direction) for body in told if body.phase is RulePhase.STARTED
    ]
    assert len(truth) >= 5
    assert sorted(found) == sorted(truth)


def crossings(street: Street, line: str) -> list[tuple[Seen, int]]:
    """Who went over it which way, by the ground, from one looked-at frame to the next."""
    on_ground = next(one for one in LINES if one.id == line)
    found: list[tuple[Seen, int]] = []
    before: dict[int, Ground] = {}
    for truth in street.truths:
        ways = [
            (one, on_ground.crossed(before[one.id], one.ground)) for one in truth.seen if one.id in before
        ]
        found += [(one, way) for one, way in ways if way]
        before |= {one.id: one.ground for one in truth.seen}
    return found


def test_counts_are_the_crossings_of_each_label_and_way() -> None:
    street = copy(busy())
    street.truths = [truth for truth in street.truths if truth.time_s <= 120]
    rule = config.LineCounting(id="n", name="N", line=LINE["stop"], classes=EVERY, every_s=60)
    engine = Engine([rule], zone=UTC)
    counted = []
    for truth in street.truths:
        at = BEGIN + timedelta(seconds=truth.time_s)
        engine.see(street.objects(truth), at, Moment(truth.time_s), night=False)
        counted += engine.counts(at)
    assert [(body.until - body.since).total_seconds() for body in counted] == [60, 60]
    totals: dict[str, list[int]] = {}
    for body in counted:
        for one in body.counts:
            total = totals.setdefault(one.label, [0, 0])
            total[0] += one.to_right
            total[1] += one.to_left
    expected: dict[str, list[int]] = {}
    for one, side in crossings(street, "stop"):
        expected.setdefault(one.label, [0, 0])[0 if side > 0 else 1] += 1
    assert totals == expected


def walker(number: int, *stops: tuple[float, float, float], kind: str = "person") -> Actor:
    return Actor(number, kind, tuple(Stop(*stop) for stop in stops), RED)


def test_a_loiterer_is_told_and_who_walks_by_or_waits_less_is_not() -> None:
    street = Street(
        Scenario(
            1,
            100,
            [
                walker(1, (0, 6, 40), (30, 6, 12)),
                walker(2, (5, 9, 20), (10, 6.5, 20), (60, 6.5, 20), (64, 9, 20)),
                walker(3, (5, 9, 25), (8, 6.2, 25), (30, 6.2, 25), (34, 9, 25)),
                walker(4, (40, 7, 18), (58, 7, 18), (59, 8.5, 18), (61, 8.5, 18), (62, 7, 18), (90, 7, 18)),
            ],
        )
    )
    told = street.play(config.LoiteringDetector(id="l", name="L", region=AREA["right-path"], after_s=40))
    assert street.who(told) == [2, 4]
    assert times(told, RulePhase.STARTED)[0] == pytest.approx(10 + 40, abs=3)


def test_a_crowd_begins_when_it_is_large_and_ends_when_it_is_small_without_flicker() -> None:
    arrive = [
        walker(
            n,
            (4 * n, 9, 16 + n),
            (4 * n + 3, 6.5, 16 + n),
            (90 - 4 * n, 6.6, 16 + n),
            (93 - 4 * n, 9, 16 + n),
        )
        for n in range(1, 9)
    ]
    passing = [walker(20 + n, (35 + 3 * n, 9, 29), (39 + 3 * n, 5, 29)) for n in range(4)]
    street = Street(Scenario(1, 100, [*arrive, *passing]))
    rule = config.OccupancyCounter(id="c", name="C", region=AREA["right-path"], most=6, clear=3, for_s=4)
    told = street.play(rule)
    inside = {truth.time_s: sum("right-path" in one.areas for one in truth.seen) for truth in street.truths}
    begin = next(t for t in inside if all(inside.get(round(t + d / 5, 3), 9) >= 6 for d in range(20)))
    phases = [body.phase for body in told]
    assert phases.count(RulePhase.STARTED) == phases.count(RulePhase.ENDED) == 1
    assert times(told, RulePhase.STARTED) == pytest.approx([begin + 4], abs=0.5)
    end_s = times(told, RulePhase.ENDED)[0]
    assert all(inside[t] <= 3 for t in inside if end_s - 4 <= t <= end_s)
    assert all(body.count is not None and body.track is None for body in told)


def test_wrong_way_is_who_drives_against_the_arrow_and_nobody_who_crosses() -> None:
    right = [Actor(n, "scooter", way(7, 6 * n, (2.5 + 0.1 * n, 60), (2.5, 7)), RED) for n in range(1, 6)]
    wrong = [
        Actor(10, "scooter", way(6, 12, (3, 8), (3, 60)), RED),
        Actor(11, "car", way(7, 25, (2, 7), (2.2, 60)), RED),
    ]
    across = [walker(20, (5, -10, 17), (17, 10, 17)), walker(21, (20, 10, 30), (35, -12, 31))]
    street = Street(Scenario(1, 50, [*right, *wrong, *across]))
    arrow = [View().share(2.5, 40), View().share(2.5, 14)]
    lane = [View().share(x, z) for x, z in ((0.2, 12), (0.2, 45), (5, 45), (5, 12))]
    told = street.play(config.WrongDirection(id="w", name="W", region=lane, allowed=arrow, classes=EVERY))
    assert sorted(street.who(told)) == [10, 11]


def test_a_parked_car_encroaches_and_one_that_waits_a_little_does_not() -> None:
    parked = Actor(1, "car", (Stop(0, 3.6, 60), Stop(8, 3.6, 25), Stop(90, 3.6, 25), Stop(96, 3.6, 6)), RED)
    waits = Actor(2, "car", (Stop(0, 3.4, 40), Stop(4, 3.6, 17), Stop(20, 3.6, 17), Stop(24, 3.4, 7)), RED)
    by = [Actor(n, "car", way(8, 10 * n, (2.9, 60), (2.9, 7)), RED) for n in range(3, 8)]
    street = Street(Scenario(1, 110, [parked, waits, *by]))
    told = street.play(
        config.StationaryObject(id="s", name="S", region=AREA["right-kerb"], classes=["car"], after_s=60)
    )
    assert street.who(told) == [1]
    assert times(told, RulePhase.STARTED) == pytest.approx([68], abs=3)
    assert (told[-1].phase, 90 < times(told, RulePhase.ENDED)[0] < 99) == (RulePhase.ENDED, True)


def test_a_parked_car_that_the_tracker_lost_has_stood_there_since_it_came() -> None:
    parked = Actor(1, "car", (Stop(0, 3.6, 25), Stop(100, 3.6, 25)), RED)
    street = Street(Scenario(1, 100, [parked]))
    rule = config.StationaryObject(id="s", name="S", region=AREA["right-kerb"], classes=["car"], after_s=60)
    engine = Engine([rule], zone=UTC)
    started = []
    first, second = ulid(), ulid()
    for truth in street.truths:
        if 20 < truth.time_s < 35:
            continue  # a bus stands before it
        name = first if truth.time_s <= 20 else second
        objects = [one._replace(id=name) for one in street.objects(truth)]
        found = engine.see(
            objects, BEGIN + timedelta(seconds=truth.time_s), Moment(truth.time_s), night=False
        )
        started += [(truth.time_s, body.track) for body, _ in found if body.phase is RulePhase.STARTED]
    assert started == [(60.0, first)]


def test_vehicles_that_pass_over_the_same_spot_one_after_the_other_are_not_one_that_stands_there() -> None:
    passing = [
        Actor(n, "bus" if n % 3 else "car", way(6, 5 * n, (3.4, 60), (3.4, 7)), RED) for n in range(1, 12)
    ]
    street = Street(Scenario(1, 70, passing))
    rule = config.StationaryObject(id="s", name="S", region=AREA["right-kerb"], classes=["car"], after_s=20)
    assert street.play(rule) == []


def test_a_bag_is_abandoned_once_its_owner_has_gone_and_not_while_he_stays() -> None:
    left = [
        walker(1, (0, 9, 18), (4, 6.4, 18), (20, 6.4, 18), (26, 7, 40)),
        Actor(2, "bag", (Stop(5, 6.6, 18), Stop(90, 6.6, 18)), RED),
    ]
    kept = [
        walker(3, (0, 9, 24), (4, 6.4, 24), (85, 6.4, 24), (88, 9, 24)),
        Actor(4, "bag", (Stop(5, 6.7, 24), Stop(85, 6.7, 24)), RED),
    ]
    passers = [walker(10 + n, (10 * n, 7.0, 32), (10 * n + 12, 7.2, 10)) for n in range(3, 6)]
    street = Street(Scenario(1, 90, [*left, *kept, *passers]))
    rule = config.ObjectAbandoned(id="a", name="A", region=AREA["right-path"], classes=[], after_s=20)
    told = street.play(rule)
    assert street.who(told) == [2]
    assert 40 <= times(told, RulePhase.STARTED)[0] <= 46


def test_an_animal_on_the_carriageway_is_told_and_a_masked_place_is_not() -> None:
    cow = Actor(1, "cow", way(0.8, 0, (-7, 20), (0, 20), (0, 20), (8, 20), pause_s=10), RED)
    dog = Actor(2, "dog", way(1.5, 5, (6.5, 14), (6.5, 30)), RED)
    street = Street(Scenario(1, 35, [cow, dog]))
    rule = config.ObjectsInside(
        id="cattle", name="Cattle", region=AREA["road"], classes=["animal"], dwell_s=3
    )
    assert street.who(street.play(rule)) == [1]
    everywhere = config.Mask(polygon=[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)], classes=["animal"])
    assert street.play(rule, masks=[everywhere]) == []


def test_a_rule_that_stays_goes_on_when_others_change_and_one_that_goes_ends_its_cases() -> None:
    person = Object(ulid(), "person", 0.9, Box(0.4, 0.4, 0.45, 0.6))
    everywhere = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    stays = config.LoiteringDetector(id="stays", name="S", region=everywhere, after_s=9)
    goes = config.ObjectsInside(id="goes", name="G", region=everywhere)
    comes = config.ObjectsInside(id="comes", name="C", region=everywhere)
    engine = Engine([stays, goes], zone=UTC)

    def see(time_s: float) -> list[tuple[str, RulePhase]]:
        found = engine.see([person], BEGIN + timedelta(seconds=time_s), Moment(time_s), night=False)
        return [(body.rule, body.phase) for body, _ in found]

    assert [said for second in range(6) for said in see(second)] == [("goes", RulePhase.STARTED)]
    over = engine.change([comes, stays], [], BEGIN + timedelta(seconds=5))
    assert [(body.rule, body.phase) for body, _ in over] == [("goes", RulePhase.ENDED)]
    assert see(6) == [("comes", RulePhase.STARTED)]
    assert [(second, *said) for second in range(7, 12) for said in see(second)] == [
        (9, "stays", RulePhase.STARTED)
    ]


def test_small_objects_and_other_classes_do_not_count() -> None:
    street = busy()
    rule = {"id": "in", "name": "In", "region": AREA["road"]}
    near = street.play(config.ObjectsInside(**rule, classes=["car"], min_height=0.15))
    assert near
    assert all(
        body.box and body.box.bottom - body.box.top >= 0.14
        for body in near
        if body.phase is RulePhase.STARTED
    )
    assert not street.play(config.ObjectsInside(**rule, classes=["train"]))


def test_a_rule_of_the_night_is_silent_by_day_and_ends_its_cases_when_morning_comes() -> None:
    night = config.When(light=config.Light.NIGHT)
    rule = config.ObjectsInside(id="in", name="In", region=AREA["road"], when=night)
    assert busy().play(rule) == []
    still = [walker(1, (0, 0, 20), (40, 0.1, 20))]
    dawn = Street(Scenario(1, 40, still, light=((0, 0), (40, 1))))
    told = dawn.play(rule)
    assert [body.phase for body in told] == [RulePhase.STARTED, RulePhase.ENDED]
    assert times(told, RulePhase.ENDED)[0] == pytest.approx(16, abs=1.5)


def test_a_case_that_lasts_is_told_again_each_minute_under_the_same_id() -> None:
    street = Street(Scenario(1, 150, [walker(1, (0, 6.5, 20), (150, 6.6, 20))]), fps=2)
    told = street.play(config.ObjectsInside(id="in", name="In", region=AREA["right-path"]))
    assert [body.phase for body in told] == [
        RulePhase.STARTED,
        RulePhase.UPDATED,
        RulePhase.UPDATED,
        RulePhase.ENDED,
    ]
    assert len({body.event for body in told}) == 1


def test_feet_that_tremble_on_a_line_or_an_edge_tell_nothing_twice() -> None:
    line = config.Crossed(id="c", name="C", line=[(0.0, 0.5), (1.0, 0.5)], direction=config.Direction.ANY)
    half = config.ObjectsInside(id="i", name="I", region=[(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)])
    engine = Engine([line, half], zone=UTC)
    told, name = [], ulid()
    for number in range(100):
        foot = 0.5 + (0.003 if number % 2 else -0.003) + (0.1 if number >= 80 else 0)
        one = Object(name, "person", 0.9, Box(0.4, foot - 0.2, 0.45, foot))
        at = BEGIN + timedelta(seconds=number / 5)
        told += [body for body, _ in engine.see([one], at, Moment(number / 5), night=False)]
    assert [(body.rule, body.phase) for body in told] == [
        ("i", RulePhase.STARTED),
        ("c", RulePhase.STARTED),
        ("c", RulePhase.ENDED),
    ]


def test_the_demos_rules_are_met_in_the_scene_that_they_are_drawn_for_by_whom_it_was_staged_for() -> None:
    street = Street(incidents(demo.SEED), fps=2)
    told = street.play(*demo.rules())
    started = [body for body in told if body.phase is RulePhase.STARTED]
    who = {(body.rule, street.names[body.track] if body.track else None) for body in started}
    assert who >= {("cattle", 1), ("wrong-way", 2), ("wrong-way", 6), ("loitering", 3), ("crowd", None)}
    assert who >= {("kerb", 4), ("walker", 5)}
    assert len(started) == len(who)
    by_chance = {body.rule for body in started if street.names.get(body.track or "", 0) >= PASSERS_BY}
    assert by_chance <= {"walker"}
    assert max(times(told, RulePhase.STARTED)) < COVERED_S[0], "all is told before the lens is covered"
