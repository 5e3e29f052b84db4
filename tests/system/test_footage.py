"""Footage from a real recorder to a sealed package: a box that is away, and programs that are killed on the way."""

from __future__ import annotations

import dataclasses
import io
import json
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from av.video.frame import VideoFrame
from prahari_hub.access import tokens
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Store
from prahari_wire.camera import CameraConfig
from prahari_wire.recording import RecordingConfig
from prahari_wire.verifier import INCOMPLETE, verify

from tests.system.conftest import Box, Town, Towns
from tests.system.conftest import eventually as until

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]
DEVICE = "rec-01"


@dataclasses.dataclass
class Rig:
    """A town, and a box in it that has recorded from ``begin`` on for twenty seconds at least."""

    town: Town
    box: Box
    begin: datetime


def snow(path: Path) -> Path:
    """Twenty seconds that do not compress: a segment takes longer to send than one piece of an upload."""
    dice = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264", rate=10, options={"preset": "ultrafast", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 96, 64, "yuv420p", 10
        for _ in range(200):
            picture = dice.integers(0, 255, (64, 96), np.uint8)
            container.mux(
                stream.encode(VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p"))
            )
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def rig(
    request: pytest.FixtureRequest,
    find_port_offset: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    """Its hub and its box may be killed; what they are asked for they bring slowly, so that there is time to."""
    clip = snow(tmp_path_factory.mktemp("clip") / "snow.mp4")
    failed_before = request.session.testsfailed
    towns, since = Towns(), datetime.now().astimezone()
    try:
        town = towns.build(find_port_offset(), PRAHARI_EVIDENCE_KBIT_S="240")
        recording = RecordingConfig(enabled=True, segment_s=2, max_mb=100)
        box = town.box(DEVICE, {"cam1": CameraConfig(source=str(clip), fps=1, recording=recording)})
        until(lambda: len(recorded(box)) >= 10, "ten segments", within_s=90)
        spans = until(lambda: known(town, since), "the hub to know of footage", within_s=90)
        yield Rig(town, box, datetime.fromisoformat(spans[0]["start"]))
    finally:
        towns.close(show_logs=request.session.testsfailed > failed_before)


def approver(town: Town) -> httpx.Client:
    """The API as another person than the one who submits."""
    store = Store.open(f"sqlite:///{town.folder / 'hub' / 'hub.db'}")
    chief = Actor("vikram", Role.ADMIN)
    _, text = store.write_sync(lambda unit: tokens.create(unit, chief, "approves", role=Role.ADMIN))
    store.engine.dispose()
    return httpx.Client(
        base_url=f"{town.console}/api/v1", headers={"Authorization": f"Bearer {text}"}, timeout=15
    )


def known(town: Town, since: datetime) -> list[dict[str, Any]]:
    """The spans that the hub knows of the camera."""
    until = datetime.now().astimezone() - timedelta(seconds=1)
    found = town.get(
        "/evidence/coverage", starts_at=since.isoformat(), ends_at=until.isoformat(), camera=f"{DEVICE}:cam1"
    )
    return list(found["items"][0]["spans"]) if found["items"] else []


def submit(town: Town, start: datetime, seconds: int = 4) -> str:
    answer = town.post(
        "/evidence/requests",
        {
            "authority": "Kasba police station",
            "case_number": "FIR 12/2026",
            "purpose": "a collision",
            "place": {"kind": "cameras", "cameras": [{"device": DEVICE, "camera": "cam1"}]},
            "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(seconds=seconds)).isoformat(),
        },
    )
    return str(answer["summary"]["id"])


def approve(town: Town, request: str) -> None:
    with approver(town) as chief:
        answer = chief.post(f"/evidence/requests/{request}/approve")
    assert answer.status_code == 200, answer.text


def state(town: Town, request: str) -> dict[str, Any]:
    return dict(town.get(f"/evidence/requests/{request}")["summary"])


def package_of(town: Town, request: str, path: Path) -> Path:
    answer = town.api.get(f"/evidence/requests/{request}/package")
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def recorded(box: Box) -> list[Path]:
    return sorted(box.home.glob("peripherals/cam1/footage/*/[0-9]*.mp4"))


def cut_while_recording(box: Box) -> None:
    """kill -9 with a segment open."""
    until(lambda: list(box.home.glob("peripherals/cam1/footage/*/.*.open")), "an open segment", within_s=30)
    box.kill()


def test_a_request_for_a_box_that_is_away_is_fulfilled_when_it_returns_and_the_package_verifies(
    rig: Rig, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    town, box = rig.town, rig.box
    cut_while_recording(box)
    request = submit(town, rig.begin)
    approve(town, request)
    moment(town, lambda row: row["camera"] == "preserving", "whose hold is under way")
    box.start()
    eventually(lambda: state(town, request)["outcome"], "the request to end", within_s=120)
    assert state(town, request)["outcome"] == "fulfilled"
    package = package_of(town, request, tmp_path / "package.zip")
    code, lines = verify(package)
    assert code == 0, lines
    with zipfile.ZipFile(io.BytesIO(package.read_bytes())) as found:
        name = next(one for one in found.namelist() if one.endswith(".mp4"))
        data = bytearray(package.read_bytes())
        data[data.index(found.read(name)[1000:1100]) + 50] ^= 1
    (tmp_path / "forged.zip").write_bytes(data)
    code, lines = verify(tmp_path / "forged.zip")
    assert code == 1, lines


STEPS = """
SELECT r.id, r.state AS request, r.outcome, c.state AS camera, c.released_at, t.state AS transfer,
  (SELECT count(*) FROM evidence_segments AS s WHERE s.transfer = t.id) AS announced,
  (SELECT count(*) FROM evidence_segments AS s WHERE s.transfer = t.id AND s.stored_at IS NOT NULL) AS here,
  (SELECT count(*) FROM sealed_items AS i WHERE i.request_id = r.id) AS sealed
FROM footage_requests AS r JOIN request_cameras AS c ON c.request_id = r.id LEFT JOIN transfers AS t ON t.request_id = r.id
"""


def steps(town: Town) -> dict[str, Any]:
    """Where each request stands, by a second reader of the hub's database; each has one camera and one transfer."""
    with closing(sqlite3.connect(f"file:{town.folder / 'hub' / 'hub.db'}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(STEPS).fetchall()
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows), "a request has two transfers"
    return found


def moment(town: Town, found: Callable[[Any], bool], what: str, within_s: float = 90) -> str:
    """Wait for a request that stands so, looked for a hundred times a second: some steps are short."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for request, row in steps(town).items():
            if found(row):
                return request
        time.sleep(0.01)
    pytest.fail(f"waited {within_s:.0f} s for a request {what}")


def uploading(town: Town) -> bool:
    return any(part.stat().st_size for part in (town.folder / "hub" / "transfers").glob("*.part"))


def custody(town: Town, request: str) -> list[str]:
    return [step["action"] for step in town.get(f"/evidence/requests/{request}/custody")["items"]]


def test_hub_and_box_killed_at_each_step_bring_every_request_to_one_whole_package(
    rig: Rig, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    """Four cuts with kill -9: a request that is submitted, one that was just approved, one whose hold waits for the box; one in the
    middle of an upload, with a segment open in the recorder; one that is all here and not sealed; one that is sealed and not released."""
    town, box = rig.town, rig.box
    cut_while_recording(box)
    held, submitted, approved = (submit(town, rig.begin + timedelta(seconds=at)) for at in (2, 7, 12))
    approve(town, held)
    moment(town, lambda row: row["id"] == held and row["camera"] == "preserving", "whose hold is under way")
    approve(town, approved)
    town.kill_hub()
    before = steps(town)
    assert [before[one]["request"] for one in (submitted, approved)] == ["submitted", "collecting"]
    town.start_hub()
    box.start()
    approve(town, submitted)

    moment(
        town,
        lambda row: row["transfer"] == "coming" and row["here"] < row["announced"] and uploading(town),
        "that comes",
    )
    box.kill()
    town.kill_hub()
    assert uploading(town)
    town.start_hub()
    box.start()

    moment(town, lambda row: row["transfer"] == "received" and not row["sealed"], "that is all here")
    town.kill_hub()
    town.start_hub()

    moment(town, lambda row: row["sealed"] and row["released_at"] is None, "that is sealed and not released")
    town.kill_hub()
    box.kill()
    town.start_hub()
    box.start()

    for request in (held, submitted, approved):
        eventually(lambda one=request: state(town, one)["outcome"], "the request to end", within_s=120)
        assert state(town, request)["outcome"] == "fulfilled"
        code, lines = verify(package_of(town, request, tmp_path / f"{request}.zip"))
        assert code == 0, lines
        done = custody(town, request)
        assert {f"evidence.{one}" for one in ("hold", "held", "send")} <= set(done)
        for once in ("submit", "approve", "manifest", "transferred", "received", "seal", "unhold"):
            assert done.count(f"evidence.{once}") == 1, (once, done)
        assert steps(town)[request]["sealed"] == 1
    eventually(lambda: not json.loads(kept_of(box).read_text())["holds"], "the box to let go", within_s=90)
    assert not list((town.folder / "hub" / "transfers").glob("*.part"))
    assert "rows are as they were sealed" in town.do("prahari-hub", "audit", "verify")


def kept_of(box: Box) -> Path:
    return Path(box.home / "peripherals" / "cam1" / "footage" / "kept.json")


def damaged_journal(box: Box, position: int) -> None:
    """A block of zeros, as after a power cut, over the line of a segment and its neighbours."""
    path = min(box.home.glob("peripherals/cam1/footage/*/journal.jsonl"))
    content = bytearray(path.read_bytes())
    at = content.index(b'{"segment":{"position":%d,' % position) + 30
    content[at : at + 512] = bytes(512)
    path.write_bytes(content)


def causes(town: Town, since: datetime) -> set[str]:
    until = datetime.now().astimezone() - timedelta(seconds=1)
    found = town.get(
        "/evidence/coverage", starts_at=since.isoformat(), ends_at=until.isoformat(), camera=f"{DEVICE}:cam1"
    )
    return {gap["cause"] for gap in found["items"][0]["gaps"]}


def test_a_journal_that_is_damaged_in_its_middle_costs_what_is_damaged_and_both_verifiers_say_so(
    rig: Rig, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    town, box = rig.town, rig.box
    box.kill()
    files = {path: path.read_bytes() for path in recorded(box)}
    damaged_journal(box, 4)
    box.start()
    eventually(lambda: "record" in causes(town, rig.begin), "the hub to be told of the damage", within_s=90)
    assert {path: path.read_bytes() for path in files} == files
    request = submit(town, rig.begin, 18)
    approve(town, request)
    eventually(lambda: state(town, request)["outcome"], "the request to end", within_s=120)
    assert (state(town, request)["outcome"], state(town, request)["reason"]) == ("partial", "damaged")
    package = package_of(town, request, tmp_path / "package.zip")
    code, lines = verify(package)
    assert code == INCOMPLETE, lines
    assert "nothing proves what was recorded as segments 4 to" in lines[-1]
    with pytest.raises(AssertionError, match="INCOMPLETE: rec-01, cam1"):
        town.do("prahari-hub", "evidence", "verify", str(package))
