"""The chain of a camera's day: whole it holds, and whatever is done to it, the first link that does not hold is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from prahari_wire.base import Clock
from prahari_wire.evidence import ChainHead, ChainProof, Segment, first_broken, genesis, head_bytes, link

AT = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
BYTES = [f"segment {number}".encode() * number for number in range(1, 9)]


def sign(data: bytes) -> str:
    return hashlib.sha256(b"the device's key" + data).hexdigest()


def verify(data: bytes, key: str, sig: str) -> bool:
    return key == "7f" and sig == sign(data)


def segment(position: int, data: bytes) -> Segment:
    return Segment(
        position=position, start_ms=1_795_300_000_000 + 10_000 * position, duration_ms=10_000, size=len(data), codec="h264",
        sha256=hashlib.sha256(data).hexdigest(), width=640, height=360, clock=Clock.SYNCED,
    )  # fmt: skip


def signed(head: ChainHead) -> ChainHead:
    named = head.model_copy(update={"key": "7f"})
    return named.model_copy(update={"sig": sign(head_bytes(named))})


def proof(first: int = 1) -> ChainProof:
    """Of the segments from ``first`` on; all eight are in the chain."""
    found = [genesis("pune-cam-01", "cam1", "2026-11-22")]
    segments = [segment(position, data) for position, data in enumerate(BYTES, start=1)]
    for one in segments:
        found.append(link(found[-1], one))
    head = ChainHead(
        device="pune-cam-01", camera="cam1", day="2026-11-22", position=8, hash=found[-1], signed_at=AT
    )
    return ChainProof(
        before_position=first - 1, before=found[first - 1], segments=segments[first - 1 :], head=signed(head)
    )


def digests(first: int = 1, last: int = 8) -> dict[int, str]:
    return {number: hashlib.sha256(BYTES[number - 1]).hexdigest() for number in range(first, last + 1)}


@pytest.mark.parametrize(("first", "last"), [(1, 8), (3, 5), (8, 8)])
def test_a_stretch_of_a_chain_proves_its_segments(first: int, last: int):
    assert first_broken(proof(first), digests(first, last), verify) is None


def test_one_changed_byte_is_named():
    changed = {**digests(), 4: hashlib.sha256(BYTES[3][:-1] + b"x").hexdigest()}
    broken = first_broken(proof(), changed, verify)
    assert broken is not None
    assert broken.position == 4
    assert "not those that were recorded" in broken.sentence


def without(found: ChainProof, index: int) -> ChainProof:
    return found.model_copy(update={"segments": [one for i, one in enumerate(found.segments) if i != index]})


def swapped(found: ChainProof) -> ChainProof:
    one, two, *rest = found.segments
    return found.model_copy(update={"segments": [two, one, *rest]})


def renumbered(found: ChainProof) -> ChainProof:
    one, two, *rest = found.segments
    first, second = two.model_copy(update={"position": 1}), one.model_copy(update={"position": 2})
    return found.model_copy(update={"segments": [first, second, *rest]})


def retimed(found: ChainProof) -> ChainProof:
    later = found.segments[2].model_copy(update={"start_ms": 1})
    return found.model_copy(update={"segments": [*found.segments[:2], later, *found.segments[3:]]})


def cut_short(found: ChainProof) -> ChainProof:
    return found.model_copy(update={"segments": found.segments[:-1]})


def another_camera(found: ChainProof) -> ChainProof:
    return found.model_copy(update={"head": signed(found.head.model_copy(update={"camera": "cam2"}))})


def another_start(found: ChainProof) -> ChainProof:
    return found.model_copy(update={"before": "00" * 32})


def unsigned(found: ChainProof) -> ChainProof:
    return found.model_copy(update={"head": found.head.model_copy(update={"sig": "00"})})


def re_signed_by_another(found: ChainProof) -> ChainProof:
    return found.model_copy(update={"head": found.head.model_copy(update={"key": "80"})})


@pytest.mark.parametrize(
    ("change", "position"),
    [
        (lambda found: without(found, 3), 4),
        (swapped, 1),
        (renumbered, None),
        (retimed, None),
        (cut_short, 7),
        (another_camera, None),
        (another_start, None),
        (unsigned, None),
        (re_signed_by_another, None),
    ],
    ids=["removed", "re-ordered", "renumbered", "retimed", "cut short", "camera", "start", "unsigned", "key"],
)
def test_whatever_is_done_to_the_chain_is_found(
    change: Callable[[ChainProof], ChainProof], position: int | None
):
    broken = first_broken(change(proof()), {}, verify)
    assert broken is not None
    assert broken.position == position
    assert broken.sentence


def test_bytes_that_the_chain_does_not_name_are_refused():
    broken = first_broken(proof(3), {2: "ab" * 32}, verify)
    assert broken is not None
    assert broken.position == 2


def test_the_chain_is_the_one_that_is_written_down():
    """The formula of the module's docstring, by hand: what another program must compute too."""
    first = genesis("d", "c", "2026-11-22")
    assert first == hashlib.sha256(b'["prahari chain v1","d","c","2026-11-22"]').hexdigest()
    one = segment(1, b"x")
    said = (
        b'{"clock":"synced","codec":"h264","duration_ms":10000,"height":360,"position":1,"size":1,'
        b'"start_ms":1795300010000,"width":640}'
    )
    assert (
        link(first, one)
        == hashlib.sha256(bytes.fromhex(first) + hashlib.sha256(b"x").digest() + said).hexdigest()
    )
