"""The real runtime on tiny models written here, and on the real model where there are media."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prahari_agent.camera.boxes import Box
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import ModelRefused, load_model

Write = Callable[..., Path]
GREY = np.full((16, 16, 3), 127, np.uint8)


def sentence(path: Path) -> str:
    model = load_model(path)
    with pytest.raises(ModelRefused) as caught:
        Detector(model)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_detections_carry_label_score_and_box_and_noise_is_left_out(write_model: Write) -> None:
    (found,) = Detector(load_model(write_model())).detect(GREY)
    assert found.label == "person"
    assert found.score == pytest.approx(0.9)
    assert found.box == pytest.approx(Box(left=0.2, top=0.1, right=0.6, bottom=0.5))


def test_the_manifest_says_in_which_order_corners_and_outputs_come(
    write_model: Write, tiny_tflite: Callable[..., bytes], ssd_outputs: Callable[..., list[NDArray[Any]]]
) -> None:
    boxes, classes, scores, count = ssd_outputs(([0.1, 0.2, 0.5, 0.6], 0, 0.9), ([0, 0, 1, 1], 1, 0.1))
    output = 'output = { format = "ssd_postprocess", order = ["scores", "boxes", "count", "classes"], box = "xyxy" }'
    path = write_model(tiny_tflite(scores, boxes, count, classes), output=output)
    (found,) = Detector(load_model(path)).detect(GREY)
    assert (found.label, found.box) == ("person", pytest.approx(Box(0.1, 0.2, 0.5, 0.6)))


def test_a_float_model_gets_normalised_pixels(
    write_model: Write, tiny_tflite: Callable[..., bytes], ssd_outputs: Callable[..., list[NDArray[Any]]]
) -> None:
    content = tiny_tflite(*ssd_outputs(([0, 0, 1, 1], 0, 0.7)), dtype=np.float32)
    path = write_model(content, input='input = { width = 16, height = 16, dtype = "float32" }')
    assert [one.label for one in Detector(load_model(path)).detect(GREY)] == ["person"]


def test_a_model_with_other_outputs_is_refused(write_model: Write, tiny_tflite: Callable[..., bytes]) -> None:
    text = sentence(write_model(tiny_tflite(np.zeros((1, 1001)))))
    assert "has the outputs 1x1001" in text
    assert "ssd_postprocess" in text


def test_a_model_with_another_input_is_refused(
    write_model: Write, tiny_tflite: Callable[..., bytes], ssd_outputs: Callable[..., list[NDArray[Any]]]
) -> None:
    content = tiny_tflite(*ssd_outputs(([0, 0, 1, 1], 0, 0.7)), side=32)
    assert "takes uint8 1x32x32x3" in sentence(write_model(content))


def test_a_file_that_is_no_model_is_refused(write_model: Write) -> None:
    assert "cannot be loaded" in sentence(write_model(b"this is not a model" * 10))


@pytest.mark.parametrize(
    "found",
    [([0.0, 0.0, 1.0, 1.0], 7, 0.7), ([float("nan")] * 4, 0, 0.7)],
    ids=["class without label", "no number"],
)
def test_a_model_that_answers_nonsense_fails_its_self_test(
    write_model: Write,
    tiny_tflite: Callable[..., bytes],
    ssd_outputs: Callable[..., list[NDArray[Any]]],
    found: tuple[list[float], int, float],
) -> None:
    assert "self-test" in sentence(write_model(tiny_tflite(*ssd_outputs(found))))


def test_the_real_model_loads_and_its_self_test_passes(manifest: Path) -> None:
    detector = Detector(load_model(manifest))
    assert (detector.width, detector.height, detector.most_detections) == (300, 300, 10)
    assert detector.model.labels[0] == "person"
