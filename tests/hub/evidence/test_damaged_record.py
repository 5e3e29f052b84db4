"""A box whose record is damaged: what it can still prove is given, what it cannot is said, and no cut passes for damage unseen."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prahari_hub.evidence.judge import Keys
from prahari_wire import verifier
from prahari_wire.base import canonical
from prahari_wire.evidence import ChainHead, ChainProof, genesis, head_bytes, link
from prahari_wire.recording import Coverage, GapCause, SentDay, TransferManifest

from tests.conftest import unused_port
from tests.hub.conftest import Database

from .conftest import DAY, NOON, Box, Camera, City, left, ms
from .test_pins import exchange, refusal_of
from .test_verifier import published, rewrite, segments, trust

pytestmark = [
    pytest.mark.needs("openssl"),
    pytest.mark.parametrize("which_store", ["sqlite"], indirect=True),
]
__all__ = ["trust"]
Kept = tuple[City, tuple[str, Path]]
START = NOON - timedelta(minutes=30)
TODAY = f"{DAY:%Y-%m-%d}"
LOST = (5, 7)


class Damaged(Camera):
    """The lines of segments ``lost[0]`` to ``lost[1]`` are damaged."""

    lost = LOST

    def stretch(self, first: int, last: int, sent: Iterable[int]) -> SentDay:
        """From segment ``first`` to ``last``, with a head signed now."""
        hashes = [genesis(self.box.name, self.name, TODAY)]
        for segment in self.segments:
            hashes.append(link(hashes[-1], segment))
        head = ChainHead(
            device=self.box.name, camera=self.name, day=TODAY, position=last, hash=hashes[last],
            signed_at=self.box.city.now, key=self.box.serial,
        )  # fmt: skip
        head = head.model_copy(update={"sig": self.box.sign(head_bytes(head))})
        proof = ChainProof(
            before_position=first - 1,
            before=hashes[first - 1],
            segments=self.segments[first - 1 : last],
            head=head,
        )
        return SentDay(proof=proof, sent=[one for one in sent if first <= one <= last])

    def manifest(self, transfer: str, start: datetime, end: datetime) -> TransferManifest:
        sent = [one.position for one in self.segments if one.end_ms > ms(start) and one.start_ms < ms(end)]
        first, last = self.lost
        days = [self.stretch(max(min(sent), last + 1), len(self.segments), sent)]
        if min(sent) < first:
            days.insert(0, self.stretch(min(sent), first - 1, sent))
        return TransferManifest(
            transfer=transfer, camera=self.name, days=days, certificate=self.box.certificate
        )

    def tell_of_damage(self) -> None:
        offsets = [(one.start_ms - ms(DAY), one.end_ms - ms(DAY)) for one in self.segments]
        first, last = self.lost
        gap = offsets[first - 1][0], offsets[last - 1][1]
        spans = [(offsets[0][0], gap[0]), (gap[1], offsets[-1][1])]
        self.version += 1
        body = Coverage(
            day=TODAY, version=self.version, spans=spans, gaps=[(*gap, GapCause.RECORD)], until_ms=offsets[-1][1],
            head=self.proof([1]).head,
        )  # fmt: skip
        self.box.say("recording.coverage", body, self.name)


async def damaged(city: City, *, told: int = 0, lost: tuple[int, int] = LOST) -> Box:
    """A box with ten minutes of footage whose record was damaged, after the hub had been told of the first ``told`` segments."""
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"] = Damaged(box, "front")
    camera.lost = lost
    if told:
        camera.record(START, told * 10)
        camera.tell()
        city.pass_time(minutes=10)
    camera.record(START + timedelta(seconds=told * 10), 600 - told * 10)
    camera.tell_of_damage()
    return box


async def given(city: City, minutes: float = 2, *, after_s: float = 0) -> tuple[str, Path]:
    request = city.submit(START + timedelta(seconds=after_s), minutes)
    await city.carry_out(request)
    return request, await city.package(request)


def both(city: City, package: Path, trust: Path) -> tuple[int, list[str]]:
    """What the stand-alone verifier says; the hub's own says the same."""
    code, lines = verifier.verify(package, trust)
    keys = Keys(city.identity.signer.public_keys, city.identity.authority.root)
    with zipfile.ZipFile(package) as archive:
        flaws, _ = verifier.judged(archive, keys)
        assert (code == 1) == bool(flaws)
        if not flaws:
            assert verifier.verdict(archive) == (code, lines[-1])
    return code, lines


async def damaged_and_given(city: City) -> tuple[str, Path]:
    await damaged(city)
    return await given(city)


@pytest.fixture(scope="module")
def kept(new_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """What several look at: the city, the request, and its package."""
    with left(new_database, tmp_path_factory.mktemp("city"), unused_port(), damaged_and_given) as found:
        yield found


@pytest.fixture
def trust_in_kept(kept: Kept, tmp_path: Path) -> Path:
    return published(kept[0], tmp_path)


def test_what_lies_around_the_damage_is_given_and_the_rest_is_missing_as_damaged(kept: Kept) -> None:
    city, (request, package) = kept
    row = city.request(request)
    assert (row.outcome, row.reason) == ("partial", "damaged")
    with zipfile.ZipFile(package) as archive:
        numbers = [int(name[-9:-4]) for name in archive.namelist() if name.startswith("segments/")]
    assert numbers == [1, 2, 3, 4, 8, 9, 10, 11, 12]


def test_both_verifiers_call_it_incomplete_and_say_what_is_not_proved(
    kept: Kept, trust_in_kept: Path
) -> None:
    city, (_, package) = kept
    code, lines = both(city, package, trust_in_kept)
    assert code == verifier.INCOMPLETE
    assert lines[-1].startswith(f"INCOMPLETE: pune-cam-01, front, {TODAY}: the box's record is damaged")
    assert "segments 5 to 7, nor that they were all" in lines[-1]
    assert "segments 1 to 4 before it are proved by a signature of" in lines[-1]


async def test_what_the_hub_had_a_head_of_before_the_damage_is_not_doubted(city: City, trust: Path) -> None:
    await damaged(city, told=4)
    code, lines = both(city, (await given(city))[1], trust)
    assert code == verifier.INCOMPLETE
    assert "before it are proved" not in lines[-1]


async def test_footage_behind_the_damage_is_whole_by_itself(city: City, trust: Path) -> None:
    await damaged(city, told=40)
    request, package = await given(city, after_s=120)
    assert city.request(request).outcome == "fulfilled"
    assert both(city, package, trust)[0] == 0


async def test_no_head_from_behind_the_damage_speaks_for_what_lies_before_it(city: City, trust: Path) -> None:
    await damaged(city, told=40)
    _, lines = both(city, (await given(city))[1], trust)
    said = [line for line in lines if f"front, {TODAY}" in line]
    assert "up to segment 4: no head that covers segment 4 was at the hub" in said[0]
    assert "unchanged since" in said[1]
    assert "of segment 40 by then" in said[1]


async def test_footage_before_the_damage_is_given_although_the_hub_had_a_later_head(
    city: City, trust: Path
) -> None:
    await damaged(city, told=40)
    request, package = await given(city, 0.5)
    assert city.request(request).outcome == "fulfilled"
    code, lines = both(city, package, trust)
    assert code == verifier.INCOMPLETE
    assert "segments 1 to 3 before it are proved by a signature of" in lines[-1]


@pytest.mark.parametrize("position", [2, 20], ids=["before the damage", "behind it"])
async def test_damage_hides_no_exchange_of_what_the_hub_had_a_head_of(city: City, position: int) -> None:
    """Heads of 40 segments and, earlier, of 4: the thief of a box's key claims that 5 to 7 are damaged."""
    box = await damaged(city, told=4)
    box.cameras["front"].tell()
    exchange(box, position)
    assert "were exchanged or removed since then" in await refusal_of(city, box, 5)


async def test_who_leaves_out_what_comes_behind_the_damage_is_refused(city: City) -> None:
    box = await damaged(city, told=40)
    camera = box.cameras["front"]
    whole = camera.manifest
    camera.manifest = lambda *wanted: whole(*wanted).model_copy(update={"days": whole(*wanted).days[:1]})  # type: ignore[method-assign]
    assert "segments up to 40 were exchanged or removed since then" in await refusal_of(city, box)


async def test_two_accounts_of_the_same_segments_are_refused(city: City) -> None:
    box = await damaged(city, lost=(5, 4))
    assert f"the account of {TODAY} ends after segment 4 and begins again after 4" in await refusal_of(
        city, box
    )


def account_of(files: dict[str, bytes]) -> tuple[str, dict]:
    (name,) = (name for name in files if name.startswith("chains/"))
    return name, json.loads(files[name])


def without_behind(files: dict[str, bytes]) -> None:
    """The last segments and all that is said of them are cut out."""
    name, account = account_of(files)
    del account["days"][1]
    files[name] = canonical(account)
    for segment in segments(files)[4:]:
        del files[segment]


def damaged_further(files: dict[str, bytes]) -> None:
    """Segment 8 is cut out, as if the damage had reached so far."""
    name, account = account_of(files)
    behind = account["days"][1]
    gone = behind["proof"]["segments"].pop(0)
    behind["proof"]["before_position"], behind["sent"] = 8, behind["sent"][1:]
    assert gone["position"] == 8
    files[name] = canonical(account)
    del files[segments(files)[4]]


def without_one(files: dict[str, bytes]) -> None:
    del files[segments(files)[1]]


@pytest.mark.parametrize("cut", [without_behind, damaged_further, without_one])
def test_what_is_cut_out_of_a_damaged_package_breaks_it(
    kept: Kept, trust_in_kept: Path, cut: Callable[[dict[str, bytes]], None]
) -> None:
    city, (_, package) = kept
    code, lines = both(city, rewrite(package, cut), trust_in_kept)
    assert code == 1
    assert lines[0].startswith("BROKEN")


async def test_a_camera_that_is_whole_does_not_hide_another_that_is_damaged(city: City, trust: Path) -> None:
    await damaged(city)
    other = await city.box("pune-cam-02", "front")
    other.cameras["front"].record(START, 600)
    assert both(city, (await given(city))[1], trust)[0] == verifier.INCOMPLETE
