"""What a device brings: first its account of a transfer, whose chain must hold, then the segments that it names and no others."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_wire.base import canonical
from prahari_wire.evidence import Pin, Segment, answering, first_broken, overlapping, rewritten
from prahari_wire.recording import Sent, SentDay, SentOutcome, TransferManifest
from sqlalchemy import Connection, Row
from starlette.exceptions import HTTPException

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.evidence.coverage import ms
from prahari_hub.evidence.pins import pins_of
from prahari_hub.evidence.private import refused_by_box
from prahari_hub.evidence.reasons import Miss, TransferState
from prahari_hub.evidence.requests import subject
from prahari_hub.evidence.tables import evidence_segments, footage_requests, transfers
from prahari_hub.fleet.facts import Fact
from prahari_hub.http.actor import Actor, Role
from prahari_hub.identity.tables import certificates
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert_new

BESIDE_MS = 120_000
"""A segment that overlaps the interval may reach so far beyond it, no farther."""
MOST_SEGMENT = 256 * 1024 * 1024
WANTED = (str(TransferState.ASKED), str(TransferState.COMING), str(TransferState.WANTED))
OVER = 410


def transfer_of(conn: Connection, device: str, transfer: str) -> Row[Any]:
    """The transfer if the hub asked this device for it and still wants it: NotFound, or 410, otherwise."""
    mine = (transfers.c.id == transfer) & (transfers.c.device_id == device)
    row = conn.execute(sa.select(transfers).where(mine)).first()
    if row is None:
        raise NotFound("the hub has not asked this device for such a transfer")
    if row.state not in WANTED and row.state != TransferState.RECEIVED:
        raise HTTPException(OVER, "the hub does not want this transfer any more; release what is kept for it")
    return row


def check(row: Row[Any], manifest: TransferManifest, before: Before) -> None:
    """Invalid unless it is an account of what was asked, its chains hold, their heads are signed by the device, and they lead through
    what the device told of them before."""
    if manifest.transfer != row.id or manifest.camera != row.camera:
        raise Invalid(
            f"the manifest is of transfer {manifest.transfer}, camera {manifest.camera}; this is {row.id}, {row.camera}",
            ("body.transfer", row.id),
        )
    asked = ms(row.starts_at), ms(row.ends_at)
    for day in manifest.days:
        head = day.proof.head
        if (head.device, head.camera) != (row.device_id, row.camera):
            raise Invalid(
                f"the chain is that of {head.device}, {head.camera}: a device sends its own footage alone",
                ("body.days.proof.head", f"{row.device_id}, {row.camera}"),
            )
        broken = first_broken(day.proof, {}, lambda data, key, sig: signed(before.keys, data, key, sig))
        if broken is not None:
            raise Invalid(
                f"the chain of {head.day} does not hold: {broken.sentence}",
                ("body.days.proof", "a whole chain"),
            )
        for segment in sent_of(day):
            if segment.end_ms < asked[0] - BESIDE_MS or segment.start_ms > asked[1] + BESIDE_MS:
                raise Invalid(
                    f"segment {segment.position} of {head.day} lies outside of the interval that was asked for",
                    ("body.days.sent", "segments of the interval"),
                )
            if segment.size > MOST_SEGMENT:
                raise Invalid(
                    f"segment {segment.position} has {segment.size} bytes, at most {MOST_SEGMENT} are taken",
                    ("body.days.proof.segments.size", f"at most {MOST_SEGMENT}"),
                )
    _check_told(manifest, before)


def _check_told(manifest: TransferManifest, before: Before) -> None:
    """Invalid unless the stretches of each day are apart and lead through the heads that they answer for."""
    for name, stretches in manifest.by_day().items():
        proofs = [one.proof for one in stretches]
        if (places := overlapping(proofs)) is not None:
            raise Invalid(
                f"the account of {name} ends after segment {places[0]} and begins again after {places[1]}",
                ("body.days.proof", "stretches that are apart and in order"),
            )
        for day, pins in zip(stretches, answering(proofs, before.pins.get(name, [])), strict=True):
            if (pin := rewritten(day.proof, day.sent, pins)) is not None:
                raise Invalid(
                    f"the chain of {name} is not the one that the hub was told of by {pin.told_at:%Y-%m-%d %H:%M:%S} UTC: "
                    f"segments up to {pin.position} were exchanged or removed since then",
                    ("body.days.proof", "the chain as it was told"),
                )


def sent_of(day: SentDay) -> Iterator[Segment]:
    """The segments that come with their bytes; Invalid where the chain has none of that number."""
    by_position = {segment.position: segment for segment in day.proof.segments}
    for position in day.sent:
        if position not in by_position:
            raise Invalid(
                f"segment {position} is to come, but the chain does not name it",
                ("body.days.sent", "of the chain"),
            )
        yield by_position[position]


@dataclass(frozen=True)
class Before:
    """What the hub had of a device before it brought its account: certificates by serial, heads of its chains by day."""

    keys: Mapping[str, bytes]
    pins: Mapping[str, Sequence[Pin]]

    def pins_for(self, manifest: TransferManifest) -> list[dict[str, Any]]:
        """Those that say something of what ``manifest`` brings, as they are kept."""
        first = {name: days[0].proof.before_position for name, days in manifest.by_day().items()}
        return [
            pin.model_dump(mode="json")
            for day in sorted(first)
            for pin in self.pins.get(day, [])
            if pin.position >= first[day]
        ]


def before(conn: Connection, row: Row[Any], manifest: TransferManifest) -> Before:
    """Of the pins those that the chain must hold: what was told later may be of segments that came after the account."""
    decided_at = conn.scalar(
        sa.select(footage_requests.c.decided_at).where(footage_requests.c.id == row.request_id)
    )
    days = {name: days[-1].proof.head.position for name, days in manifest.by_day().items()}
    found = pins_of(conn, row.device_id, row.camera, days)
    bound = {
        day: [pin for pin in pins if pin.position <= days[day] or (decided_at and pin.told_at <= decided_at)]
        for day, pins in found.items()
    }
    return Before(keys_of(conn, row.device_id), bound)


def keys_of(conn: Connection, device: str) -> dict[str, bytes]:
    """Every certificate (PEM) that this device ever had, by serial: footage is older than the newest of them."""
    query = sa.select(certificates.c.serial, certificates.c.pem).where(certificates.c.device_id == device)
    return {serial: pem.encode() for serial, pem in conn.execute(query)}


def signed(keys: Mapping[str, bytes], data: bytes, key: str, sig: str) -> bool:
    """Whether the certificate of that serial signed it: ECDSA with SHA-256, base64url of DER."""
    pem = keys.get(key)
    if pem is None:
        return False
    public = x509.load_pem_x509_certificate(pem).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    try:
        signature = base64.urlsafe_b64decode(sig + "=" * (-len(sig) % 4))
        public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def manifest_bytes(manifest: TransferManifest) -> bytes:
    """As it is kept and sealed."""
    return canonical(manifest.model_dump(mode="json"))


def accept(
    unit: Unit, device: str, manifest: TransferManifest, content: bytes, pins: list[dict[str, Any]]
) -> bool:
    """Expect the segments of a checked account, ``content`` as it is kept; False where this very one stands already, Conflict where
    another does."""
    row = transfer_of(unit.conn, device, manifest.transfer)
    sha256 = hashlib.sha256(content).hexdigest()
    if row.manifest_sha256 is not None:
        if row.manifest_sha256 == sha256:
            return False
        raise Conflict("this transfer has another manifest already: the first one counts")
    count = total = 0
    for day in manifest.days:
        for segment in sent_of(day):
            values = {
                "transfer": row.id,
                "sha256": segment.sha256,
                "day": day.proof.head.day,
                "position": segment.position,
                "size": segment.size,
                "start_ms": segment.start_ms,
                "end_ms": segment.end_ms,
                "stored_at": None,
            }
            insert_new(unit.conn, evidence_segments, values, keys=("transfer", "sha256"))
            count, total = count + 1, total + segment.size
    state = str(TransferState.COMING)
    kept = {"manifest_sha256": sha256, "manifest_size": len(content), "pins": pins}
    _change(unit, row.id, state=state, reason=None, note=None, **kept)
    detail = {"camera": row.camera, "transfer": row.id, "manifest": sha256, "segments": count, "bytes": total}
    detail |= {"pins": len(pins)}
    record(unit, _device(device), "evidence.manifest", subject(row.request_id), detail=detail)
    _finish(unit, row)
    return True


def segment_of(conn: Connection, transfer: str, sha256: str) -> Row[Any]:
    """The announced segment; NotFound where the transfer's manifest does not name it."""
    where = (evidence_segments.c.transfer == transfer) & (evidence_segments.c.sha256 == sha256)
    row = conn.execute(sa.select(evidence_segments).where(where)).first()
    if row is None:
        raise NotFound("the manifest of this transfer names no such segment")
    return row


def have(conn: Connection, device: str, sha256: str) -> bool:
    """Whether this device has brought the same segment before, for another request."""
    query = (
        sa.select(evidence_segments.c.sha256)
        .join(transfers, transfers.c.id == evidence_segments.c.transfer)
        .where(
            evidence_segments.c.sha256 == sha256,
            evidence_segments.c.stored_at.is_not(None),
            transfers.c.device_id == device,
        )
    )
    return conn.execute(query.limit(1)).first() is not None


def stored(unit: Unit, device: str, transfer: str, sha256: str) -> None:
    """The segment lies in the object store; with the last one the transfer is received."""
    row = transfer_of(unit.conn, device, transfer)
    where = (evidence_segments.c.transfer == transfer) & (evidence_segments.c.sha256 == sha256)
    unit.conn.execute(evidence_segments.update().where(where).values(stored_at=unit.now))
    _change(unit, transfer)
    _finish(unit, row)
    unit.tell("requests", id=row.request_id)


def _finish(unit: Unit, row: Row[Any]) -> None:
    left = (evidence_segments.c.transfer == row.id) & evidence_segments.c.stored_at.is_(None)
    if unit.conn.execute(sa.select(evidence_segments.c.sha256).where(left).limit(1)).first() is not None:
        return
    if row.state != TransferState.RECEIVED:
        _change(unit, row.id, state=str(TransferState.RECEIVED))
        detail = {"camera": row.camera, "transfer": row.id}
        record(unit, _device(row.device_id), "evidence.transferred", subject(row.request_id), detail=detail)


def _change(unit: Unit, transfer: str, **values: Any) -> None:
    unit.conn.execute(
        transfers.update().where(transfers.c.id == transfer).values(values | {"changed_at": unit.now})
    )


def ended(unit: Unit, fact: Fact) -> None:
    """recording.sent: what has not come by now will not come. The hub knows by itself when it has all."""
    body = fact.body
    assert isinstance(body, Sent)
    mine = (transfers.c.id == body.transfer) & (transfers.c.device_id == fact.device)
    row = unit.conn.execute(sa.select(transfers).where(mine)).first()
    if row is None or row.state not in WANTED or body.outcome is SentOutcome.COMPLETE:
        return
    came = (evidence_segments.c.transfer == row.id) & evidence_segments.c.stored_at.is_not(None)
    some = unit.conn.execute(sa.select(evidence_segments.c.sha256).where(came).limit(1)).first() is not None
    state = TransferState.RECEIVED if some else TransferState.FAILED
    otherwise = Miss.DEVICE_FAILED if body.outcome is SentOutcome.FAILED else Miss.OVERWRITTEN
    why = refused_by_box(body.detail) or otherwise
    _change(unit, row.id, state=str(state), reason=row.reason or str(why), note=row.note or body.detail)
    detail = {"camera": row.camera, "transfer": row.id, "outcome": str(body.outcome), "note": body.detail}
    record(unit, _device(fact.device), "evidence.transfer-ended", subject(row.request_id), detail=detail)
    unit.tell("requests", id=row.request_id)


def refused(unit: Unit, device: str, transfer: str, what: str, *, account: bool = False) -> None:
    """Something was brought that is not what was recorded: that belongs into the custody log. ``account``: nothing can follow it."""
    row = unit.conn.execute(sa.select(transfers).where(transfers.c.id == transfer)).first()
    if row is not None:
        if account and row.manifest_sha256 is None:
            _change(unit, transfer, reason=str(Miss.DAMAGED), note=what[:500])
        detail = {"camera": row.camera, "transfer": transfer, "what": what[:300]}
        record(unit, _device(device), "evidence.rejected", subject(row.request_id), detail=detail)


def _device(device: str) -> Actor:
    return Actor(f"device:{device}", Role.TECHNICIAN, "device")
