"""Recording from GStreamer's RTSP server, which others wrote: passwords, restarts, silence, another size, sound, H.265."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from prahari_agent.camera.recorder.daybook import JOURNAL
from prahari_agent.camera.source import Address, Clock, Source
from prahari_agent.errors import SourceError
from prahari_wire.recording import GapCause

from tests.agent.camera.recorder.conftest import frames_in, shape_of
from tests.agent.camera.recorder.test_live import Live
from tests.agent.camera.test_stream import PASSWORD, USER

pytestmark = pytest.mark.needs("GstRtspServer-1.0", "gi", "libgstvideotestsrc", "libgstrtp", "libgstx264")
SCRIPT = Path(__file__).resolve().parents[1] / "gst_camera.py"
PICTURE = (
    "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps=video/x-raw,width=160,height=96,framerate=10/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 threads=1 ! rtph264pay name=pay0 pt=96 config-interval=-1"
)
SOUND = "audiotestsrc is-live=true wave=silence ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1 pt=8"


class GstCamera:
    """The server as a process; ``kind`` of authentication."""

    def __init__(self, port: int, pipeline: str, kind: str = "none") -> None:
        self.port, self._command = port, [str(port), kind, USER, PASSWORD, f"( {pipeline} )"]
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["/usr/bin/python3", str(SCRIPT), *self._command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.process = process
        return process

    def resize(self, width: int, height: int) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{width} {height}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/main"


@pytest.fixture
def camera(free_port: Callable[[], int]) -> Iterator[Callable[..., GstCamera]]:
    made: list[GstCamera] = []

    def make(pipeline: str = PICTURE, kind: str = "none") -> GstCamera:
        made.append(GstCamera(free_port(), pipeline, kind))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Callable[[GstCamera], Live]]:
    made: list[Live] = []

    def make(camera: GstCamera) -> Live:
        made.append(Live(tmp_path / "footage", camera.address))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def marks(live: Live) -> str:
    """S for segments, G for a gap, in the journal's order."""
    text = "".join(path.read_text() for path in sorted(live.folder.glob(f"*/{JOURNAL}")))
    found = re.findall(r'^{"(segment|gap)"', text, re.MULTILINE)
    return re.sub("S+", "S", "".join(word[0].upper() for word in found))


def first_frame(camera: GstCamera, login: tuple[str, str] | None, timeout_s: float = 5) -> Any:
    source = Source(
        Address.of(camera.address, login), fps=1, clock=Clock(), wait=lambda _s: False, timeout_s=timeout_s
    )
    return next(iter(source.frames()))


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_a_password_is_asked_for_and_given(camera: Callable[..., GstCamera], kind: str) -> None:
    one = camera(kind=kind)
    assert first_frame(one, (USER, PASSWORD)) is not None
    for login in (None, (USER, "another")):
        with pytest.raises(SourceError) as refused:
            first_frame(one, login)
        assert PASSWORD not in str(refused.value)


def test_a_camera_that_starts_anew_and_at_first_accepts_and_says_nothing_is_recorded_again_with_the_gap_between(
    camera: Callable[..., GstCamera], recorded: Callable[[GstCamera], Live], eventually: Callable[..., Any]
) -> None:
    one = camera(kind="digest")
    live = recorded(one)
    eventually(lambda: marks(live) == "S", within_s=30)
    one.close()
    eventually(lambda: marks(live) == "SG", within_s=30)
    one.start().send_signal(signal.SIGSTOP)
    with pytest.raises(SourceError):
        first_frame(one, (USER, PASSWORD), timeout_s=1)
    one.process.send_signal(signal.SIGCONT)
    eventually(lambda: marks(live) == "SGS", within_s=30)
    live.stop()
    assert live.causes() == [None, GapCause.SIGNAL, None]
    assert all(frames_in(path) > 0 for path in live.files())


def test_another_size_begins_another_segment_and_sound_is_left_out(
    camera: Callable[..., GstCamera], recorded: Callable[[GstCamera], Live], eventually: Callable[..., Any]
) -> None:
    one = camera(f"{PICTURE} {SOUND}")
    live = recorded(one)
    eventually(live.files, within_s=30)
    one.resize(320, 192)
    eventually(lambda: ("h264", 320, 192) in map(shape_of, live.files()), within_s=30)
    live.stop()
    assert {shape_of(path) for path in live.files()} == {("h264", 160, 96), ("h264", 320, 192)}
    assert all(frames_in(path) > 0 for path in live.files())
    for path in live.files():
        with av.open(str(path)) as container:
            assert not container.streams.audio


def test_h265_is_recorded_as_it_comes(
    camera: Callable[..., GstCamera],
    recorded: Callable[[GstCamera], Live],
    draw: Callable[..., Path],
    eventually: Callable[..., Any],
) -> None:
    clip = draw("v.mkv", codec="libx265")
    live = recorded(
        camera(f"filesrc location={clip} ! matroskademux ! rtph265pay name=pay0 pt=96 config-interval=-1")
    )
    eventually(live.files, within_s=30)
    live.stop()
    assert {shape_of(path) for path in live.files()} == {("hevc", 160, 96)}
    assert all(frames_in(path) > 0 for path in live.files())
