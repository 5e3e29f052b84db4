"""What happens on a street, as data: light and rain over time, who goes where, what is wrong with the camera when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prahari_agent.street.actors import Actor
from prahari_agent.street.faults import Fault
from prahari_agent.street.view import Area, GroundLine, View

Course = tuple[tuple[float, float], ...]
"""(second, value) pairs; straight lines between them."""

VIEW = View()

DAY: Course = ((0.0, 1.0),)
DUSK: Course = ((0.0, 0.55),)
NIGHT: Course = ((0.0, 0.0),)
DRY: Course = ((0.0, 0.0),)

AREAS = (
    Area("road", -5.0, 5.0, 12.0, 45.0),
    Area("crossing", -5.0, 5.0, 15.5, 19.5),
    Area("left-path", -7.6, -5.5, 14.5, 30.0),
    Area("right-path", 5.5, 7.6, 14.5, 30.0),
    Area("right-kerb", 2.6, 5.4, 15.0, 34.0),
)
LINES = (GroundLine("stop", (-5.0, 22.0), (5.0, 22.0)), GroundLine("middle", (0.0, 11.5), (0.0, 60.0)))


@dataclass(frozen=True)
class Scenario:
    """``light``: 1 day, 0.5 dusk, 0 night; ``rain``: 0 to 1. The same scenario always gives the same pictures and the same truth."""

    seed: int
    length_s: float
    actors: Sequence[Actor] = ()
    light: Course = DAY
    rain: Course = DRY
    faults: Sequence[Fault] = ()
    fps: float = 10.0
    view: View = VIEW
    areas: Sequence[Area] = AREAS
    lines: Sequence[GroundLine] = LINES
    wind_m: float = 0.06

    @property
    def frames(self) -> int:
        return round(self.length_s * self.fps)


def value_at(course: Course, time_s: float) -> float:
    return float(np.interp(time_s, [at for at, _ in course], [value for _, value in course]))
