"""``make demo``: the newcomer's walk through incidents and a footage request, Ctrl-C stops all, a second start resumes the same state."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prahari_provisioning.demo.processes import installed

from tests.form import LONG

pytestmark = [pytest.mark.system, pytest.mark.timeout(480)]
DEVICES = ("pune-cam-01", "pune-ecb-01", "pune-vms-01")
MODEL = Path(__file__).parent.parent / "data" / "models" / "ssd_mobilenet_v1_coco.toml"
MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
DRAWN = Path(__file__).resolve().parents[2] / ".prahari" / "demo" / "clips"
"""Where ``make setup`` draws the demo's clips."""
KINDS = {
    "Carriageway", "Wrong way", "Loitering by the gate", "Crowd on the footpath", "No parking on the kerb",
    "Beyond the crossing", "View has changed",
}  # fmt: skip
PASSAGES_S = ((6.0, 20.2), (22.7, 45.2), (50.2, 70.3), (74.5, 87.3), (92.1, 120.5), (123.4, 136.5))
"""When a person is in view, in seconds of the clip."""
WATCHED_S = PASSAGES_S if LONG else PASSAGES_S[:2]


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

    if DRAWN.is_dir():
        shutil.copytree(DRAWN, folder / "demo" / "clips")

    def start(*options: str) -> Demo:
        started.append(Demo(folder / "demo", port_offset, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            one.process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


class Person:
    """Somebody at the console: pages, forms and buttons, without a browser."""

    def __init__(self, demo: Demo, name: str) -> None:
        self.http = httpx.Client(base_url=demo.console, follow_redirects=True, timeout=30)
        found = re.search(rf"{name} +(\S+)", demo.text)
        assert found is not None, demo.text
        answer = self.http.post("/login", data={"name": name, "password": found[1]})
        assert answer.url.path != "/login", answer.text
        self.csrf = field_of(answer.text, "csrf")

    def page(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def submit(self, path: str, **fields: str) -> httpx.Response:
        answer = self.http.post(path, data={"csrf": self.csrf, **fields})
        assert answer.status_code == 200, answer.text
        return answer


def field_of(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', page)
    assert found is not None, f"{name} is not on the page"
    return html.unescape(found[1])


def soon(look: Callable[[], Any], what: str, *, within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s for {what}"
        time.sleep(1)
    return found


def camera_incidents(api: httpx.Client) -> dict[str, dict[str, Any]]:
    """Those of cameras by the rule, region or fault that their title names."""
    items = api.get("/incidents", params={"state": "all"}).json()["items"]
    return {re.split(": | in ", one["title"])[-1]: one for one in items if one["kind"].startswith("camera.")}


def opened_since(api: httpx.Client, moment: datetime) -> str | None:
    found = camera_incidents(api).values()
    return next((one["id"] for one in found if seconds(one["opened_at"]) > moment.timestamp()), None)


def ask_for_footage(asha: Person, incident: str) -> str:
    """From the incident's page to a submitted request, as the README says; the request's address."""
    (form,) = re.findall(r'href="(/evidence/new[^"]+)"', asha.page(f"/incidents/{incident}"))
    empty = asha.page(html.unescape(form))
    fields = {name: field_of(empty, name) for name in ("cameras", "purpose", "starts_at", "ends_at")}
    fields |= {"kind": "cameras", "authority": "Faraskhana police station", "case_number": "FIR 7/2026"}
    seen = asha.submit("/evidence/new", **fields).text
    assert "100 %" in seen
    answer = asha.submit("/evidence", **fields, camera=fields["cameras"])
    assert re.fullmatch(r"/evidence/\w{26}", answer.url.path), answer.text
    return answer.url.path


def verified(demo: Demo, package: Path) -> list[str]:
    """What both verifiers say."""
    hub = ["--home", str(demo.home / "hub")]
    trust = package.with_name("city.json")
    trust.write_text(said_by("prahari-hub", "evidence", "trust", *hub))
    return [
        said_by("prahari-hub", "evidence", "verify", *hub, str(package)).splitlines()[-1],
        said_by("prahari-evidence", str(package), "--trust", str(trust)).splitlines()[-1],
    ]


def said_by(*command: str) -> str:
    done = subprocess.run([installed(command[0]), *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("openssl")
def test_a_newcomer_sees_incidents_takes_a_request_to_a_verified_clip_stops_it_all_and_goes_on(
    demo: Callable[..., Demo], tmp_path: Path
) -> None:
    first = demo()
    first.wait_ready()
    recorded_from = datetime.now(UTC) + timedelta(seconds=10)
    assert stat.S_IMODE((first.home / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((first.home / "passwords.json").stat().st_mode) == 0o600
    assert re.search(r"http://localhost:\d+/login/link\?token=\S+", first.text), first.text
    with first.api as api:
        listed = {item["id"]: item["presence"] for item in api.get("/devices").json()["items"]}
        assert listed == dict.fromkeys(DEVICES, "online")
        incident = soon(lambda: opened_since(api, recorded_from), "an incident of the camera", within_s=150)
        asha, vikram = Person(first, "asha"), Person(first, "vikram")
        address = ask_for_footage(asha, incident)
        assert "another person must decide" in asha.page(address)
        vikram.submit(f"{address}/approve")
        soon(lambda: 'id="sealed"' in asha.page(address), "the footage to be sealed", within_s=120)
        assert "Fulfilled" in asha.page(address)
        package = tmp_path / "package.zip"
        package.write_bytes(asha.http.get(f"{address}/package").content)
        assert [line.partition(":")[0] for line in verified(first, package)] == ["WHOLE", "WHOLE"]
        soon(lambda: camera_incidents(api).keys() >= KINDS, f"incidents {KINDS}", within_s=240)
        soon(
            lambda: not camera_incidents(api)["View has changed"]["active"],
            "the picture to be well again",
            within_s=60,
        )
    children = first.descendants()
    first.interrupt()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive

    second = demo()
    second.wait_ready()
    with second.api as api:
        assert {item["id"] for item in api.get("/devices").json()["items"]} == set(DEVICES)
    assert "Fulfilled" in Person(second, "asha").page(address), "the same password, and nothing is forgotten"
    second.interrupt()


def test_a_port_that_is_taken_is_said_in_one_sentence(demo: Callable[..., Demo], port_offset: int) -> None:
    with socket.create_server(("127.0.0.1", 8080 + port_offset)):
        started = demo()
        assert started.process.wait(60) != 0
    assert started.text.startswith(f"port {8080 + port_offset} (the console) is taken")
    assert len(started.text.splitlines()) == 1


def test_a_clip_that_is_not_there_is_said_in_one_sentence(demo: Callable[..., Demo]) -> None:
    started = demo("--clip", "/nowhere/clip.mp4")
    assert started.process.wait(60) != 0
    assert "there is no clip at /nowhere/clip.mp4" in started.text
    assert "Traceback" not in started.text


@pytest.mark.needs("media")
@pytest.mark.timeout(420)
def test_each_passage_of_a_real_clip_gives_one_person_track_and_nothing_comes_between(
    demo: Callable[..., Demo], media: Path
) -> None:
    running = demo("--clip", str(media / "one-by-one-person-detection.mp4"), "--model", str(MODEL))
    running.wait_ready()
    with running.api as api:
        tracks = ended_tracks(api, running, want=len(WATCHED_S))
    spans = sorted(tracks.values())
    start = spans[0][0] - WATCHED_S[0][0]
    for (began, ended), (first_s, last_s) in zip(spans, WATCHED_S, strict=True):
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
    return datetime.fromisoformat(text).timestamp()
