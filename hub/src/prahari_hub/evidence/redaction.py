"""Copies of sealed footage in which persons are hidden: asked of the box that recorded it, stated with their originals, given out apart.

    asked (the box draws) ─▶ coming (its film is on the way) ─▶ ready ─▶ deleted
      └──────────────────────────┴──▶ failed

The original stays sealed as it is. A copy has a statement of its own, signed by the hub when it is fetched: of which originals by their
hashes, who asked and why, and how it was drawn.
"""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from prahari_wire.base import canonical
from prahari_wire.command import CommandName, CommandState
from prahari_wire.copies import (
    FILM,
    STATEMENT,
    CopiedFilm,
    CopyStatement,
    Drawn,
    Originals,
    signed_bytes,
)
from prahari_wire.ids import ulid
from prahari_wire.redaction import LONGEST_COPY_S, Redacted
from prahari_wire.sealed import README, SEAL, Seal
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.evidence import requests, sealing
from prahari_hub.evidence.coverage import Camera, at_ms, ms
from prahari_hub.evidence.requests import HUB, subject
from prahari_hub.evidence.tables import evidence_segments, redacted_copies, transfers
from prahari_hub.fleet import commands as fleet_commands
from prahari_hub.fleet.blobs import Blobs
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import commands, expected_uploads
from prahari_hub.http.actor import Actor
from prahari_hub.store import Unit
from prahari_hub.texts import N_

LIFE_S = 86_400.0
"""A box that is offline draws the copy when it is back within a day."""
PATIENCE = timedelta(hours=26)
HOW = (
    "persons that the model saw are pixelated, with what is around them and 0.6 s before and after; frames in which nothing could tell "
    "persons are pixelated as a whole; no sound"
)
EPOCH = (1980, 1, 1, 0, 0, 0)
SAYS = """In film.mp4 persons are hidden where a model saw any. It is a copy for looking at: look through it before you hand it on.
copy.json says of which originals it is a copy, by their hashes; seal.json is the hub's signature over it. To verify them:

    prahari-evidence {name}.zip --trust city.json                            the film is the one that the hub signed for
    prahari-evidence {name}.zip --trust city.json --of PACKAGE.zip           and it is of that sealed package

What proves anything is the sealed package of the originals.
"""


class Signer(Protocol):
    """``identity.signer.Signer`` is one."""

    current: str
    public_keys: dict[str, bytes]

    def sign_bytes(self, data: bytes) -> str: ...


@dataclass(frozen=True)
class Wanted:
    """Which stretch of which camera, and why its copy is wanted."""

    camera: Camera
    starts_at: datetime
    ends_at: datetime
    reason: str


def ask(unit: Unit, actor: Actor, request: str, wanted: Wanted) -> str:
    """Order a copy of sealed footage from the box; its id. Conflict while nothing is sealed, Invalid for another time or no reason."""
    row = requests.get(unit.conn, request)
    sealing.item_of(unit.conn, request)
    if not wanted.reason.strip():
        raise Invalid(N_("Say what the copy is for."), ("reason", "why"))
    if not row.starts_at <= wanted.starts_at < wanted.ends_at <= row.ends_at:
        raise Invalid(
            N_("The copy lies within the time of the request."), ("starts_at", "within the request")
        )
    if (wanted.ends_at - wanted.starts_at).total_seconds() > LONGEST_COPY_S:
        raise Invalid(
            N_("A copy takes at most two minutes: ask for several."), ("ends_at", "at most two minutes")
        )
    device, camera = wanted.camera
    if not _originals(unit.conn, request, wanted.camera):
        raise NotFound(
            N_("Nothing of {device}, {camera} was sealed for this request."), device=device, camera=camera
        )
    copy = ulid()
    args = {
        "peripheral": camera, "copy_id": copy,
        "start": wanted.starts_at.isoformat(), "end": wanted.ends_at.isoformat(),
    }  # fmt: skip
    command = fleet_commands.issue(unit, HUB, device, CommandName.REDACT, args, expires_in_s=LIFE_S)
    unit.conn.execute(
        redacted_copies.insert().values(
            id=copy, request_id=request, device_id=device, camera=camera, starts_at=wanted.starts_at, ends_at=wanted.ends_at,
            asked_by=actor.name, asked_at=unit.now, reason=wanted.reason.strip()[:500], state="asked", command=command,
        )
    )  # fmt: skip
    detail = {"device": device, "camera": camera, "copy": copy}
    record(unit, actor, "evidence.redact", subject(request), reason=wanted.reason.strip()[:500], detail=detail)  # fmt: skip
    unit.tell("requests", id=request)
    return copy


def _originals(conn: Connection, request: str, camera: Camera) -> set[str]:
    """The segments of a camera that a request has."""
    query = (
        sa.select(evidence_segments.c.sha256)
        .join(transfers, transfers.c.id == evidence_segments.c.transfer)
        .where(
            transfers.c.request_id == request, transfers.c.device_id == camera[0],
            transfers.c.camera == camera[1], evidence_segments.c.stored_at.is_not(None),
        )
    )  # fmt: skip
    return set(conn.scalars(query))


def told(unit: Unit, fact: Fact) -> None:
    """recording.redacted: the box has drawn it, or says why not. What was drawn of other footage than was sealed is none."""
    body = fact.body
    assert isinstance(body, Redacted)
    mine = (redacted_copies.c.id == body.copy_id) & (redacted_copies.c.device_id == fact.device)
    row = unit.conn.execute(sa.select(redacted_copies).where(mine)).first()
    if row is None or row.state != "asked":
        return
    if body.film is None:
        _fail(unit, row, body.detail or "the box does not say why")
        return
    beside = set(body.segments) - _originals(unit.conn, row.request_id, (row.device_id, row.camera))
    if not body.segments or beside:
        _fail(unit, row, "the box drew it of other footage than was sealed")
        return
    _change(
        unit, row, state="coming", sha256=body.film.sha256, size=body.film.size,
        texts={STATEMENT: canonical(_statement(unit.conn, row, body).model_dump(mode="json")).decode()},
    )  # fmt: skip


def _statement(conn: Connection, row: Row[Any], body: Redacted) -> CopyStatement:
    """What is said of a copy for ever."""
    item = sealing.item_of(conn, row.request_id)
    assert body.film is not None
    return CopyStatement(
        copy_id=row.id,
        of=Originals(item=item.id, manifest_sha256=item.manifest_sha256, segments=body.segments),
        request=row.request_id,
        device=row.device_id,
        camera=row.camera,
        start_ms=ms(row.starts_at),
        end_ms=ms(row.ends_at),
        asked_by=row.asked_by,
        asked_at_ms=ms(row.asked_at),
        reason=row.reason,
        drawn=Drawn(model=body.model, frames=body.frames, whole=body.whole, hidden=body.hidden),
        how=HOW,
        film=CopiedFilm(sha256=body.film.sha256, size=body.film.size),
    )


def advance(unit: Unit, pictures: Blobs, footage: Blobs) -> None:
    """Films that have come are taken out of where pictures lie; what will not come has failed."""
    query = (
        sa.select(redacted_copies, commands.c.state.label("told"), commands.c.error)
        .outerjoin(commands, commands.c.id == redacted_copies.c.command)
        .where(redacted_copies.c.state.in_(["asked", "coming"]))
        .order_by(redacted_copies.c.id)
    )
    ends = {CommandState.FAILED, CommandState.REJECTED, CommandState.EXPIRED, CommandState.LOST}
    for row in unit.conn.execute(query).all():
        if row.state == "coming" and _stored(unit.conn, row):
            _take(unit, row, pictures, footage)
        elif row.state == "asked" and row.told in ends:
            _fail(unit, row, row.error or "the box did not begin it")
        elif row.asked_at < unit.now - PATIENCE:
            _fail(unit, row, "it did not come in time")


def _stored(conn: Connection, row: Row[Any]) -> bool:
    mine = (expected_uploads.c.device_id == row.device_id) & (expected_uploads.c.sha256 == row.sha256)
    return conn.scalar(sa.select(expected_uploads.c.stored_at).where(mine)) is not None


def _take(unit: Unit, row: Row[Any], pictures: Blobs, footage: Blobs) -> None:
    pictures.hand_over(row.sha256, footage)
    unit.conn.execute(expected_uploads.delete().where(expected_uploads.c.sha256 == row.sha256))
    _change(unit, row, state="ready", ended_at=unit.now)
    detail = {"device": row.device_id, "camera": row.camera, "copy": row.id, "sha256": row.sha256}
    record(unit, HUB, "evidence.redacted", subject(row.request_id), detail=detail)


def _fail(unit: Unit, row: Row[Any], why: str) -> None:
    _change(unit, row, state="failed", note=why[:500], ended_at=unit.now)
    detail = {"device": row.device_id, "camera": row.camera, "copy": row.id, "what": why[:300]}
    record(unit, HUB, "evidence.redact-failed", subject(row.request_id), detail=detail)


def _change(unit: Unit, row: Row[Any], **values: Any) -> None:
    here = redacted_copies.update().where(redacted_copies.c.id == row.id)
    unit.conn.execute(here.values(values))
    unit.tell("requests", id=row.request_id)


def listed(conn: Connection, request: str) -> list[Row[Any]]:
    """Newest first."""
    query = sa.select(redacted_copies).where(redacted_copies.c.request_id == request)
    return list(conn.execute(query.order_by(redacted_copies.c.id.desc())))


def get(conn: Connection, request: str, copy: str) -> Row[Any]:
    mine = (redacted_copies.c.id == copy) & (redacted_copies.c.request_id == request)
    row = conn.execute(sa.select(redacted_copies).where(mine)).first()
    if row is None:
        raise NotFound(N_("This request has no such copy."))
    return row


def downloaded(unit: Unit, actor: Actor, request: str, copy: str) -> Row[Any]:
    """Count a download and give the row; Conflict unless the film is here."""
    row = get(unit.conn, request, copy)
    if row.state != "ready":
        raise Conflict(N_("The film of this copy is not here: look at its state."))
    detail = {"device": row.device_id, "camera": row.camera, "copy": copy, "sha256": row.sha256}
    record(unit, actor, "evidence.download-copy", subject(request), detail=detail)
    return row


def package(row: Row[Any], film: bytes, signer: Signer) -> bytes:
    """The copy as a ZIP file, with its statement and the hub's signature over it."""
    statement = str(row.texts[STATEMENT]).encode()
    public = base64.urlsafe_b64encode(signer.public_keys[signer.current]).decode().rstrip("=")
    seal = Seal(key=signer.current, public=public, sig=signer.sign_bytes(signed_bytes(statement)))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (
            (STATEMENT, statement),
            (SEAL, canonical(seal.model_dump(mode="json"))),
            (README, SAYS.format(name=row.id).encode()),
            (FILM, film),
        ):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return sink.getvalue()


def interval(start_ms: int, seconds: float) -> tuple[datetime, datetime]:
    return at_ms(start_ms), at_ms(start_ms + round(seconds * 1000))
