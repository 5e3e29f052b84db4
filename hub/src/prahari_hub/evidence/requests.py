"""A footage request from submission to decision.

    submit ─▶ approve (another person) ─▶ collecting: see progress.py ─▶ sealed
       │         └─▶ refuse                                      └─▶ closed: nothing came
       └─▶ withdraw

Every step is a row of the audit log under ``request:<id>``: that is the custody log. All functions are parts of a caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.ids import ulid
from prahari_wire.owner import Owner
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.access.tables import tokens
from prahari_hub.errors import Conflict, Forbidden, Invalid, NotFound
from prahari_hub.evidence import coverage
from prahari_hub.evidence.coverage import Camera, Known, ms
from prahari_hub.evidence.places import AtSite, Named, Point, Standing, cameras_at, zone_of
from prahari_hub.evidence.private import ruled_out
from prahari_hub.evidence.reasons import CameraState, Miss, Outcome, Refusal, State
from prahari_hub.evidence.spans import total_ms
from prahari_hub.evidence.tables import footage_requests, request_cameras
from prahari_hub.fleet import owners
from prahari_hub.http.actor import Actor, system
from prahari_hub.store import Unit
from prahari_hub.texts import N_, Term

HUB = system("evidence")
LONGEST = timedelta(hours=24)
OLDEST = timedelta(days=400)
"""The longest that a box is ever told to keep footage."""
NEEDED = {
    "authority": N_("A request names the authority that asks."),
    "case_number": N_("A request names the number of the case."),
    "purpose": N_("A request names what the footage is for."),
}
MOST_TOKENS = 8
"""A token may have been made with a token, and so on."""
PATIENCE = timedelta(days=30)
"""What has not come by then will not come."""


@dataclass(frozen=True)
class Wanted:
    """What an authority asks for. ``only`` leaves out the other cameras of the place."""

    authority: str
    case_number: str
    purpose: str
    place: Point | AtSite | Named
    starts_at: datetime
    ends_at: datetime
    only: Sequence[Camera] | None = None


@dataclass(frozen=True)
class Found:
    """A camera that covers the place, and what it has of the time. ``owner`` None: the city's; ``ruled_out``: by the owner's terms."""

    camera: Standing
    known: Known
    asked_ms: int
    owner: Owner | None = None
    ruled_out: Miss | None = None

    @property
    def known_ms(self) -> int:
        return total_ms(self.known.spans)

    @property
    def share(self) -> float:
        return self.known_ms / self.asked_ms


def check_time(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    """Invalid unless it is a time that footage can be asked of."""
    if ends_at <= starts_at:
        raise Invalid(N_("The end must lie after the beginning."), ("ends_at", "after starts_at"))
    if ends_at > now:
        raise Invalid(
            N_("That time has not passed yet: ask for it when it has."), ("ends_at", "not in the future")
        )
    if ends_at - starts_at > LONGEST:
        raise Invalid(
            N_("A request covers at most 24 hours: name the time more closely, or make one request a day."),
            ("ends_at", "at most 24 hours after starts_at"),
        )
    if starts_at < now - OLDEST:
        raise Invalid(
            N_("No box keeps footage for more than {days} days: of that time there is none."),
            ("starts_at", f"within the last {OLDEST.days} days"),
            days=OLDEST.days,
        )


def search(
    conn: Connection, place: Point | AtSite | Named, starts_at: datetime, ends_at: datetime, *, now: datetime
) -> list[Found]:
    """Which cameras cover the place and what they have of the time, also those of devices that are offline."""
    check_time(starts_at, ends_at, now)
    standing = cameras_at(conn, place)
    start_ms, end_ms = ms(starts_at), ms(ends_at)
    known = coverage.known(conn, [one.key for one in standing], start_ms, end_ms, now_ms=ms(now))
    owner = owners.owners_of(conn, [one.key for one in standing])
    return [
        Found(
            one, known[one.key], end_ms - start_ms, owner.get(one.key), ruled_out(owner.get(one.key), now)
        )
        for one in standing
    ]  # fmt: skip


def submit(unit: Unit, actor: Actor, wanted: Wanted) -> str:
    """The id of the new request. Where no camera stands it is closed at once as impossible, because it was asked all the same."""
    _check_texts(wanted)
    found = _chosen(
        search(unit.conn, wanted.place, wanted.starts_at, wanted.ends_at, now=unit.now), wanted.only
    )
    request = ulid()
    row: dict[str, Any] = {
        "id": request,
        "authority": wanted.authority.strip(),
        "case_number": wanted.case_number.strip(),
        "purpose": wanted.purpose.strip(),
        "place": wanted.place.model_dump(mode="json"),
        "zone_id": zone_of(one.camera for one in found),
        "starts_at": wanted.starts_at,
        "ends_at": wanted.ends_at,
        "state": str(State.SUBMITTED),
        "submitted_by": actor.name,
        "submitter": person_of(unit.conn, actor),
        "submitted_at": unit.now,
        "due_at": unit.now + PATIENCE,
        "version": 1,
    }
    unit.conn.execute(footage_requests.insert().values(row))
    for one in found:
        unit.conn.execute(request_cameras.insert().values(_camera_row(request, one, unit.now)))
    detail = {name: row[name] for name in ("authority", "case_number", "place")}
    detail |= {"from": wanted.starts_at.isoformat(), "to": wanted.ends_at.isoformat(), "cameras": len(found)}
    record(unit, actor, "evidence.submit", subject(request), reason=row["purpose"], detail=detail)
    if not found:
        end(unit, request, Outcome.IMPOSSIBLE, str(Miss.NO_CAMERA))
    _tell(unit, request)
    return request


def _check_texts(wanted: Wanted) -> None:
    for name, text in (
        ("authority", wanted.authority),
        ("case_number", wanted.case_number),
        ("purpose", wanted.purpose),
    ):
        if not text.strip():
            raise Invalid(NEEDED[name], (name, "1 to 500 characters"))


def _chosen(found: list[Found], only: Sequence[Camera] | None) -> list[Found]:
    if only is None:
        return found
    wanted = set(only)
    beside = wanted - {one.camera.key for one in found}
    if beside:
        name = ":".join(min(beside))
        raise Invalid(
            N_("The camera {name} does not stand at the place that was named."),
            ("cameras", "of the place"),
            name=name,
        )
    if not wanted and found:
        raise Invalid(N_("Choose at least one camera."), ("cameras", "at least one"))
    return [one for one in found if one.camera.key in wanted]


def _camera_row(request: str, one: Found, now: datetime) -> dict[str, Any]:
    return {
        "request_id": request,
        "device_id": one.camera.device,
        "camera": one.camera.camera,
        "site_id": one.camera.site,
        "asked_ms": one.asked_ms,
        "known_ms": one.known_ms,
        "state": str(CameraState.ASKED),
        "hold": ulid(),
        "changed_at": now,
    }


def approve(unit: Unit, actor: Actor, request: str) -> None:
    """Let it be collected; Forbidden for the person who submitted it."""
    row = _deciding(unit, actor, request)
    _change(unit, row, state=str(State.COLLECTING), decided_by=actor.name, decided_at=unit.now)
    record(unit, actor, "evidence.approve", subject(request))
    _tell(unit, request)


def refuse(unit: Unit, actor: Actor, request: str, reason: Refusal, note: str | None = None) -> None:
    """Say no, for a reason of the list."""
    if reason is Refusal.WITHDRAWN:
        raise Invalid(N_("Only who submitted a request withdraws it."), ("reason", "why it is refused"))
    row = _deciding(unit, actor, request)
    _change(unit, row, decided_by=actor.name, decided_at=unit.now)
    record(unit, actor, "evidence.refuse", subject(request), reason=note, detail={"reason": str(reason)})
    end(unit, request, Outcome.REFUSED, str(reason), note=note)


def withdraw(unit: Unit, actor: Actor, request: str) -> None:
    """Take back what nobody has decided on; by whoever submitted it."""
    row = get(unit.conn, request)
    if person_of(unit.conn, actor) != row.submitter:
        raise Forbidden(
            N_("Only {submitter}, who submitted the request, withdraws it."), submitter=row.submitter
        )
    if row.state != State.SUBMITTED:
        raise Conflict(
            N_("The request has been decided on: it is {state}."), state=Term("request_state", row.state)
        )
    record(unit, actor, "evidence.withdraw", subject(request))
    end(unit, request, Outcome.REFUSED, str(Refusal.WITHDRAWN))


def _deciding(unit: Unit, actor: Actor, request: str) -> Row[Any]:
    row = get(unit.conn, request)
    if row.state != State.SUBMITTED:
        raise Conflict(
            N_("The request has been decided on: it is {state}."), state=Term("request_state", row.state)
        )
    if person_of(unit.conn, actor) == row.submitter:
        raise Forbidden(N_("Another person must decide: you submitted this request yourself."))
    return row


def end(unit: Unit, request: str, outcome: Outcome, reason: str | None, *, note: str | None = None) -> None:
    """The request has its outcome. Sealed where something came, closed otherwise."""
    row = get(unit.conn, request)
    sealed = outcome in (Outcome.FULFILLED, Outcome.PARTIAL)
    state = State.SEALED if sealed else State.CLOSED
    _change(unit, row, state=str(state), outcome=str(outcome), reason=reason, note=note, ended_at=unit.now)
    if not sealed and outcome is not Outcome.REFUSED:
        detail = {"outcome": str(outcome), "reason": reason}
        record(unit, HUB, "evidence.close", subject(request), detail=detail)
    _tell(unit, request)


def person_of(conn: Connection, actor: Actor) -> str:
    """Who is behind the actor: of a token whoever made it, so that nobody approves his own request with his own token."""
    name = actor.name
    for _ in range(MOST_TOKENS):
        kind, _, token = name.partition(":")
        made = (
            conn.scalar(sa.select(tokens.c.created_by).where(tokens.c.id == token))
            if kind == "token"
            else None
        )
        if made is None:
            break
        name = str(made)
    return name


def get(conn: Connection, request: str) -> Row[Any]:
    row = conn.execute(sa.select(footage_requests).where(footage_requests.c.id == request)).first()
    if row is None:
        raise NotFound(N_("There is no footage request {request}."), request=request[:40])
    return row


def cameras_of(conn: Connection, request: str) -> list[Row[Any]]:
    query = sa.select(request_cameras).where(request_cameras.c.request_id == request)
    return list(conn.execute(query.order_by(request_cameras.c.device_id, request_cameras.c.camera)))


def subject(request: str) -> str:
    """Of the request's rows in the audit log."""
    return f"request:{request}"


def _change(unit: Unit, row: Row[Any], **values: Any) -> None:
    where = footage_requests.c.id == row.id
    unit.conn.execute(footage_requests.update().where(where).values(values | {"version": row.version + 1}))


def _tell(unit: Unit, request: str) -> None:
    unit.tell("requests", id=request)
