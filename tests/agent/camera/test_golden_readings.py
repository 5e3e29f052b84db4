"""Models that always answer the same, and frames in which just that is to be seen: each wrong reading of them is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prahari_agent import golden
from prahari_agent.camera.boxes import Box
from prahari_agent.camera.manifest import ModelRefused

Write = Callable[..., Path]
PERSON, CAR = Box(0.1, 0.4, 0.2, 0.8), Box(0.5, 0.6, 0.9, 0.8)
LABELS = "person\ntwo-wheeler\ncar\nanimal\n"


@pytest.fixture
def frames() -> Sequence[golden.Golden]:
    picture = np.full((36, 64, 3), 90, np.uint8)
    return [golden.Golden(picture, [("person", PERSON), ("car", CAR)])] * 2


def yolo() -> NDArray[Any]:
    tensor = np.zeros((1, 30, 8))
    for row, box, number in ((3, PERSON, 0), (9, CAR, 2)):
        tensor[0, row, :4] = *box.centre, box.right - box.left, box.bottom - box.top
        tensor[0, row, 4 + number] = 0.9
    return tensor


def grid() -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores as logits, and boxes, of 10 rows and 20 columns."""
    scores, boxes = np.full((1, 10, 20, 4), -6.0), np.zeros((1, 10, 20, 4))
    for box, number in ((PERSON, 0), (CAR, 2)):
        x, y = box.centre[0] * 20, box.centre[1] * 10
        row, column = int(y), int(x)
        size = math.log((box.right - box.left) * 20), math.log((box.bottom - box.top) * 10)
        scores[0, row, column, number] = 3.0
        boxes[0, row, column] = (x - column - 0.5, y - row - 0.5, *size)
    return scores, boxes


def sentence(path: Path, frames: Sequence[golden.Golden]) -> str:
    with pytest.raises(ModelRefused) as caught:
        golden.check(path, frames)
    assert str(caught.value).endswith(".")
    return str(caught.value)


@pytest.fixture
def write_yolo(write_model: Write, tiny_tflite: Callable[..., bytes]) -> Write:
    """The label file has a line before the first label, and the manifest says so."""
    return lambda output, labels=LABELS: write_model(
        tiny_tflite(yolo()), "???\n" + labels, output=f'output = {{ format = "yolo", {output} }}'
    )


@pytest.fixture
def write_grid(write_model: Write, tiny_tflite: Callable[..., bytes]) -> Write:
    return lambda output: write_model(
        tiny_tflite(*grid()), "???\n" + LABELS, output=f'output = {{ format = "grid", {output} }}'
    )


def test_models_that_are_read_rightly_pass(
    write_yolo: Write, write_grid: Write, frames: Sequence[golden.Golden]
) -> None:
    for path in (write_yolo('box = "cxcywh"'), write_grid('scores = "logits"')):
        report = golden.check(path, frames)
        assert {label: (one.asked, one.found, one.false) for label, one in report.labels.items()} == {
            "person": (2, 2, 0),
            "car": (2, 2, 0),
        }
        assert "car: found 2 of 2, 0 false" in report.lines()


@pytest.mark.parametrize("order", ["xyxy", "yxyx", "cycxhw"])
def test_a_yolo_with_another_box_order_is_refused(
    write_yolo: Write, frames: Sequence[golden.Golden], order: str
) -> None:
    text = sentence(write_yolo(f'box = "{order}"'), frames)
    assert "finds 0%" in text
    assert 'and 100% with box = "cxcywh" under [output]: correct that in the manifest.' in text


def test_a_yolo_in_another_unit_is_refused(write_yolo: Write, frames: Sequence[golden.Golden]) -> None:
    assert 'unit = "shares" under [output]' in sentence(write_yolo('unit = "pixels"'), frames)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ('scores = "logits", box = "cycxhw"', 'box = "cxcywh" under [output]'),
        ('scores = "logits", order = ["boxes", "scores"]', 'order = ["scores", "boxes"] under [output]'),
    ],
    ids=["x and y", "tensors"],
)
def test_a_grid_with_another_order_is_refused(
    write_grid: Write, frames: Sequence[golden.Golden], output: str, says: str
) -> None:
    assert says in sentence(write_grid(output), frames)


def test_labels_that_begin_with_another_line_are_refused(
    write_yolo: Write, frames: Sequence[golden.Golden]
) -> None:
    text = sentence(write_yolo('box = "cxcywh"', "animal\nperson\ntwo-wheeler\ncar\n"), frames)
    assert "calls what is 'person' 'animal': its labels are shifted by 1, write offset = 2" in text


def test_labels_in_another_order_are_refused(write_yolo: Write, frames: Sequence[golden.Golden]) -> None:
    assert "in another order" in sentence(
        write_yolo('box = "cxcywh"', "car\nanimal\nperson\ntwo-wheeler\n"), frames
    )


def test_a_model_that_knows_nothing_of_the_frames_asks_for_others(
    write_yolo: Write, frames: Sequence[golden.Golden]
) -> None:
    assert "--frames" in sentence(write_yolo('box = "cxcywh"', "boat\nplane\ntrain\nkite\n"), frames)


def test_a_model_that_finds_too_little_is_refused_with_its_figures(
    write_yolo: Write, frames: Sequence[golden.Golden]
) -> None:
    elsewhere = [one._replace(known=[("person", Box(0.7, 0.1, 0.8, 0.3))]) for one in frames]
    assert "finds 0 of 2 objects of the golden frames" in sentence(write_yolo('box = "cxcywh"'), elsewhere)
