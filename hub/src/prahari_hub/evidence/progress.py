"""What happens to an approved request by itself: hold the footage on the boxes, fetch it piece by piece, seal what came.

    camera     asked ─▶ preserving (the hold is under way) ─▶ sending (see fetching.py) ─▶ received | missing

``advance`` runs every few seconds; each of its steps moves what can be moved, so that a step that was lost is done again. Devices that
are offline get their commands when they are born; one transfer a site runs at a time, because a pole has one uplink.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.command import CommandName
from sqlalchemy import Connection, Row

from prahari_hub.errors import Unavailable
from prahari_hub.evidence import coverage
from prahari_hub.evidence.coverage import ms
from prahari_hub.evidence.fetching import (
    DONE,
    ENDED,
    GONE,
    LIFE_S,
    PIECE,
    REFUSED,
    Pace,
    ask_for_more,
    change,
    log,
    of_camera,
    pieces,
    received_spans,
    segment_s,
    standing,
    text,
    want,
    watched,
)
from prahari_hub.evidence.private import refused_by_box, ruled_out_at
from prahari_hub.evidence.reasons import CameraState, Miss, Outcome, State, TransferState, main_miss
from prahari_hub.evidence.requests import HUB, cameras_of, end, get
from prahari_hub.evidence.spans import SEAM_MS, Gap, Span, clipped, merged, total_ms, without
from prahari_hub.evidence.tables import footage_requests, request_cameras, transfers
from prahari_hub.fleet import commands as fleet_commands
from prahari_hub.fleet.presence import Presence
from prahari_hub.fleet.tables import commands, devices
from prahari_hub.store import Unit

KEY_FRAMES = timedelta(seconds=15)
"""A segment ends at the first key frame after its time, and then has to reach the disk."""

C, T = CameraState, TransferState
SETTLED = (str(C.RECEIVED), str(C.MISSING))


Seal = Callable[[Unit, str], None]
"""Seals what a request has received: ``sealing.Sealer.seal``."""


def not_sealing(unit: Unit, request: str) -> None:
    """Where the hub's key is not at hand; what came waits. Unavailable, always."""
    raise Unavailable(f"what came for {request} can only be sealed by a process that has the hub's key")


def advance(unit: Unit, pace: Pace, seal: Seal) -> None:
    """Every request a step further."""
    for row in _cameras(unit.conn, C.ASKED):
        _preserve(unit, row)
    for row in _cameras(unit.conn, C.PRESERVING, _answered()):
        _preserved(unit, row)
    for row in standing(unit):
        watched(unit, row)
    ask_for_more(unit, pace)
    for row in _cameras(unit.conn, C.SENDING, _all_ended()):
        _gathered(unit, row, _asked(row))
    _conclude(unit, seal)
    _see_released(unit)


def _cameras(conn: Connection, state: CameraState, *movable: sa.ColumnElement[bool]) -> list[Row[Any]]:
    """Cameras of requests that are being collected, with the request's time and the state of the command to hold; those alone
    that can move, so that many that wait hold up none."""
    query = (
        sa.select(request_cameras, footage_requests.c.starts_at, footage_requests.c.ends_at)
        .add_columns(devices.c.service, commands.c.state.label("told"), commands.c.result, commands.c.error)
        .add_columns(commands.c.state_at)
        .join(footage_requests, footage_requests.c.id == request_cameras.c.request_id)
        .outerjoin(devices, devices.c.id == request_cameras.c.device_id)
        .outerjoin(commands, commands.c.id == request_cameras.c.hold_command)
        .where(request_cameras.c.state == str(state), footage_requests.c.state == str(State.COLLECTING))
        .where(*movable)
        .order_by(request_cameras.c.request_id)
        .limit(PIECE)
    )
    return list(conn.execute(query))


def _answered() -> sa.ColumnElement[bool]:
    """The command has an end, or was forgotten."""
    ends = [str(state) for state in (*DONE, *REFUSED, *GONE)]
    return sa.or_(commands.c.state.in_(ends), commands.c.id.is_(None))


def _all_ended() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(of_camera(), transfers.c.state.not_in(ENDED)).correlate(request_cameras)


def _preserve(unit: Unit, row: Row[Any]) -> None:
    """Tell the box to keep what lies in the interval, whatever its ring would do."""
    if row.service in (None, "retired"):
        _miss(unit, row, Miss.DEVICE_LOST)
        return
    if (forbidden := ruled_out_at(unit.conn, row.device_id, row.camera, unit.now)) is not None:
        _miss(unit, row, forbidden)
        return
    args = {
        "peripheral": row.camera,
        "hold": row.hold,
        "start": text(row.starts_at),
        "end": text(row.ends_at),
    }
    command = fleet_commands.issue(unit, HUB, row.device_id, CommandName.HOLD, args, expires_in_s=LIFE_S)
    _camera(unit, row, state=str(C.PRESERVING), hold_command=command)
    log(unit, "evidence.hold", row, command=command)


def _preserved(unit: Unit, row: Row[Any]) -> None:
    """The box holds it: fetch what there is; or it has nothing, or the command died on the way and is sent again."""
    if row.told in DONE and _answered_too_early(unit, row):
        return
    if row.told in DONE:
        spans = [(start, end) for start, end in (row.result or {}).get("spans", []) if start < end]
        within = clipped(merged(spans, seam_ms=SEAM_MS), *_asked(row))
        log(unit, "evidence.held", row, seconds=round(total_ms(within) / 1000))
        if not within:
            _miss(unit, row, _why_missing(unit, row, _asked(row)))
            return
        for start, end_ms in pieces((within[0][0], within[-1][1]), segment_s(unit.conn, row)):
            want(unit, row, start, end_ms)
        _camera(unit, row, state=str(C.SENDING))
    elif row.told in REFUSED:
        _miss(unit, row, refused_by_box(row.error) or Miss.DEVICE_FAILED, note=row.error)
    elif row.told is None or row.told in GONE:
        _preserve(unit, row)


def _answered_too_early(unit: Unit, row: Row[Any]) -> bool:
    """Whether the box may have had the interval's last segment still open: then it is asked again once that is closed."""
    settled = row.ends_at + timedelta(seconds=segment_s(unit.conn, row)) + KEY_FRAMES
    if row.state_at is None or row.state_at >= settled:
        return False
    if unit.now >= settled:
        _preserve(unit, row)
    return True


def _gathered(unit: Unit, row: Row[Any], asked: Span) -> None:
    """All transfers of the camera have ended: what came of it."""
    mine = (transfers.c.request_id == row.request_id) & (transfers.c.device_id == row.device_id)
    mine &= transfers.c.camera == row.camera
    found = unit.conn.execute(sa.select(transfers).where(mine)).all()
    if any(one.state not in ENDED for one in found):
        return
    spans = received_spans(unit.conn, [one.id for one in found], asked)
    if not spans:
        failed = next((one for one in found if one.reason), None)
        _miss(
            unit,
            row,
            Miss(failed.reason) if failed else Miss.OVERWRITTEN,
            note=failed.note if failed else None,
        )
        return
    missing = total_ms(without(*asked, spans))
    reason = str(_why_missing(unit, row, asked)) if missing > SEAM_MS else None
    reason = next((one.reason for one in found if one.reason), reason)
    _camera(unit, row, state=str(C.RECEIVED), sealed_ms=total_ms(spans), reason=reason)
    log(unit, "evidence.received", row, seconds=round(total_ms(spans) / 1000))


def _why_missing(unit: Unit, row: Row[Any], asked: Span) -> Miss:
    """By what the device told of its gaps; before its first word it did not record, and footage that it has no more was overwritten."""
    camera = row.device_id, row.camera
    first = coverage.first_ms(unit.conn, camera)
    if first is None:
        return Miss.NOT_RECORDING
    known = coverage.known(unit.conn, [camera], *asked, now_ms=ms(unit.now))[camera]
    before = [Gap(asked[0], min(first, asked[1]), "off")] if asked[0] + SEAM_MS < first else []
    return main_miss([*before, *known.gaps], Miss.OVERWRITTEN)


def _asked(row: Row[Any]) -> Span:
    return ms(row.starts_at), ms(row.ends_at)


def _conclude(unit: Unit, seal: Seal) -> None:
    """Requests whose cameras have all come or will not come; and those whose time is over."""
    collecting = footage_requests.c.state == str(State.COLLECTING)
    open_cameras = sa.select(request_cameras.c.request_id).where(request_cameras.c.state.not_in(SETTLED))
    overdue = unit.conn.scalars(
        sa.select(footage_requests.c.id).where(collecting, footage_requests.c.due_at <= unit.now)
    )
    for request in overdue.all():
        give_up(unit, request)
    done = sa.select(footage_requests.c.id).where(collecting, footage_requests.c.id.not_in(open_cameras))
    for request in unit.conn.scalars(done.limit(PIECE)).all():
        conclude(unit, request, seal)


def give_up(unit: Unit, request: str) -> None:
    """Wait no longer: what has not come is missing."""
    silent = sa.select(devices.c.id).where(devices.c.presence != str(Presence.ONLINE))
    lost = set(
        unit.conn.scalars(
            silent.where(devices.c.id.in_([row.device_id for row in cameras_of(unit.conn, request)]))
        )
    )
    waiting = (transfers.c.request_id == request) & transfers.c.state.not_in(ENDED)
    for row in unit.conn.execute(sa.select(transfers).where(waiting)).all():
        reason = Miss.DEVICE_LOST if row.device_id in lost else Miss.OUT_OF_TIME
        change(unit, row.id, state=str(T.OFF), reason=str(reason))
    asked = get(unit.conn, request)
    for row in cameras_of(unit.conn, request):
        if row.state in SETTLED:
            continue
        reason = Miss.DEVICE_LOST if row.device_id in lost else Miss.OUT_OF_TIME
        if row.state == C.SENDING:
            _gathered(unit, row, _asked(asked))
        else:
            _miss(unit, row, reason)


def conclude(unit: Unit, request: str, seal: Seal) -> None:
    """Seal what came and say how the request ended; the boxes need not hold it any longer."""
    rows = cameras_of(unit.conn, request)
    whole = [row for row in rows if row.state == C.RECEIVED and row.asked_ms - row.sealed_ms <= SEAM_MS]
    some = [row for row in rows if row.state == C.RECEIVED]
    reasons = [row.reason for row in rows if row.reason]
    main = max(sorted(set(reasons)), key=reasons.count) if reasons else None
    if some:
        seal(unit, request)
        outcome = Outcome.FULFILLED if len(whole) == len(rows) else Outcome.PARTIAL
        end(unit, request, outcome, None if outcome is Outcome.FULFILLED else main)
    else:
        end(unit, request, Outcome.IMPOSSIBLE, main or str(Miss.NO_CAMERA))
    for row in rows:
        _release(unit, row)


def _release(unit: Unit, row: Row[Any]) -> None:
    """The box need not hold it any longer; it is told until it has said so."""
    service = unit.conn.scalar(sa.select(devices.c.service).where(devices.c.id == row.device_id))
    if row.hold_command is None or service in (None, "retired"):
        return
    args = {"peripheral": row.camera, "hold": row.hold}
    command = fleet_commands.issue(unit, HUB, row.device_id, CommandName.RELEASE, args, expires_in_s=LIFE_S)
    _camera(unit, row, release_command=command)
    log(unit, "evidence.unhold", row, command=command)


def _see_released(unit: Unit) -> None:
    query = (
        sa.select(request_cameras, commands.c.state.label("told"))
        .outerjoin(commands, commands.c.id == request_cameras.c.release_command)
        .where(request_cameras.c.release_command.is_not(None), request_cameras.c.released_at.is_(None))
        .where(_answered())
        .limit(PIECE)
    )
    for row in unit.conn.execute(query).all():
        if row.told in (*DONE, *REFUSED):
            _camera(unit, row, released_at=unit.now)
        elif row.told is None or row.told in GONE:
            _release(unit, row)


def _miss(unit: Unit, row: Row[Any], reason: Miss, *, note: str | None = None) -> None:
    _camera(unit, row, state=str(C.MISSING), reason=str(reason), note=(note or "")[:500] or None)
    log(unit, "evidence.missing", row, why=str(reason), note=note)


def _camera(unit: Unit, row: Row[Any], **values: Any) -> None:
    where = request_cameras.c.request_id == row.request_id
    where &= (request_cameras.c.device_id == row.device_id) & (request_cameras.c.camera == row.camera)
    unit.conn.execute(request_cameras.update().where(where).values(values | {"changed_at": unit.now}))
    unit.tell("requests", id=row.request_id)
