from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from prahari_agent.camera.boxes import Box
from prahari_agent.camera.redact import MAX_BYTES, snapshot_jpeg

FACE = Box(0.25, 0.25, 0.5, 0.75)


def textured(rows: int = 360, columns: int = 640) -> NDArray[np.uint8]:
    return (
        np.random.default_rng(3)
        .integers(0, 255, (rows // 4, columns // 4, 3))
        .astype(np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)
    )


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def detail(picture: NDArray[np.uint8], box: Box) -> float:
    """How much the brightness changes from pixel to pixel within a box."""
    rows, columns = picture.shape[:2]
    part = picture[
        int(box.top * rows) : int(box.bottom * rows), int(box.left * columns) : int(box.right * columns)
    ]
    return float(np.abs(np.diff(part.astype(np.int16), axis=1)).mean())


def test_only_the_hidden_box_loses_its_detail() -> None:
    before, after = textured(), decoded(snapshot_jpeg(textured(), [FACE]))
    assert detail(after, FACE) < detail(before, FACE) / 5
    elsewhere = Box(0.6, 0.1, 0.95, 0.9)
    assert detail(after, elsewhere) > detail(before, elsewhere) / 2


def test_a_box_beyond_the_picture_is_hidden_as_far_as_it_is_in_it() -> None:
    edge = Box(0.8, 0.5, 1.2, 1.3)
    after = decoded(snapshot_jpeg(textured(), [edge]))
    assert detail(after, edge.clipped()) < detail(textured(), edge.clipped()) / 5


def test_a_box_without_extent_does_no_harm() -> None:
    assert snapshot_jpeg(textured(), [Box(0.5, 0.5, 0.5, 0.5), Box(1, 1, 1, 1)])


def test_the_whole_picture_can_be_hidden() -> None:
    everything = Box(0, 0, 1, 1)
    after = decoded(snapshot_jpeg(textured(), [], whole=True))
    assert detail(after, everything) < detail(textured(), everything) / 2


def test_a_picture_full_of_detail_stays_within_the_bound() -> None:
    noise = np.random.default_rng(4).integers(0, 255, (1440, 2560, 3)).astype(np.uint8)
    assert len(snapshot_jpeg(noise, [])) <= MAX_BYTES
