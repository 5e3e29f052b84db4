"""``make demo``: everything up, three devices online, Ctrl-C stops all, a second start resumes the same state."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prahari_provisioning.demo.processes import installed

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
DEVICES = ("pune-cam-01", "pune-ecb-01", "pune-vms-01")
MODEL = Path(__file__).parent.parent / "data" / "models" / "ssd_mobilenet_v1_coco.toml"
MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
PASSAGES_S = ((6.0, 20.2), (22.7, 45.2), (50.2, 70.3), (74.5, 87.3), (92.1, 120.5), (123.4, 136.5))
"""When a person is in view, in seconds of the clip."""


class Demo:
    def __init__(self, home: Path, offset: int, *options: str) -> None:
        self.home = home
        self.console = f"http://localhost:{8080 + offset}"
        self.output = home.parent / "demo.out"
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [installed("prahari-provision"), "demo", "--home", str(home), *options],
                env={"PRAHARI_MEDIA": str(MEDIA), **os.environ, "PRAHARI_PORT_OFFSET": str(offset)},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 120
        while "Prahari is ready" not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.2)
        time.sleep(0.3)

    @property
    def api(self) -> httpx.Client:
        token = (self.home / "token").read_text().strip()
        return httpx.Client(base_url=f"{self.console}/api/v1", headers={"Authorization": f"Bearer {token}"})

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.text


@pytest.fixture
def demo(port_offset: int) -> Iterator[Callable[..., Demo]]:
    folder = Path(tempfile.mkdtemp(prefix="prahari-"))
    started: list[Demo] = []

    def start(*options: str) -> Demo:
        started.append(Demo(folder / "demo", port_offset, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            one.process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def test_the_demo_comes_up_stops_with_ctrl_c_and_resumes(demo: Callable[..., Demo]) -> None:
    first = demo()
    first.wait_ready()
    with first.api as api:
        listed = {item["id"]: item["presence"] for item in api.get("/devices").json()["items"]}
    assert listed == dict.fromkeys(DEVICES, "online")
    assert stat.S_IMODE((first.home / "token").stat().st_mode) == 0o600
    assert re.search(r"http://localhost:\d+/\S+", first.text), first.text
    children = first.descendants()
    first.interrupt()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive

    second = demo()
    second.wait_ready()
    with second.api as api:
        assert {item["id"] for item in api.get("/devices").json()["items"]} == set(DEVICES)
    second.interrupt()


def test_a_clip_that_is_not_there_is_said_in_one_sentence(demo: Callable[..., Demo]) -> None:
    started = demo("--clip", "/nowhere/clip.mp4")
    assert started.process.wait(60) != 0
    assert "there is no clip at /nowhere/clip.mp4" in started.text
    assert "Traceback" not in started.text


@pytest.mark.needs("media")
@pytest.mark.timeout(420)
def test_six_passages_of_a_real_clip_give_six_person_tracks_and_nothing_between(
    demo: Callable[..., Demo], media: Path
) -> None:
    running = demo("--clip", str(media / "one-by-one-person-detection.mp4"), "--model", str(MODEL))
    running.wait_ready()
    with running.api as api:
        tracks = ended_tracks(api, running, want=6)
    spans = sorted(tracks.values())
    start = spans[0][0] - PASSAGES_S[0][0]
    for (began, ended), (first_s, last_s) in zip(spans, PASSAGES_S, strict=True):
        assert first_s - 1 <= began - start <= last_s
        assert ended - start <= last_s + 3
    running.interrupt()


def ended_tracks(api: httpx.Client, running: Demo, *, want: int) -> dict[str, tuple[float, float]]:
    """(start, end) in Unix seconds by track id, until the clip's first round has ended (139 s)."""
    deadline = time.monotonic() + 200
    found: dict[str, tuple[float, float]] = {}
    while time.monotonic() < deadline:
        assert running.process.poll() is None, running.text
        query: dict[str, Any] = {"kind": "camera.track", "limit": 200}
        for event in api.get("/devices/pune-cam-01/events", params=query).json()["items"]:
            body = event["body"]
            if body["phase"] == "ended":
                assert body["label"] == "person"
                found[body["track"]] = (seconds(body["started_at"]), seconds(body["ended_at"]))
        if len(found) >= want:
            return found
        time.sleep(2)
    pytest.fail(f"only {len(found)} tracks ended: {found}")


def seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
