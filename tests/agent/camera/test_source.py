"""Real files, and real sockets that refuse, forbid and keep silent."""

from __future__ import annotations

import base64
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from prahari_agent.camera.source import Address, Frame, Kind, Source, Timeline
from prahari_agent.errors import SourceError

PASSWORD = "s3cret/p@ss:word"


def file_source(path: Path, **changes: object) -> Source:
    return Source(Address.of(str(path)), **{"fps": 5, "loop": False, "realtime": False, **changes})  # type: ignore[arg-type]


def refusal(source: str, credentials: tuple[str, str] | None = None, *, timeout_s: float = 5) -> str:
    with pytest.raises(SourceError) as caught:
        next(Source(Address.of(source, credentials), fps=5, loop=False, timeout_s=timeout_s).frames())
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert caught.value.__cause__ is None
    return text


def test_a_file_gives_frames_at_the_wanted_rate_with_growing_times(clip: Path) -> None:
    frames = list(file_source(clip).frames())
    assert len(frames) == 180
    assert all(before.time_s < after.time_s and before.at < after.at for before, after in pairwise(frames))
    assert frames[-1].time_s - frames[0].time_s == pytest.approx(35.8, abs=0.01)


@pytest.mark.parametrize(("fps", "count"), [(5, 180), (2, 72), (1, 36)])
def test_fewer_frames_are_given_where_fewer_are_wanted(clip: Path, fps: float, count: int) -> None:
    assert sum(1 for _ in file_source(clip, fps=fps).frames()) == count


def test_a_looped_file_gives_ever_increasing_times(clip: Path) -> None:
    frames = [(frame.time_s, frame.at) for frame in islice(file_source(clip, loop=True).frames(), 400)]
    steps = [after[0] - before[0] for before, after in pairwise(frames)]
    assert min(steps) > 0.15
    assert max(steps) < 0.45
    assert all(before[1] < after[1] for before, after in pairwise(frames))


def test_a_file_in_real_time_takes_its_time(clip: Path) -> None:
    began_s = time.monotonic()
    frames = list(islice(file_source(clip, realtime=True).frames(), 6))
    assert time.monotonic() - began_s >= 0.9
    assert abs(frames[-1].time_s - time.monotonic()) < 0.5


def test_a_frame_gives_small_brightness_and_colours_of_any_size(clip: Path) -> None:
    frame = next(file_source(clip).frames())
    assert frame.luma.shape == (180, 320)
    assert frame.rgb(300, 300).shape == (300, 300, 3)
    assert frame.bgr(720).shape == (360, 640, 3)
    assert frame.bgr(180).shape == (180, 320, 3)


def test_a_frame_that_was_let_go_gives_the_same_part_again(clip: Path) -> None:
    frame = next(file_source(clip).frames())
    before = frame.part((0.2, 0.2, 0.6, 0.8), 64, 64)
    frame.let_go()
    frame.let_go()
    assert (frame.part((0.2, 0.2, 0.6, 0.8), 64, 64) == before).all()


@pytest.mark.parametrize("size", [(642, 358), (640, 360)])
def test_a_part_of_a_frame_of_any_width_is_cut_from_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    frame = Frame(datetime.now(UTC), 0.0, VideoFrame.from_ndarray(picture, "rgb24"))
    part = frame.part((0.25, 0.5, 0.75, 1.0), round(0.75 * width) - round(0.25 * width), height - height // 2)
    assert (part == picture[height // 2 :, round(0.25 * width) : round(0.75 * width)]).all()


def test_the_same_picture_is_recognised_and_the_next_one_is_another(clip: Path) -> None:
    first, second = islice(file_source(clip).frames(), 2)
    assert first.same_picture(Frame(second.at, second.time_s, first.image))
    assert not first.same_picture(second)


@pytest.mark.needs("media")
def test_a_gif_is_a_source_too(media: Path) -> None:
    frames = list(file_source(media / "people-detection.gif").frames())
    assert len(frames) > 5
    assert not frames[0].same_picture(frames[1])


def test_a_live_time_line_follows_the_clock_and_never_goes_back() -> None:
    line = Timeline(live=True, start_s=100.0)
    assert line.place(5000.0, 101.0) == 101.0
    assert line.place(5000.2, 101.3) == pytest.approx(101.2)
    assert line.place(9000.0, 102.0) == 102.0  # the camera's own clock jumped
    assert line.place(10.0, 102.5) == 102.5
    line.restart()
    assert line.place(0.0, 110.0) == 110.0


# What cannot be opened


def test_no_such_file(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "none.mp4")).startswith(f"there is no file {tmp_path}/none.mp4")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 50], ids=["empty", "text"])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    assert "clip.mp4 is not a video that can be read" in refusal(str(tmp_path / "clip.mp4"))


def test_a_clip_cut_off_before_its_index(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:5000])
    assert "cut.mp4" in refusal(str(tmp_path / "cut.mp4"))


def test_no_camera_at_the_device() -> None:
    assert "there is no camera at /dev/video77" in refusal("/dev/video77")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_port_that_nobody_serves(scheme: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: it refuses
        port = taken.getsockname()[1]
        text = refusal(f"{scheme}://127.0.0.1:{port}/main?token=abc", ("admin", PASSWORD))
    assert text.startswith(f"127.0.0.1:{port} refuses the connection")
    assert_secret_free(text)


def assert_secret_free(text: str) -> None:
    for secret in (PASSWORD, "s3cret", "p%40ss", "token=abc", "admin"):
        assert secret not in text


class Camera:
    """A camera's port: answers each request head by ``answer``, or never; remembers the heads."""

    def __init__(self, answer: Callable[[str], bytes] | None) -> None:
        self._answer = answer
        self.heads: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        heard = b""
        while True:
            try:
                part = connection.recv(4096)
            except OSError:
                return
            if not part:
                return
            heard += part
            while b"\r\n\r\n" in heard:
                head, _, heard = heard.partition(b"\r\n\r\n")
                self.heads.append(head.decode())
                if self._answer is not None:
                    connection.sendall(self._answer(head.decode()))

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            connection.close()
        for thread in self._threads:
            thread.join(5)


def unauthorised(head: str) -> bytes:
    number = re.search(r"(?i)cseq: *(\d+)", head)
    cseq = f"CSeq: {number[1]}\r\n" if number else ""
    protocol = "RTSP/1.0" if number else "HTTP/1.1"
    return (
        f'{protocol} 401 Unauthorized\r\n{cseq}WWW-Authenticate: Basic realm="camera"\r\nContent-Length: 0\r\n\r\n'
    ).encode()


@pytest.fixture
def camera() -> Iterator[Callable[..., Camera]]:
    made: list[Camera] = []

    def make(answer: Callable[[str], bytes] | None) -> Camera:
        made.append(Camera(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_wrong_password_is_said_without_telling_it(camera: Callable[..., Camera], scheme: str) -> None:
    port = camera(unauthorised).port
    text = refusal(f"{scheme}://127.0.0.1:{port}/main", ("admin", PASSWORD))
    assert text.startswith(f"127.0.0.1:{port} refuses the user and password (401)")
    assert "secrets.toml" in text
    assert_secret_free(text)


def test_the_password_reaches_the_camera_as_it_is_written_in_secrets_toml(
    camera: Callable[..., Camera],
) -> None:
    asked = camera(unauthorised)
    refusal(f"rtsp://127.0.0.1:{asked.port}/main", ("admin", PASSWORD))
    sent = [found[1] for head in asked.heads if (found := re.search(r"Authorization: Basic (\S+)", head))]
    assert base64.b64decode(sent[0]).decode() == f"admin:{PASSWORD}"


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_camera_that_keeps_silent(camera: Callable[..., Camera], scheme: str) -> None:
    port = camera(None).port
    text = refusal(f"{scheme}://127.0.0.1:{port}/main", ("admin", PASSWORD), timeout_s=1)
    assert f"127.0.0.1:{port}/main sends nothing for 1 s" in text
    assert_secret_free(text)


def test_a_path_that_the_camera_does_not_know(camera: Callable[..., Camera]) -> None:
    port = camera(lambda head: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").port
    assert "(404)" in refusal(f"http://127.0.0.1:{port}/wrong")


def test_an_address_shows_neither_user_nor_password_nor_query() -> None:
    address = Address.of("rtsp://10.0.0.5:554/main?user=a&pass=b", ("admin", PASSWORD))
    assert address.kind is Kind.STREAM
    assert address.shown == "rtsp://10.0.0.5:554/main"
    assert_secret_free(repr(address))
