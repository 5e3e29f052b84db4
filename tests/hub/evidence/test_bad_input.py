"""What people and devices bring that is not right: one clear sentence each, and nothing of it is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Forbidden, HubError, Invalid, NotFound
from prahari_hub.evidence import requests
from prahari_hub.evidence.places import CameraName, Named, Point
from prahari_hub.evidence.reasons import Refusal
from prahari_wire.command import CommandName
from prahari_wire.evidence import ChainProof
from prahari_wire.ids import ulid
from prahari_wire.recording import TransferManifest

from .conftest import CHIEF, NOON, OPERATOR, Box, City

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
START = NOON - timedelta(minutes=30)
NOWHERE = Named(cameras=[CameraName(device="pune-cam-99", camera="front")])


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        pytest.param({"ends_at": NOON + timedelta(minutes=1)}, Invalid, "That time has not passed yet", id="future"),
        pytest.param({"starts_at": NOON - timedelta(days=3650)}, Invalid, "at most 24 hours", id="ten-years"),
        pytest.param(
            {"starts_at": NOON - timedelta(days=3650), "ends_at": NOON - timedelta(days=3650, hours=-1)},
            Invalid, "No box keeps footage for more than 400 days", id="ten-years-ago",
        ),
        pytest.param({"ends_at": START}, Invalid, "The end must lie after the beginning", id="no-time"),
        pytest.param({"place": NOWHERE}, NotFound, "There is no camera front at pune-cam-99", id="no-such-camera"),
        pytest.param({"only": [("pune-cam-77", "front")]}, Invalid, "does not stand at the place", id="elsewhere"),
        pytest.param({"only": []}, Invalid, "Choose at least one camera", id="none-chosen"),
        pytest.param({"authority": "  "}, Invalid, "A request names the authority", id="no-authority"),
        pytest.param({"purpose": ""}, Invalid, "A request names what the footage is for", id="no-purpose"),
    ],
)  # fmt: skip
async def test_a_request_that_cannot_be_is_refused_in_one_sentence(
    city: City, more: dict[str, Any], error: type[HubError], said: str
) -> None:
    await city.box("pune-cam-01", "front")
    with pytest.raises(error, match=said):
        city.submit(START, 5, **more)


async def test_where_no_camera_stands_the_request_ends_at_once_and_is_counted(city: City) -> None:
    await city.box("pune-cam-01", "front")
    request = city.submit(START, 5, place=Point(lat=18.6, lon=73.9, radius_m=300))
    row = city.request(request)
    assert (row.state, row.outcome, row.reason) == ("closed", "impossible", "no_camera")


async def test_whoever_submitted_it_does_not_decide_on_it(city: City) -> None:
    await city.box("pune-cam-01", "front")
    request = city.submit(START, 5)
    for decide in (
        lambda unit: requests.approve(unit, OPERATOR, request),
        lambda unit: requests.refuse(unit, OPERATOR, request, Refusal.TOO_WIDE),
    ):
        with pytest.raises(Forbidden, match="Another person must decide"):
            city.store.write_sync(decide)
    with pytest.raises(Forbidden, match="Only asha"):
        city.store.write_sync(lambda unit: requests.withdraw(unit, CHIEF, request))
    city.store.write_sync(lambda unit: requests.withdraw(unit, OPERATOR, request))
    with pytest.raises(Conflict, match="has been decided on"):
        city.approve(request)


class Asked:
    """A box that was asked for two minutes of footage."""

    def __init__(self, city: City, box: Box, other: Box, transfer: str) -> None:
        self.city, self.box, self.other, self.transfer = city, box, other, transfer
        self.camera = box.cameras["front"]
        self.manifest = self.camera.manifest(transfer, START, START + timedelta(minutes=2))

    @property
    def path(self) -> str:
        return f"/transfers/{self.transfer}"

    def segment(self, number: int = 0) -> tuple[str, bytes]:
        position = self.manifest.days[0].sent[number]
        segment = self.camera.segments[position - 1]
        return f"{self.path}/segments/{segment.sha256}", self.camera.content[position]


@pytest.fixture
async def asked(city: City) -> Asked:
    box = await city.box("pune-cam-01", "front")
    other = await city.box("pune-cam-02", "front", site=None)
    for each in (box, other):
        each.cameras["front"].record(START - timedelta(minutes=5), 900)
    request = city.submit(START, 2)
    city.approve(request)
    city.advance()
    box.hold()
    city.advance()
    (command,) = box.asked(CommandName.SEND)
    return Asked(city, box, other, command.args["transfer"])


def forged(asked: Asked, **proof: Any) -> TransferManifest:
    day = asked.manifest.days[0]
    changed = day.model_copy(update={"proof": day.proof.model_copy(update=proof)})
    return asked.manifest.model_copy(update={"days": [changed]})


def swapped(asked: Asked) -> TransferManifest:
    chain: list[Any] = list(asked.manifest.days[0].proof.segments)
    chain[2], chain[3] = chain[3], chain[2]
    return forged(asked, segments=chain)


def unsigned(asked: Asked) -> TransferManifest:
    proof: ChainProof = asked.manifest.days[0].proof
    return forged(asked, head=proof.head.model_copy(update={"sig": asked.other.sign(b"something else")}))


def of_another(asked: Asked) -> TransferManifest:
    return asked.other.cameras["front"].manifest(asked.transfer, START, START + timedelta(minutes=2))


def too_much(asked: Asked) -> TransferManifest:
    return asked.camera.manifest(asked.transfer, START - timedelta(minutes=5), START + timedelta(minutes=9))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(swapped, "stands in its place", id="swapped-segments"),
        pytest.param(unsigned, "does not bear the signature of pune-cam-01", id="forged-head"),
        pytest.param(of_another, "a device sends its own footage alone", id="another-device's"),
        pytest.param(too_much, "outside of the interval", id="more-than-asked"),
    ],
)
async def test_an_account_that_does_not_hold_is_refused_and_noted(asked: Asked, make: Any, said: str) -> None:
    async with asked.box.client() as client:
        answer = await client.put(asked.path, content=make(asked).model_dump_json())
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        assert (await client.put(asked.path, content=b"{}")).status_code == 422
        assert (await client.put(asked.path, content=asked.manifest.model_dump_json())).status_code == 201


async def test_a_transfer_is_of_the_device_that_was_asked(asked: Asked) -> None:
    async with asked.other.client() as client:
        answer = await client.put(asked.path, content=asked.manifest.model_dump_json())
        assert answer.status_code == 404
        assert "has not asked this device" in answer.json()["detail"]
        assert (await client.put(asked.segment()[0], content=b"x")).status_code == 404
        assert (await client.put(f"/transfers/{ulid()}", content=b"{}")).status_code == 404


async def test_the_first_account_counts_and_may_come_twice(asked: Asked) -> None:
    async with asked.box.client() as client:
        text = asked.manifest.model_dump_json()
        assert [(await client.put(asked.path, content=text)).status_code for _ in range(2)] == [201, 200]
        shorter = asked.camera.manifest(asked.transfer, START, START + timedelta(minutes=1))
        assert (await client.put(asked.path, content=shorter.model_dump_json())).status_code == 409


async def test_a_segment_that_was_exchanged_is_not_taken(asked: Asked) -> None:
    async with asked.box.client() as client:
        await client.put(asked.path, content=asked.manifest.model_dump_json())
        path, content = asked.segment()
        changed = await client.put(path, content=b"X" + content[1:])
        assert changed.status_code == 422
        assert "not those that the manifest names" in changed.json()["detail"]
        assert (await client.put(path, content=content + b"more")).status_code == 422
        assert (await client.head(path)).headers["upload-offset"] == "0"
        unknown = await client.put(f"{asked.path}/segments/{'0' * 64}", content=b"x")
        assert unknown.status_code == 404
        assert [(await client.put(path, content=content)).status_code for _ in range(2)] == [201, 200]


@pytest.mark.parametrize(
    "share", [0.0, 0.001, 0.5, 0.999], ids=["nothing", "one-byte", "half", "all-but-one"]
)
async def test_an_upload_that_breaks_off_goes_on_where_it_was(asked: Asked, share: float) -> None:
    async with asked.box.client() as client:
        await client.put(asked.path, content=asked.manifest.model_dump_json())
        path, content = asked.segment()
        cut = min(len(content) - 1, max(int(len(content) * share), int(share > 0)))
        await broken_off(asked, path, content, cut)
        have = await until_here(client, path, cut)
        assert have == cut
        elsewhere = await put_when_free(client, path, content, cut + 1)
        assert (elsewhere.status_code, elsewhere.headers["upload-offset"]) == (409, str(cut))
        rest = await put_when_free(client, path, content[cut:], cut)
        assert (rest.status_code, rest.headers["upload-offset"]) == (201, str(len(content)))


@pytest.mark.parametrize("right", [True, False], ids=["right", "changed"])
async def test_a_segment_whose_bytes_had_all_come_when_the_hub_was_killed_is_judged_by_an_upload_of_nothing(
    asked: Asked, right: bool
) -> None:
    async with asked.box.client() as client:
        await client.put(asked.path, content=asked.manifest.model_dump_json())
        path, content = asked.segment()
        behind = {"Upload-Offset": str(len(content))}
        before = await client.put(path, content=b"", headers=behind)
        assert (before.status_code, before.headers["upload-offset"]) == (409, "0")
        part = asked.city.folder / "home" / "transfers" / f"{asked.transfer}-{path.rpartition('/')[2]}.part"
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(content if right else content[::-1])
        judged = await client.put(path, content=b"", headers=behind)
        assert judged.status_code == (201 if right else 422)
        again = await client.put(path, content=b"", headers=behind)
        assert (again.status_code, again.headers["upload-offset"]) == (
            (200, str(len(content))) if right else (409, "0")
        )


async def until_here(client: Any, path: str, wanted: int) -> int:
    for _ in range(100):
        have = int((await client.head(path)).headers["upload-offset"])
        if have == wanted:
            return have
        await asyncio.sleep(0.05)
    return have


async def put_when_free(client: Any, path: str, content: bytes, offset: int) -> Any:
    """As a device does: a 503 while the hub still holds the broken upload is asked again."""
    for _ in range(100):
        answer = await client.put(path, content=content, headers={"Upload-Offset": str(offset)})
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(0.05)
    return answer


async def broken_off(asked: Asked, path: str, content: bytes, cut: int) -> None:
    """Announce the whole segment, send ``cut`` bytes and hang up."""
    context = asked.box.tls()
    _, writer = await asyncio.open_connection("localhost", asked.city.port, ssl=context)
    head = f"PUT /device/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content[:cut])
    await writer.drain()
    await asyncio.sleep(0.3)
    writer.transport.abort()


async def test_an_upload_in_pieces_is_whole_at_the_end(asked: Asked) -> None:
    async with asked.box.client() as client:
        await client.put(asked.path, content=asked.manifest.model_dump_json())
        path, content = asked.segment()
        for at in range(0, len(content), 700):
            piece = content[at : at + 700]
            answer = await client.put(path, content=piece, headers={"Upload-Offset": str(at)})
            assert answer.status_code == (201 if at + 700 >= len(content) else 202)


async def test_what_is_not_wanted_any_more_is_not_taken(asked: Asked) -> None:
    asked.city.pass_time(days=31)
    asked.city.advance()
    async with asked.box.client() as client:
        answer = await client.put(asked.path, content=asked.manifest.model_dump_json())
    assert answer.status_code == 410
