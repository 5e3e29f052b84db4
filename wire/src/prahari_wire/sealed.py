"""A sealed package: a ZIP file that carries footage together with everything that is needed to prove it.

    manifest.json                                  SealManifest, canonical JSON: who asked, who approved, which cameras, every file's hash
    seal.json                                      Seal: the hub's signature over the manifest
    chains/{transfer}.json                         TransferManifest: what the box said of its segments, in chains with signed heads
    segments/{device}/{camera}/{day}/{position}.mp4    the files as they were recorded
    certificates/{serial}.pem, certificates/ca.pem     of the boxes, and what they hang on
    README.txt                                     how to verify it

``flaws`` needs no hub: it proves a package or names what does not hold, the first broken link of a chain before all else.
Signatures are judged by whoever calls it (``Judge``), because this package depends on pydantic alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import Field

from prahari_wire.base import (
    DeviceId,
    Message,
    PeripheralId,
    Refused,
    Sha256,
    ShortText,
    Text,
    Ulid,
    Utc,
    canonical,
    parse,
)
from prahari_wire.evidence import ChainHead, Day, Pin, answering, first_broken, overlapping, rewritten
from prahari_wire.recording import SentDay, TransferManifest

MANIFEST, SEAL, CA, README = "manifest.json", "seal.json", "certificates/ca.pem", "README.txt"
LARGEST = 64 * 1024 * 1024
"""Of a manifest or chain; the segments themselves may be of any size."""

Spans = list[tuple[int, int]]


class SealedFile(Message):
    """A file of the package."""

    path: Text
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class SealedCamera(Message):
    """What came of one camera: ``spans`` and ``missing`` in Unix milliseconds, ``reason`` why something is missing."""

    device: DeviceId
    camera: PeripheralId
    name: ShortText | None = None
    site: ShortText | None = None
    lat: float | None = None
    lon: float | None = None
    spans: Spans = []
    missing: Spans = []
    reason: ShortText | None = None


class SealedRequest(Message):
    """The request as it was decided on."""

    id: Ulid
    authority: Text
    case_number: Text
    purpose: Text
    submitted_by: ShortText
    submitted_at: Utc
    approved_by: ShortText
    approved_at: Utc


class SealedTransfer(Message):
    """One account of a box, at ``chains/{transfer}.json``. ``absent``: positions, by day, that the box announced and that never came.

    ``pins``: heads of these chains that the hub had before it got the account, in order; the chains lead through those of the segments.
    """

    transfer: Ulid
    device: DeviceId
    camera: PeripheralId
    absent: dict[Day, list[int]] = {}
    pins: list[Pin] = []


class SealManifest(Message):
    """All that the seal vouches for."""

    v: Literal[1] = 1
    kind: Literal["prahari sealed evidence"] = "prahari sealed evidence"
    id: Ulid
    city: ShortText
    request: SealedRequest
    starts_at: Utc
    ends_at: Utc
    sealed_at: Utc
    cameras: list[SealedCamera]
    transfers: list[SealedTransfer]
    files: list[SealedFile]


class Seal(Message):
    """``sig``: Ed25519 by the hub's ``key`` over ``seal_bytes``; ``public``: that key, raw, base64url."""

    key: ShortText
    public: ShortText
    sig: ShortText


class Judge(Protocol):
    """Who can tell a good signature. ``sig`` and ``public`` are base64url."""

    def hub(self, key: str, public: str, data: bytes, sig: str) -> str | None:
        """None if that key of the hub made the signature and is trusted, else a sentence."""
        ...

    def device(self, certificate: bytes, data: bytes, sig: str) -> bool:
        """Whether the key of the certificate (PEM) made the signature (ECDSA, SHA-256)."""
        ...

    def certificate(self, certificate: bytes, authorities: bytes, head: ChainHead) -> str | None:
        """None if it is the named device's, was valid when the head was signed, and leads to a trusted root; else a sentence."""
        ...


class Flaw(NamedTuple):
    """What does not hold: ``where`` a file or chain, ``sentence`` what is wrong with it."""

    where: str
    sentence: str


Read = Callable[[str], bytes | None]
"""The content of a file of the package, None if it has none of that name."""


def segment_path(device: str, camera: str, day: str, position: int) -> str:
    return f"segments/{device}/{camera}/{day}/{position:05d}.mp4"


def chain_path(transfer: str) -> str:
    return f"chains/{transfer}.json"


def certificate_path(serial: str) -> str:
    return f"certificates/{serial}.pem"


def seal_bytes(manifest: bytes) -> bytes:
    """What the hub signs."""
    return canonical({"kind": "prahari seal v1", "manifest": hashlib.sha256(manifest).hexdigest()})


def read_manifest(read: Read) -> SealManifest | Flaw:
    """The package's own list; a Flaw where it has none that can be read."""
    content = read(MANIFEST)
    if content is None:
        return Flaw(MANIFEST, "the package has no manifest: it is not a sealed package, or it was cut")
    try:
        return parse(SealManifest, content, limit=LARGEST)
    except Refused as error:
        return Flaw(MANIFEST, f"the manifest is not one: {error.detail}")


def flaws(read: Read, names: set[str], judge: Judge) -> Iterator[Flaw]:
    """Everything that does not hold in a package that has the files ``names``; nothing for a whole one. Chains come first."""
    manifest = read_manifest(read)
    if isinstance(manifest, Flaw):
        yield manifest
        return
    for transfer in manifest.transfers:
        yield from _chain_flaws(read, transfer, judge)
    yield from _file_flaws(read, names, manifest)
    yield from _seal_flaws(read, manifest, judge)


def _chain_flaws(read: Read, transfer: SealedTransfer, judge: Judge) -> Iterator[Flaw]:
    path = chain_path(transfer.transfer)
    content = read(path)
    if content is None:
        yield Flaw(path, "the account of the box is missing, which its footage is proved by")
        return
    try:
        account = parse(TransferManifest, content, limit=LARGEST)
    except Refused as error:
        yield Flaw(path, f"the account of the box cannot be read: {error.detail}")
        return
    for name, stretches in account.by_day().items():
        proofs = [one.proof for one in stretches]
        if (places := overlapping(proofs)) is not None:
            end, begin = places
            yield Flaw(path, f"the account of {name} ends after segment {end} and begins again after {begin}")
            return
        of_day = [pin for pin in transfer.pins if pin.day == name]
        for day, pins in zip(stretches, answering(proofs, of_day), strict=True):
            yield from _day_flaws(read, transfer, day, pins, judge)


def _day_flaws(
    read: Read, transfer: SealedTransfer, day: SentDay, pins: list[Pin], judge: Judge
) -> Iterator[Flaw]:
    head = day.proof.head
    where = f"{head.device}, {head.camera}, {head.day}"
    if (head.device, head.camera) != (transfer.device, transfer.camera):
        yield Flaw(where, f"the chain is not that of {transfer.device}, {transfer.camera}")
        return
    digests: dict[int, str] = {}
    for position in sorted(set(day.sent) - set(transfer.absent.get(head.day, []))):
        content = read(segment_path(head.device, head.camera, head.day, position))
        if content is None:
            yield Flaw(where, f"segment {position} was removed from the package")
            return
        digests[position] = hashlib.sha256(content).hexdigest()
    certificate = read(certificate_path(head.key))
    if certificate is None:
        yield Flaw(where, f"the certificate {head.key}, which the chain was signed with, is missing")
        return
    broken = first_broken(day.proof, digests, lambda data, _, sig: judge.device(certificate, data, sig))
    if broken is not None:
        yield Flaw(where, broken.sentence)
        return
    if (pin := rewritten(day.proof, day.sent, pins)) is not None:
        yield Flaw(
            where,
            f"the hub was told of another chain up to segment {pin.position} by {pin.told_at:%Y-%m-%d %H:%M:%S} UTC: "
            "the day was rewritten afterwards",
        )
        return
    said = judge.certificate(certificate, read(CA) or b"", head)
    if said is not None:
        yield Flaw(certificate_path(head.key), said)


class Damage(NamedTuple):
    """A place where the record of a box is damaged: the last segment that is proved before it; ``sentence`` says what is not."""

    device: str
    camera: str
    day: str
    position: int
    sentence: str


def damages(read: Read, manifest: SealManifest) -> Iterator[Damage]:
    """All of a package without flaws."""
    for transfer in manifest.transfers:
        account = parse(TransferManifest, read(chain_path(transfer.transfer)) or b"", limit=LARGEST)
        for name, stretches in account.by_day().items():
            of_day = [pin for pin in transfer.pins if pin.day == name]
            bound = answering([one.proof for one in stretches], of_day)
            for (one, following), pins in zip(pairwise(stretches), bound[:-1], strict=True):
                said = _damage(one, following, pins)
                yield Damage(transfer.device, transfer.camera, name, one.proof.head.position, said)


def _damage(one: SentDay, following: SentDay, pins: list[Pin]) -> str:
    """Of the damage between two stretches; ``pins``: those that the first leads through."""
    head = one.proof.head
    said = (
        f"the box's record is damaged: nothing proves what was recorded as segments {head.position + 1} to "
        f"{following.proof.before_position}, nor that they were all"
    )
    covered = max((pin.position for pin in pins), default=0)
    after = sorted(position for position in one.sent if position > covered)
    if after:
        said += (
            f"; segments {after[0]} to {after[-1]} before it are proved by a signature of {head.signed_at:%Y-%m-%d %H:%M:%S} UTC alone, "
            "which came after the damage"
        )
    return said


def _file_flaws(read: Read, names: set[str], manifest: SealManifest) -> Iterator[Flaw]:
    listed = {file.path for file in manifest.files}
    for file in manifest.files:
        content = read(file.path)
        if content is None:
            yield Flaw(file.path, "the file was removed from the package")
        elif hashlib.sha256(content).hexdigest() != file.sha256:
            yield Flaw(file.path, "the file is not as it was sealed: at least one byte was changed")
    for name in sorted(names - listed - {MANIFEST, SEAL}):
        yield Flaw(name, "the file was put into the package after it was sealed")


def _seal_flaws(read: Read, manifest: SealManifest, judge: Judge) -> Iterator[Flaw]:
    content, signed = read(SEAL), read(MANIFEST)
    if content is None or signed is None:
        yield Flaw(SEAL, "the package bears no seal of a hub")
        return
    try:
        seal = parse(Seal, content)
    except Refused as error:
        yield Flaw(SEAL, f"the seal cannot be read: {error.detail}")
        return
    said = judge.hub(seal.key, seal.public, seal_bytes(signed), seal.sig)
    if said is not None:
        yield Flaw(SEAL, f"{said} (sealed at {manifest.sealed_at:%Y-%m-%d %H:%M:%S} UTC, as it says itself)")
