"""A shop's camera on a real box at a real hub: watched and copied as its owner allows, and nothing of it once the owner withdraws."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import av
import httpx
import pytest
from prahari_wire.camera import CameraConfig
from prahari_wire.owner import Consent, Owner
from prahari_wire.recording import RecordingConfig

from tests.system.conftest import Town, Towns
from tests.system.conftest import eventually as until
from tests.system.test_footage import DEVICE, Rig, approve, known, recorded, snow, state, submit

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def shop(
    request: pytest.FixtureRequest,
    find_port_offset: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    """A town with a shop's camera that has recorded for some seconds; its owner allows footage and the live view."""
    clip = snow(tmp_path_factory.mktemp("clip") / "snow.mp4")
    failed_before = request.session.testsfailed
    towns, since = Towns(), datetime.now().astimezone()
    try:
        town = towns.build(find_port_offset())
        owner = Owner(name="Joshi Jewellers", contact="020 5550", consent=Consent.FOOTAGE, live=True)
        recording = RecordingConfig(enabled=True, segment_s=2, max_mb=100)
        box = town.box(
            DEVICE, {"cam1": CameraConfig(source=str(clip), fps=1, recording=recording, owner=owner)}
        )
        until(lambda: len(recorded(box)) >= 5, "five segments", within_s=90)
        spans = until(lambda: known(town, since), "the hub to know of footage", within_s=90)
        yield Rig(town, box, datetime.fromisoformat(spans[0]["start"]))
    finally:
        towns.close(show_logs=request.session.testsfailed > failed_before)


def change_owner(town: Town, **terms: Any) -> None:
    answer = town.api.get(f"/devices/{DEVICE}/twin")
    desired = answer.json()["document"]
    desired["peripherals"]["cam1"]["owner"] |= terms
    tag = {"If-Match": answer.headers["ETag"]}
    town.api.put(f"/devices/{DEVICE}/twin", json=desired, headers=tag).raise_for_status()
    until(lambda: town.twin_applied(DEVICE), "the box to have the terms", within_s=60)


def picture(town: Town, view: str) -> httpx.Response | None:
    answer = town.api.get(f"/live-views/{view}/picture")
    return answer if answer.status_code == 200 else None


def test_a_shops_camera_is_watched_and_copied_as_its_owner_allows_and_is_off_when_it_withdraws(
    shop: Rig,
) -> None:
    town, box = shop.town, shop.box
    watching = f"/devices/{DEVICE}/cameras/cam1/live"
    begun = town.post(watching, {"reason": "a quarrel was called in", "seconds": 120})
    shown = until(lambda: picture(town, begun["id"]), "a picture of the live view", within_s=60)
    assert shown.content.startswith(b"\xff\xd8\xff")
    first = town.get(f"/live-views/{begun['id']}")["pictures"]
    until(lambda: town.get(f"/live-views/{begun['id']}")["pictures"] > first, "another picture", within_s=30)
    assert town.api.delete(f"/live-views/{begun['id']}").json()["ended_at"]
    assert picture(town, begun["id"]) is None

    request = submit(town, shop.begin)
    approve(town, request)
    until(lambda: state(town, request)["outcome"] == "fulfilled", "the request to be fulfilled", within_s=120)
    asked = {
        "device": DEVICE,
        "camera": "cam1",
        "reason": "for the press",
        "starts_at": shop.begin.isoformat(),
    }
    asked["ends_at"] = (shop.begin + timedelta(seconds=2)).isoformat()
    copy = town.post(f"/evidence/requests/{request}/copies", asked)["id"]
    until(
        lambda: town.get(f"/evidence/requests/{request}/copies")["items"][0]["state"] == "ready", "the copy"
    )
    fetched = town.api.get(f"/evidence/requests/{request}/copies/{copy}")
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as archive:
        said, film = json.loads(archive.read("copy.json")), archive.read("film.mp4")
    assert said["drawn"]["frames"] == said["drawn"]["whole"] > 10, "without a model every frame is hidden"
    with av.open(io.BytesIO(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == said["drawn"]["frames"]

    change_owner(town, live=False)
    refused = town.api.post(
        f"/devices/{DEVICE}/cameras/cam1/live", json={"reason": "a quarrel was called in"}
    )
    assert refused.status_code == 403
    assert "allows no live view" in refused.json()["detail"]

    change_owner(town, withdrawn_at=datetime.now(UTC).isoformat())
    until(lambda: not recorded(box), "the box to delete the footage that nobody holds", within_s=150)
    late = submit(town, shop.begin)
    approve(town, late)
    until(lambda: state(town, late)["outcome"] == "impossible", "the request to end")
    assert state(town, late)["reason"] == "owner_consent"
