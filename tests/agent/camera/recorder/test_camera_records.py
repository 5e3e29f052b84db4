"""A camera with recording on: its own process writes segments, the agent's process keeps them and tells what there is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.recorder.daybook import days_in
from prahari_agent.errors import ConfigRefused
from prahari_wire.camera import CameraConfig
from prahari_wire.events import COVERAGE
from prahari_wire.recording import RecordingConfig

from tests.agent.camera.recorder.conftest import journal_lines


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
    assert {body.day for body in told} == set(days_in(folder))
    last = told[-1]
    assert sum(end - start for start, end in last.spans) >= 3500
    assert not last.growing


def causes(folder: Path) -> list[str]:
    return [str(line["cause"]) for line in journal_lines(folder) if "cause" in line]


def test_a_killed_process_leaves_a_gap_and_recording_goes_on(kept, config: CameraConfig):
    camera = Camera("cam1", kept.surroundings())
    camera.configure(config)
    camera.start()
    folder = kept.home / "footage"
    try:
        until(lambda: len(footage(folder)) >= 1)
        assert camera.pid
        os.kill(camera.pid, signal.SIGKILL)
        before = len(footage(folder))
        until(lambda: len(footage(folder)) >= before + 2)
    finally:
        camera.stop()
    told = [(gap, body.until_ms) for body in kept.all(COVERAGE) for gap in body.gaps]
    causes_told = {cause for (_, end_ms, cause), until_ms in told if end_ms < until_ms}
    assert causes_told <= {"fault"}
    assert {cause for (_, end_ms, cause), until_ms in told if end_ms == until_ms} <= {
        "fault",
        "maintenance",
    }, "from its stop on it is maintenance"
    assert all(frames_in(path) > 0 for path in footage(folder))


def test_switching_recording_off_is_said_and_the_footage_stays(kept, config: CameraConfig):
    camera = Camera("cam1", kept.surroundings())
    camera.configure(config)
    camera.start()
    folder = kept.home / "footage"
    try:
        until(lambda: len(footage(folder)) >= 1)
        off = config.model_copy(update={"recording": RecordingConfig(enabled=False)})
        camera.configure(off)
        until(lambda: "off" in causes(folder))
        kept_files = footage(folder)
        time.sleep(1)
        assert footage(folder) == kept_files
        assert kept_files
        assert "records" not in (camera.health().note or "")
    finally:
        camera.stop()


def test_a_place_that_is_not_there_or_is_a_mount_point_is_refused(kept, config: CameraConfig, tmp_path: Path):
    camera = Camera("cam1", kept.surroundings())
    for where, says in [("/nowhere/at/all", "there is no folder"), ("/proc", "mount point")]:
        wanted = RecordingConfig(enabled=True, where=where)
        with pytest.raises(ConfigRefused, match=says):
            camera.configure(config.model_copy(update={"recording": wanted}))
    with pytest.raises(ConfigRefused, match="real time"):
        camera.configure(config.model_copy(update={"realtime": False}))


def test_footage_on_a_disk_lies_under_the_device_and_the_camera(kept, config: CameraConfig, tmp_path: Path):
    disk = tmp_path / "ssd"
    disk.mkdir()
    camera = Camera("cam1", kept.surroundings())
    wanted = RecordingConfig(enabled=True, segment_s=2, where=str(disk))
    camera.configure(config.model_copy(update={"recording": wanted}))
    camera.start()
    try:
        until(lambda: len(footage(disk / "test-cam-01" / "cam1")) >= 1)
    finally:
        camera.stop()
    assert not (kept.home / "footage").exists()


def test_a_recorder_that_cannot_write_is_an_incident_and_fails_the_camera(kept, config: CameraConfig):
    (kept.home).mkdir(parents=True)
    (kept.home / "footage").write_text("a file stands where the folder should be")
    camera = Camera("cam1", kept.surroundings())
    camera.configure(config)
    camera.start()
    try:
        until(
            lambda: any(body.part == "camera recording" and body.active for body in kept.all("agent.fault"))
        )
        health = camera.health()
        assert (health.state, health.faults) == ("fail", ["Recording"])
        assert "disk takes no footage" in (health.note or "")
    finally:
        camera.stop()
