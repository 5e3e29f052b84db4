"""What devices ask over HTTPS. Who asks is told by the certificate, which identity's tests show; here it is given."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prahari_hub.fleet import blobs, device_api, twins, uploads
from prahari_hub.fleet.quota import Quota
from prahari_hub.http import problems
from prahari_hub.identity.peer import client_device
from prahari_wire.camera import Box, Snapshot, Track, TrackPhase
from prahari_wire.display import DisplayConfig, ImageContent, PlaylistItem
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired, document_bytes

JPEG = b"\xff\xd8\xff" + b"picture" * 100
SHA = hashlib.sha256(JPEG).hexdigest()
ME = "pune-cam-01"


@pytest.fixture
async def device(store: Any, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.store = store
    app.state.blobs = blobs.Blobs(blobs.local(tmp_path / "blobs"))
    app.state.quota = Quota(2 * len(JPEG))
    problems.install(app)
    app.include_router(device_api.router)
    app.dependency_overrides[client_device] = lambda: ME
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://hub/device/v1"
    ) as client:
        yield client


def track(snapshot: Snapshot, at: Any) -> Track:
    return Track(
        phase=TrackPhase.STARTED, track=ulid(), label="person", score=0.9, started_at=at,
        box=Box(left=0, top=0, right=1, bottom=1), frames=3, snapshot=snapshot,
    )  # fmt: skip


@pytest.fixture
def announced(store: Any, fact: Any, time: Any) -> Any:
    def announce(size: int = len(JPEG), device: str = ME) -> None:
        body = track(Snapshot(sha256=SHA, size=size), time.now)
        store.write_sync(lambda unit: uploads.announce(unit, fact(device, "camera.track", body)))

    return announce


async def test_a_snapshot_is_taken_once_its_event_is_committed(
    device: Any, announced: Any, store: Any
) -> None:
    early = await device.put(f"/blobs/{SHA}", content=JPEG)
    assert (early.status_code, "not announced yet" in early.json()["detail"]) == (404, True)
    announced()
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 201
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 200
    assert store.read_sync(lambda conn: uploads.expected(conn, ME, SHA))["stored_at"] is not None


async def test_a_file_that_another_device_announced_is_not_taken(device: Any, announced: Any) -> None:
    announced(device="pune-ecb-01")
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 404


@pytest.mark.parametrize(
    ("content", "size"),
    [
        pytest.param(JPEG[:-1] + b"x", len(JPEG), id="altered"),
        pytest.param(JPEG + b"x", len(JPEG), id="longer"),
        pytest.param(JPEG[:-1], len(JPEG), id="shorter"),
    ],
)
async def test_a_file_that_is_not_what_was_announced_is_refused_and_may_be_sent_again(
    device: Any, announced: Any, content: bytes, size: int
) -> None:
    announced(size)
    assert (await device.put(f"/blobs/{SHA}", content=content)).status_code == 422
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 201


async def test_a_file_that_was_cut_short_is_taken_again(device: Any, announced: Any, tmp_path: Path) -> None:
    announced()
    kept = tmp_path / "blobs" / SHA[:2] / SHA
    kept.parent.mkdir()
    kept.write_bytes(JPEG[:5])
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 201
    assert kept.read_bytes() == JPEG


async def test_a_device_that_has_sent_its_share_of_the_day_is_told_to_wait(
    device: Any, announced: Any, time: Any
) -> None:
    announced()
    for _ in range(2):
        assert (await device.put(f"/blobs/{SHA}", content=JPEG[:-1])).status_code == 422
    answer = await device.put(f"/blobs/{SHA}", content=JPEG)
    assert answer.status_code == 429 and "try again tomorrow" in answer.json()["detail"]
    time.pass_s(86400)
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 201


async def test_a_file_is_on_disk_when_the_answer_leaves(
    device: Any, announced: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    announced()
    assert (await device.put(f"/blobs/{SHA}", content=JPEG)).status_code == 201
    folder = tmp_path / "blobs" / SHA[:2]
    ours = [name for name in synced if name.startswith(str(folder.parent))]
    assert ours[0].endswith(".part") and ours[1:] == [str(folder), str(folder.parent)]
    assert [path.name for path in folder.iterdir()] == [SHA]


async def test_only_so_many_uploads_are_held_in_memory(tmp_path: Path) -> None:
    kept = blobs.Blobs(blobs.local(tmp_path / "blobs"))
    begun, go = [], asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        begun.append(1)
        await go.wait()
        yield JPEG

    uploads_ = [asyncio.create_task(kept.put(SHA, slow())) for _ in range(blobs.AT_ONCE + 3)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(begun) == blobs.AT_ONCE
    go.set()
    assert await asyncio.gather(*uploads_) == [len(JPEG)] * len(uploads_)


async def test_a_device_fetches_its_own_twin_by_version(device: Any, store: Any, asha: Any) -> None:
    desired = Desired(heartbeat_s=7)
    store.write_sync(lambda unit: twins.put(unit, asha, ME, desired, if_version=0))
    found = await device.get("/twin/1")
    assert found.content == document_bytes(desired)
    assert (await device.get("/twin/2")).status_code == 404
    assert (await device.get("/twin/99999999999999999999")).status_code == 422


async def test_a_device_fetches_only_what_it_should_show(
    device: Any, store: Any, asha: Any, announced: Any, time: Any
) -> None:
    announced()
    await device.put(f"/blobs/{SHA}", content=JPEG)
    assert (await device.get(f"/blobs/{SHA}")).status_code == 404
    picture = ImageContent(sha256=SHA, size=len(JPEG))
    sign = DisplayConfig(playlist=[PlaylistItem(id="one", content=picture)])
    store.write_sync(
        lambda unit: twins.put(unit, asha, ME, Desired(peripherals={"sign1": sign}), if_version=0)
    )
    found = await device.get(f"/blobs/{SHA}")
    assert (found.status_code, found.content, found.headers["content-type"]) == (200, JPEG, "image/jpeg")
    store.write_sync(lambda unit: twins.put(unit, asha, ME, Desired(), if_version=1))
    assert (await device.get(f"/blobs/{SHA}")).status_code == 404
    until = time.now + timedelta(minutes=1)
    store.write_sync(lambda unit: uploads.grant(unit, ME, picture.model_dump(mode="json"), until=until))
    assert (await device.get(f"/blobs/{SHA}")).status_code == 200


@pytest.mark.parametrize("name", ["A" * 64, "a" * 63, "..%2f..%2fetc%2fpasswd"])
async def test_a_name_that_is_no_hash_reaches_no_file(device: Any, name: str) -> None:
    assert (await device.get(f"/blobs/{name}")).status_code in (404, 422)
    assert (await device.put(f"/blobs/{name}", content=b"x")).status_code in (404, 405, 422)
