"""Bringing footage from the boxes: which stretches are wanted, who is asked when, and what is asked for again.

    transfer   wanted ─▶ asked (the device was told) ─▶ coming (its manifest is here) ─▶ received | failed

One transfer a site runs at a time, because a pole has one uplink.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.command import CommandName, CommandState
from prahari_wire.ids import ulid
from prahari_wire.recording import LONGEST_SEND_S, MOST_SENT, RecordingConfig
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.evidence.coverage import at_ms
from prahari_hub.evidence.private import refused_by_box
from prahari_hub.evidence.reasons import Miss, TransferState
from prahari_hub.evidence.requests import HUB, subject
from prahari_hub.evidence.spans import SEAM_MS, Span, clipped, merged
from prahari_hub.evidence.tables import evidence_segments, request_cameras, transfers
from prahari_hub.fleet import commands as fleet_commands
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.tables import commands, devices, twins
from prahari_hub.store import Unit

LIFE_S = 7 * 86400.0
"""Of a command to hold or send; a device that is away for longer is told again."""
BACK_OFF = (timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=3))
MOST_TRIES = 6
STALLED = timedelta(minutes=30)
"""A transfer that brought nothing for so long, although its command has ended, is asked for again."""
PIECE = 200
DONE = (CommandState.SUCCEEDED,)
REFUSED = (CommandState.FAILED, CommandState.REJECTED)
GONE = (CommandState.EXPIRED, CommandState.LOST, CommandState.CANCELLED)

T = TransferState
UNDER_WAY = (str(T.ASKED), str(T.COMING))
ENDED = (str(T.RECEIVED), str(T.FAILED), str(T.OFF))


@dataclass(frozen=True)
class Pace:
    """``rate_kbit_s``: how fast one site may send."""

    rate_kbit_s: int


def want(unit: Unit, row: Row[Any], start_ms: int, end_ms: int) -> None:
    unit.conn.execute(
        transfers.insert().values(
            id=ulid(),
            request_id=row.request_id,
            device_id=row.device_id,
            camera=row.camera,
            starts_at=at_ms(start_ms),
            ends_at=at_ms(end_ms),
            state=str(T.WANTED),
            next_at=unit.now,
            changed_at=unit.now,
        )
    )


def pieces(span: Span, segment_s: int) -> list[Span]:
    """No longer than one transfer may be, and with no more segments than half of what one may have."""
    start, end_ms = span
    step = min(LONGEST_SEND_S, segment_s * MOST_SENT // 2) * 1000
    return [(at, min(at + step, end_ms)) for at in range(start, end_ms, step)]


def segment_s(conn: Connection, row: Row[Any]) -> int:
    """How long the camera's segments are, as its twin says."""
    document = conn.scalar(sa.select(twins.c.document).where(twins.c.device_id == row.device_id)) or {}
    camera = document.get("peripherals", {}).get(row.camera, {})
    return int(camera.get("recording", {}).get("segment_s", RecordingConfig().segment_s))


def standing(unit: Unit) -> list[Row[Any]]:
    """Transfers under way whose command failed or got lost, and those that stand still although the box took it and is there."""
    still = sa.and_(
        commands.c.state.in_([str(state) for state in DONE]),
        devices.c.presence == str(Presence.ONLINE),
        transfers.c.changed_at < unit.now - STALLED,
    )
    failed = commands.c.state.in_([str(state) for state in (*REFUSED, *GONE)])
    query = (
        sa.select(transfers, commands.c.state.label("told"), commands.c.error)
        .outerjoin(devices, devices.c.id == transfers.c.device_id)
        .outerjoin(commands, commands.c.id == transfers.c.command)
        .where(transfers.c.state.in_(UNDER_WAY), sa.or_(failed, still, commands.c.id.is_(None)))
        .order_by(transfers.c.id)
        .limit(PIECE)
    )
    return list(unit.conn.execute(query))


def watched(unit: Unit, row: Row[Any]) -> None:
    """What a box refuses is asked for again, not for ever; what stands still is asked for again."""
    if row.told in REFUSED and (forbidden := refused_by_box(row.error)) is not None:
        fail(unit, row.id, forbidden, row.error)
    elif row.told in REFUSED and row.tries >= MOST_TRIES:
        fail(unit, row.id, Miss.DEVICE_FAILED, row.error)
    elif row.told in REFUSED:
        _again(unit, row, row.error or "the device could not send it")
    else:
        _again(unit, row, "the device sent nothing more")


def _again(unit: Unit, row: Row[Any], note: str) -> None:
    wait = BACK_OFF[min(row.tries, len(BACK_OFF) - 1)]
    tries = row.tries + (row.told in REFUSED)
    change(unit, row.id, state=str(T.WANTED), next_at=unit.now + wait, note=note[:500], tries=tries)


def fail(unit: Unit, transfer: str, reason: Miss, note: str | None) -> None:
    """The transfer will not come."""
    change(unit, transfer, state=str(T.FAILED), reason=str(reason), note=(note or "")[:500] or None)
    row = unit.conn.execute(sa.select(transfers).where(transfers.c.id == transfer)).one()
    log(unit, "evidence.transfer-failed", row, transfer=transfer, why=str(reason), note=note)


def ask_for_more(unit: Unit, pace: Pace) -> None:
    """The oldest wanted transfer of each site that has none under way. Boxes that are offline keep no uplink busy."""
    query = (
        sa.select(transfers, request_cameras.c.site_id, devices.c.presence)
        .join(request_cameras, of_camera())
        .outerjoin(devices, devices.c.id == transfers.c.device_id)
        .order_by(transfers.c.id)
    )
    under_way = unit.conn.execute(query.where(transfers.c.state.in_(UNDER_WAY))).all()
    busy = {_uplink(row) for row in under_way if row.presence == Presence.ONLINE}
    due = (transfers.c.state == str(T.WANTED)) & (transfers.c.next_at <= unit.now)
    for row in unit.conn.execute(query.where(due)).all():
        if row.presence != Presence.ONLINE:
            _ask(unit, row, pace)
        elif _uplink(row) not in busy:
            busy.add(_uplink(row))
            _ask(unit, row, pace)


def of_camera() -> sa.ColumnElement[bool]:
    """The transfers of a camera of a request."""
    return sa.and_(
        transfers.c.request_id == request_cameras.c.request_id,
        transfers.c.device_id == request_cameras.c.device_id,
        transfers.c.camera == request_cameras.c.camera,
    )


def _uplink(row: Row[Any]) -> str:
    return f"site/{row.site_id}" if row.site_id else f"device/{row.device_id}"


def _ask(unit: Unit, row: Row[Any], pace: Pace) -> None:
    args = {
        "peripheral": row.camera,
        "transfer": row.id,
        "start": text(row.starts_at),
        "end": text(row.ends_at),
        "rate_kbit_s": pace.rate_kbit_s,
    }
    command = fleet_commands.issue(unit, HUB, row.device_id, CommandName.SEND, args, expires_in_s=LIFE_S)
    state = str(T.COMING if row.manifest_sha256 else T.ASKED)
    change(unit, row.id, state=state, command=command)
    log(unit, "evidence.send", row, transfer=row.id, command=command)


def received_spans(conn: Connection, ids: Collection[str], asked: Span) -> list[Span]:
    """The times whose footage lies at the hub."""
    query = sa.select(evidence_segments.c.start_ms, evidence_segments.c.end_ms).where(
        evidence_segments.c.transfer.in_(ids), evidence_segments.c.stored_at.is_not(None)
    )
    spans = merged(((start, end) for start, end in conn.execute(query)), seam_ms=SEAM_MS)
    return clipped(spans, *asked)


def change(unit: Unit, transfer: str, **values: Any) -> None:
    where = transfers.c.id == transfer
    unit.conn.execute(transfers.update().where(where).values(values | {"changed_at": unit.now}))


def log(unit: Unit, action: str, row: Row[Any], **detail: Any) -> None:
    said = {"device": row.device_id, "camera": row.camera} | detail
    record(
        unit,
        HUB,
        action,
        subject(row.request_id),
        detail={name: value for name, value in said.items() if value is not None},
    )


def text(at: datetime) -> str:
    return at.isoformat()
