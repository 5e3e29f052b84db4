"""A camera on the network: a small RTSP server with Basic authentication, and an HTTP server of JPEGs, both over real sockets."""

from __future__ import annotations

import base64
import http.server
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.source import Address, Source
from prahari_agent.errors import SourceError
from prahari_wire.camera import CameraConfig, ContentFault
from prahari_wire.events import CAMERA_FAULT
from prahari_wire.health import State

USER, PASSWORD = "viewer", "p@ss/w0rd"
PAYLOAD = 1200


class Server:
    """Accepts one connection after the other on a port of its own; ``serve(connection)`` does the talking."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve(connection)
                except OSError:
                    continue  # the client went away, as clients do

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.stopping.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join(5)


class RtspCamera(Server):
    """Plays a clip in real time, H.264 in RTP interleaved with RTSP (RFC 2326 10.12, RFC 6184). ``hang``: says nothing any more."""

    def __init__(self, clip: Path, *, port: int = 0, password: str = PASSWORD) -> None:
        self.nals, self.extradata = _nals(clip)
        self._wanted = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self.hang = threading.Event()
        super().__init__(port)

    def serve(self, connection: socket.socket) -> None:
        heard = b""
        while True:
            while b"\r\n\r\n" not in heard:
                part = connection.recv(4096)
                if not part:
                    return
                heard += part
            head, _, heard = heard.partition(b"\r\n\r\n")
            text = head.decode()
            connection.sendall(self._answer(text))
            if text.startswith("PLAY"):
                self._play(connection)
                return

    def _answer(self, head: str) -> bytes:
        cseq = re.search(r"(?i)cseq: *(\d+)", head)
        assert cseq
        lines, body = [f"CSeq: {cseq[1]}", "Session: 7"], b""
        status = "200 OK"
        if f"Authorization: Basic {self._wanted}" not in head and not head.startswith("OPTIONS"):
            status = "401 Unauthorized"
            lines.append('WWW-Authenticate: Basic realm="camera"')
        elif head.startswith("OPTIONS"):
            lines.append("Public: DESCRIBE, SETUP, PLAY")
        elif head.startswith("DESCRIBE"):
            sets = ",".join(base64.b64encode(nal).decode() for nal in self.extradata)
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track\r\n"
            ).encode()
            lines.append("Content-Type: application/sdp")
        elif head.startswith("SETUP"):
            lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([f"RTSP/1.0 {status}", *lines, "", ""]).encode() + body

    def _play(self, connection: socket.socket) -> None:
        began_s, sequence = time.monotonic(), 0
        for number in range(10**9):
            at_s, frame = self.nals[number % len(self.nals)]
            at_s += number // len(self.nals) * (self.nals[-1][0] + 0.1)
            if self.stopping.wait(max(0.0, began_s + at_s - time.monotonic())):
                return
            while self.hang.is_set():
                if self.stopping.wait(0.05):
                    return
            for payload, last in _payloads(frame):
                header = struct.pack(
                    ">BBHII", 0x80, 96 | last << 7, sequence & 0xFFFF, int(at_s * 90000) & 0xFFFFFFFF, 1
                )
                connection.sendall(
                    struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload
                )
                sequence += 1


def _nals(clip: Path) -> tuple[list[tuple[float, list[bytes]]], list[bytes]]:
    """(seconds, NAL units) of each frame in decoding order, and the parameter sets; from an MP4's length-prefixed form."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        extra = bytes(stream.codec_context.extradata or b"")
        sps_size = struct.unpack(">H", extra[6:8])[0]
        sps = extra[8 : 8 + sps_size]
        pps = extra[11 + sps_size :][: struct.unpack(">H", extra[9 + sps_size : 11 + sps_size])[0]]
        frames = [
            (number * 0.1, _split(bytes(packet)))
            for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size)
        ]
    return frames, [sps, pps]


def _split(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = struct.unpack(">I", data[:4])[0]
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _payloads(nals: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of one frame and whether each is its last: single NAL units, or fragments (FU-A)."""
    for place, nal in enumerate(nals):
        is_last = place == len(nals) - 1
        if len(nal) <= PAYLOAD:
            yield nal, is_last
            continue
        parts = [nal[1:][start : start + PAYLOAD] for start in range(0, len(nal) - 1, PAYLOAD)]
        for number, part in enumerate(parts):
            first, final = number == 0, number == len(parts) - 1
            yield (
                bytes([nal[0] & 0xE0 | 28, first << 7 | final << 6 | nal[0] & 0x1F]) + part,
                is_last and final,
            )


class JpegCamera(Server):
    """An endless multipart/x-mixed-replace answer of JPEGs, ten a second."""

    def __init__(self, clip: Path) -> None:
        with av.open(str(clip)) as container:
            pictures = [frame.to_ndarray(format="bgr24") for frame in islice(container.decode(video=0), 30)]
        self._jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
        )
        for number in range(10**9):
            jpeg = self._jpegs[number % len(self._jpegs)]
            connection.sendall(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                + jpeg
                + b"\r\n"
            )
            if self.stopping.wait(0.1):
                return


@pytest.fixture
def serving() -> Iterator[Callable[[Server], Server]]:
    servers: list[Server] = []

    def keep(server: Server) -> Server:
        servers.append(server)
        return server

    yield keep
    for server in servers:
        server.close()


def test_an_rtsp_camera_with_a_password_gives_live_pictures(serving: Any, clip: Path) -> None:
    port = serving(RtspCamera(clip)).port
    source = Source(Address.of(f"rtsp://127.0.0.1:{port}/main", (USER, PASSWORD)), fps=5)
    frames = list(islice(source.frames(), 10))
    assert all(before.at < after.at for before, after in pairwise(frames))
    assert 1.5 < frames[-1].time_s - frames[0].time_s < 4
    assert abs(frames[-1].time_s - time.monotonic()) < 2.5
    assert frames[0].luma.shape == (180, 320)


def test_an_rtsp_camera_that_dies_is_an_error_that_is_tried_again(serving: Any, clip: Path) -> None:
    camera = serving(RtspCamera(clip))
    frames = Source(
        Address.of(f"rtsp://127.0.0.1:{camera.port}/main", (USER, PASSWORD)), fps=5, timeout_s=2
    ).frames()
    next(frames)
    camera.hang.set()
    with pytest.raises(SourceError, match="sends nothing for"):
        list(islice(frames, 100))


def test_an_http_camera_gives_live_pictures(serving: Any, clip: Path) -> None:
    port = serving(JpegCamera(clip)).port
    frames = list(islice(Source(Address.of(f"http://127.0.0.1:{port}/video"), fps=5).frames(), 8))
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))
    assert frames[0].image.format.name.startswith("yuvj")
    assert abs(frames[-1].time_s - time.monotonic()) < 2.5


def test_a_file_over_http_plays_at_its_own_pace(clip: Path, tmp_path: Path) -> None:
    with (
        av.open(str(clip)) as had,
        av.open(str(tmp_path / "c.mp4"), "w", options={"movflags": "faststart"}) as made,
    ):
        stream = made.add_stream_from_template(had.streams.video[0])
        for packet in had.demux(video=0):
            if packet.size:
                packet.stream = stream
                made.mux(packet)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = Source(Address.of(f"http://127.0.0.1:{server.server_port}/c.mp4"), fps=5)
        began_s = time.monotonic()
        frames = list(islice(source.frames(), 6))
        server.shutdown()
    assert time.monotonic() - began_s >= 0.9
    assert len(frames) == 6


def test_a_network_camera_that_goes_and_comes_back_loses_and_regains_its_signal(
    serving: Any, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    kept.credentials = (USER, PASSWORD)
    server = RtspCamera(clip)
    camera = Camera("cam1", kept.surroundings())
    camera.configure(CameraConfig(source=f"rtsp://127.0.0.1:{server.port}/main", signal_loss_after_s=4))
    camera.start()
    try:
        eventually(lambda: camera.health().state is State.OK, within_s=30)
        server.close()
        (lost,) = eventually(lambda: kept.all(CAMERA_FAULT), within_s=20)
        serving(RtspCamera(clip, port=server.port))
        eventually(lambda: len(kept.all(CAMERA_FAULT)) == 2, within_s=30)
    finally:
        camera.stop()
    cleared = kept.all(CAMERA_FAULT)[1]
    assert (lost.fault, lost.active, cleared.active) == (ContentFault.SIGNAL_LOSS, True, False)
    assert PASSWORD not in str(kept.said)
