"""Which parts of the picture the detector looks at. A picture that the model's input resolves is looked at whole; of a larger one, parts
in the input's own proportions around what asks for a look. A budget of inferences is kept by choosing among them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prahari_agent.camera.boxes import Box, Detection, covered, iou, overlap

WHOLE = Box(0.0, 0.0, 1.0, 1.0)
SPLIT_FROM = 2.5
"""A picture whose sides are this many times the input's, in the geometric mean, is looked at in parts."""
AROUND = 0.35
"""A part is larger than what asks for it by this share of it on each side."""
TOGETHER = 1.5
"""Two parts become one that is at most so many times as high as the larger."""
LEAST_PIXELS = 20.0
"""Lower than this in the model's input an object is not looked for in vain."""
SHOWN = 0.8
"""Share of an object that must lie in a part for it to be looked for there."""
_EDGE = 0.015
_CUT = 0.6
"""What a part's edge cuts off may be a foot: its score counts for so much, and it yields to a whole one that covers this share of it."""
_TILE_ROWS = 2


class Wish(NamedTuple):
    """``box`` None: somewhere in the picture. The larger ``urgency``, the sooner."""

    box: Box | None
    urgency: float


class Budget:
    """At most ``per_second`` inferences, of which those of a second may come at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = self._most = max(1.0, per_second)
        self._at_s: float | None = None

    def left(self, time_s: float) -> int:
        gap_s = 0.0 if self._at_s is None else time_s - self._at_s
        self._at_s = time_s
        self._left = min(self._most, self._left + max(0.0, gap_s) * self._per_second)
        return int(self._left + 1e-6)

    def spend(self, inferences: int) -> None:
        self._left -= inferences


class Crops:
    """``width``, ``height``: the model's input in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._turn = 0

    def splits(self, picture: tuple[int, int]) -> bool:
        """``picture``: width and height in pixels."""
        return picture[0] * picture[1] > SPLIT_FROM**2 * self._width * self._height

    def plan(self, wishes: Sequence[Wish], picture: tuple[int, int], most: int) -> list[Box]:
        """At most ``most`` parts for the most urgent wishes; those that find no place wait and grow more urgent."""
        if not wishes or most < 1:
            return []
        if not self.splits(picture):
            return [WHOLE]
        chosen: dict[Box, list[Box]] = {}
        for wish in sorted(wishes, key=lambda wish: -wish.urgency):
            if wish.box is None:
                if len(chosen) < most:
                    chosen.setdefault(self._somewhere(picture), [])
            elif not any(overlap(wish.box, part) >= 0.98 * wish.box.area for part in _near(chosen)):
                self._place(wish.box, chosen, picture, most)
        return list(chosen)

    def shows(self, part: Box, box: Box, picture: tuple[int, int]) -> bool:
        """Whether an object would be found in a look at this part."""
        if not self.splits(picture):
            return True
        high = (box.bottom - box.top) / max(1e-6, part.bottom - part.top) * self._height
        return high >= LEAST_PIXELS and overlap(part, box.clipped()) >= SHOWN * box.clipped().area

    def _place(self, box: Box, chosen: dict[Box, list[Box]], picture: tuple[int, int], most: int) -> None:
        """Together with a part near by where that stays small, else a part of its own where there is room."""
        own = self._around([box], picture)
        for part, boxes in chosen.items():
            if boxes:
                both = self._around([*boxes, box], picture)
                if _high(both) <= TOGETHER * max(_high(part), _high(own)):
                    del chosen[part]
                    chosen[both] = [*boxes, box]
                    return
        if len(chosen) < most:
            chosen[own] = [box]

    def _around(self, boxes: Sequence[Box], picture: tuple[int, int]) -> Box:
        """The part around all of these, not smaller than the input, in its proportions; the whole where that is too large."""
        wide, high = picture
        left, top = min(box.left for box in boxes), min(box.top for box in boxes)
        right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
        grown = 1 + 2 * AROUND
        rows = max(
            self._height,
            grown * (bottom - top) * high,
            grown * (right - left) * wide * self._height / self._width,
        )
        columns = rows * self._width / self._height
        if rows > high or columns > wide:
            return WHOLE
        x = min(max(0.0, (left + right) / 2 * wide - columns / 2), wide - columns)
        y = min(max(0.0, (top + bottom) / 2 * high - rows / 2), high - rows)
        return Box(x / wide, y / high, (x + columns) / wide, (y + rows) / high)

    def _somewhere(self, picture: tuple[int, int]) -> Box:
        """By turns the whole picture and one of its parts, each once before one comes again."""
        turn, self._turn = self._turn, self._turn + 1
        tiles = self._tiles(picture)
        return WHOLE if turn % 2 == 0 else tiles[turn // 2 % len(tiles)]

    def _tiles(self, picture: tuple[int, int]) -> list[Box]:
        """Parts that cover the picture and overlap a little."""
        high = 1.2 / _TILE_ROWS
        wide = min(1.0, high * picture[1] * self._width / self._height / picture[0])
        columns = max(1, round(1.15 / wide + 0.35))
        return [
            Box(x, y, x + wide, y + high)
            for y in _spread(_TILE_ROWS, 1 - high)
            for x in _spread(columns, 1 - wide)
        ]


def _spread(number: int, last: float) -> list[float]:
    return [last * n / max(1, number - 1) for n in range(number)]


def _near(chosen: Mapping[Box, Sequence[Box]]) -> list[Box]:
    """The parts that were made around something: a look somewhere does not show what is small."""
    return [part for part, boxes in chosen.items() if boxes]


def _high(part: Box) -> float:
    return part.bottom - part.top


def merged(found: Sequence[tuple[Box, Sequence[Detection]]]) -> list[Detection]:
    """What each part showed, in shares of that part, as one list in shares of the picture: each object once, whole where one part showed
    it whole.
    """
    if len(found) == 1 and found[0][0] == WHOLE:
        return list(found[0][1])
    whole: list[Detection] = []
    cut: list[Detection] = []
    for part, detections in found:
        for one in detections:
            placed = one._replace(box=_placed(one.box, part))
            (cut if _is_cut(one.box, part) else whole).append(placed)
    kept: list[Detection] = []
    for one in sorted(whole, key=lambda one: -one.score):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    for one in sorted(cut, key=lambda one: -one.box.area):
        if not any(other.label == one.label and covered(one.box, other.box) > _CUT for other in kept):
            kept.append(one._replace(score=_CUT * one.score))
    return kept


def _same(one: Detection, other: Detection) -> bool:
    return one.label == other.label and (iou(one.box, other.box) > 0.5 or covered(one.box, other.box) > 0.85)


def _placed(box: Box, part: Box) -> Box:
    wide, high = part.right - part.left, part.bottom - part.top
    return Box(
        part.left + box.left * wide,
        part.top + box.top * high,
        part.left + box.right * wide,
        part.top + box.bottom * high,
    )


def _is_cut(box: Box, part: Box) -> bool:
    """It touches an edge of the part that is none of the picture."""
    return (
        (box.left <= _EDGE and part.left > 0)
        or (box.top <= _EDGE and part.top > 0)
        or (box.right >= 1 - _EDGE and part.right < 1)
        or (box.bottom >= 1 - _EDGE and part.bottom < 1)
    )
