"""What ingest writes about devices: births, heartbeats, transitions. Every function is one part of a caller's transaction."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from prahari_wire.presence import BirthMessage
from prahari_wire.topics import PARTITIONS
from sqlalchemy import Connection, bindparam

from prahari_hub.fleet import commands, twins
from prahari_hub.fleet.cells import CELLS_A_PARTITION, cells_of_all
from prahari_hub.fleet.presence import Step
from prahari_hub.fleet.served import Serves, serve_all
from prahari_hub.fleet.tables import blind_spells, devices, peripherals, transitions
from prahari_hub.store import Unit
from prahari_hub.store.many import insert_many, update_many

IN_CLAUSE = 500
ALL = range(PARTITIONS)


class Known(NamedTuple):
    """What ingest remembers of a registered device. ``before`` is how it was, of one that is unknown because the hub was blind."""

    id: str
    presence: str
    seen: bool
    boot: str | None
    conn: int | None
    heartbeat_s: int | None
    health_state: str = "unknown"
    before: str | None = None


class Place(NamedTuple):
    """Where a device stands and what it serves: {peripheral id: type}."""

    site_id: str | None
    peripherals: dict[str, str]


class Health(NamedTuple):
    """What changed in the health of a device. ``peripherals`` are (id, state, faults, note)."""

    device: str
    state: str
    clock: str
    peripherals: Sequence[tuple[str, str, list[str], str | None]]


def known_devices(
    conn: Connection, ids: Sequence[str] | None = None, *, partitions: Container[int] = ALL
) -> list[Known]:
    """Every device that is in service, or those of ``ids``; of these partitions."""
    query = sa.select(
        devices.c.id,
        devices.c.presence,
        devices.c.last_seen.is_not(None),
        devices.c.boot,
        devices.c.conn,
        devices.c.heartbeat_s,
        devices.c.health_state,
        devices.c.presence_before,
    ).where(devices.c.service != "retired")
    if ids is None:
        known = [Known(*row) for row in conn.execute(query)]
        if partitions is ALL:
            return known
        cells = cells_of_all([device.id for device in known]).tolist()
        return [
            device
            for device, cell in zip(known, cells, strict=True)
            if cell // CELLS_A_PARTITION in partitions
        ]
    found: list[Known] = []
    for start in range(0, len(ids), IN_CLAUSE):
        part = ids[start : start + IN_CLAUSE]
        found += [Known(*row) for row in conn.execute(query.where(devices.c.id.in_(part)))]
    return found


def places(conn: Connection, ids: Iterable[str]) -> dict[str, Place]:
    """Of each of these devices that is registered."""
    found: dict[str, Place] = {}
    for device, site, peripheral, kind in conn.execute(_PLACES, {"ids": sorted(set(ids))}):
        place = found.setdefault(device, Place(site, {}))
        if peripheral is not None:
            place.peripherals[peripheral] = kind
    return found


_PLACES = (
    sa.select(devices.c.id, devices.c.site_id, peripherals.c.id.label("peripheral"), peripherals.c.type)
    .outerjoin(peripherals, peripherals.c.device_id == devices.c.id)
    .where(devices.c.id.in_(bindparam("ids", expanding=True)))
)
"""Built once: every transaction of events asks it."""


def born(unit: Unit, device: str, message: BirthMessage, received_at: datetime) -> None:
    """Write one session's first word, see ``born_all``."""
    born_all(unit, [(device, message, received_at)])


def born_all(unit: Unit, births: Sequence[tuple[str, BirthMessage, datetime]]) -> None:
    """Write the first words of sessions (device, message, received at), and let everything that waits for these devices be sent now.

    After the broker was away thousands come together: what most of them need is asked and written for all at once.
    """
    ids = sorted({device for device, _, _ in births})
    unit.conn.execute(_BORN, [_born_row(*birth) for birth in births])
    documents = twins.documents(unit.conn, ids)
    serve_all(unit, {device: _serves(message, documents.get(device)) for device, message, _ in births})
    waited_for = commands.waited_for(unit.conn, ids)
    for device, message, _ in births:
        if device in documents or message.body.twin_version is not None:
            twins.on_birth(unit, device, message.body.twin_version)
        if device in waited_for:
            commands.on_birth(unit, device)
        unit.tell("devices", id=device)


def _serves(message: BirthMessage, document: Mapping[str, Any] | None) -> Serves:
    """What a birth says that its device serves, by the names that its document gives."""
    types = {item.id: str(item.type) for item in message.body.peripherals}
    return Serves(types, twins.names_in(document))


_BORN = (
    devices.update()
    .where(devices.c.id == bindparam("b_id"))
    .values(service=sa.case((devices.c.service == "registered", "active"), else_=devices.c.service))
    .values(
        {
            name: bindparam(name)
            for name in ("born_at", "last_seen", "boot", "conn", "clock", "clock_offset_ms", "birth")
        }
    )
)


def _born_row(device: str, message: BirthMessage, received_at: datetime) -> dict[str, object]:
    return {
        "b_id": device,
        "born_at": received_at,
        "last_seen": received_at,
        "boot": str(message.boot),
        "conn": message.conn,
        "clock": str(message.clock),
        "clock_offset_ms": offset_ms(message.at, received_at),
        "birth": message.body.model_dump(mode="json", by_alias=True),
    }


def offset_ms(device_at: datetime, received_at: datetime) -> float:
    """How far the device's clock is ahead of the hub's, the way included."""
    return round((device_at - received_at).total_seconds() * 1000, 1)


def write_health(unit: Unit, changed: Sequence[Health]) -> None:
    """Write what is found by SQL: the state of devices and of their peripherals."""
    rows = [{"id": health.device, "health_state": health.state, "clock": health.clock} for health in changed]
    update_many(unit.conn, devices, rows, keys=("id",))
    served = [
        {"device_id": health.device, "id": peripheral, "updated_at": unit.now}
        | {"state": state, "faults": faults, "note": note}
        for health in changed
        for peripheral, state, faults, note in health.peripherals
    ]
    update_many(unit.conn, peripherals, served, keys=("device_id", "id"))
    for health in changed:
        unit.tell("devices", id=health.device, health_state=health.state)


class Moved(NamedTuple):
    """A transition, when it was, and when the device had been heard last."""

    device: str
    step: Step
    at: datetime
    seen_at: datetime | None = None


def record_steps(unit: Unit, moves: Sequence[Moved | tuple[str, Step, datetime]]) -> None:
    """Write transitions; the scheduler and browsers are told once they are on disk."""
    steps = [Moved(*move) for move in moves]
    if not steps:
        return
    rows = [
        {
            "device_id": moved.device,
            "kind": moved.step.kind,
            "before": moved.step.before,
            "after": moved.step.after,
            "at": moved.at,
            "detail": moved.step.detail,
        }
        for moved in steps
    ]
    insert_many(unit.conn, transitions, rows)
    found: dict[str, dict[str, object]] = {}
    for moved in steps:
        if moved.step.kind == "presence":
            seen_at = moved.seen_at or (moved.at if moved.step.after == "online" else None)
            row = {
                "id": moved.device,
                "presence": moved.step.after,
                "presence_since": moved.at,
                "presence_before": None,
            }
            found[moved.device] = (
                found.get(moved.device, {}) | row | ({"last_seen": seen_at} if seen_at else {})
            )
    for seen in (False, True):
        same = [row for row in found.values() if ("last_seen" in row) is seen]
        update_many(unit.conn, devices, same, keys=("id",), where=_NOT_RETIRED)
    for moved in steps:
        if moved.step.kind == "presence":
            at = moved.at.isoformat()
            unit.tell("devices", id=moved.device, presence=moved.step.after, presence_since=at)
    unit.tell("transitions", count=len(steps))


_NOT_RETIRED = devices.c.service != "retired"


_BEFORE_IT_WAS_UNKNOWN = sa.case(
    (devices.c.presence == "unknown", devices.c.presence_before), else_=devices.c.presence
)


def put_presence(unit: Unit, presence: str, ids: Sequence[str]) -> None:
    """The hub went blind, or finds these devices as they were: no transition of theirs, many rows at once.

    Those that are offline and whose silence was to be judged afresh have one after all.
    """
    if presence == "offline":
        owed = _judged_afresh(unit.conn, ids)
        step = Step("presence", "unknown", "offline", "silent")
        record_steps(unit, [Moved(device, step, unit.now) for device in ids if device in owed])
        ids = [device for device in ids if device not in owed]
    rows = [{"id": device, "presence": presence, "presence_since": unit.now} for device in ids]
    before = _BEFORE_IT_WAS_UNKNOWN if presence == "unknown" else sa.null()
    update_many(unit.conn, devices, rows, keys=("id",), where=_NOT_RETIRED, also={"presence_before": before})
    since = unit.now.isoformat()
    for device in ids:
        unit.tell("devices", id=device, presence=presence, presence_since=since)


def judge_afresh(unit: Unit, ids: Iterable[str]) -> None:
    """Of these devices, those that are unknown because the hub was blind: if they turn out to be silent that is news, also where they
    were silent before. What was decided for them meanwhile (a window's end, an outage's, their service) could not ask them."""
    every = sorted(ids)
    for start in range(0, len(every), IN_CLAUSE):
        here = devices.c.id.in_(every[start : start + IN_CLAUSE]) & (devices.c.presence == "unknown")
        unit.conn.execute(devices.update().where(here).values(presence_before=None))


def _judged_afresh(conn: Connection, ids: Sequence[str]) -> set[str]:
    """Those that the store says nothing of how they were before the hub was blind."""
    found: set[str] = set()
    owed = sa.select(devices.c.id).where(
        devices.c.presence == "unknown", devices.c.presence_before.is_(None), _NOT_RETIRED
    )
    for start in range(0, len(ids), IN_CLAUSE):
        found |= set(conn.scalars(owed.where(devices.c.id.in_(ids[start : start + IN_CLAUSE]))))
    return found


def open_spells(unit: Unit, spells: Mapping[int, datetime]) -> None:
    """The hub is blind to partitions: {partition: since}. A spell that is open already goes on."""
    still = set(unit.conn.scalars(sa.select(blind_spells.c.partition).where(blind_spells.c.until.is_(None))))
    rows = [
        {"partition": partition, "since": since}
        for partition, since in spells.items()
        if partition not in still
    ]
    if rows:
        unit.conn.execute(blind_spells.insert(), rows)


def close_spells(unit: Unit, partitions: Sequence[int], until: datetime) -> None:
    """Every device of these partitions has been judged again."""
    here = blind_spells.c.partition.in_(partitions) & blind_spells.c.until.is_(None)
    unit.conn.execute(blind_spells.update().where(here).values(until=until))


def alarm(unit: Unit, kind: str, device: str, detail: str) -> None:
    """Identity found something wrong with a registered device: a transition that the scheduler makes an incident of."""
    if unit.conn.scalar(sa.select(devices.c.id).where(devices.c.id == device)) is not None:
        record_steps(unit, [Moved(device, Step(kind, "quiet", "alarm", detail), unit.now)])
