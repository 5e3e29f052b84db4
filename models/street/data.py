"""From drawn frames to what the network learns from: cut-outs, spoiled pictures, and what each cell should answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import recipe
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Known(NamedTuple):
    """An object in pixels of the network's input; ``number`` of its class, ``asked``: it must be found."""

    number: int
    left: float
    top: float
    right: float
    bottom: float
    asked: bool


class Sample(NamedTuple):
    """``heat``: (rows, columns, classes), 1 in the cell of an object's centre; ``boxes``: (rows, columns, 4), see the network;
    ``weight``: (rows, columns), how much a cell's box counts; ``counted``: (rows, columns), 0 where any answer is right.
    """

    picture: Picture
    heat: Floats
    boxes: Floats
    weight: Floats
    counted: Floats


class Frames:
    """The drawn frames of a folder; what is drawn later is found by ``refresh``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: set[str] = set()
        self.known: list[tuple[Path, list[dict[str, Any]]]] = []

    def refresh(self) -> None:
        for path in sorted(self._folder.glob("*.json")):
            if path.name not in self._done:
                self._done.add(path.name)
                frames = json.loads(path.read_text())
                self.known += [
                    (path.with_name(f"{path.stem}-{number}.jpg"), one) for number, one in enumerate(frames)
                ]


def batches(folder: Path, width: int, height: int, seed: int) -> Iterator[Sample]:
    """Endless batches of ``recipe.BATCH``, each field with one more axis in front."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(seed)
    frames = Frames(folder)
    while True:
        frames.refresh()
        picks = noise.integers(len(frames.known), size=recipe.BATCH)
        samples = [sample(*read(frames.known[pick]), width, height, noise) for pick in picks]
        yield Sample(*(np.stack(field) for field in zip(*samples, strict=True)))


def read(known: tuple[Path, list[dict[str, Any]]]) -> tuple[Picture, list[dict[str, Any]]]:
    picture = cv2.imread(str(known[0]), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture, known[1]


def sample(
    picture: Picture, objects: Sequence[dict[str, Any]], width: int, height: int, noise: np.random.Generator
) -> Sample:
    """One spoiled cut-out of a frame and what is asked of it."""
    window = _window(picture, objects, width, height, noise)
    mirrored = bool(noise.random() < 0.5)
    cut = np.ascontiguousarray(
        _cut(picture, window, width, height)[:, ::-1] if mirrored else _cut(picture, window, width, height)
    )
    known = placed(objects, window, width, height, mirrored=mirrored)
    known = _clutter(cut, known, noise)
    return Sample(_spoiled(cut, noise), *targets(known, width, height))


def whole(picture: Picture) -> Picture:
    """As the agent gives it to the model: the whole frame squeezed."""
    return np.asarray(
        cv2.resize(picture, (recipe.WIDTH, recipe.HEIGHT), interpolation=cv2.INTER_AREA), np.uint8
    )


def _window(
    picture: Picture, objects: Sequence[dict[str, Any]], width: int, height: int, noise: np.random.Generator
) -> tuple[float, float, float, float]:
    """Which part of the frame is shown, in shares of it; the shorter the part, the larger what is in it."""
    if width == recipe.WIDTH and noise.random() < 0.5:
        return 0.0, 0.0, 1.0, 1.0
    shown = math.exp(noise.uniform(math.log(0.45), math.log(1.1)))
    wide = min(1.0, shown * width / recipe.WIDTH)
    high = min(1.0, shown * height / recipe.HEIGHT * math.exp(noise.uniform(-0.12, 0.12)))
    left, top = noise.uniform(0, 1 - wide), noise.uniform(0, 1 - high)
    if objects and noise.random() < 0.8:
        box = objects[int(noise.integers(len(objects)))]["box"]
        left = (box[0] + box[2]) / 2 - wide * noise.uniform(0.15, 0.85)
        top = (box[1] + box[3]) / 2 - high * noise.uniform(0.15, 0.85)
    left, top = min(max(left, 0.0), 1 - wide), min(max(top, 0.0), 1 - high)
    return left, top, left + wide, top + high


def _cut(picture: Picture, window: tuple[float, float, float, float], width: int, height: int) -> Picture:
    rows, columns = picture.shape[:2]
    left, top, right, bottom = window
    part = picture[round(top * rows) : round(bottom * rows), round(left * columns) : round(right * columns)]
    shrinks = part.shape[1] >= width
    return np.asarray(
        cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def placed(
    objects: Sequence[dict[str, Any]],
    window: tuple[float, float, float, float],
    width: int,
    height: int,
    *,
    mirrored: bool = False,
) -> list[Known]:
    """The objects within a window, clipped to it; what is mostly outside is not asked for."""
    across, down = width / (window[2] - window[0]), height / (window[3] - window[1])
    found = []
    for one in objects:
        left, right = (one["box"][0] - window[0]) * across, (one["box"][2] - window[0]) * across
        top, bottom = (one["box"][1] - window[1]) * down, (one["box"][3] - window[1]) * down
        size = max(1e-6, (right - left) * (bottom - top))
        left, right = max(0.0, left), min(float(width), right)
        top, bottom = max(0.0, top), min(float(height), bottom)
        if right - left < 1 or bottom - top < 1:
            continue
        inside = (right - left) * (bottom - top) / size
        asked = (
            one["visible"] >= recipe.LEAST_VISIBLE and inside >= 0.35 and bottom - top >= recipe.LEAST_ROWS
        )
        if mirrored:
            left, right = width - right, width - left
        found.append(Known(recipe.CLASSES.index(one["label"]), left, top, right, bottom, asked))
    return found


def _clutter(picture: Picture, known: list[Known], noise: np.random.Generator) -> list[Known]:
    """Shapes that are nothing, drawn over the picture; an object that one hides is not asked for any more."""
    rows, columns = picture.shape[:2]
    hidden = np.zeros((rows, columns), np.uint8)
    for _ in range(int(noise.choice((0, 0, 1, 2, 4)))):
        centre = noise.uniform(0, 1, 2) * (columns, rows)
        reach = np.exp(noise.uniform(np.log(2), np.log(22), 2)) * (1, noise.uniform(0.5, 3))
        angles = np.sort(noise.uniform(0, 2 * math.pi, int(noise.integers(3, 8))))
        outline = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach
        colour = tuple(int(value) for value in noise.integers(0, 256, 3))
        points = [np.rint(outline).astype(np.int32)]
        cv2.fillPoly(picture, points, colour, cv2.LINE_AA)
        cv2.fillPoly(hidden, points, 255)
    if not hidden.any():
        return known
    return [one._replace(asked=one.asked and _share(hidden, one) < 0.5) for one in known]


def _share(hidden: Picture, one: Known) -> float:
    part = hidden[int(one.top) : math.ceil(one.bottom), int(one.left) : math.ceil(one.right)]
    return float(np.count_nonzero(part)) / max(1, part.size)


def _spoiled(picture: Picture, noise: np.random.Generator) -> Picture:
    """Light, colour, sharpness, grain and coding as cameras differ in them."""
    shown = picture.astype(np.float32)
    if noise.random() < 0.8:
        gain = noise.uniform(0.6, 1.4) * noise.uniform(0.85, 1.15, 3)
        middle = noise.uniform(60, 150)
        shown = (shown - middle) * np.float32(noise.uniform(0.6, 1.4)) + middle
        shown = shown * gain.astype(np.float32) + np.float32(noise.uniform(-20, 20))
    if noise.random() < 0.3:
        shown = 255 * (np.clip(shown, 0, 255) / 255) ** np.float32(math.exp(noise.uniform(-0.6, 0.6)))
    if noise.random() < 0.15:
        shown = shown + (shown.mean(axis=2, keepdims=True) - shown) * np.float32(noise.uniform(0.3, 1))
    if noise.random() < 0.2:
        shown = cv2.GaussianBlur(shown, (0, 0), noise.uniform(0.4, 1.3))
    if noise.random() < 0.5:
        shown = shown + noise.standard_normal(shown.shape, np.float32) * np.float32(noise.uniform(1, 12))
    result = np.clip(shown, 0, 255).astype(np.uint8)
    if noise.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(noise.integers(25, 80))]
        coded = cv2.imencode(".jpg", result, quality)[1]
        result = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return result


def targets(known: Sequence[Known], width: int, height: int) -> tuple[Floats, Floats, Floats, Floats]:
    """What each cell should answer. Nearer objects come later and win a cell that two want."""
    rows, columns = height // recipe.STRIDE, width // recipe.STRIDE
    heat = np.zeros((rows, columns, len(recipe.CLASSES)), np.float32)
    boxes = np.zeros((rows, columns, 4), np.float32)
    weight = np.zeros((rows, columns), np.float32)
    counted = np.ones((rows, columns), np.float32)
    for one in known:
        if not one.asked:
            cells = (np.array([one.top, one.bottom, one.left, one.right]) / recipe.STRIDE).astype(int)
            counted[cells[0] : cells[1] + 1, cells[2] : cells[3] + 1] = 0
    for one in known:
        if one.asked:
            _splat(one, heat, boxes, weight, counted)
    return heat, boxes, weight, counted


def _splat(one: Known, heat: Floats, boxes: Floats, weight: Floats, counted: Floats) -> None:
    """A hill around the object's centre as wide as the object; its boxes count where the hill is high."""
    rows, columns = weight.shape
    x, y = (one.left + one.right) / 2 / recipe.STRIDE, (one.top + one.bottom) / 2 / recipe.STRIDE
    wide, high = (one.right - one.left) / recipe.STRIDE, (one.bottom - one.top) / recipe.STRIDE
    column, row = min(int(x), columns - 1), min(int(y), rows - 1)
    across, down = max(0.35, 0.1 * wide), max(0.35, 0.1 * high)
    reach_x, reach_y = math.ceil(3 * across), math.ceil(3 * down)
    first_row, last_row = max(0, row - reach_y), min(rows, row + reach_y + 1)
    first_column, last_column = max(0, column - reach_x), min(columns, column + reach_x + 1)
    part = np.s_[first_row:last_row, first_column:last_column]
    along_y = np.arange(first_row, last_row, dtype=np.float32)[:, None]
    along_x = np.arange(first_column, last_column, dtype=np.float32)[None, :]
    hill = np.exp(-(((along_x - column) / across) ** 2 + ((along_y - row) / down) ** 2) / 2)
    heat[part][..., one.number] = np.maximum(heat[part][..., one.number], hill)
    counted[row, column] = 1
    near = hill > 0.3
    answer = np.stack(
        np.broadcast_arrays(x - along_x - 0.5, y - along_y - 0.5, math.log(wide), math.log(high)), -1
    )
    boxes[part][near] = answer[near]
    weight[part][near] = (hill / hill[near].sum())[near]
