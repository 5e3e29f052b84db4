"""Each kind of export gives the same object from its own tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prahari_agent.camera.outputs import MOST, Found, Nonsense, Output, Wrong
from pydantic import TypeAdapter

SIZE = (320, 192)
LEFT, TOP, RIGHT, BOTTOM = 0.2, 0.1, 0.6, 0.5
BOX = pytest.approx((LEFT, TOP, RIGHT, BOTTOM), abs=1e-5)
ORDERS = {
    "xyxy": (LEFT, TOP, RIGHT, BOTTOM),
    "yxyx": (TOP, LEFT, BOTTOM, RIGHT),
    "cxcywh": (0.4, 0.3, 0.4, 0.4),
    "cycxhw": (0.3, 0.4, 0.4, 0.4),
}


def read(fields: dict[str, Any], *tensors: NDArray[Any], labels: int = 4) -> Found:
    output = TypeAdapter[Any](Output).validate_python(fields)
    floats = [tensor.astype(np.float32) for tensor in tensors]
    return output.reader([tensor.shape for tensor in floats], labels, SIZE).read(floats, 0.2)


def one(found: Found) -> tuple[int, float]:
    """Class and score of the only object, which is where it should be."""
    assert len(found.scores) == 1
    assert tuple(found.boxes[0]) == BOX
    return int(found.classes[0]), pytest.approx(float(found.scores[0]), abs=1e-4)


def yolo(box: tuple[float, ...], *scores: float) -> NDArray[Any]:
    """A tensor of 50 boxes, all empty but the eighth."""
    tensor = np.zeros((1, 50, 4 + len(scores)))
    tensor[0, 7] = (*box, *scores)
    return tensor


def grid(
    order: tuple[int, int] = (0, 1), *, score: float = 0.9, empty: float = 0.0
) -> tuple[NDArray[Any], ...]:
    """Tensors of 24 rows and 40 columns whose cell at the centre of the box answers it."""
    scores, boxes = np.full((1, 24, 40, 4), empty), np.zeros((1, 24, 40, 4))
    scores[0, 7, 16, 2] = score
    middle = (0.4 * 40 - 16.5, 0.3 * 24 - 7.5)
    size = (math.log(0.4 * 40), math.log(0.4 * 24))
    boxes[0, 7, 16] = (*(middle[n] for n in order), *(size[n] for n in order))
    return scores, boxes


@pytest.mark.parametrize("order", ORDERS)
def test_an_ssd_says_in_which_order_its_corners_come(order: str) -> None:
    tensors = np.array([[ORDERS[order]]]), np.array([[2]]), np.array([[0.9]]), np.array([1])
    assert one(read({"format": "ssd_postprocess", "box": order}, *tensors)) == (2, 0.9)


def test_an_ssd_that_counts_more_than_it_can_name_answers_nonsense() -> None:
    tensors = np.zeros((1, 10, 4)), np.zeros((1, 10)), np.zeros((1, 10)), np.array([11])
    with pytest.raises(Nonsense):
        read({"format": "ssd_postprocess"}, *tensors)


@pytest.mark.parametrize("order", ORDERS)
def test_a_yolo_is_read_boxes_first_or_numbers_first(order: str) -> None:
    tensor = yolo(ORDERS[order], 0.1, 0.0, 0.9, 0.0)
    for shaped in (tensor, tensor.transpose(0, 2, 1)):
        assert one(read({"format": "yolo", "box": order}, shaped)) == (2, 0.9)


def test_a_yolo_in_pixels_with_objectness_and_logits() -> None:
    pixels = tuple(np.array(ORDERS["cxcywh"]) * (*SIZE, *SIZE))
    tensor = yolo(pixels, math.log(9), -9.0, 0.0, -9.0, -9.0)
    tensor[0, [n for n in range(50) if n != 7], 4:] = -9.0
    fields = {"format": "yolo", "unit": "pixels", "objectness": True, "scores": "logits"}
    assert one(read(fields, tensor)) == (1, pytest.approx(0.45))


@pytest.mark.parametrize(("box", "order"), [("cxcywh", (0, 1)), ("cycxhw", (1, 0))])
def test_a_grid_answers_centres_and_sizes_in_cells(box: str, order: tuple[int, int]) -> None:
    assert one(read({"format": "grid", "box": box}, *grid(order))) == (2, 0.9)


def test_a_grid_of_logits_with_its_boxes_first() -> None:
    scores, boxes = grid(score=math.log(9), empty=-8.0)
    fields = {"format": "grid", "scores": "logits", "order": ["boxes", "scores"]}
    assert one(read(fields, boxes, scores)) == (2, 0.9)


def test_neighbouring_cells_that_answer_one_object_are_one_and_other_classes_stay() -> None:
    tensor = yolo(ORDERS["cxcywh"], 0.0, 0.0, 0.9, 0.0)
    tensor[0, 8] = (0.41, 0.3, 0.4, 0.41, 0.0, 0.0, 0.8, 0.0)
    tensor[0, 9] = (0.4, 0.3, 0.4, 0.4, 0.6, 0.0, 0.0, 0.0)
    tensor[0, 10] = (0.8, 0.7, 0.1, 0.1, 0.0, 0.0, 0.5, 0.0)
    found = read({"format": "yolo"}, tensor)
    assert found.classes.tolist() == [2, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.5])


def test_no_more_than_the_most_are_named() -> None:
    tensor = np.zeros((1, 400, 8))
    tensor[0, :, 0], tensor[0, :, 1] = (np.arange(400) % 20) / 20, (np.arange(400) // 20) / 20
    tensor[0, :, 2:4], tensor[0, :, 4] = 0.01, 0.9
    assert len(read({"format": "yolo"}, tensor).scores) == MOST


def test_nothing_found_is_nothing() -> None:
    assert len(read({"format": "yolo"}, np.zeros((1, 50, 8))).scores) == 0
    assert len(read({"format": "grid"}, np.zeros((1, 6, 10, 4)), np.zeros((1, 6, 10, 4))).scores) == 0


@pytest.mark.parametrize(
    ("fields", "tensors", "says"),
    [
        ({"format": "yolo"}, [np.zeros((1, 9, 50))], "1x8x… or 1x…x8"),
        ({"format": "yolo"}, [np.zeros((1, 8, 50)), np.zeros((1, 8))], "yolo with 4 labels"),
        (
            {"format": "grid"},
            [np.zeros((1, 6, 10, 5)), np.zeros((1, 6, 10, 4))],
            "a grid (scores, boxes) with 4 labels",
        ),
        ({"format": "grid"}, [np.zeros((1, 6, 10, 4)), np.zeros((1, 6, 11, 4))], "a grid"),
        ({"format": "grid"}, [np.zeros((1,))], "a grid"),
        ({"format": "ssd_postprocess"}, [np.zeros((1, 8, 50))], "ssd_postprocess"),
    ],
    ids=[
        "one label too few",
        "two tensors",
        "a class without label",
        "two sizes",
        "one number",
        "another kind",
    ],
)
def test_tensors_that_are_not_what_the_manifest_says_are_named(
    fields: dict[str, Any], tensors: list[NDArray[Any]], says: str
) -> None:
    with pytest.raises(Wrong) as caught:
        read(fields, *tensors)
    assert says in str(caught.value)
