"""What ingest writes about devices: births, heartbeats, transitions. Every function is one part of a caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire.presence import BirthMessage
from sqlalchemy import Connection, bindparam

from prahari_hub.fleet import commands, twins
from prahari_hub.fleet.presence import Step
from prahari_hub.fleet.served import serve
from prahari_hub.fleet.tables import devices, peripherals, transitions
from prahari_hub.store import Unit

IN_CLAUSE = 500


class Known(NamedTuple):
    """What ingest remembers of a registered device."""

    id: str
    presence: str
    seen: bool
    boot: str | None
    conn: int | None
    heartbeat_s: int | None


class Place(NamedTuple):
    """Where a device stands and what it serves: {peripheral id: type}."""

    site_id: str | None
    peripherals: dict[str, str]


@dataclass(frozen=True, slots=True)
class Beat:
    """What a flush writes of one device. ``health`` is None when it spoke without a heartbeat."""

    device: str
    seen_at: datetime
    health_state: str | None = None
    health: dict[str, Any] | None = None
    clock: str | None = None
    clock_offset_ms: float | None = None
    peripherals: Sequence[dict[str, Any]] = ()
    changed: bool = False


def known_devices(conn: Connection, ids: Sequence[str] | None = None) -> list[Known]:
    """Every device that is in service, or those of ``ids``."""
    query = sa.select(
        devices.c.id,
        devices.c.presence,
        devices.c.last_seen.is_not(None),
        devices.c.boot,
        devices.c.conn,
        devices.c.heartbeat_s,
    ).where(devices.c.service != "retired")
    if ids is None:
        return [Known(*row) for row in conn.execute(query)]
    found: list[Known] = []
    for start in range(0, len(ids), IN_CLAUSE):
        part = ids[start : start + IN_CLAUSE]
        found += [Known(*row) for row in conn.execute(query.where(devices.c.id.in_(part)))]
    return found


def place(conn: Connection, device: str) -> Place:
    site = conn.scalar(sa.select(devices.c.site_id).where(devices.c.id == device))
    rows = conn.execute(
        sa.select(peripherals.c.id, peripherals.c.type).where(peripherals.c.device_id == device)
    )
    return Place(site, {row.id: row.type for row in rows})


def born(unit: Unit, device: str, message: BirthMessage, received_at: datetime) -> None:
    """Write a session's first word and let everything that waits for the device be sent now."""
    body = message.body
    unit.conn.execute(
        devices.update()
        .where(devices.c.id == device)
        .values(
            born_at=received_at,
            last_seen=received_at,
            boot=str(message.boot),
            conn=message.conn,
            clock=message.clock,
            clock_offset_ms=offset_ms(message.at, received_at),
            birth=body.model_dump(mode="json", by_alias=True),
            service=sa.case((devices.c.service == "registered", "active"), else_=devices.c.service),
        )
    )
    names = twins.peripheral_names(unit.conn, device)
    serve(unit, device, {item.id: str(item.type) for item in body.peripherals}, names)
    twins.on_birth(unit, device, body.twin_version)
    commands.on_birth(unit, device)
    unit.tell("devices", id=device)


def offset_ms(device_at: datetime, received_at: datetime) -> float:
    """How far the device's clock is ahead of the hub's, the way included."""
    return round((device_at - received_at).total_seconds() * 1000, 1)


def flush(unit: Unit, beats: Iterable[Beat]) -> None:
    """Write last seen and current values of many devices."""
    all_beats = list(beats)
    seen = [{"b_id": beat.device, "last_seen": beat.seen_at} for beat in all_beats if beat.health is None]
    full = [
        {
            "b_id": beat.device,
            "last_seen": beat.seen_at,
            "health_state": beat.health_state,
            "health": beat.health,
            "clock": beat.clock,
            "clock_offset_ms": beat.clock_offset_ms,
        }
        for beat in all_beats
        if beat.health is not None
    ]
    where = devices.c.id == bindparam("b_id")
    for rows in (seen, full):
        if rows:
            unit.conn.execute(devices.update().where(where), rows)
    served = [
        {"b_device": beat.device, "b_id": item["id"], "updated_at": unit.now}
        | {name: item[name] for name in ("state", "faults", "note")}
        for beat in all_beats
        for item in beat.peripherals
    ]
    if served:
        both = (peripherals.c.device_id == bindparam("b_device")) & (peripherals.c.id == bindparam("b_id"))
        unit.conn.execute(peripherals.update().where(both), served)
    for beat in all_beats:
        if beat.changed:
            unit.tell("devices", id=beat.device, health_state=beat.health_state)


def record_steps(unit: Unit, steps: Sequence[tuple[str, Step, datetime]]) -> None:
    """Write transitions (device, step, when); the scheduler and browsers are told once they are on disk."""
    if not steps:
        return
    rows = [
        {
            "device_id": device,
            "kind": step.kind,
            "before": step.before,
            "after": step.after,
            "at": at,
            "detail": step.detail,
        }
        for device, step, at in steps
    ]
    unit.conn.execute(transitions.insert(), rows)
    moved = [
        {"b_id": device, "presence": step.after, "presence_since": at}
        for device, step, at in steps
        if step.kind == "presence"
    ]
    if moved:
        here = (devices.c.id == bindparam("b_id")) & (devices.c.service != "retired")
        unit.conn.execute(devices.update().where(here), moved)
    for device, step, at in steps:
        if step.kind == "presence":
            unit.tell("devices", id=device, presence=step.after, presence_since=at.isoformat())
    unit.tell("transitions", count=len(steps))


def alarm(unit: Unit, kind: str, device: str, detail: str) -> None:
    """Identity found something wrong with a registered device: a transition that the scheduler makes an incident of."""
    if unit.conn.scalar(sa.select(devices.c.id).where(devices.c.id == device)) is not None:
        record_steps(unit, [(device, Step(kind, "quiet", "alarm", detail), unit.now)])
