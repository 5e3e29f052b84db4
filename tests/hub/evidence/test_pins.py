"""A head that the hub was told of: the box cannot tell another story of the day afterwards."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from prahari_hub.access import audit
from prahari_hub.evidence import pins
from prahari_hub.evidence.requests import subject
from prahari_wire import verifier
from prahari_wire.base import canonical
from prahari_wire.evidence import ChainHead, Pin

from .conftest import DAY, NOON, Box, City
from .test_verifier import rewrite, trust

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
__all__ = ["trust"]
START = NOON - timedelta(minutes=30)
TODAY = f"{DAY:%Y-%m-%d}"


async def recorded(city: City, *, told_s: int = 600) -> Box:
    """A box that recorded from START on and told of it after ``told_s`` seconds, then recorded five minutes more."""
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"]
    camera.record(START, told_s)
    camera.tell()
    city.pass_time(minutes=10)
    camera.record(START + timedelta(seconds=told_s), 300)
    return box


def exchange(box: Box, position: int) -> None:
    """Put other footage into the place of a segment, with a chain that is whole again."""
    camera = box.cameras["front"]
    old = camera.segments[position - 1]
    camera.content[position] = camera.content[position][::-1]
    box.cameras["front"].segments[position - 1] = old.model_copy(
        update={"sha256": hashlib.sha256(camera.content[position]).hexdigest()}
    )


async def refusal_of(city: City, box: Box, minutes: float = 2) -> str:
    request = city.submit(START, minutes)
    city.approve(request)
    city.advance()
    box.hold()
    city.advance()
    with pytest.raises(AssertionError, match="422"):
        await box.send()
    wanted = audit.Filter(subject=subject(request))
    (step,) = [
        one
        for one in city.store.read_sync(lambda conn: audit.page(conn, wanted, limit=50)).items
        if one.action == "evidence.rejected"
    ]
    return str(step.detail["what"])


async def test_a_package_says_since_when_its_footage_cannot_have_been_made_up(city: City, trust) -> None:
    await recorded(city)
    request = city.submit(START, 2)
    await city.carry_out(request)
    code, lines = verifier.verify(await city.package(request), trust)
    assert code == 0
    told = f"{NOON:%Y-%m-%d %H:%M:%S} UTC"
    assert any(f"unchanged since {told}" in line and "of segment 60" in line for line in lines), lines


async def test_footage_that_no_head_covers_is_said_not_to_be_pinned(city: City, trust) -> None:
    await recorded(city, told_s=60)
    request = city.submit(START, 2)
    await city.carry_out(request)
    code, lines = verifier.verify(await city.package(request), trust)
    assert code == 0
    assert any("no head that covers segment 12 was at the hub" in line for line in lines), lines


async def test_a_segment_that_was_exchanged_after_its_head_was_told_is_refused_although_the_chain_is_whole(
    city: City,
) -> None:
    box = await recorded(city)
    exchange(box, 5)
    said = await refusal_of(city, box)
    assert "segments up to 60 were exchanged or removed since then" in said


async def test_a_day_that_became_shorter_than_it_was_told_is_refused(city: City) -> None:
    box = await recorded(city)
    del box.cameras["front"].segments[40:]
    assert "up to 60 were exchanged or removed" in await refusal_of(city, box)


async def test_what_was_exchanged_elsewhere_in_the_day_does_not_cost_the_footage_that_stands(
    city: City, trust
) -> None:
    """A card that lied at a power cut loses the last line; footage from before the head that was told earlier is still proved."""
    box = await recorded(city, told_s=600)
    box.cameras["front"].tell()
    exchange(box, 75)
    request = city.submit(START, 2)
    await city.carry_out(request)
    assert city.request(request).outcome == "fulfilled"
    assert verifier.verify(await city.package(request), trust)[0] == 0


async def test_a_request_whose_account_was_refused_ends_as_damaged(city: City) -> None:
    from prahari_hub.evidence import receiving
    from prahari_hub.fleet.facts import Fact
    from prahari_wire.ids import ulid
    from prahari_wire.recording import Sent, SentOutcome

    box = await recorded(city)
    exchange(box, 5)
    await refusal_of(city, box)
    (request,) = [
        row.request_id for row in city.store.read_sync(lambda conn: list(conn.execute(all_transfers())))
    ]
    (transfer,) = city.transfers(request)
    body = Sent(
        transfer=transfer.id,
        outcome=SentOutcome.FAILED,
        segments=0,
        size=0,
        detail="the hub does not take it",
    )
    fact = Fact(box.name, None, "front", "camera", "recording.sent", body, city.now, False, ulid(), city.now)
    city.store.write_sync(lambda unit: receiving.ended(unit, fact))
    city.advance()
    row = city.request(request)
    assert (row.outcome, row.reason) == ("impossible", "damaged")


def all_transfers():
    from prahari_hub.evidence.tables import transfers

    return transfers.select()


async def test_a_pin_that_the_chain_does_not_pass_through_breaks_the_package(city: City, trust) -> None:
    await recorded(city)
    request = city.submit(START, 2)
    await city.carry_out(request)

    def another_pin(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        manifest["transfers"][0]["pins"][0]["hash"] = "0" * 32
        files["manifest.json"] = canonical(manifest)

    package = await city.package(request)
    with zipfile.ZipFile(package) as archive:
        assert json.loads(archive.read("manifest.json"))["transfers"][0]["pins"]
    code, lines = verifier.verify(rewrite(package, another_pin), trust)
    assert code == 1
    assert "the day was rewritten afterwards" in lines[0]


def head(position: int, digit: str = "a") -> ChainHead:
    return ChainHead(
        device="pune-cam-01", camera="front", day=TODAY, position=position, hash=digit * 64, signed_at=NOON
    )


def test_pins_come_back_as_they_were_packed(which_store: str) -> None:
    packed = None
    for number in range(1, 30):
        at = datetime(2026, 11, 22, 1, tzinfo=UTC) + timedelta(minutes=number * 40)
        packed = pins.pinned(TODAY, packed, head(number * 240, f"{number % 16:x}"), at)
    found = pins.unpack(TODAY, packed)
    assert [pin.position for pin in found] == [number * 240 for number in range(1, 30)]
    assert found[2] == Pin(
        day=TODAY, position=720, hash="3" * 32, told_at=datetime(2026, 11, 22, 3, tzinfo=UTC)
    )
    assert packed is not None and len(packed) < 30 * 21


def test_a_pin_does_not_move_and_a_day_has_so_many(which_store: str) -> None:
    packed = pins.pinned(TODAY, None, head(100), NOON)
    for position, digit in ((100, "b"), (99, "c")):
        assert pins.pinned(TODAY, packed, head(position, digit), NOON) == packed
    for position in range(101, 400):
        packed = pins.pinned(TODAY, packed, head(position), NOON + timedelta(seconds=position))
    found = pins.unpack(TODAY, packed)
    assert len(found) == pins.MOST
    assert (found[0].position, found[-1].position) == (100, 399)


def test_a_clock_that_was_set_back_does_not_spoil_the_pins(which_store: str) -> None:
    packed = pins.pinned(TODAY, None, head(100), NOON)
    packed = pins.pinned(TODAY, packed, head(200), NOON - timedelta(hours=1))
    assert [pin.told_at for pin in pins.unpack(TODAY, packed)] == [NOON, NOON]
