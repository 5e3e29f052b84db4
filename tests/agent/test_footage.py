"""Footage is sent over a real TLS socket: resumed where it broke off, once, at the allowed rate, and its end is told."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_agent.footage import Footage
from prahari_agent.identity import Identity
from prahari_agent.pulse import Pulses
from prahari_agent.transfer import Hub
from prahari_wire.base import Clock as Quality
from prahari_wire.evidence import ChainHead, ChainProof, Segment, first_broken, genesis, link
from prahari_wire.ids import ulid
from prahari_wire.recording import Sent, SentDay, TransferManifest

DAY = "2026-11-22"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Receiver:
    """The hub's side of the contract in prahari_wire.recording. ``rules`` may answer in its place, once each."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.parts: dict[str, bytearray] = {}
        self.sizes: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.rules: list[Callable[[str, str], tuple[int, bytes, dict[str, str]] | None]] = []
        self.known = True
        self.unstored: set[str] = set()
        self.brought = 0

    def __call__(
        self, method: str, path: list[str], headers: Any, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        what = path[2] if len(path) > 1 else "manifest"
        self.asked.append((method, what))
        for rule in list(self.rules):
            if (answer := rule(method, what)) is not None:
                self.rules.remove(rule)
                return answer
        if not self.known:
            return 404, b"", {}
        if what == "manifest":
            return self.manifest(path[0], body)
        offset = {"Upload-Offset": str(len(self.parts.get(what, b"")))}
        if method == "HEAD":
            return 200, b"", offset
        return self.put(what, headers, body)

    def manifest(self, transfer: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.manifests.setdefault(transfer, body) != body:
            return 409, b'{"detail": "another manifest stands"}', {}
        for day in TransferManifest.model_validate_json(body).days:
            self.sizes.update({one.sha256: one.size for one in day.proof.segments})
        return 201, b"", {}

    def put(self, sha256: str, headers: Any, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        held = self.parts.setdefault(sha256, bytearray())
        first, size = int(headers["Upload-Offset"]), self.sizes[sha256]
        self.brought += len(body)
        if len(held) == size and sha256 not in self.unstored:
            return 200, b"", {}
        if first != len(held):
            return 409, b"", {"Upload-Offset": str(len(held))}
        held += body
        if len(held) < size:
            return 202, b"", {"Upload-Offset": str(len(held))}
        if hashlib.sha256(held).hexdigest() != sha256:
            held.clear()
            self.unstored.discard(sha256)
            return 422, b"", {"Upload-Offset": "0"}
        self.unstored.discard(sha256)
        return 201, b"", {}


class Rig:
    def __init__(self, home: Path, hub: Hub, identity: Identity) -> None:
        self.home, self.hub, self.identity, self.now_s = home, hub, identity, 0.0
        self.told: list[Sent] = []
        self.pulses = Pulses(now_s=lambda: self.now_s)
        self.footage = self.restarted()
        self.files: dict[str, Path] = {}

    def restarted(self) -> Footage:
        """The agent's process begins anew."""
        self.footage = Footage(
            self.home, self.hub, self.identity, self.pulses, emit=self.emit, now_s=lambda: self.now_s, rng=random.Random(1)
        )  # fmt: skip
        return self.footage

    def emit(self, kind: str, body: Any, *, peripheral: str | None = None, stamp: Any = None) -> int:
        assert (kind, peripheral) == ("recording.sent", "cam1")
        self.told.append(body)
        return len(self.told)

    def order(
        self, *sizes: int, rate_kbit_s: int = 10_000_000, transfer: str | None = None
    ) -> TransferManifest:
        """Lay down segments of these sizes and order their transfer."""
        self.files = {}
        segments, before = [], genesis("test-ecb-01", "cam1", DAY)
        digest = before
        for number, size in enumerate(sizes, start=1):
            data = random.Random(number).randbytes(size)
            path = self.home / f"{number}.mp4"
            path.write_bytes(data)
            segment = Segment(
                position=number, start_ms=number * 10_000, duration_ms=10_000, size=size, codec="h264", width=64, height=48,
                sha256=hashlib.sha256(data).hexdigest(), clock=Quality.SYNCED,
            )  # fmt: skip
            self.files[segment.sha256] = path
            segments.append(segment)
            digest = link(digest, segment)
        unsigned = ChainHead(
            device="test-ecb-01", camera="cam1", day=DAY, position=len(segments), hash=digest, signed_at=NOON
        )
        head = self.footage.sign(unsigned)
        manifest = TransferManifest(
            transfer=transfer or ulid(),
            camera="cam1",
            certificate=self.footage.certificate(),
            days=[
                SentDay(
                    proof=ChainProof(before_position=0, before=before, segments=segments, head=head),
                    sent=[one.position for one in segments],
                )
            ],
        )
        self.footage.send(manifest, self.files, rate_kbit_s)
        return manifest


@pytest.fixture
def receiver(https: Any) -> Receiver:
    https.evidence = Receiver()
    return https.evidence


@pytest.fixture
def rig(enrolled: Any, receiver: Receiver) -> Rig:
    return Rig(*enrolled)


def test_a_transfer_brings_manifest_and_segments_and_tells_that_it_is_complete(rig: Rig, receiver: Receiver):
    manifest = rig.order(300_000, 5, 2_500_000)
    rig.footage.step()
    assert json.loads(receiver.manifests[manifest.transfer])["camera"] == "cam1"
    assert {sha: bytes(data) for sha, data in receiver.parts.items()} == {
        sha: path.read_bytes() for sha, path in rig.files.items()
    }
    assert [(one.outcome, one.segments, one.size) for one in rig.told] == [("complete", 3, 2_800_005)]
    assert rig.footage.ended("cam1") == [manifest.transfer]
    rig.footage.forget(manifest.transfer)
    assert list((rig.home / "transfers").iterdir()) == []


def test_the_head_bears_the_signature_of_the_devices_key(rig: Rig, receiver: Receiver):
    manifest = rig.order(100, 200)
    certificate = x509.load_pem_x509_certificates(manifest.certificate.encode())[0]
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)

    def verify(data: bytes, serial: str, signature: str) -> bool:
        assert serial == f"{certificate.serial_number:x}"
        try:
            key.verify(
                base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)),
                data,
                ec.ECDSA(hashes.SHA256()),
            )
        except InvalidSignature:
            return False
        return True

    (day,) = manifest.days
    digests = {one.position: one.sha256 for one in day.proof.segments}
    assert first_broken(day.proof, digests, verify) is None
    forged = day.proof.model_copy(update={"head": day.proof.head.model_copy(update={"camera": "cam2"})})
    assert first_broken(forged, digests, verify) is not None


@pytest.mark.parametrize("broken_at", [0, 1, 250_000, 299_999])
def test_a_transfer_goes_on_where_a_stop_of_the_agent_left_it(rig: Rig, receiver: Receiver, broken_at: int):
    rig.order(300_000, 70_000, rate_kbit_s=1000)
    first, second = rig.files
    receiver.parts[first] = bytearray(rig.files[first].read_bytes()[:broken_at])
    rig.restarted().step()
    assert bytes(receiver.parts[first]) == rig.files[first].read_bytes()
    assert bytes(receiver.parts[second]) == rig.files[second].read_bytes()
    assert [one.outcome for one in rig.told] == ["complete"]


def test_segments_that_the_hub_has_are_not_sent_again(rig: Rig, receiver: Receiver):
    rig.order(1000, 2000, 3000)
    first, second, _ = rig.files
    for sha in (first, second):
        receiver.parts[sha] = bytearray(rig.files[sha].read_bytes())
    rig.footage.step()
    assert receiver.brought == 3000
    assert [one.segments for one in rig.told] == [3]


def test_the_hub_that_is_away_is_tried_again_later(rig: Rig, receiver: Receiver):
    rig.order(1000)
    receiver.rules.append(lambda _method, _what: (503, b"", {"Retry-After": "40"}))
    assert rig.footage.step() == pytest.approx(40, abs=1)
    rig.now_s = 39
    rig.footage.step()
    assert rig.told == []
    rig.now_s = 41
    rig.footage.step()
    assert [one.outcome for one in rig.told] == ["complete"]


def test_a_transfer_that_the_hub_does_not_know_yet_waits(rig: Rig, receiver: Receiver):
    rig.order(1000)
    receiver.known = False
    rig.footage.step()
    receiver.known = True
    rig.footage.nudge()
    rig.footage.step()
    assert [one.outcome for one in rig.told] == ["complete"]


@pytest.mark.parametrize(
    ("status", "says"),
    [(410, "called the transfer off"), (409, "another manifest"), (422, "does not take it")],
)
def test_a_transfer_that_the_hub_refuses_ends_with_the_reason(
    rig: Rig, receiver: Receiver, status: int, says: str
):
    manifest = rig.order(1000)
    receiver.rules.append(lambda _method, _what: (status, b'{"detail": "another manifest stands"}', {}))
    rig.footage.step()
    assert [one.outcome for one in rig.told] == ["failed"]
    assert says in (rig.told[0].detail or "")
    assert rig.footage.ended("cam1") == [manifest.transfer]


def test_a_segment_that_the_disk_has_changed_is_not_sent_and_is_counted(rig: Rig, receiver: Receiver):
    rig.order(1000, 2000)
    first, _ = rig.files
    data = bytearray(rig.files[first].read_bytes())
    data[500] ^= 1
    rig.files[first].write_bytes(data)
    rig.footage.step()
    assert not receiver.parts.get(first)
    assert [(one.outcome, one.segments) for one in rig.told] == [("partial", 1)]
    assert "1 of 2" in (rig.told[0].detail or "")


def test_bytes_that_arrive_changed_are_sent_again_from_the_begin_and_at_last_given_up(
    rig: Rig, receiver: Receiver
):
    rig.order(1000)
    (sha,) = rig.files
    receiver.rules.append(
        lambda method, what: (422, b"", {"Upload-Offset": "0"}) if (method, what) == ("PUT", sha) else None
    )
    rig.footage.step()
    assert [one.outcome for one in rig.told] == ["complete"]
    rig.order(2000)
    for _ in range(4):
        receiver.rules.append(
            lambda method, what: (422, b"", {}) if method == "PUT" and what != "manifest" else None
        )
    rig.footage.step()
    assert rig.told[-1].outcome == "failed"


def test_it_is_never_faster_than_the_rate(rig: Rig, receiver: Receiver):
    rig.footage = Footage(rig.home, rig.hub, rig.identity, Pulses(), emit=rig.emit, now_s=time.monotonic)
    rig.order(100_000, rate_kbit_s=800)
    began_s = time.monotonic()
    rig.footage.step()
    assert 1.0 <= time.monotonic() - began_s < 5
    assert [one.outcome for one in rig.told] == ["complete"]


def test_the_same_transfer_ordered_twice_is_carried_once(rig: Rig, receiver: Receiver):
    manifest = rig.order(1000)
    rig.footage.send(manifest, rig.files, 100)
    rig.footage.step()
    rig.footage.send(manifest, rig.files, 100)
    rig.footage.step()
    assert len(rig.told) == 1


def test_a_damaged_order_ends_instead_of_staying_for_ever(rig: Rig, receiver: Receiver):
    manifest = rig.order(1000)
    (rig.home / "transfers" / f"{manifest.transfer}.json").write_text("{")
    rig.footage.step()
    assert rig.told == []
    assert rig.footage.waiting() == []


def test_asking_how_far_the_hub_has_got_is_no_silence(rig: Rig, receiver: Receiver, https: Any):
    rig.order(*range(1, 41))
    for sha, path in rig.files.items():
        receiver.parts[sha] = bytearray(path.read_bytes())
    silent: list[str] = []

    def asking() -> None:
        rig.now_s += 10
        silent.extend(rig.pulses.silent())

    https.asking = asking
    rig.pulses.beat("footage", limit_s=300)
    rig.footage.step()
    assert (len(rig.told), silent) == (1, [])


def test_a_line_that_breaks_goes_on_after_what_has_arrived_without_asking_for_it(
    rig: Rig, receiver: Receiver
):
    rig.order(*range(1, 11))
    last = list(rig.files)[-1]
    receiver.rules.append(lambda method, what: (503, b"", {}) if (method, what) == ("PUT", last) else None)
    rig.footage.step()
    receiver.asked.clear()
    rig.footage.nudge()
    rig.footage.step()
    assert [one.segments for one in rig.told] == [10]
    assert {what for _, what in receiver.asked} == {"manifest", last}


def test_a_stop_is_heard_between_the_questions(rig: Rig, receiver: Receiver, https: Any):
    rig.order(*range(1, 11))
    for sha, path in rig.files.items():
        receiver.parts[sha] = bytearray(path.read_bytes())
    https.asking = lambda: len(receiver.asked) == 3 and rig.footage.stop()
    rig.footage.step()
    assert len(receiver.asked) < 6
    assert rig.told == []


def test_a_transfer_that_is_forgotten_while_it_waits_is_waited_for_no_more(rig: Rig, receiver: Receiver):
    manifest = rig.order(1000)
    receiver.known = False
    rig.footage.step()
    rig.footage.forget(manifest.transfer)
    rig.now_s = 1000
    assert rig.footage.step() == 60


def test_a_file_of_a_transfer_that_is_gone_does_not_hold_up_the_next(rig: Rig, receiver: Receiver):
    lost = rig.order(1000, transfer="01" + "A" * 24)
    rig.order(2000, transfer="01" + "B" * 24)
    (rig.home / "transfers" / f"{lost.transfer}.manifest").unlink()
    rig.footage.step()
    assert [one.size for one in rig.told] == [2000]
    assert rig.footage.waiting() == [lost.transfer]


def test_on_a_card_that_turned_read_only_the_end_is_told_once(
    rig: Rig, receiver: Receiver, mounted: Callable[..., None]
):
    mounted(rig.home / "transfers")
    first, second = rig.order(1000), rig.order(1000)
    mounted(rig.home / "transfers", "remount,ro")
    rig.footage.step()
    rig.footage.step()
    assert [one.size for one in rig.told] == [1000, 1000]
    assert rig.footage.ended("cam1") == sorted([first.transfer, second.transfer])
    rig.footage.forget(first.transfer)
    assert rig.footage.ended("cam1") == [second.transfer]
    mounted(rig.home / "transfers", "remount,rw")
    rig.footage.step()
    assert rig.restarted().ended("cam1") == [second.transfer]
    assert list((rig.home / "transfers").glob(f"{first.transfer}*")) == []


@pytest.mark.parametrize("right", [True, False])
def test_a_segment_that_arrived_just_before_the_hub_was_killed_is_stored_as_well(
    rig: Rig, receiver: Receiver, right: bool
):
    """All its bytes lie at the hub, which has neither judged nor stored them."""
    rig.order(1000, 2000)
    first, _ = rig.files
    receiver.parts[first] = bytearray(rig.files[first].read_bytes() if right else b"x" * 1000)
    receiver.unstored.add(first)
    rig.footage.step()
    assert receiver.unstored == set()
    assert bytes(receiver.parts[first]) == rig.files[first].read_bytes()
    assert [one.outcome for one in rig.told] == ["complete"]
    assert receiver.brought == (2000 if right else 3000)
