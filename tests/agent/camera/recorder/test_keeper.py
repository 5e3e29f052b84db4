"""What the agent's process makes of footage: coverage told once and again when it changes, holds, sends."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_agent.camera.recorder.journal import JOURNAL
from prahari_agent.camera.recorder.keeper import TELL_S, Keeper
from prahari_agent.camera.recorder.shelf import KEPT, Shelf
from prahari_agent.camera.terms import Terms
from prahari_agent.errors import Rejected
from prahari_agent.footage import Footage
from prahari_agent.peripheral import Surroundings
from prahari_agent.pulse import Pulses
from prahari_wire.base import Clock as Quality
from prahari_wire.envelope import Stamp
from prahari_wire.evidence import Verify, first_broken
from prahari_wire.ids import ulid
from prahari_wire.owner import Consent, Owner
from prahari_wire.recording import Coverage, GapCause, TransferManifest

from tests.agent.camera.recorder.conftest import NOON_S, Tape

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HALF_DAY_MS = 43_200_000
Draw = Callable[..., Path]


class Rig:
    """A keeper over the footage of a tape, with the real way to the hub."""

    def __init__(self, home: Path, folder: Path, footage: Footage) -> None:
        self.home, self.folder, self.footage = home, folder, footage
        self.told: list[Coverage] = []
        self.now, self.quality, self.alive = NOON + timedelta(seconds=10), Quality.SYNCED, True
        self.keeper = self.restarted()

    def restarted(self, **more: int) -> Keeper:
        how = {"retention_days": 15, "max_bytes": 10**9, **more}
        self.shelf = Shelf(self.folder, device="test-ecb-01", camera="cam1", **how)
        around = Surroundings(
            device="test-ecb-01", home=self.home, board=None, emit=self.emit, upload=lambda _data, _kind: "",  # type: ignore[arg-type]
            fetch=lambda _sha, _size: self.home, secret=lambda _name: None, transfers=self.footage,
            stamp=lambda: Stamp(at=self.now, mono_ms=1, clock=self.quality), undisputed=lambda: True,
        )  # fmt: skip
        self.terms = Terms(around.stamp, around.undisputed)
        self.keeper = Keeper("cam1", self.shelf, around, recording=lambda: self.alive, terms=self.terms)
        return self.keeper

    def emit(self, kind: str, body: Any, *, peripheral: str | None = None, stamp: Any = None) -> int:
        assert (kind, peripheral) == ("recording.coverage", "cam1")
        self.told.append(body)
        return len(self.told)

    def run(self, command: str, **args: Any) -> dict[str, Any]:
        return self.keeper.commands()[command]({"peripheral": "cam1", **args})


@pytest.fixture
def rig(tmp_path: Path, enrolled: Any) -> Rig:
    footage = Footage(*enrolled, Pulses(), emit=lambda *_a, **_k: 0, now_s=lambda: 0.0)
    return Rig(enrolled.home, tmp_path / "footage", footage)


@pytest.fixture
def taped(rig: Rig, tape: Callable[..., Tape], draw: Draw) -> Tape:
    """Eight seconds of footage from noon on; the recorder still runs."""
    one = tape(segment_s=1, device="test-ecb-01")
    one.feed(draw())
    one.recorder._queue.put(one.recorder._close)
    while len(one.segments()) < 8:
        pass
    return one


def test_coverage_of_footage_that_goes_on_is_told_once_and_then_by_the_hour(rig: Rig, taped: Tape):
    rig.keeper.step(0)
    rig.keeper.step(100)
    (body,) = rig.told
    assert (body.day, body.version, body.growing, body.closed) == ("2026-11-22", 1, True, False)
    assert body.spans == [(HALF_DAY_MS + 100, HALF_DAY_MS + 8100)]
    assert body.until_ms == HALF_DAY_MS + 8100
    assert body.gaps == []
    assert body.size == sum(segment.size for segment in taped.segments())
    rig.keeper.step(TELL_S + 101)
    assert [one.version for one in rig.told] == [1, 2]


def test_the_head_of_the_chain_is_told_and_signed(rig: Rig, taped: Tape):
    rig.keeper.step(0)
    head = rig.told[0].head
    assert head is not None
    assert (head.device, head.camera, head.position) == ("test-ecb-01", "cam1", 8)
    assert head.sig
    assert rig.footage.sign(head.model_copy(update={"key": "", "sig": ""})).key == head.key


def test_a_gap_is_told_soon_but_not_every_second(rig: Rig, taped: Tape):
    rig.keeper.step(0)
    taped.stop(GapCause.SIGNAL)
    rig.alive, rig.now = False, NOON + timedelta(seconds=30)
    rig.keeper.step(5)
    assert len(rig.told) == 1
    rig.keeper.step(70)
    assert rig.told[-1].gaps == [(HALF_DAY_MS + 8100, HALF_DAY_MS + 30_000, GapCause.SIGNAL)]
    assert not rig.told[-1].growing


def test_a_dead_recorder_is_a_gap_although_nobody_wrote_it(rig: Rig, taped: Tape):
    rig.alive, rig.now = False, NOON + timedelta(seconds=300)
    rig.keeper.step(0)
    assert rig.told[-1].gaps == [(HALF_DAY_MS + 8100, HALF_DAY_MS + 300_000, GapCause.FAULT)]


def test_days_that_the_box_was_off_are_told_as_well(
    rig: Rig, taped: Tape, tape: Callable[..., Tape], draw: Draw
):
    rig.keeper.step(0)
    again = tape(segment_s=1, at_s=NOON_S + 3 * 86400, boot="boot-2")
    again.feed(draw())
    again.recorder._queue.put(again.recorder._close)
    while len(again.segments()) < 16:
        pass
    rig.now = NOON + timedelta(days=3, seconds=10)
    rig.keeper.step(4000)
    assert [(one.day, one.closed) for one in rig.told[1:]] == [
        ("2026-11-22", True), ("2026-11-23", True), ("2026-11-24", True), ("2026-11-25", False),
    ]  # fmt: skip
    assert rig.told[2].gaps == [(0, 86_400_000, GapCause.POWER)]
    assert rig.told[2].head is None


def test_a_restart_of_the_agent_uses_no_version_twice_and_tells_nothing_that_was_told(rig: Rig, taped: Tape):
    taped.stop()
    rig.alive = False
    rig.keeper.step(0)
    assert [one.version for one in rig.told] == [1]
    rig.restarted().step(0)
    assert [one.version for one in rig.told] == [1]
    rig.now += timedelta(hours=1)
    rig.restarted().step(0)
    assert [one.version for one in rig.told] == [1, 2]


def test_overwritten_footage_is_told_and_a_day_without_any_is_forgotten(
    rig: Rig, taped: Tape, tape: Callable[..., Tape], draw: Draw
):
    for number in (1, 2):
        again = tape(segment_s=1, at_s=NOON_S + number * 86400)
        again.feed(draw())
        again.stop()
    rig.now, rig.alive = NOON + timedelta(days=2, seconds=10), False
    rig.restarted(retention_days=1).step(0)
    gone = next(one for one in rig.told if one.day == "2026-11-22")
    assert gone.spans == []
    assert gone.gaps[0][2] is GapCause.OVERWRITTEN
    rig.keeper.step(5000)
    assert not (rig.folder / "2026-11-22").exists()
    assert (rig.folder / "2026-11-23").exists()


def test_a_hold_says_what_there_is_and_may_reach_into_the_future(rig: Rig, taped: Tape):
    found = rig.run("recording.hold", hold=ulid(), start="2026-11-22T12:00:02Z", end="2026-11-22T13:00:00Z")
    assert found["spans"] == [[int((NOON_S + 2) * 1000), int((NOON_S + 8.1) * 1000)]]
    assert found["segments"] == 7
    assert rig.run("recording.release", hold=ulid()) == {}


ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("command", "args", "start", "end", "says"),
    [
        ("recording.hold", {"hold": ID}, "12:00:02", "12:00:02", "after the start"),
        ("recording.hold", {}, "12:00:02", "12:00:03", "hold"),
        ("recording.send", {"transfer": ID}, "01:00:00", "09:00:00", "six hours"),
        ("recording.send", {"transfer": ID}, "01:00:00", "02:00:00", "no footage"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(
    rig: Rig, taped: Tape, command: str, args: dict[str, str], start: str, end: str, says: str
):
    with pytest.raises(Rejected, match=says):
        rig.run(command, start=f"2026-11-22T{start}Z", end=f"2026-11-22T{end}Z", **args)


def test_sending_holds_the_footage_until_the_transfer_has_ended(rig: Rig, taped: Tape):
    transfer = ulid()
    found = rig.run(
        "recording.send", transfer=transfer, start="2026-11-22T12:00:03Z", end="2026-11-22T12:00:05Z"
    )
    assert found["segments"] == 3
    manifest = TransferManifest.model_validate_json(
        (rig.home / "transfers" / f"{transfer}.manifest").read_bytes()
    )
    (day,) = manifest.days
    assert day.sent == [3, 4, 5]
    assert (day.proof.before_position, day.proof.head.position) == (2, 8)
    assert transfer in rig.shelf.holds()
    rig.keeper.step(0)
    assert transfer in rig.shelf.holds()
    (rig.home / "transfers" / f"{transfer}.ended").write_text("cam1")
    rig.keeper.step(1)
    assert transfer not in rig.shelf.holds()
    assert rig.footage.waiting() == []


def test_what_is_missing_in_a_sent_interval_is_named(rig: Rig, taped: Tape):
    (rig.folder / "2026-11-22" / "00004.mp4").unlink()
    transfer = ulid()
    rig.run("recording.send", transfer=transfer, start="2026-11-22T12:00:03Z", end="2026-11-22T12:00:05Z")
    job = json.loads((rig.home / "transfers" / f"{transfer}.manifest").read_bytes())
    assert (job["days"][0]["sent"], job["days"][0]["missing"]) == ([3, 5], [4])


def signer(manifest: TransferManifest) -> Verify:
    """Judges signatures by the certificate that came with the account."""
    public = x509.load_pem_x509_certificate(manifest.certificate.encode()).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)

    def verify(data: bytes, _key: str, sig: str) -> bool:
        public.verify(base64.urlsafe_b64decode(sig + "=" * (-len(sig) % 4)), data, ec.ECDSA(hashes.SHA256()))
        return True

    return verify


def test_what_a_damaged_record_still_proves_is_sent_and_the_gap_is_told(rig: Rig, taped: Tape):
    journal = rig.folder / "2026-11-22" / JOURNAL
    content = journal.read_bytes()
    first, behind = (content.index(b'{"segment":{"position":%d,' % position) for position in (3, 6))
    journal.write_bytes(content[:first] + bytes(behind - first - 1) + content[behind - 1 :])
    transfer = ulid()
    rig.run("recording.send", transfer=transfer, start="2026-11-22T12:00:00Z", end="2026-11-22T12:00:10Z")
    manifest = TransferManifest.model_validate_json(
        (rig.home / "transfers" / f"{transfer}.manifest").read_bytes()
    )
    before, after = manifest.days
    assert (before.sent, after.sent) == ([1, 2], [7, 8])
    assert (before.proof.head.position, after.proof.before_position) == (2, 6)
    for day in manifest.days:
        digests = {
            segment.position: hashlib.sha256(
                rig.shelf.path("2026-11-22", segment.position).read_bytes()
            ).hexdigest()
            for segment in day.proof.segments
        }
        assert first_broken(day.proof, digests, signer(manifest)) is None
    rig.keeper.step(0)
    assert rig.told[-1].gaps == [(HALF_DAY_MS + 2100, HALF_DAY_MS + 6100, GapCause.RECORD)]


def test_a_coverage_is_small_enough_for_a_batch(rig: Rig, taped: Tape):
    from prahari_wire.recording import MOST_RUNS

    rig.keeper.step(0)
    worst = rig.told[0].model_copy(
        update={
            "spans": [(n * 140_000, n * 140_000 + 69_999) for n in range(MOST_RUNS)],
            "gaps": [
                (n * 140_000 + 69_999, (n + 1) * 140_000, GapCause.OVERWRITTEN) for n in range(MOST_RUNS)
            ],
        }
    )
    assert len(worst.model_dump_json().encode()) < 47 * 1024
    assert len(rig.told[0].model_dump_json()) < 1024


def owner(**more: Any) -> Owner:
    return Owner(name="Joshi Jewellers", contact="+91 20 5550 1234", **more)


def test_the_box_itself_refuses_footage_of_a_camera_whose_owner_allows_events_only(rig: Rig, taped: Tape):
    span = {"start": NOON.isoformat(), "end": (NOON + timedelta(seconds=4)).isoformat()}
    rig.terms.owner = owner(consent=Consent.EVENTS)
    with pytest.raises(Rejected, match="allows events only"):
        rig.run("recording.hold", hold=ulid(), **span)
    with pytest.raises(Rejected, match="allows events only"):
        rig.run("recording.send", transfer=ulid(), **span)


def test_withdrawn_consent_deletes_what_nobody_holds_and_keeps_what_is_held(rig: Rig, taped: Tape):
    rig.terms.owner = owner(consent=Consent.FOOTAGE)
    rig.keeper.step(0)
    held = {"start": NOON.isoformat(), "end": (NOON + timedelta(seconds=2)).isoformat()}
    hold, transfer = ulid(), ulid()
    rig.run("recording.hold", hold=hold, **held)
    rig.run("recording.send", transfer=transfer, **held)
    before = len(list(rig.folder.glob("*/[0-9]*.mp4")))
    rig.terms.owner = owner(consent=Consent.FOOTAGE, withdrawn_at=NOON)
    rig.keeper.step(100)
    kept = sorted(path.name for path in rig.folder.glob("*/[0-9]*.mp4"))
    assert before == 8
    assert kept[:2] == ["00001.mp4", "00002.mp4"]
    assert len(kept) <= 3
    rig.footage.step()
    assert rig.footage.ended("cam1") == [transfer], "what was under way is not sent any more"
    rig.run("recording.release", hold=hold)
    rig.keeper.step(200)
    assert not list(rig.folder.glob("*/[0-9]*.mp4"))


def test_withdrawn_consent_also_takes_a_segment_named_too_late_and_one_left_open_by_a_killed_process(
    rig: Rig, taped: Tape
):
    """A line comes before its segment's name: what was deleted in between is named afterwards."""
    rig.terms.owner = owner(consent=Consent.FOOTAGE)
    rig.keeper.step(0)
    rig.run(
        "recording.hold", hold=ulid(), start=NOON.isoformat(), end=(NOON + timedelta(seconds=1)).isoformat()
    )
    (folder,) = rig.folder.glob("2026-*")
    bytes_of_last = (folder / "00008.mp4").read_bytes()
    rig.terms.owner = owner(consent=Consent.FOOTAGE, withdrawn_at=NOON)
    rig.keeper.step(100)
    (folder / "00008.mp4").write_bytes(bytes_of_last)
    (folder / ".00009.mp4.open").write_bytes(bytes_of_last)
    rig.keeper.step(200)
    assert (folder / ".00009.mp4.open").exists(), "the camera's process may be writing it"
    rig.alive = False
    rig.keeper.step(300)
    left = sorted(path.name for path in folder.glob("*.mp4*"))
    assert left and left == sorted(f"{number:05d}.mp4" for number in range(1, len(left) + 1)), "what is held"
    assert len(left) <= 2


@pytest.mark.parametrize(
    "left", [b"", b'{"holds": {}, "to', b"[]", None], ids=["empty", "torn", "other", "none"]
)
def test_a_box_that_lost_what_it_had_told_tells_it_anew_above_every_version_that_the_hub_has(
    rig: Rig, taped: Tape, left: bytes | None
):
    """The hub ignores a version that it has had: without this the day would stay at the hub as it was when the disk tore the file."""
    rig.keeper.step(0)
    kept = rig.folder / KEPT
    if left is None:
        kept.unlink()
    else:
        kept.write_bytes(left)
    again = rig.restarted()
    again.step(0)
    again.step(TELL_S + 1)
    first, anew, later = [body.version for body in rig.told]
    assert (first, anew, later - anew) == (1, int(rig.now.timestamp()) + 1, 1)
    rig.restarted().step(0)
    assert rig.told[-1].version in (later, later + 1)
