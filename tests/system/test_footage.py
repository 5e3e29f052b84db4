"""Footage from a real recorder to a sealed package: a box that is away, and programs that are killed on the way."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prahari_hub.access import tokens
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Store
from prahari_wire.camera import CameraConfig
from prahari_wire.recording import RecordingConfig
from prahari_wire.verifier import verify

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prahari_agent.street.clip import ensure_clip

    return ensure_clip(tmp_path_factory.mktemp("clip") / "street.mp4", seed=3)


def recording(street: Path) -> CameraConfig:
    return CameraConfig(
        source=str(street), fps=1, recording=RecordingConfig(enabled=True, segment_s=2, max_mb=100)
    )


def approver(town: Any) -> httpx.Client:
    """The API as another person than the one who submits."""
    store = Store.open(f"sqlite:///{town.folder / 'hub' / 'hub.db'}")
    chief = Actor("vikram", Role.ADMIN)
    _, text = store.write_sync(lambda unit: tokens.create(unit, chief, "approves", role=Role.ADMIN))
    store.engine.dispose()
    return httpx.Client(
        base_url=f"{town.console}/api/v1", headers={"Authorization": f"Bearer {text}"}, timeout=15
    )


def known(town: Any, device: str, since: datetime) -> list[dict[str, Any]]:
    """The spans that the hub knows of a camera."""
    until = datetime.now().astimezone() - timedelta(seconds=1)
    found = town.get(
        "/evidence/coverage", starts_at=since.isoformat(), ends_at=until.isoformat(), camera=f"{device}:cam1"
    )
    return list(found["items"][0]["spans"]) if found["items"] else []


def begin_of(spans: list[dict[str, Any]]) -> datetime:
    return datetime.fromisoformat(spans[0]["start"])


def submit(town: Any, device: str, start: datetime, seconds: int) -> str:
    answer = town.post(
        "/evidence/requests",
        {
            "authority": "Kasba police station",
            "case_number": "FIR 12/2026",
            "purpose": "a collision",
            "place": {"kind": "cameras", "cameras": [{"device": device, "camera": "cam1"}]},
            "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(seconds=seconds)).isoformat(),
        },
    )
    return str(answer["summary"]["id"])


def approve(town: Any, request: str) -> None:
    with approver(town) as chief:
        answer = chief.post(f"/evidence/requests/{request}/approve")
    assert answer.status_code == 200, answer.text


def state(town: Any, request: str) -> dict[str, Any]:
    return dict(town.get(f"/evidence/requests/{request}")["summary"])


def package_of(town: Any, request: str, path: Path) -> Path:
    answer = town.api.get(f"/evidence/requests/{request}/package")
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def recorded(box: Any) -> list[Path]:
    return sorted(box.home.glob("peripherals/cam1/footage/*/[0-9]*.mp4"))


def test_a_request_for_a_box_that_is_away_is_fulfilled_when_it_returns_and_the_package_verifies(
    town: Any, street: Path, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    since = datetime.now().astimezone()
    box = town.box("rec-01", {"cam1": recording(street)})
    eventually(lambda: len(recorded(box)) >= 6, "six segments", within_s=60)
    spans = eventually(lambda: known(town, "rec-01", since), "the hub to know of footage", within_s=90)
    box.kill()
    request = submit(town, "rec-01", begin_of(spans), 8)
    approve(town, request)
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


@pytest.mark.parametrize("own_town", [{"PRAHARI_EVIDENCE_KBIT_S": "200"}], indirect=True)
def test_box_and_hub_killed_in_the_middle_of_a_transfer_bring_it_to_its_end(
    own_town: Any, street: Path, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    town = own_town
    since = datetime.now().astimezone()
    box = town.box("rec-02", {"cam1": recording(street)})
    eventually(lambda: len(recorded(box)) >= 7, "seven segments", within_s=60)
    spans = eventually(lambda: known(town, "rec-02", since), "the hub to know of footage", within_s=90)
    request = submit(town, "rec-02", begin_of(spans), 10)
    approve(town, request)

    def here() -> int:
        return int(town.get(f"/evidence/requests/{request}")["cameras"][0]["bytes_here"])

    eventually(here, "the first bytes", within_s=90)
    assert not state(town, request)["outcome"]
    box.kill()
    town.kill_hub()
    town.start_hub()
    box.start()
    before = eventually(here, "what came before", within_s=30)
    eventually(lambda: here() > before, "more bytes", within_s=90)
    box.kill()
    box.start()
    eventually(lambda: state(town, request)["outcome"], "the request to end", within_s=150)
    assert state(town, request)["outcome"] == "fulfilled"
    code, lines = verify(package_of(town, request, tmp_path / "package.zip"))
    assert code == 0, lines
