"""Where a camera's address may lead: data from elsewhere opens nothing that the site does not allow."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.reach import Reach
from prahari_agent.camera.source import Address, Source
from prahari_agent.errors import ConfigRefused, SourceError
from prahari_agent.settings import PRIVATE_NETWORKS
from prahari_wire.camera import CameraConfig
from prahari_wire.owner import Owner
from pydantic import ValidationError

CITY, PRIVATE = Reach(PRIVATE_NETWORKS), Reach(PRIVATE_NETWORKS, private=True)
PASSWORD = "s3cret-pass"


@pytest.mark.parametrize(
    ("reach", "source", "refused"),
    [
        pytest.param(CITY, "rtsp://10.0.0.5/main", None, id="private-network"),
        pytest.param(CITY, "rtsp://8.8.8.8/main", "none of the networks", id="internet"),
        pytest.param(CITY, "http://169.254.169.254/latest", "none of the networks", id="metadata"),
        pytest.param(CITY, "rtsp://[::ffff:8.8.8.8]/main", "none of the networks", id="mapped"),
        pytest.param(CITY, "rtsp://127.0.0.1/main", None, id="loopback-of-the-city"),
        pytest.param(PRIVATE, "rtsp://127.0.0.1/main", "the box itself", id="loopback-of-an-owner"),
        pytest.param(PRIVATE, "http://[::1]:8080/x", "the box itself", id="loopback-6"),
        pytest.param(PRIVATE, "rtsp://0.0.0.0/x", "the box itself", id="unspecified"),
        pytest.param(PRIVATE, "rtsp:///main", "names no host", id="no-host"),
        pytest.param(CITY, "/srv/clip.mp4", None, id="file"),
    ],
)
def test_an_address_outside_of_the_allowed_networks_is_refused(
    reach: Reach, source: str, refused: str | None
) -> None:
    problem = reach.problem(source)
    assert (problem is None) if refused is None else (problem is not None and refused in problem)


def test_a_name_is_opened_as_the_number_that_was_checked_and_keeps_its_credentials() -> None:
    opened, options = CITY.pin(f"rtsp://admin:{PASSWORD}@localhost:8554/main?channel=1")
    assert opened in (
        f"rtsp://admin:{PASSWORD}@127.0.0.1:8554/main?channel=1", f"rtsp://admin:{PASSWORD}@[::1]:8554/main?channel=1",
    )  # fmt: skip
    assert "http" not in options["protocol_whitelist"]
    assert CITY.pin("http://localhost:81/v")[1]["headers"] == "Host: localhost:81\r\n"
    with pytest.raises(SourceError, match="the box itself"):
        PRIVATE.pin("rtsp://localhost/main")
    with pytest.raises(SourceError, match="is not known"):
        CITY.pin("rtsp://camera.invalid/main")


class Lure(http.server.BaseHTTPRequestHandler):
    """Sends whoever asks elsewhere, by a redirection or by a playlist."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        target = f"http://127.0.0.1:{self.server.server_port}/inside.ts"  # type: ignore[attr-defined]
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(playlist)))
        self.end_headers()
        self.wfile.write(playlist)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def lure() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lure)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["moved", "list.m3u8"])
def test_a_camera_that_sends_elsewhere_is_not_followed(lure: Any, path: str) -> None:
    address = Address.of(f"http://127.0.0.1:{lure.server_port}/{path}", ("admin", PASSWORD))
    with pytest.raises(SourceError) as refused:
        next(Source(address, fps=5, timeout_s=3, reach=CITY).frames())
    assert PASSWORD not in str(refused.value)
    assert "/inside.ts" not in lure.asked
    assert lure.asked


def test_an_owners_camera_on_the_box_itself_is_refused_also_by_name(
    kept: Any, eventually: Callable[..., Any]
) -> None:
    owner = Owner(name="Joshi Jewellers", contact="020")
    camera = Camera("cam1", kept.surroundings())
    with pytest.raises(ConfigRefused, match="the box itself"):
        camera.configure(CameraConfig(source="rtsp://127.0.0.1:8554/main", owner=owner))
    camera.configure(CameraConfig(source="rtsp://localhost:8554/main", owner=owner))
    camera.start()
    try:
        note = eventually(lambda: "the box itself" in (camera.health().note or ""), within_s=30)
        assert note
    finally:
        camera.stop()


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:pw@10.0.0.5/main",
        "rtsp://10.0.0.5/main?user=admin&password=pw",
        "rtsp://10.0.0.5/user=admin_password=pw_channel=1",
        "http://10.0.0.5/v?PWD=pw",
        "rtsp://10.0.0.5/?password={password}x",
    ],
)
def test_a_password_in_the_address_is_refused_wherever_it_stands(source: str) -> None:
    with pytest.raises(ValidationError, match="must not carry"):
        CameraConfig(source=source)


def test_a_camera_that_wants_its_password_in_the_address_gets_it_on_the_box_alone() -> None:
    source = "rtsp://10.0.0.5/user={user}_password={password}_channel=1"
    assert CameraConfig(source=source).source == source
    address = Address.of(source, ("admin", "p/w"))
    assert address.opened == "rtsp://10.0.0.5/user=admin_password=p%2Fw_channel=1"
    assert "p%2Fw" not in address.shown
    assert "p/w" not in repr(address)


def test_files_and_devices_are_left_alone(tmp_path: Path) -> None:
    assert PRIVATE.pin(str(tmp_path / "clip.mp4")) == (str(tmp_path / "clip.mp4"), {})
    assert PRIVATE.pin("/dev/video0") == ("/dev/video0", {})
