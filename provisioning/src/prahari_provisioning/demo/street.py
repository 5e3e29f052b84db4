"""What the demo's first camera watches for: rules drawn over the street of ``prahari-agent clip --scene incidents``."""

from __future__ import annotations

from prahari_wire.base import Severity
from prahari_wire.rules import (
    AnyRule,
    LoiteringDetector,
    ObjectsInside,
    OccupancyCounter,
    Point,
    StationaryObject,
    WrongDirection,
)

SCENE, SEED = "incidents", 1
CARRIAGEWAY: list[Point] = [(0.185, 0.933), (0.402, 0.505), (0.598, 0.505), (0.815, 0.933)]
LANE: list[Point] = [(0.528, 0.933), (0.509, 0.505), (0.601, 0.505), (0.822, 0.933)]
"""Traffic drives on the left: what is on the right of the picture comes towards the camera."""
TOWARDS: list[Point] = [(0.561, 0.527), (0.656, 0.867)]
BEYOND_CROSSING: list[Point] = [(0.321, 0.681), (0.389, 0.54), (0.611, 0.54), (0.679, 0.681)]
LEFT_PATH: list[Point] = [(0.017, 0.847), (0.267, 0.57), (0.34, 0.57), (0.168, 0.847)]
RIGHT_PATH: list[Point] = [(0.832, 0.847), (0.66, 0.57), (0.728, 0.57), (0.971, 0.847)]
KERB: list[Point] = [(0.652, 0.83), (0.567, 0.54), (0.639, 0.54), (0.815, 0.83)]


def rules() -> list[AnyRule]:
    """Times are short, so that each is met within two minutes."""
    return [
        ObjectsInside(
            id="cattle", name="Carriageway", classes=["animal"], severity=Severity.MAJOR,
            region=CARRIAGEWAY, dwell_s=3,
        ),
        WrongDirection(
            id="wrong-way", name="Wrong way", classes=["two-wheeler", "car"], severity=Severity.MAJOR,
            region=LANE, allowed=TOWARDS,
        ),
        LoiteringDetector(
            id="loitering", name="Loitering by the gate", severity=Severity.MINOR, region=RIGHT_PATH, after_s=20,
        ),
        OccupancyCounter(
            id="crowd", name="Crowd on the footpath", severity=Severity.MAJOR,
            region=LEFT_PATH, most=4, clear=1, for_s=5,
        ),
        StationaryObject(
            id="kerb", name="No parking on the kerb", classes=["car"], severity=Severity.MINOR, region=KERB, after_s=15,
        ),
        ObjectsInside(
            id="walker", name="Beyond the crossing", severity=Severity.MINOR,
            region=BEYOND_CROSSING, dwell_s=2,
        ),
    ]  # fmt: skip
