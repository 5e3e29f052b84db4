"""What the page of a camera's rules draws and takes."""

from __future__ import annotations

import pytest
from prahari_hub.errors import Invalid, NotFound
from prahari_hub.fleet.pages_rules import _parsed, _with_rules, shape_of
from prahari_hub.fleet.twins import Twin
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig
from prahari_wire.rules import Crossed, WrongDirection
from prahari_wire.twin import Desired

SQUARE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]
TWIN = Twin(
    "pune-cam-01",
    4,
    Desired(
        peripherals={"cam1": CameraConfig(source="/clip.mp4", name="Gate", fps=2), "box1": CallboxConfig()}
    ),
)


def test_shapes_are_drawn_in_thousandths_of_the_picture() -> None:
    line = Crossed(id="l", name="Line", line=[(0.0, 0.5), (1.0, 0.625)])
    assert shape_of(line) == {"id": "l", "name": "Line", "closed": False, "points": "0,500 1000,625"}
    lane = WrongDirection(id="w", name="Lane", region=SQUARE, allowed=[(0.5, 0.5), (0.5, 0.75)])
    assert shape_of(lane)["closed"]
    assert shape_of(lane)["arrow"] == "500,500 500,750"


def test_rules_replace_those_of_the_camera_and_nothing_else() -> None:
    rule = {"type": "ObjectsInside", "id": "gate", "name": "Gate", "region": SQUARE}
    desired = _with_rules(TWIN, "cam1", [rule])
    camera = desired.peripherals["cam1"]
    assert isinstance(camera, CameraConfig)
    assert [one.id for one in camera.rules] == ["gate"]
    assert (camera.name, camera.fps) == ("Gate", 2)
    assert desired.peripherals["box1"] == TWIN.desired.peripherals["box1"]


def test_what_is_no_rule_is_refused_with_its_place() -> None:
    bow = {"type": "ObjectsInside", "id": "gate", "name": "Gate", "region": [[0, 0], [1, 1], [1, 0], [0, 1]]}
    with pytest.raises(Invalid, match="crosses itself"):
        _with_rules(TWIN, "cam1", [bow])
    for text in ("[", '{"id": 1}'):
        with pytest.raises(Invalid):
            _parsed(text)


@pytest.mark.parametrize("camera", ["cam2", "box1"])
def test_only_a_camera_of_the_twin_has_rules(camera: str) -> None:
    with pytest.raises(NotFound, match="names no camera"):
        _with_rules(TWIN, camera, [])
