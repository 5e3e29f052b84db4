"""What a model's output tensors mean: each kind of export read into boxes, classes and scores. Pure arrays.

ssd_postprocess  four tensors: boxes, classes and scores of the objects found, and how many
yolo             one tensor: for each of thousands of boxes its four numbers, an objectness if it has one, a score for each class
grid             two tensors: for each cell of a grid a score for each class, and the box of the object whose centre it is
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Floats = NDArray[np.float32]
Shape = tuple[int, ...]
Corners = Literal["yxyx", "xyxy"]
Centre = Literal["cxcywh", "cycxhw"]
Part = Literal["boxes", "classes", "scores", "count"]

MOST = 100
"""Objects that a yolo or a grid can name in one picture."""
_CANDIDATES = 300
_DOUBLE = 0.55
"""Boxes of one class that overlap more than this are one object."""


class Found(NamedTuple):
    """``boxes``: (n, 4) left, top, right, bottom in shares of the picture; ``classes`` and ``scores``: (n,)."""

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats


class Wrong(ValueError):
    """The tensors are not what the manifest says; the message names what they are and what they should be."""


class Nonsense(ValueError):
    """A model answered something that cannot be."""


class Reader(Protocol):
    """``most``: how many objects it can name."""

    most: int

    def read(self, tensors: Sequence[Floats], floor: float) -> Found:
        """What is scored ``floor`` or more."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SsdOutput(_Table):
    """``order`` of the four tensors."""

    format: Literal["ssd_postprocess"]
    order: Annotated[list[Part], Field(min_length=4, max_length=4)] = ["boxes", "classes", "scores", "count"]
    box: Corners | Centre = "yxyx"

    def reader(self, shapes: Sequence[Shape], labels: int, size: tuple[int, int]) -> Reader:
        most = next((shape[1] for shape in shapes if len(shape) == 3), 0)
        wanted: dict[Part, Shape] = {
            "boxes": (1, most, 4),
            "classes": (1, most),
            "scores": (1, most),
            "count": (1,),
        }
        if set(self.order) != set(wanted) or list(shapes) != [wanted[part] for part in self.order]:
            raise Wrong(f"{self.format} ({', '.join(self.order)})")
        return _Ssd(self, most)


class YoloOutput(_Table):
    """``objectness``: a number of its own says that there is an object at all; ``unit`` of the boxes: shares of the picture, or
    pixels of the model's input; ``scores``: as they are, or logits.
    """

    format: Literal["yolo"]
    box: Corners | Centre = "cxcywh"
    unit: Literal["shares", "pixels"] = "shares"
    objectness: bool = False
    scores: Literal["shares", "logits"] = "shares"

    def reader(self, shapes: Sequence[Shape], labels: int, size: tuple[int, int]) -> Reader:
        numbers = 4 + self.objectness + labels
        if len(shapes) != 1 or len(shapes[0]) != 3 or numbers not in shapes[0][1:]:
            raise Wrong(f"yolo with {labels} labels, which is one of 1x{numbers}x… or 1x…x{numbers}")
        return _Yolo(self, numbers_first=shapes[0][2] != numbers, size=size)


class GridOutput(_Table):
    """``order`` of the two tensors; ``box``: the centre from the cell's own, in cells, and the logarithms of the size in cells;
    ``scores``: as they are, or logits.
    """

    format: Literal["grid"]
    order: Annotated[list[Literal["scores", "boxes"]], Field(min_length=2, max_length=2)] = [
        "scores",
        "boxes",
    ]
    box: Centre = "cxcywh"
    scores: Literal["shares", "logits"] = "shares"

    def reader(self, shapes: Sequence[Shape], labels: int, size: tuple[int, int]) -> Reader:
        cells = shapes[0][1:3]
        wanted = {"scores": (1, *cells, labels), "boxes": (1, *cells, 4)}
        if set(self.order) != set(wanted) or list(shapes) != [wanted[part] for part in self.order]:
            raise Wrong(f"a grid ({', '.join(self.order)}) with {labels} labels")
        return _Grid(self)


Output = Annotated[SsdOutput | YoloOutput | GridOutput, Field(discriminator="format")]


class _Ssd:
    def __init__(self, output: SsdOutput, most: int) -> None:
        self.most = most
        self._output = output

    def read(self, tensors: Sequence[Floats], floor: float) -> Found:
        part = dict(zip(self._output.order, (one[0] for one in tensors), strict=True))
        count, scores = float(part["count"]), part["scores"]
        if not 0 <= count <= len(scores):
            raise Nonsense(f"{count} objects of at most {len(scores)}")
        kept = np.flatnonzero(scores[: int(count)] >= floor)
        return Found(
            _corners(part["boxes"][kept], self._output.box),
            part["classes"][kept].astype(np.int64),
            scores[kept],
        )


class _Yolo:
    most = MOST

    def __init__(self, output: YoloOutput, *, numbers_first: bool, size: tuple[int, int]) -> None:
        self._output = output
        self._numbers_first = numbers_first
        self._size = size

    def read(self, tensors: Sequence[Floats], floor: float) -> Found:
        numbers = tensors[0][0].T if self._numbers_first else tensors[0][0]
        scores = _shares(numbers[:, 4:], self._output.scores)
        if self._output.objectness:
            scores = scores[:, 1:] * scores[:, :1]
        rows, classes = np.nonzero(scores >= floor)
        boxes = _corners(numbers[rows, :4], self._output.box)
        if self._output.unit == "pixels":
            width, height = self._size
            boxes = np.divide(boxes, (width, height, width, height), dtype=np.float32)
        return _single(Found(boxes, classes, scores[rows, classes]))


class _Grid:
    most = MOST

    def __init__(self, output: GridOutput) -> None:
        self._output = output

    def read(self, tensors: Sequence[Floats], floor: float) -> Found:
        part = dict(zip(self._output.order, (one[0] for one in tensors), strict=True))
        logits = self._output.scores == "logits"
        rows, columns, classes = np.nonzero(
            part["scores"] >= (math.log(floor / (1 - floor)) if logits else floor)
        )
        scores = _shares(part["scores"][rows, columns, classes], self._output.scores)
        down, across = part["scores"].shape[:2]
        numbers = part["boxes"][rows, columns]
        if self._output.box == "cycxhw":
            numbers = numbers[:, (1, 0, 3, 2)]
        middle = np.stack([columns, rows], axis=1) + 0.5 + numbers[:, :2]
        size = np.exp(np.minimum(numbers[:, 2:], 10.0))
        cells = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
        boxes = (cells / np.array((across, down, across, down))).astype(np.float32)
        return _single(Found(boxes, classes, scores))


def _shares(scores: Floats, given: Literal["shares", "logits"]) -> Floats:
    return scores if given == "shares" else np.reciprocal(1 + np.exp(-scores), dtype=np.float32)


def _corners(boxes: Floats, order: Corners | Centre) -> Floats:
    """(n, 4) in any order as left, top, right, bottom."""
    if order in ("yxyx", "cycxhw"):
        boxes = boxes[:, (1, 0, 3, 2)]
    if order in ("yxyx", "xyxy"):
        return boxes
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _single(found: Found) -> Found:
    """The best of those that lie on one another, best first, at most MOST."""
    best = np.argsort(-found.scores, kind="stable")[:_CANDIDATES]
    boxes, classes, scores = found.boxes[best], found.classes[best], found.scores[best]
    kept: list[int] = []
    open_ = np.ones(len(best), bool)
    while len(kept) < MOST and open_.any():
        first = int(open_.argmax())
        kept.append(first)
        open_ &= (classes != classes[first]) | (_overlaps(boxes[first], boxes) <= _DOUBLE)
        open_[first] = False
    return Found(boxes[kept], classes[kept], scores[kept])


def _overlaps(one: Floats, others: Floats) -> Floats:
    """Intersection over union of one box with each of the others."""
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    both = np.maximum(sides, 0).prod(axis=1)
    areas = np.maximum(others[:, 2:] - others[:, :2], 0).prod(axis=1)
    union = areas + np.maximum(one[2:] - one[:2], 0).prod() - both
    shares: Floats = np.divide(both, np.maximum(union, 1e-9), dtype=np.float32)
    return shares
