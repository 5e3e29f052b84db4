"""Overrides: the complete set of a display, by epoch; sent until confirmed, renewed before its lease runs out.

The epoch is a counter of the display. Every change and every renewal takes the next one; a device replaces its set only on a
higher one. All functions are parts of a caller's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Refused, validate
from prahari_wire.display import (
    Content,
    DisplayClass,
    ImageContent,
    Override,
    OverrideOutcome,
    OverrideSet,
    OverrideState,
)
from prahari_wire.ids import ulid
from prahari_wire.topics import Down
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import uploads
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.outgoing import SANE_GAP, Outgoing, back_off_s, make_each, reachable
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.http.actor import Actor, system
from prahari_hub.signage.tables import displays, overrides
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert_new
from prahari_hub.texts import N_, Checked

MOST = 16
LONGEST = timedelta(days=30)
DEFAULT_LEASE_S = 300
RENEWALS_IN_A_LEASE = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0
log = logging.getLogger(__name__)
BETWEEN_RESTORES = timedelta(seconds=10)


@dataclass(frozen=True)
class Wanted:
    """A new override as somebody asks for it."""

    cls: DisplayClass
    priority: int
    content: Content
    reason: str
    expires_at: datetime
    lease_s: int = DEFAULT_LEASE_S


def split(display: str) -> tuple[str, str]:
    """(device, peripheral) of ``device:peripheral``; NotFound if it is not such a name."""
    device, colon, peripheral = display.partition(":")
    if not (device and colon and peripheral):
        raise NotFound(N_("there is no display {display}; its name is device:peripheral"), display=display)
    return device, peripheral


def create(unit: Unit, actor: Actor, display: tuple[str, str], wanted: Wanted) -> str:
    """Put an override into force; its id. Sent as soon as the transaction is on disk."""
    device, peripheral = display
    _check(unit, display, wanted)
    override = ulid()
    content = _as_told(unit, override, wanted).content.model_dump(mode="json")
    unit.conn.execute(
        overrides.insert().values(
            {
                "id": override,
                "device_id": device,
                "peripheral": peripheral,
                "class": int(wanted.cls),
                "priority": wanted.priority,
                "issued_at": unit.now,
                "expires_at": wanted.expires_at,
                "lease_s": wanted.lease_s,
                "content": content,
                "reason": wanted.reason,
                "issued_by": actor.name,
            }
        )
    )
    uploads.grant(unit, device, content, until=wanted.expires_at)
    bump(unit, device, peripheral)
    record(
        unit,
        actor,
        "override.create",
        f"override:{override}",
        reason=wanted.reason,
        detail={
            "display": f"{device}:{peripheral}",
            "class": int(wanted.cls),
            "priority": wanted.priority,
            "expires_at": wanted.expires_at.isoformat(),
            "content": content,
        },
    )
    unit.tell("overrides", id=override, display=f"{device}:{peripheral}", active=True)
    return override


def _as_told(unit: Unit, override: str, wanted: Wanted) -> Override:
    """As the display will be told it; Invalid where the contract does not allow it."""
    told = {
        "id": override,
        "class": int(wanted.cls),
        "priority": wanted.priority,
        "issued_at": unit.now.isoformat(),
        "expires_at": wanted.expires_at.isoformat(),
        "lease_s": wanted.lease_s,
        "content": wanted.content.model_dump(mode="json"),
    }
    try:
        return validate(Override, told)
    except Refused as error:
        path, _, expected = error.detail.partition(": ")
        raise Invalid(
            N_("the override is not accepted: {detail}"), (path, expected), detail=Checked(error.detail)
        ) from None


def _check(unit: Unit, display: tuple[str, str], wanted: Wanted) -> None:
    device, peripheral = display
    if not is_display(unit.conn, device, peripheral):
        raise NotFound(N_("there is no display {display}"), display=f"{device}:{peripheral}")
    if not wanted.reason.strip():
        raise Invalid(N_("an override needs a reason"), ("reason", "a sentence that says why"))
    if not unit.now < wanted.expires_at <= unit.now + LONGEST:
        raise Invalid(N_("an override ends after now and within 30 days"), ("expires_at", "within 30 days"))
    if len(active(unit.conn, device, peripheral)) >= MOST:
        raise Conflict(
            N_("{display} has {most} overrides already; cancel one of them first"),
            display=f"{device}:{peripheral}",
            most=MOST,
        )
    if isinstance(wanted.content, ImageContent):
        _check_picture(unit, wanted.content.sha256)


def _check_picture(unit: Unit, sha256: str) -> None:
    if not uploads.is_stored(unit.conn, sha256):
        raise Invalid(
            N_("the picture is not in the hub's store; upload it first"),
            ("content.sha256", "the hash of an uploaded picture"),
        )


def cancel(unit: Unit, actor: Actor, override: str, *, reason: str | None = None) -> None:
    """End an override now; Conflict if it has ended already."""
    row = unit.conn.execute(sa.select(overrides).where(overrides.c.id == override)).first()
    if row is None:
        raise NotFound(N_("there is no override {override}"), override=override)
    if row.ended_at is not None:
        raise Conflict(N_("the override has ended already"))
    unit.conn.execute(
        overrides.update()
        .where(overrides.c.id == override)
        .values(cancelled_at=unit.now, cancelled_by=actor.name, ended_at=unit.now)
    )
    bump(unit, row.device_id, row.peripheral)
    record(unit, actor, "override.cancel", f"override:{override}", reason=reason)
    unit.tell("overrides", id=override, display=f"{row.device_id}:{row.peripheral}", active=False)


def active(conn: Connection, device: str, peripheral: str) -> list[Override]:
    """The overrides in force, as they go to the device: until ``expire`` has ended them, which waits while the clock is not trusted. The
    device leaves out what has expired by its own clock."""
    query = sa.select(overrides).where(
        overrides.c.device_id == device,
        overrides.c.peripheral == peripheral,
        overrides.c.ended_at.is_(None),
    )
    return [to_wire(row) for row in conn.execute(query.order_by(overrides.c.id))]


def to_wire(row: Row[Any]) -> Override:
    fields = row._mapping
    return validate(
        Override,
        {name: fields[name] for name in ("id", "class", "priority", "lease_s", "content")}
        | {name: fields[name].isoformat() for name in ("issued_at", "expires_at")},
    )


def bump(unit: Unit, device: str, peripheral: str) -> None:
    """The display's next epoch, to be sent now."""
    ensure(unit, device, peripheral)
    where = (displays.c.device_id == device) & (displays.c.peripheral == peripheral)
    unit.conn.execute(
        displays.update()
        .where(where)
        .values(epoch=displays.c.epoch + 1, bumped_at=unit.now, sent=0, next_send_at=unit.now)
    )
    unit.tell("displays", id=f"{device}:{peripheral}")
    unit.tell("downlinks", id=device)


def is_display(conn: Connection, device: str, peripheral: str | None) -> bool:
    """Whether the hub knows a display of that name: a device may name anything in its events."""
    where = (peripherals.c.device_id == device) & (peripherals.c.id == peripheral)
    return conn.scalar(sa.select(peripherals.c.type).where(where)) == "display"


def ensure(unit: Unit, device: str, peripheral: str) -> None:
    """A row for the display."""
    row = {"device_id": device, "peripheral": peripheral, "epoch": 0, "confirmed_epoch": 0, "sent": 0}
    insert_new(unit.conn, displays, row, keys=("device_id", "peripheral"))


def showing(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those of many devices whose displays were ever sent a set."""
    where = displays.c.device_id.in_(ids) & (displays.c.epoch > 0)
    return set(conn.scalars(sa.select(displays.c.device_id).where(where)))


def on_birth(unit: Unit, device: str) -> None:
    """The device has started or come back: what is in force takes a new epoch, so that its lease begins again."""
    query = sa.select(displays).where(displays.c.device_id == device, displays.c.epoch > 0)
    for row in unit.conn.execute(query).all():
        pending = row.confirmed_epoch < row.epoch
        if pending or active(unit.conn, device, row.peripheral):
            bump(unit, device, row.peripheral)


def reported(unit: Unit, fact: Fact) -> None:
    """override.state: a confirmation ends the repetition; a display that dropped what should be in force gets it anew."""
    body = fact.body
    assert isinstance(body, OverrideState)
    if fact.peripheral is None or not is_display(unit.conn, fact.device, fact.peripheral):
        return
    ensure(unit, fact.device, fact.peripheral)
    where = (displays.c.device_id == fact.device) & (displays.c.peripheral == fact.peripheral)
    row = unit.conn.execute(sa.select(displays).where(where)).one()
    if body.epoch < row.confirmed_epoch:
        return
    if body.epoch > row.epoch + SANE_GAP:
        log.warning("%s:%s reports the epoch %d, %d is the newest: ignored", *row[:2], body.epoch, row.epoch)
        return
    values: dict[str, Any] = {
        "outcome": str(body.outcome),
        "detail": body.detail,
        "active": list(body.active),
        "refused": dict(body.refused),
    }
    if not _refused_whole(body):
        values["confirmed_epoch"] = min(body.epoch, row.epoch)
        values["next_send_at"] = None if body.epoch >= row.epoch else row.next_send_at
    unit.conn.execute(displays.update().where(where).values(values))
    unit.tell("displays", id=f"{fact.device}:{fact.peripheral}")
    if body.epoch > row.epoch:
        unit.conn.execute(displays.update().where(where).values(epoch=body.epoch))
        bump(unit, fact.device, fact.peripheral)
    elif body.outcome is OverrideOutcome.ENDED and not fact.late and body.epoch == row.epoch:
        _restore(unit, fact.device, fact.peripheral, body, row.bumped_at)


def _restore(
    unit: Unit, device: str, peripheral: str, said: OverrideState, bumped_at: datetime | None
) -> None:
    """A display let go of what should be in force: a new epoch, but no ping-pong with one whose clock runs ahead."""
    if bumped_at is not None and abs(unit.now - bumped_at) < BETWEEN_RESTORES:
        return
    wanted = {item.id for item in active(unit.conn, device, peripheral)}
    if wanted - set(said.active) - set(said.refused):
        bump(unit, device, peripheral)


def _refused_whole(body: OverrideState) -> bool:
    """Whether the display took nothing of the set, so that what it had before goes on: no confirmation, whatever its epoch."""
    why = set(body.refused.values())
    return body.outcome is OverrideOutcome.REFUSED and not body.active and why <= {body.detail}


def take_due(unit: Unit, *, limit: int = 100) -> list[Outgoing]:
    """Sets to send now; each is due again after a back-off until the display confirms its epoch."""
    query = (
        sa.select(displays)
        .join(devices, devices.c.id == displays.c.device_id)
        .where(displays.c.next_send_at <= unit.now, reachable())
        .order_by(displays.c.next_send_at)
        .limit(limit)
    )
    rows = unit.conn.execute(query).all()
    found = []
    for row, message in make_each(unit, rows, partial(_message, unit), _of):
        wait = timedelta(seconds=back_off_s(row.sent, FIRST_WAIT_S, LONGEST_WAIT_S))
        values = {"sent": row.sent + 1, "sent_at": unit.now, "next_send_at": unit.now + wait}
        unit.conn.execute(_of(row).values(values))
        found.append(Outgoing(row.device_id, Down.OVERRIDE, message))
    return found


def _message(unit: Unit, row: Row[Any]) -> OverrideSet:
    in_force = active(unit.conn, row.device_id, row.peripheral)
    return OverrideSet(id=ulid(), display=row.peripheral, epoch=row.epoch, overrides=in_force)


def _of(row: Row[Any]) -> sa.Update:
    where = (displays.c.device_id == row.device_id) & (displays.c.peripheral == row.peripheral)
    return displays.update().where(where)


def expire(unit: Unit) -> int:
    """Take what has expired out of its set; how many."""
    query = sa.select(overrides.c.id, overrides.c.device_id, overrides.c.peripheral).where(
        overrides.c.ended_at.is_(None), overrides.c.expires_at <= unit.now
    )
    rows = unit.conn.execute(query).all()
    touched = set()
    for row in rows:
        unit.conn.execute(overrides.update().where(overrides.c.id == row.id).values(ended_at=unit.now))
        record(unit, system("scheduler"), "override.expire", f"override:{row.id}")
        unit.tell("overrides", id=row.id, display=f"{row.device_id}:{row.peripheral}", active=False)
        touched.add((row.device_id, row.peripheral))
    for device, peripheral in sorted(touched):
        bump(unit, device, peripheral)
    return len(rows)


def renew(unit: Unit) -> int:
    """Give each display with overrides a new epoch well before their shortest lease runs out; how many. One that was made long
    after now, by a clock that ran ahead, says nothing of the lease."""
    query = (
        sa.select(
            overrides.c.device_id,
            overrides.c.peripheral,
            sa.func.min(overrides.c.lease_s).label("lease_s"),
            sa.func.max(displays.c.bumped_at).label("bumped_at"),
        )
        .join(
            displays,
            (displays.c.device_id == overrides.c.device_id)
            & (displays.c.peripheral == overrides.c.peripheral),
        )
        .join(devices, devices.c.id == overrides.c.device_id)
        .where(overrides.c.ended_at.is_(None), reachable())
        .group_by(overrides.c.device_id, overrides.c.peripheral)
    )
    count = 0
    for row in unit.conn.execute(query).all():
        age_s = (unit.now - row.bumped_at).total_seconds()
        if abs(age_s) >= row.lease_s / RENEWALS_IN_A_LEASE:
            bump(unit, row.device_id, row.peripheral)
            count += 1
    return count


def get(conn: Connection, override: str) -> dict[str, Any]:
    row = conn.execute(sa.select(overrides).where(overrides.c.id == override)).first()
    if row is None:
        raise NotFound(N_("there is no override {override}"), override=override)
    return dict(row._mapping)


def list_overrides(
    conn: Connection,
    *,
    display: tuple[str, str] | None = None,
    active_only: bool = True,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[dict[str, Any]]:
    """Newest first."""
    query = sa.select(overrides)
    if display:
        query = query.where(overrides.c.device_id == display[0], overrides.c.peripheral == display[1])
    if active_only:
        query = query.where(overrides.c.ended_at.is_(None))
    if before is not None:
        query = query.where(overrides.c.id < before)
    return [dict(row._mapping) for row in conn.execute(query.order_by(overrides.c.id.desc()).limit(limit))]
