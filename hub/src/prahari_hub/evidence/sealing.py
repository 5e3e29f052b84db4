"""Seals what a request has received: one manifest over every file, signed by the hub; the package is written when it is fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from prahari_wire.base import canonical, validate
from prahari_wire.evidence import Pin
from prahari_wire.ids import ulid
from prahari_wire.sealed import (
    CA,
    MANIFEST,
    README,
    SEAL,
    Seal,
    SealedCamera,
    SealedFile,
    SealedRequest,
    SealedTransfer,
    SealManifest,
    certificate_path,
    chain_path,
    seal_bytes,
    segment_path,
)
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict
from prahari_hub.evidence import requests
from prahari_hub.evidence.coverage import ms
from prahari_hub.evidence.fetching import received_spans
from prahari_hub.evidence.reasons import CameraState
from prahari_hub.evidence.requests import HUB, subject
from prahari_hub.evidence.spans import SEAM_MS, without
from prahari_hub.evidence.tables import evidence_segments, sealed_items, transfers
from prahari_hub.fleet.tables import devices, peripherals, sites
from prahari_hub.identity.tables import certificates
from prahari_hub.store import Unit
from prahari_hub.texts import N_

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every file in the package: what it says of times stands in the manifest, and the same package is the same bytes."""
SAYS = """This is a sealed package of footage. Verify it before you rely on it:

    prahari-evidence {name}.zip --trust city.json

prahari-evidence comes with the Python package prahari-wire and needs openssl; city.json is published by the city.
It names the first thing that does not hold: a changed byte, a segment that was removed, a chain that was put in another order.

यह फ़ुटेज का मुहरबंद पैकेज है। इस पर भरोसा करने से पहले ऊपर लिखे आदेश से इसकी जाँच करें।
"""


class Signer(Protocol):
    """The hub's key: ``identity.signer.Signer`` is one."""

    current: str
    public_keys: dict[str, bytes]

    def sign_bytes(self, data: bytes) -> str: ...


class Sealer:
    """``city`` is named in the manifest; ``authorities`` is what the devices' certificates lead to (PEM)."""

    def __init__(self, city: str, authorities: bytes, signer: Signer) -> None:
        self._city, self._authorities, self._signer = city, authorities, signer

    def seal(self, unit: Unit, request: str) -> None:
        """Write the sealed item; the request itself is ended by who calls."""
        row, item = requests.get(unit.conn, request), ulid()
        accounts = _accounts(unit.conn, request)
        texts = self._texts(unit.conn, item, accounts)
        files = [*(_listed(path, text) for path, text in texts.items()), *_footage(unit.conn, accounts)]
        manifest = SealManifest(
            id=item,
            city=self._city[:120],
            request=_request(row),
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            sealed_at=unit.now,
            cameras=[_camera(unit.conn, camera, row) for camera in requests.cameras_of(unit.conn, request)],
            transfers=[_transfer(unit.conn, one) for one in accounts],
            files=files,
        )
        content = canonical(manifest.model_dump(mode="json"))
        sealed: dict[str, Any] = {
            "id": item,
            "request_id": request,
            "sealed_at": unit.now,
            "manifest": content,
            "manifest_sha256": hashlib.sha256(content).hexdigest(),
            "key": self._signer.current,
            "texts": texts | {SEAL: self._sealed(content)},
            "size": sum(file.size for file in files) + len(content),
            "segments": sum(file.path.startswith("segments/") for file in files),
        }
        unit.conn.execute(sealed_items.insert().values(sealed))
        detail = {name: sealed[name] for name in ("id", "manifest_sha256", "key", "segments", "size")}
        record(unit, HUB, "evidence.seal", subject(request), detail=detail)

    def _texts(self, conn: Connection, item: str, accounts: Sequence[Row[Any]]) -> dict[str, str]:
        """What is sealed as it is now: certificates and keys are renewed, the package stays."""
        found = {README: SAYS.format(name=item), CA: self._authorities.decode()}
        owners = sorted({one.device_id for one in accounts})
        query = sa.select(certificates.c.serial, certificates.c.pem).where(
            certificates.c.device_id.in_(owners)
        )
        for serial, pem in conn.execute(query.order_by(certificates.c.serial)):
            found[certificate_path(serial)] = pem
        return found

    def _sealed(self, manifest: bytes) -> str:
        public = base64.urlsafe_b64encode(self._signer.public_keys[self._signer.current]).decode().rstrip("=")
        seal = Seal(
            key=self._signer.current, public=public, sig=self._signer.sign_bytes(seal_bytes(manifest))
        )
        return canonical(seal.model_dump(mode="json")).decode()


def _request(row: Row[Any]) -> SealedRequest:
    return SealedRequest(
        id=row.id,
        authority=row.authority,
        case_number=row.case_number,
        purpose=row.purpose,
        submitted_by=row.submitted_by,
        submitted_at=row.submitted_at,
        approved_by=row.decided_by,
        approved_at=row.decided_at,
    )


def _camera(conn: Connection, row: Row[Any], asked: Row[Any]) -> SealedCamera:
    place = conn.execute(
        sa.select(sites.c.name, sites.c.lat, sites.c.lon)
        .join(devices, devices.c.site_id == sites.c.id)
        .where(devices.c.id == row.device_id)
    ).first()
    name = (peripherals.c.device_id == row.device_id) & (peripherals.c.id == row.camera)
    interval = ms(asked.starts_at), ms(asked.ends_at)
    spans = _spans(conn, row, interval)
    return SealedCamera(
        device=row.device_id,
        camera=row.camera,
        name=conn.scalar(sa.select(peripherals.c.name).where(name)),
        site=place.name if place else None,
        lat=place.lat if place else None,
        lon=place.lon if place else None,
        spans=spans,
        missing=[gap for gap in without(*interval, spans) if gap[1] - gap[0] > SEAM_MS or not spans],
        reason=row.reason,
    )


def _spans(conn: Connection, row: Row[Any], interval: tuple[int, int]) -> list[tuple[int, int]]:
    if row.state != CameraState.RECEIVED:
        return []
    mine = (transfers.c.request_id == row.request_id) & (transfers.c.device_id == row.device_id)
    ids = conn.scalars(sa.select(transfers.c.id).where(mine & (transfers.c.camera == row.camera))).all()
    return received_spans(conn, ids, interval)


def _accounts(conn: Connection, request: str) -> list[Row[Any]]:
    """The transfers that brought something."""
    came = sa.select(evidence_segments.c.transfer).where(evidence_segments.c.stored_at.is_not(None))
    query = sa.select(transfers).where(transfers.c.request_id == request, transfers.c.id.in_(came))
    return list(conn.execute(query.order_by(transfers.c.id)))


def _transfer(conn: Connection, row: Row[Any]) -> SealedTransfer:
    missing = sa.select(evidence_segments.c.day, evidence_segments.c.position).where(
        evidence_segments.c.transfer == row.id, evidence_segments.c.stored_at.is_(None)
    )
    absent: dict[str, list[int]] = {}
    for day, position in conn.execute(missing.order_by(evidence_segments.c.position)):
        absent.setdefault(day, []).append(position)
    pins = [validate(Pin, pin) for pin in row.pins or []]
    return SealedTransfer(transfer=row.id, device=row.device_id, camera=row.camera, absent=absent, pins=pins)


def _footage(conn: Connection, accounts: Sequence[Row[Any]]) -> list[SealedFile]:
    """Accounts of the boxes and segments; a segment that two transfers brought stands once."""
    chains = [
        SealedFile(path=chain_path(one.id), sha256=one.manifest_sha256, size=one.manifest_size)
        for one in accounts
    ]
    segments: dict[str, SealedFile] = {}
    for one in accounts:
        query = sa.select(evidence_segments).where(
            evidence_segments.c.transfer == one.id, evidence_segments.c.stored_at.is_not(None)
        )
        for row in conn.execute(query):
            path = segment_path(one.device_id, one.camera, row.day, row.position)
            segments[path] = SealedFile(path=path, sha256=row.sha256, size=row.size)
    return chains + [segments[path] for path in sorted(segments)]


def _listed(path: str, text: str) -> SealedFile:
    content = text.encode()
    return SealedFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def item_of(conn: Connection, request: str) -> Row[Any]:
    """The sealed item of a request; Conflict while there is none."""
    row = conn.execute(sa.select(sealed_items).where(sealed_items.c.request_id == request)).first()
    if row is None:
        requests.get(conn, request)
        raise Conflict(N_("Nothing of this request has been sealed yet."))
    if row.deleted_at is not None:
        raise Conflict(N_("The footage of this request has been deleted: its time was over."))
    return row


Load = Callable[[str], Awaitable[bytes]]


async def package(item: Row[Any], load: Load) -> AsyncIterator[bytes]:
    """The ZIP file, piece by piece: nothing is compressed, since footage does not shrink. ``load`` gives a file by its hash."""
    manifest = SealManifest.model_validate_json(item.manifest)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), item.manifest)
        archive.writestr(zipfile.ZipInfo(SEAL, EPOCH), item.texts[SEAL])
        for file in manifest.files:
            text = item.texts.get(file.path)
            content = text.encode() if text is not None else await load(file.sha256)
            archive.writestr(zipfile.ZipInfo(file.path, EPOCH), content)
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Takes what a ZIP writer gives and hands it on."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        found = bytes(self._held)
        self._held.clear()
        return found
