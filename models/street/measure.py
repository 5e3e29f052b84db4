"""What the model finds on streets it was not trained on, by class and by light, as the agent reads it: the table of README.md.

Needs the agent alone, nothing of what training needs.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import recipe
import scenes
from prahari_agent.camera.boxes import Box, Detection, iou
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import load_model
from prahari_agent.street.light import Picture
from prahari_agent.street.traffic import busy
from prahari_agent.street.truth import Truth

CONDITIONS = {"day": ("day", 0.0), "dusk": ("dusk", 0.0), "night": ("night", 0.0), "rain": ("day", 0.8)}
IOU = 0.5
LEAST_ROWS = 0.04
"""Objects lower than this share of the picture are neither asked for nor wrong: 14 rows of 360."""
_MARKS = ("<!-- measured -->", "<!-- end -->")
SCORES = (0.2, 0.3, 0.4, 0.5, 0.6)
_USUAL_S = 60.0


class Score(NamedTuple):
    asked: int = 0
    found: int = 0
    false: int = 0

    def plus(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(self, other, strict=True)))

    def shares(self) -> str:
        """Precision and recall."""
        named = self.found + self.false
        return (
            f"{self.found / named if named else 1:.3f} / {self.found / self.asked if self.asked else 1:.3f}"
        )


Table = dict[tuple[str, str, float], Score]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, default=recipe.HERE / f"{recipe.NAME}.toml")
    parser.add_argument("--scenarios", type=int, default=8, help="of each kind of light")
    parser.add_argument("--frames", type=int, default=12, help="of each scenario")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    asked = parser.parse_args()
    detector = Detector(load_model(asked.manifest))
    took_ms: list[float] = []
    told = []
    for title, frames in (
        ("Streets drawn as for the training", scenes.frames),
        ("The agent's own traffic", _usual),
    ):
        table: Table = defaultdict(Score)
        for condition, (light, rain) in CONDITIONS.items():
            for seed in range(recipe.HELD_OUT_SEED, recipe.HELD_OUT_SEED + asked.scenarios):
                for picture, truth in frames(seed, light, rain, asked.frames):
                    _look(detector, picture, truth, condition, table, took_ms)
        told += [
            f"**{title}** ({len(CONDITIONS) * asked.scenarios * asked.frames} frames):",
            "",
            *_lines(detector, table),
            "",
        ]
    told += [
        f"CPU of an inference with its reading, one thread: median {np.median(took_ms):.1f} ms, 95th percentile "
        f"{np.percentile(took_ms, 95):.1f} ms ({_processor()}, {len(took_ms)} frames)."
    ]
    print("\n".join(told))
    if asked.write:
        _write(recipe.HERE / "README.md", told)


def _write(page: Path, told: list[str]) -> None:
    """Between the page's two marks."""
    before, rest = page.read_text().split(_MARKS[0])
    page.write_text("\n".join([before + _MARKS[0], *told, _MARKS[1] + rest.split(_MARKS[1])[1]]))


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _usual(seed: int, light: str, rain: float, count: int) -> Iterator[tuple[Picture, Truth]]:
    """The traffic that the demo and the tests look at."""
    level = {"day": 1.0, "dusk": 0.5, "night": 0.0}[light]
    yield from scenes.spread(busy(seed, _USUAL_S, light=((0.0, level),), rain=((0.0, rain),)), count)


def _look(
    detector: Detector, picture: Picture, truth: Truth, condition: str, table: Table, took_ms: list[float]
) -> None:
    size = (detector.width, detector.height)
    rgb = np.asarray(
        cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB), np.uint8
    )
    began_s = time.thread_time()
    found = detector.detect(rgb)
    took_ms.append((time.thread_time() - began_s) * 1000)
    for label in recipe.CLASSES:
        for least in SCORES:
            score = _compared(
                truth, label, [one for one in found if one.label == label and one.score >= least]
            )
            table[condition, label, least] = table[condition, label, least].plus(score)


def _compared(truth: Truth, label: str, found: list[Detection]) -> Score:
    """Each clear object is found once; a detection that lies on no object of its label at all, clear or not, is false."""
    there = [one for one in truth.seen if one.label == label]
    clear = [one for one in there if one.visible >= 0.5 and one.box[3] - one.box[1] >= LEAST_ROWS]
    left = sorted(found, key=lambda one: -one.score)
    hits = 0
    for one in clear:
        if match := next((other for other in left if iou(other.box, Box(*one.box)) >= IOU), None):
            hits += 1
            left.remove(match)
    false = sum(all(iou(one.box, Box(*other.box)) < IOU for other in there) for one in left)
    return Score(len(clear), hits, false)


def _lines(detector: Detector, table: Table) -> list[str]:
    """Precision / recall of each class by light, and over all lights by score."""
    told = [f"| | {' | '.join(CONDITIONS)} | all | objects |", "|---" * (len(CONDITIONS) + 3) + "|"]
    for label in recipe.CLASSES:
        least = min(SCORES, key=lambda score: abs(score - detector.manifest.threshold(label)))
        cells = [table[condition, label, least] for condition in CONDITIONS]
        total = _summed(table, label, least)
        told.append(f"| {label} | {' | '.join(one.shares() for one in [*cells, total])} | {total.asked} |")
    told += ["", f"| from a score of | {' | '.join(map(str, SCORES))} |", "|---" * (len(SCORES) + 1) + "|"]
    for label in recipe.CLASSES:
        sums = [_summed(table, label, least) for least in SCORES]
        told.append(f"| {label} | {' | '.join(one.shares() for one in sums)} |")
    return told


def _summed(table: Table, label: str, least: float) -> Score:
    total = Score()
    for condition in CONDITIONS:
        total = total.plus(table[condition, label, least])
    return total


if __name__ == "__main__":
    main()
