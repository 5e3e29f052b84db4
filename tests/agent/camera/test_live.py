"""The live view on the box: masked pictures once a second while somebody watches and the owner allows it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.errors import Rejected
from prahari_wire.camera import CameraConfig
from prahari_wire.ids import ulid
from prahari_wire.owner import Owner


class Watcher:
    """Somebody at the hub who looks at ``most`` pictures."""

    def __init__(self, most: int) -> None:
        self.most, self.pictures, self.times = most, list[bytes](), list[float]()
        self.over = threading.Event()

    def __call__(self, view: str, pictures: Iterator[bytes]) -> None:
        try:
            for jpeg in pictures:
                self.pictures.append(jpeg)
                self.times.append(time.monotonic())
                if len(self.pictures) >= self.most:
                    return
        finally:
            self.over.set()


@pytest.fixture
def watched(kept: Any, clip: Path) -> Iterator[Callable[..., Camera]]:
    started: list[Camera] = []

    def start(watcher: Watcher, **config: Any) -> Camera:
        camera = Camera("cam1", dataclasses.replace(kept.surroundings(), show=watcher))
        camera.configure(CameraConfig(source=str(clip), fps=2, **config))
        camera.start()
        started.append(camera)
        return camera

    yield start
    for camera in started:
        camera.stop()


def begin(camera: Camera, seconds: int = 60) -> dict[str, Any]:
    return camera.commands()["camera.live"]({"peripheral": "cam1", "view": ulid(), "seconds": seconds})


def test_pictures_come_once_a_second_with_everybody_hidden_until_nobody_looks(
    watched: Callable[..., Camera], kept: Any, eventually: Callable[..., Any]
) -> None:
    watcher = Watcher(most=3)
    camera = watched(watcher)
    eventually(lambda: "fps" in (camera.health().note or ""), within_s=30)
    assert begin(camera) == {"seconds": 60}
    assert watcher.over.wait(20)
    gaps = np.diff(watcher.times)
    assert all(gap > 0.6 for gap in gaps)
    for jpeg in watcher.pictures:
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        flat = np.abs(np.diff(picture.astype(int), axis=1)) < 8
        assert flat.mean() > 0.85, "without a model the whole picture is in cells"
    assert not [kind for kind, _ in kept.said if kind == "upload"], "nothing of it is kept"


def test_the_owners_terms_forbid_it_and_end_it(
    watched: Callable[..., Camera], clip: Path, eventually: Callable[..., Any]
) -> None:
    watcher = Watcher(most=100)
    owner = Owner(name="Joshi Jewellers", contact="020 5550", live=True)
    camera = watched(watcher, owner=owner)
    eventually(lambda: "fps" in (camera.health().note or ""), within_s=30)
    begin(camera)
    eventually(lambda: watcher.pictures, within_s=20)
    without = owner.model_copy(update={"live": False})
    camera.configure(CameraConfig(source=str(clip), fps=2, owner=without))
    assert watcher.over.wait(15), "it ends when the owner does not allow it any more"
    with pytest.raises(Rejected, match="no live view"):
        begin(camera)


def test_a_box_without_a_way_to_the_hub_and_a_view_that_is_too_long_are_refused(
    kept: Any, clip: Path
) -> None:
    camera = Camera("cam1", kept.surroundings())
    camera.configure(CameraConfig(source=str(clip)))
    with pytest.raises(Rejected, match="no way to show"):
        begin(camera)
    with pytest.raises(Rejected, match="seconds"):
        begin(camera, seconds=600)
