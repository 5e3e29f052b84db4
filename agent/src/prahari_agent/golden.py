"""Is a model read the way it was made: pictures whose objects are known ("golden frames"), run through it.

A label list that begins a line too early, corners in another order or pixels in another range break nothing that can be seen: the model
goes on answering, and what it says is wrong. Here each of these is tried, and the one that explains the pictures better is named.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prahari_agent.camera.boxes import Box, Detection, iou
from prahari_agent.camera.detector import Answer, Detector
from prahari_agent.camera.manifest import Model, ModelRefused, load_model
from prahari_agent.errors import SetupError
from prahari_agent.street.scene import Scene
from prahari_agent.street.traffic import busy
from prahari_agent.street.truth import Seen

SEEDS = (11, 23, 37, 41, 53, 67)
FRAMES_A_SEED = 4
"""Drawn golden frames: by day, of so many streets."""
CLEAR_ROWS, CLEAR_SHARE = 0.1, 0.9
"""What is asked for in a drawn frame: objects at least this high, in shares of the picture, that show at least this much of themselves."""
SAME = 0.5
"""Least overlap (intersection over union) of a found box with a known one."""
LEAST_FOUND = 0.5
"""A model that finds a smaller share of what is asked for cannot be trusted with this view."""
BETTER = 0.15
"""By how much another reading must find more to be the right one."""
RANGES = ((0.0, 1 / 255), (127.5, 1 / 127.5), (0.0, 1.0))
"""(mean, scale) of pixels that models are usually made for."""
_MOST_LABELS = 1000


class Golden(NamedTuple):
    """A picture in red, green, blue, shape (height, width, 3), and what is in it; ``known`` must be found, ``faint`` may be."""

    picture: NDArray[np.uint8]
    known: list[tuple[str, Box]]
    faint: list[tuple[str, Box]] = []


@dataclass
class Figures:
    """What a model found of the objects of one label; ``false``: found where there is nothing of that label."""

    asked: int = 0
    found: int = 0
    false: int = 0


@dataclass
class Report:
    """``ms``: median of an inference with its reading, on this machine, one thread."""

    frames: int
    ms: float
    labels: dict[str, Figures] = field(default_factory=dict)

    def lines(self) -> list[str]:
        told = [f"{self.frames} golden frames, {self.ms:.1f} ms an inference"]
        return told + [
            f"{label}: found {one.found} of {one.asked}, {one.false} false"
            for label, one in self.labels.items()
        ]


class _Looked:
    """What a network answered about each frame, which every manifest may read in its own way; ``ms``: how long each answer took."""

    def __init__(self, detector: Detector, frames: Sequence[Golden]) -> None:
        self.detector, self.frames = detector, frames
        self.ms: list[float] = []
        self._answers = [self._answer(one) for one in frames]

    @property
    def model(self) -> Model:
        return self.detector.model

    def read(self, model: Model) -> Iterator[tuple[Golden, list[Detection]]]:
        """The frames and what they show as the manifest of ``model`` has it; ModelRefused where it cannot be so."""
        if model.manifest.input == self.model.manifest.input:
            detector = self.detector.reread(model)
            return ((one, detector.read(said)) for one, said in zip(self.frames, self._answers, strict=True))
        return _Looked(Detector(model), self.frames).read(model)

    def _answer(self, one: Golden) -> Answer:
        size = (self.detector.width, self.detector.height)
        pixels = np.asarray(cv2.resize(one.picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        began_s = time.perf_counter()
        answer = self.detector.answer(pixels)
        self.ms.append((time.perf_counter() - began_s) * 1000)
        return answer


def check(manifest: Path, frames: Sequence[Golden]) -> Report:
    """The figures of a model that is read rightly; ModelRefused names what is wrong otherwise."""
    model = load_model(manifest)
    name = model.manifest.name
    frames = [
        one._replace(known=[(label, box) for label, box in one.known if label in model.labels])
        for one in frames
    ]
    if not any(one.known for one in frames):
        raise ModelRefused(
            f"none of the labels of the model {name} stands in the golden frames: give frames of your own view with --frames."
        )
    looked = _Looked(Detector(model), frames)
    _check_geometry(looked)
    _check_labels(looked)
    report = _figures(looked)
    asked, found = (sum(getattr(one, part) for one in report.labels.values()) for part in ("asked", "found"))
    if found < LEAST_FOUND * asked:
        raise ModelRefused(
            f"the model {name} finds {found} of {asked} objects of the golden frames, and no other reading of it finds more: "
            "give frames of your own view with --frames, or use a model made for it."
        )
    return report


def drawn() -> list[Golden]:
    """Frames of drawn streets by day, always the same."""
    frames = []
    for seed in SEEDS:
        scene = Scene(busy(seed, 60.0, share=1.5))
        for number in range(FRAMES_A_SEED):
            picture, truth = scene.frame((number * 2 + 1) * scene.scenario.frames // (2 * FRAMES_A_SEED))
            assert picture is not None
            known: list[tuple[str, Box]] = []
            faint: list[tuple[str, Box]] = []
            for one in truth.seen:
                (known if _clear(one) else faint).append((one.label, Box(*one.box)))
            rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            frames.append(Golden(rgb, known, faint))
    return frames


def _clear(one: Seen) -> bool:
    left, top, right, bottom = one.box
    inside = left > 0 and top > 0 and right < 1 and bottom < 1
    return inside and bottom - top >= CLEAR_ROWS and one.visible >= CLEAR_SHARE


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")
    label: str
    box: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=4, max_length=4)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    file: str
    objects: list[_Object]


def from_folder(folder: Path) -> list[Golden]:
    """Pictures with the truth beside them: ``truth.jsonl``, for each picture a line with ``file`` and ``objects`` (``label``, and
    ``box`` as left, top, right, bottom in shares of the picture).
    """
    path = folder / "truth.jsonl"
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SetupError(
            f"{path} cannot be read ({error.strerror}): write a line there for each picture, as the manual describes."
        ) from None
    return [_golden(folder, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _golden(folder: Path, number: int, text: str) -> Golden:
    try:
        line = _Line.model_validate(json.loads(text))
    except (ValidationError, ValueError):
        raise SetupError(
            f'line {number} of {folder / "truth.jsonl"} is wrong: write {{"file": "1.jpg", "objects": [{{"label": "car", '
            '"box": [0.1, 0.2, 0.3, 0.4]}]}, boxes as left, top, right, bottom in shares of the picture.'
        ) from None
    picture = cv2.imread(str(folder / line.file), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise SetupError(f"{folder / line.file} is no picture that can be read: give a JPEG or PNG.")
    return Golden(np.asarray(picture, np.uint8), [(one.label, Box(*one.box)) for one in line.objects])


def _check_geometry(looked: _Looked) -> None:
    """Boxes and pixels: whether objects are found where they are, whatever they are called."""
    model, share = looked.model, _placed(looked, looked.model)
    if share > 1 - BETTER:
        return
    others = [(_placed(looked, other), said) for other, said in _other_readings(model)]
    best, said = max(others, default=(0.0, ""))
    if best >= share + BETTER:
        raise ModelRefused(
            f"the model {model.manifest.name} finds {share:.0%} of the golden frames' objects as its manifest reads it, and {best:.0%} "
            f"with {said}: correct that in the manifest."
        )


def _other_readings(model: Model) -> Iterator[tuple[Model, str]]:
    """The same model as other manifests would read it, and what they say that this one does not."""
    manifest = model.manifest
    fields = type(manifest.output).model_fields
    for name in ("box", "unit", "scores", "order"):
        for value in _choices(name, fields[name].annotation) if name in fields else ():
            if value != getattr(manifest.output, name):
                output = manifest.output.model_copy(update={name: value})
                changed = manifest.model_copy(update={"output": output})
                yield (
                    model.model_copy(update={"manifest": changed}),
                    f"{name} = {json.dumps(value)} under [output]",
                )
    for mean, scale in RANGES if manifest.input.dtype == "float32" else ():
        if (mean, scale) != (manifest.input.mean, manifest.input.scale):
            pixels = manifest.input.model_copy(update={"mean": mean, "scale": scale})
            changed = manifest.model_copy(update={"input": pixels})
            yield (
                model.model_copy(update={"manifest": changed}),
                f"mean = {mean} and scale = {scale:.6g} under [input]",
            )


def _choices(name: str, annotation: Any) -> list[Any]:
    """The values that a field of a manifest's output may have."""
    if name == "order":
        parts = _literals(annotation)
        return [list(order) for order in permutations(parts)]
    return _literals(annotation)


def _literals(annotation: Any) -> list[str]:
    """The values of the Literals within an annotation, in order."""
    return [
        value for one in get_args(annotation) for value in ([one] if isinstance(one, str) else _literals(one))
    ]


def _check_labels(looked: _Looked) -> None:
    """Whether what is found where an object is bears its name."""
    named: Counter[tuple[str, int]] = Counter()
    model = looked.model
    for one, found in looked.read(_nameless(model)):
        for label, box in one.known:
            if (best := _best(found, box)) and best.score >= _least(model):
                named[label, int(best.label)] += 1
    right = sum(count for (label, number), count in named.items() if _name(model, number) == label)
    if 2 * right >= named.total():
        return
    raise ModelRefused(_misnamed(model, named))


def _misnamed(model: Model, named: Counter[tuple[str, int]]) -> str:
    """``named``: how often objects of a label were found as a class."""
    (label, number), _ = named.most_common(1)[0]
    calls = f"the model {model.manifest.name} calls what is {label!r} {_name(model, number) or 'nothing'!r}"
    for by in (-1, 1, -2, 2):
        if 2 * sum(n for (one, at), n in named.items() if _name(model, at + by) == one) > named.total():
            offset = model.manifest.labels.offset + by
            return f"{calls}: its labels are shifted by {abs(by)}, write offset = {offset} under [labels] or correct the label file."
    return f"{calls}: its label file is of another model or in another order, copy the right one."


def _name(model: Model, number: int) -> str:
    return model.labels[number] if 0 <= number < len(model.labels) else ""


def _nameless(model: Model) -> Model:
    """The same model with the numbers of its classes as labels; as many as it has, or enough where it does not say."""
    many = _MOST_LABELS if model.manifest.output.format == "ssd_postprocess" else len(model.labels)
    return model.model_copy(update={"labels": [str(number) for number in range(many)]})


def _least(model: Model) -> float:
    """The score from which some label counts."""
    return min([model.manifest.threshold("default"), *model.manifest.thresholds.values()])


def _placed(looked: _Looked, model: Model) -> float:
    """Share of the known objects that are found where they are, by any name; 0 where the model cannot be read so."""
    try:
        read = looked.read(_nameless(model))
    except ModelRefused:
        return 0.0
    hits = [
        (best := _best(found, box)) is not None and best.score >= _least(model)
        for one, found in read
        for _, box in one.known
    ]
    return sum(hits) / len(hits)


def _best(found: Sequence[Detection], box: Box) -> Detection | None:
    """The best scored detection that lies on a box."""
    on_it = [one for one in found if iou(one.box, box) >= SAME]
    return max(on_it, key=lambda one: one.score, default=None)


def _figures(looked: _Looked) -> Report:
    labels = sorted({label for one in looked.frames for label, _ in one.known})
    report = Report(len(looked.frames), 0.0, {label: Figures() for label in labels})
    took_ms, began_s = [], time.perf_counter()
    for (one, found), ms in zip(looked.read(looked.model), looked.ms, strict=True):
        took_ms.append(ms + (time.perf_counter() - began_s) * 1000)
        for label in labels:
            _count(report.labels[label], label, one, [a for a in found if _counts(looked.detector, a, label)])
        began_s = time.perf_counter()
    report.ms = float(np.median(took_ms))
    return report


def _counts(detector: Detector, one: Detection, label: str) -> bool:
    return one.label == label and one.score >= detector.manifest.threshold(label)


def _count(figures: Figures, label: str, golden: Golden, found: Sequence[Detection]) -> None:
    """Each known object is found once; what lies on none, nor on a faint one, is false."""
    left = sorted(found, key=lambda one: -one.score)
    for _, box in (one for one in golden.known if one[0] == label):
        figures.asked += 1
        if match := next((one for one in left if iou(one.box, box) >= SAME), None):
            figures.found += 1
            left.remove(match)
    there = [box for name, box in [*golden.known, *golden.faint] if name == label]
    figures.false += sum(all(iou(one.box, box) < 0.3 for box in there) for one in left)
