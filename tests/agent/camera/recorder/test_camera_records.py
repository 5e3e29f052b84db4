"""A camera with recording on: its own process writes segments, the agent's process keeps them and tells what there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.recorder.daybook import days_in
from prahari_wire.camera import CameraConfig
from prahari_wire.events import COVERAGE
from prahari_wire.recording import RecordingConfig


def until(met: Callable[[], bool], limit_s: float = 30) -> None:
    end_s = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.1)


def footage(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/[0-9]*.mp4"))


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def config(clip: Path) -> CameraConfig:
    return CameraConfig(
        source=str(clip), fps=1, recording=RecordingConfig(enabled=True, segment_s=2, max_mb=50)
    )


def test_a_camera_records_what_it_sees_and_says_what_there_is(kept, config: CameraConfig):
    camera = Camera("cam1", kept.surroundings())
    camera.configure(config)
    camera.start()
    folder = kept.home / "footage"
    try:
        until(lambda: len(footage(folder)) >= 2)
        health = camera.health()
        assert health.state == "ok"
        assert "records" in (health.note or "")
    finally:
        camera.stop()
    assert all(frames_in(path) >= 15 for path in footage(folder)[:2])
    told = kept.all(COVERAGE)
    assert [body.day for body in told if body.spans] == days_in(folder)[: len(told)]
    last = told[-1]
    assert sum(end - start for start, end in last.spans) >= 3500
    assert not last.growing
