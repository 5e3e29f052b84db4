"""The truth of a frame, as one line of JSON a frame.

Boxes are the whole extent of an object within the picture, also where something hides a part of it; ``visible`` is the share of
its pixels that can be seen. Where it stands is decided on the ground in metres, never by the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One object in one frame. ``box``: left, top, right, bottom in shares of the picture; ``foot``: its bottom centre."""

    id: int
    kind: str
    label: str
    box: tuple[float, float, float, float]
    foot: tuple[float, float]
    ground: tuple[float, float]
    visible: float
    moving: bool
    areas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crossing:
    """An object went over a line since the frame before; ``direction`` +1 to its right seen from its start, -1 to its left."""

    id: int
    line: str
    direction: int


@dataclass(frozen=True)
class Truth:
    """``shown``: the number of the frame that the picture shows, another one while it is frozen; ``missing``: the camera gave none."""

    number: int
    time_s: float
    shown: int
    missing: bool
    light: float
    rain: float
    faults: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    crossings: tuple[Crossing, ...] = ()

    def line(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def write(path: Path, truths: Iterable[Truth]) -> None:
    with path.open("w") as file:
        file.writelines(truth.line() + "\n" for truth in truths)


def read(path: Path) -> Iterator[Truth]:
    with path.open() as file:
        for line in file:
            yield _truth(json.loads(line))


def _truth(fields: dict[str, Any]) -> Truth:
    seen = tuple(Seen(**_tuples(one)) for one in fields.pop("seen"))
    crossings = tuple(Crossing(**one) for one in fields.pop("crossings"))
    return Truth(**_tuples(fields), seen=seen, crossings=crossings)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON made lists of them."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
