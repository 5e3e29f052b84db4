"""The chain of a camera's day, and its proof: pure functions over bytes, shared by box, hub and the stand-alone verifier.

    h_0 = SHA-256(canonical JSON of ["prahari chain v1", device, camera, day])
    h_i = SHA-256(h_{i-1} || SHA-256 of segment i || canonical JSON of what is said of segment i)

A head (h_n and its place) is signed by the device's key: at the day's end, whenever coverage is told, and at each transfer.
Hashes are 32 raw bytes where they are hashed, hex where they are written. Nothing here knows a signature's algorithm: ``verify``
is handed in, because this package depends on pydantic alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

from prahari_wire.base import Clock, DeviceId, Message, PeripheralId, Sha256, ShortText, Utc, canonical

CHAIN = "prahari chain v1"
HEAD = "prahari chain head v1"

Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
"""A UTC day, 2026-11-22."""
Verify = Callable[[bytes, str, str], bool]
"""(signed bytes, key: serial of the certificate, signature in base64url) → whether the device's key made it."""


class Segment(Message):
    """One file of footage: fragmented MP4, begins with a key frame. ``position`` counts from 1 within the chain of its UTC day.

    ``start_ms``: Unix time of its first picture by the box's clock, whose quality then was ``clock``. ``duration_ms``: by the stream.
    """

    position: Annotated[int, Field(ge=1)]
    start_ms: Annotated[int, Field(ge=0, lt=2**53)]
    duration_ms: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(gt=0)]
    sha256: Sha256
    codec: ShortText
    width: Annotated[int, Field(ge=0)]
    height: Annotated[int, Field(ge=0)]
    clock: Clock

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.duration_ms


class ChainHead(Message):
    """The signed end of a chain: after ``position`` segments its hash was ``hash``. ``key`` is the serial of the device's certificate."""

    device: DeviceId
    camera: PeripheralId
    day: Day
    position: Annotated[int, Field(ge=1)]
    hash: Sha256
    signed_at: Utc
    key: ShortText = ""
    sig: ShortText = ""


class ChainProof(Message):
    """A stretch of a chain: the hash ``before`` its first segment, every segment from there to the head, the signed head."""

    before_position: Annotated[int, Field(ge=0)]
    before: Sha256
    segments: Annotated[list[Segment], Field(min_length=1, max_length=20_000)]
    head: ChainHead


class Pin(Message):
    """A head that the hub had been told of by ``told_at``, its own time: ``hash`` is the first half of the chain's after ``position``."""

    day: Day
    position: Annotated[int, Field(ge=1)]
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    told_at: Utc


class Broken(NamedTuple):
    """The first link that does not hold: ``position`` of the segment, None for the head; ``sentence`` says what is wrong with it."""

    position: int | None
    sentence: str


def genesis(device: str, camera: str, day: str) -> str:
    """h_0 of a camera's day."""
    return hashlib.sha256(canonical([CHAIN, device, camera, day])).hexdigest()


def link(before: str, segment: Segment) -> str:
    """The hash after ``segment``."""
    said = canonical(segment.model_dump(mode="json", exclude={"sha256"}))
    return hashlib.sha256(bytes.fromhex(before) + bytes.fromhex(segment.sha256) + said).hexdigest()


def head_bytes(head: ChainHead) -> bytes:
    """What the device signs."""
    return canonical({"kind": HEAD, **head.model_dump(mode="json", exclude={"sig"})})


def first_broken(proof: ChainProof, digests: Mapping[int, str], verify: Verify) -> Broken | None:
    """The first link that does not hold, or None for a whole proof.

    ``digests``: SHA-256 (hex) of the bytes that came with the proof, by position; segments without bytes only link others.
    """
    head = proof.head
    broken = _first_broken_link(proof, digests)
    if broken is not None:
        return broken
    if not verify(head_bytes(head), head.key, head.sig):
        return Broken(None, f"the head of {head.day} does not bear the signature of {head.device}")
    return None


def _first_broken_link(proof: ChainProof, digests: Mapping[int, str]) -> Broken | None:
    head, found, position = proof.head, proof.before, proof.before_position
    if position == 0 and found != genesis(head.device, head.camera, head.day):
        return Broken(None, f"the chain does not begin as that of {head.device}, {head.camera}, {head.day}")
    for segment in proof.segments:
        position += 1
        if segment.position != position:
            return Broken(
                position,
                f"segment {position} is missing or stands elsewhere: {segment.position} stands in its place",
            )
        if digests.get(position, segment.sha256) != segment.sha256:
            return Broken(position, f"the bytes of segment {position} are not those that were recorded")
        found = link(found, segment)
    unknown = sorted(set(digests) - {segment.position for segment in proof.segments})
    if unknown:
        return Broken(unknown[0], f"segment {unknown[0]} came with bytes, but the chain does not name it")
    if position != head.position:
        return Broken(
            position, f"the chain ends after segment {position}, its signed head after {head.position}"
        )
    if found != head.hash:
        return Broken(
            None,
            f"the chain up to segment {position} does not lead to the signed head: a segment's data, order or number was changed",
        )
    return None


def hashes(proof: ChainProof) -> Iterator[tuple[int, str]]:
    """(position, the chain's hash after it) along a proof that is not broken."""
    found = proof.before
    yield proof.before_position, found
    for segment in proof.segments:
        found = link(found, segment)
        yield segment.position, found


def overlapping(stretches: Sequence[ChainProof]) -> tuple[int, int] | None:
    """The first two places (an end, the begin behind it) of one day's stretches that are not apart and in order; None if all are."""
    for one, following in pairwise(stretches):
        if following.before_position <= one.head.position:
            return one.head.position, following.before_position
    return None


def answering(stretches: Sequence[ChainProof], pins: Sequence[Pin]) -> list[list[Pin]]:
    """The pins that each of one day's ``stretches`` answers for: the last for all, one before damage for those up to its end.

    What a stretch before damage has behind its last pin is proved by its head alone, which was signed after the damage.
    """
    damaged = stretches[:-1]
    return [*([pin for pin in pins if pin.position <= one.head.position] for one in damaged), list(pins)]


def rewritten(proof: ChainProof, sent: Collection[int], pins: Sequence[Pin]) -> Pin | None:
    """The first of ``pins`` (of this chain, in order) that says that one of ``sent`` was exchanged after the hub had been told of it.

    A pin that the chain does not pass through says so of the segments since the pin before it; one before the proof says nothing.
    """
    if not pins:
        return None
    chain = dict(hashes(proof))
    kept = proof.before_position
    for pin in pins:
        if pin.position < proof.before_position:
            continue
        if chain.get(pin.position, "").startswith(pin.hash):
            kept = pin.position
        elif any(kept < position <= pin.position for position in sent):
            return pin
    return None
