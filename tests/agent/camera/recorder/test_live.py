"""Recording from cameras on a network, over real sockets, in real time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.channel import IN_DECODER
from prahari_agent.camera.recorder.recorder import Recorder
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_agent.camera.source import Address, Clock, Source
from prahari_agent.errors import SourceError
from prahari_wire.camera import CameraConfig
from prahari_wire.recording import GapCause, RecordingConfig

from tests.agent.camera.recorder.conftest import frames_in
from tests.agent.camera.test_stream import PASSWORD, USER, JpegCamera, RtspCamera


class Live:
    """A source that is opened again and again, with a recorder at its tap."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, clock = folder, Clock()
        self.recorder = Recorder(
            folder, device="pune-cam-01", camera="cam1", segment_s=2, clock=clock, boot="b", tell=lambda _said: None
        )  # fmt: skip
        self.recorder.start()
        self.stopping = threading.Event()
        self.source = Source(
            Address.of(address, (USER, PASSWORD)), fps=1, clock=clock, wait=self.stopping.wait, timeout_s=2, tap=self.recorder
        )  # fmt: skip
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        while not self.stopping.is_set():
            try:
                for _ in self.source.frames():
                    if self.stopping.is_set():
                        return
            except SourceError:
                self.stopping.wait(0.5)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*/[0-9]*.mp4"))

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(10)
        self.recorder.stop(GapCause.MAINTENANCE)

    def causes(self) -> list[GapCause | None]:
        shelf = Shelf(self.folder, device="pune-cam-01", camera="cam1", retention_days=9, max_bytes=10**9)
        shelf.refresh()
        return [run.cause for run in shelf.runs()[0]]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[[str], Live]]:
    made: list[Live] = []

    def make(address: str) -> Live:
        made.append(Live(tmp_path / "footage", address))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def serving() -> Iterator[Callable[[Any], Any]]:
    servers: list[Any] = []
    yield lambda server: servers.append(server) or server
    for server in servers:
        server.close()


def test_an_rtsp_camera_that_stalls_and_comes_back_is_recorded_with_the_gap_between(
    live: Callable[[str], Live], serving: Callable[[Any], Any], clip: Path, eventually: Callable[..., Any]
):
    server = serving(RtspCamera(clip))
    one = live(f"rtsp://127.0.0.1:{server.port}/main")
    eventually(lambda: len(one.files()) >= 2, within_s=30)
    server.hang.set()
    time.sleep(7)
    before = len(one.files())
    server.hang.clear()
    eventually(lambda: len(one.files()) >= before + 2, within_s=30)
    one.stop()
    assert one.causes() == [None, GapCause.SIGNAL, None]
    assert all(frames_in(path) > 0 for path in one.files())


def test_a_camera_of_jpegs_is_recorded(
    live: Callable[[str], Live], serving: Callable[[Any], Any], clip: Path, eventually: Callable[..., Any]
):
    server = serving(JpegCamera(clip))
    one = live(f"http://127.0.0.1:{server.port}/video.mjpg")
    eventually(lambda: len(one.files()) >= 2, within_s=40)
    one.stop()
    assert all(frames_in(path) > 5 for path in one.files()[:2])
    assert one.causes() == [None]


def test_a_camera_whose_decoder_crashes_goes_on_being_recorded(
    kept, serving: Callable[[Any], Any], clip: Path, eventually: Callable[..., Any]
):
    server = serving(RtspCamera(clip))
    kept.credentials = (USER, PASSWORD)
    camera = Camera("cam1", kept.surroundings())
    camera.configure(
        CameraConfig(
            source=f"rtsp://127.0.0.1:{server.port}/main",
            recording=RecordingConfig(enabled=True, segment_s=2),
        )
    )
    camera.start()
    folder = kept.home / "footage"

    def files() -> list[Path]:
        return sorted(folder.glob("*/[0-9]*.mp4"))

    try:
        eventually(files, within_s=30)
        camera._supervisor._mark[IN_DECODER] = 1
        assert camera.pid
        os.kill(camera.pid, signal.SIGSEGV)
        eventually(lambda: "recorded and not looked at" in (camera.health().note or ""), within_s=30)
        before = len(files())
        eventually(lambda: len(files()) >= before + 3, within_s=30)
        assert camera.health().state == "warn"
        assert not any(body.active for body in kept.all("camera.fault"))
    finally:
        camera.stop()
    assert all(frames_in(path) > 5 for path in files()[-2:-1])
