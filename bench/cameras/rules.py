"""Rules on drawn streets, whose truth is exact: how many of what is told is right, and how much of what happens is told.

Two eyes: the truth's boxes as an erring detector would give them (they tremble, one in ten is missed, and now and then there is
something that is not there), for every rule; and a model on the drawn pictures, coded as H.264, through the agent's whole pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import load_model
from prahari_agent.camera.pipeline import Pipeline
from prahari_agent.camera.source import Address, Source
from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.scenario import DAY, DRY, NIGHT, Course, Scenario
from prahari_agent.street.traffic import traffic
from prahari_agent.street.truth import Truth, read
from prahari_agent.street.view import View
from prahari_agent.street.writer import truth_path, write
from prahari_wire import rules as config
from prahari_wire.camera import CameraConfig, RuleEvent
from prahari_wire.events import RULE

from bench.cameras.judging import (
    AREA,
    FPS,
    LABELS,
    LENGTH_S,
    LINE,
    Told,
    begins,
    by_truth,
    crossed,
    inside,
    near_line,
    truths_of,
    who,
)
from bench.results import Results

FILM_FPS = 10.0
LANE = [View().share(x, z) for x, z in ((0.4, 12), (0.4, 45), (5, 45), (5, 12))]
LIGHTS: dict[str, tuple[Course, Course, float]] = {
    "day": (DAY, DRY, 0.95),
    "night": (NIGHT, DRY, 0.9),
    "rain": (DAY, ((0.0, 1.0),), 0.95),
}
"""Light, rain, and the share to be reached."""
SEEDS = (21, 22, 23, 24)
_RED, _BLUE, _GREY = (60, 60, 190), (160, 90, 40), (110, 110, 115)

RULES: list[config.AnyRule] = [
    config.ObjectsInside(id="inside", name="I", region=AREA["crossing"], classes=LABELS, dwell_s=1.5),
    config.ObjectsInside(id="cattle", name="A", region=AREA["road"], classes=["animal"], dwell_s=3),
    config.LoiteringDetector(id="loitering", name="L", region=AREA["right-path"], after_s=9),
    config.Crossed(id="crossed", name="C", line=LINE["stop"], classes=LABELS),
    config.WrongDirection(
        id="wrong-way", name="W", region=LANE, classes=["car", "two-wheeler"],
        allowed=[View().share(2.5, 40), View().share(2.5, 14)],
    ),
    config.StationaryObject(id="parked", name="S", region=AREA["right-kerb"], classes=["car"], after_s=20),
    config.ObjectAbandoned(id="abandoned", name="B", region=AREA["right-path"], classes=["object"], after_s=20),
]  # fmt: skip


@dataclass
class Tally:
    """``right`` of ``told``; ``met`` of ``all``."""

    right: int = 0
    told: int = 0
    met: int = 0
    all: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, told: Sequence[int | None], surely: set[int], perhaps: set[int]) -> None:
        self.right += sum(actor in perhaps for actor in told)
        self.told += len(told)
        self.met += len(surely & set(told))
        self.all += len(surely)

    def words(self) -> str:
        return f"{self.right}/{self.told}, {self.met}/{self.all}"

    def reaches(self, share: float) -> bool:
        return self.right >= share * self.told and self.met >= share * self.all


def scenario(seed: int, light: Course, rain: Course) -> Scenario:
    """Ordinary traffic, and one of each that it does not bring by itself."""
    staged = [
        Actor(1, "scooter", way(6, 14, (3.2, 8), (3.2, 62)), _BLUE),
        Actor(2, "car", way(6, 120, (2.4, 7), (2.6, 60)), _RED),
        Actor(3, "person", way(1.2, 18, (9, 22), (6.4, 22), (6.4, 22), (9.5, 22), pause_s=30), _RED),
        Actor(4, "car", (Stop(42, 3.9, 62), Stop(50, 4.0, 24), Stop(95, 4.0, 24), Stop(101, 3.6, 6)), _GREY),
        Actor(5, "person", way(1.2, 108, (9, 15), (6.4, 15), (6.4, 15), (9.5, 15), pause_s=2), _BLUE),
        Actor(6, "bag", (Stop(113, 6.3, 15), Stop(LENGTH_S, 6.3, 15)), (40, 40, 120)),
        Actor(7, "cow", way(0.7, 70, (-8, 20), (-1, 20.5), (-1, 20.5), (9, 21), pause_s=8), (150, 165, 180)),
    ]
    return Scenario(seed, LENGTH_S, [*staged, *traffic(seed, LENGTH_S, first_id=100)], light=light, rain=rain)


def by_model(video: Path, truths: Sequence[Truth], manifest: Path) -> tuple[list[Told], int]:
    """The whole pipeline on the film, and how many inferences it made."""
    rules = [rule for rule in RULES if rule.id != "abandoned"]
    pipeline = Pipeline(CameraConfig(source=str(video), rules=rules), Detector(load_model(manifest)))
    told: list[Told] = []
    first_s: float | None = None
    for frame in Source(Address.of(str(video)), fps=FPS, loop=False, realtime=False).frames():
        first_s = frame.time_s if first_s is None else first_s
        time_s = frame.time_s - first_s
        truth = truths[min(len(truths) - 1, round(time_s * FPS))]
        bodies = [event.body for event in pipeline.see(frame) if event.kind == RULE]
        told += [
            Told(body.rule, who(body, truth), time_s)
            for body in bodies
            if isinstance(body, RuleEvent) and begins(body)
        ]
    return told, pipeline.counters.inferences


def judge(truths: Sequence[Truth], told: Sequence[Told], tallies: dict[str, Tally]) -> None:
    """Who surely had to be told, well seen and for long enough, and who may have been."""
    stood = {"parked": {4}, "abandoned": {6}, "wrong-way": {1, 2}}
    surely = {
        "inside": inside(truths, "crossing", LABELS, 2.1),
        "cattle": inside(truths, "road", ["animal"], 3.6),
        "loitering": inside(truths, "right-path", ["person"], 9.6),
        "crossed": crossed(truths, "stop"),
        **stood,
    }
    perhaps = {
        "inside": inside(truths, "crossing", LABELS, 0.5),
        "cattle": inside(truths, "road", ["animal"], 2.0),
        "loitering": inside(truths, "right-path", ["person"], 6.0),
        "crossed": {one.id for truth in truths for one in truth.seen if near_line(one)},
        **stood,
    }
    for rule, tally in tallies.items():
        tally.add([one.actor for one in told if one.rule == rule], surely[rule], perhaps[rule])


def tallies(*, without: Sequence[str] = ()) -> dict[str, Tally]:
    return {rule.id: Tally() for rule in RULES if rule.id not in without}


def take_truth(results: Results) -> None:
    """Every rule behind the erring detector, four streets."""
    counts = tallies()
    for seed in SEEDS:
        truths = truths_of(scenario(seed, DAY, DRY))
        judge(truths, by_truth(truths, RULES, seed), counts)
    for rule, tally in counts.items():
        what = f"rule {rule}, truth's boxes with errors, {len(SEEDS)} streets of {LENGTH_S:.0f} s: precision, recall"
        results.row(what, tally.words(), aim="≥ 0.95 each", met=tally.reaches(0.95))


def take_model(results: Results, manifest: Path, folder: Path, seeds: Sequence[int]) -> None:
    """The model's eyes by each light."""
    for light in LIGHTS:
        results.take(light, partial(_by_light, results, manifest, folder, seeds, light))


def _by_light(results: Results, manifest: Path, folder: Path, seeds: Sequence[int], light: str) -> None:
    course, rain, share = LIGHTS[light]
    counts, inferences = tallies(without=["abandoned"]), 0
    for seed in seeds:
        video = write(folder / f"{light}-{seed}.mp4", scenario(seed, course, rain))
        truths = list(read(truth_path(video)))[:: round(FILM_FPS / FPS)]
        told, made = by_model(video, truths, manifest)
        inferences += made
        judge(truths, told, counts)
        video.unlink()
    for rule, tally in counts.items():
        what = (
            f"rule {rule}, {light}, model {manifest.stem}, {len(seeds)} × {LENGTH_S:.0f} s: precision, recall"
        )
        results.row(what, tally.words(), aim=f"≥ {share} each", met=tally.reaches(share))
    looks = inferences / (len(seeds) * LENGTH_S)
    results.row(f"inferences a second, {light}, model {manifest.stem}", f"{looks:.2f}")
