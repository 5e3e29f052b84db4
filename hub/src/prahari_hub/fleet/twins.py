"""Twins: what the hub wants of a device, by version, and what the device made of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Refused, validate
from prahari_wire.ids import ulid
from prahari_wire.topics import Down
from prahari_wire.twin import (
    DOCUMENT_LIMIT,
    INLINE_LIMIT,
    Desired,
    TwinDown,
    TwinOutcome,
    TwinReport,
    document_bytes,
)
from sqlalchemy import Connection, Row

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.outgoing import SANE_GAP, Outgoing, back_off_s, make_each, reachable
from prahari_hub.fleet.served import of_document, serve
from prahari_hub.fleet.tables import devices, peripherals, twin_history, twins
from prahari_hub.http.actor import Actor, system
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert
from prahari_hub.texts import N_, Checked

FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Twin:
    """``version`` 0 is the empty document that every device begins with."""

    device: str
    version: int
    desired: Desired
    updated_at: datetime | None = None
    updated_by: str | None = None
    reported_version: int | None = None
    applied_version: int | None = None
    outcome: str | None = None
    errors: tuple[dict[str, str], ...] = ()
    reported_at: datetime | None = None

    @property
    def in_sync(self) -> bool:
        """Whether the device runs what the hub wants."""
        return self.version == (self.applied_version or 0)


def parse_desired(value: object) -> Desired:
    """A desired document from JSON; Invalid names the field and what was expected."""
    try:
        desired = validate(Desired, value)
    except Refused as error:
        path, _, expected = error.detail.partition(": ")
        raise Invalid(
            N_("the desired document is not accepted: {detail}"),
            (path, expected),
            detail=Checked(error.detail),
        ) from None
    check(desired)
    return desired


def check(desired: Desired) -> None:
    """Invalid for a document that no device could be given."""
    size = len(document_bytes(desired))
    if size > DOCUMENT_LIMIT:
        raise Invalid(
            N_("the document has {size} bytes, at most {most} are accepted"),
            ("body", f"at most {DOCUMENT_LIMIT} bytes"),
            size=size,
            most=DOCUMENT_LIMIT,
        )


def get(conn: Connection, device: str) -> Twin:
    """NotFound if there is no such device."""
    known = conn.scalar(sa.select(devices.c.id).where(devices.c.id == device))
    if known is None:
        raise NotFound(N_("there is no device {device}"), device=device)
    row = conn.execute(sa.select(twins).where(twins.c.device_id == device)).first()
    if row is None:
        return Twin(device, 0, Desired())
    return Twin(
        device,
        row.version,
        validate(Desired, row.document),
        row.updated_at,
        row.updated_by,
        row.reported_version,
        row.applied_version,
        row.reported_outcome,
        tuple(row.reported_errors or ()),
        row.reported_at,
    )


def put(unit: Unit, actor: Actor, device: str, desired: Desired, *, if_version: int) -> Twin:
    """Write the next version; Conflict if ``if_version`` is not the present one."""
    check(desired)
    present = get(unit.conn, device)
    if present.version != if_version:
        raise Conflict(
            N_(
                "the twin of {device} is at version {version}, not {if_version}: read it again, repeat your change on it and write that"
            ),
            device=device,
            version=present.version,
            if_version=if_version,
        )
    _store(unit, actor, device, desired, present.version + 1)
    _name_peripherals(unit, device, desired)
    return get(unit.conn, device)


def _store(unit: Unit, actor: Actor, device: str, desired: Desired, version: int) -> None:
    """Make ``desired`` the device's document of this version, to be sent now."""
    row = _row(unit, actor, device, desired, version) | {"next_send_at": unit.now}
    upsert(unit.conn, twins, row, keys=("device_id",))
    unit.conn.execute(
        twin_history.insert().values(
            device_id=device, version=version, document=row["document"], at=unit.now, by=actor.name
        )
    )
    record(unit, actor, "twin.put", f"device:{device}", detail={"version": version, "sha256": row["sha256"]})
    unit.tell("devices", id=device, twin_version=version)
    unit.tell("downlinks", id=device)


def _row(unit: Unit, actor: Actor, device: str, desired: Desired, version: int) -> dict[str, Any]:
    return {
        "device_id": device,
        "version": version,
        "sha256": hashlib.sha256(document_bytes(desired)).hexdigest(),
        "document": desired.model_dump(mode="json", by_alias=True),
        "updated_at": unit.now,
        "updated_by": actor.name,
        "sent": 0,
    }


def _name_peripherals(unit: Unit, device: str, desired: Desired) -> None:
    for peripheral, config in desired.peripherals.items():
        where = (peripherals.c.device_id == device) & (peripherals.c.id == peripheral)
        unit.conn.execute(peripherals.update().where(where).values(name=config.name))


def documents(conn: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The desired documents of those of many devices that have one."""
    query = sa.select(twins.c.device_id, twins.c.document).where(twins.c.device_id.in_(ids))
    return {row.device_id: row.document for row in conn.execute(query)}


def names_in(document: Mapping[str, Any] | None) -> dict[str, str | None]:
    """{peripheral: its name} as a desired document has them."""
    configs: dict[str, dict[str, Any]] = (document or {}).get("peripherals", {})
    return {peripheral: config.get("name") for peripheral, config in configs.items()}


def history(
    conn: Connection, device: str, *, limit: int = 50, before: int | None = None
) -> list[dict[str, Any]]:
    """Newest first: version, document, at, by; only versions below ``before``."""
    query = (
        sa.select(twin_history.c.version, twin_history.c.document, twin_history.c.at, twin_history.c.by)
        .where(
            twin_history.c.device_id == device,
            sa.true() if before is None else twin_history.c.version < before,
        )
        .order_by(twin_history.c.version.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in conn.execute(query)]


def document(conn: Connection, device: str, version: int) -> bytes:
    """The canonical bytes of one version, as a device fetches them."""
    where = (twin_history.c.device_id == device) & (twin_history.c.version == version)
    found = conn.scalar(sa.select(twin_history.c.document).where(where))
    if found is None:
        raise NotFound(N_("{device} has no twin of version {version}"), device=device, version=version)
    return document_bytes(validate(Desired, found))


def reported(unit: Unit, fact: Fact) -> None:
    """twin.report: what the device made of a version. A report on an older version than the last one changes nothing.

    A version above the hub's was given out before the hub was restored from a backup: the hub's document becomes the next one.
    """
    body = fact.body
    assert isinstance(body, TwinReport)
    row = _known(unit, fact.device, body.version)
    if row is None or body.version < (row.reported_version or 0):
        return
    if body.version > row.version + SANE_GAP:
        log.warning(
            "%s reports the twin version %d, %d is the newest: ignored",
            fact.device,
            body.version,
            row.version,
        )
        return
    values: dict[str, Any] = {
        "reported_version": body.version,
        "applied_version": body.applied_version,
        "reported_outcome": str(body.outcome),
        "reported_errors": [error.model_dump(mode="json") for error in body.errors],
        "reported_at": unit.now,
    }
    if body.outcome is TwinOutcome.APPLIED and body.applied_version is None:
        values["applied_version"] = body.version
    if body.version >= row.version:
        values["next_send_at"] = None
    if values["applied_version"] == row.version:
        serve(unit, fact.device, of_document(row.document))
    unit.conn.execute(twins.update().where(twins.c.device_id == fact.device).values(values))
    _note_heartbeat(unit, fact.device, values["applied_version"])
    unit.tell("devices", id=fact.device, twin_applied=values["applied_version"])
    if 0 < row.version < body.version:
        _store(unit, system("twins"), fact.device, validate(Desired, row.document), body.version + 1)


def _known(unit: Unit, device: str, version: int | None) -> Row[Any] | None:
    """The device's row. One that runs a version of which the hub knows nothing gets a row of version 0, out of sync: nobody
    takes a device's configuration away but a person who writes another.
    """
    query = sa.select(twins).where(twins.c.device_id == device)
    row = unit.conn.execute(query).first()
    if row is None and version:
        unit.conn.execute(twins.insert().values(_row(unit, system("twins"), device, Desired(), 0)))
        row = unit.conn.execute(query).first()
    return row


def on_birth(unit: Unit, device: str, applied_version: int | None) -> None:
    """The device said what it runs: send the present version unless it is that one."""
    row = _known(unit, device, applied_version)
    if row is None:
        return
    behind = row.version not in (0, applied_version)
    unit.conn.execute(
        twins.update()
        .where(twins.c.device_id == device)
        .values(applied_version=applied_version, sent=0, next_send_at=unit.now if behind else None)
    )
    _note_heartbeat(unit, device, applied_version)
    if behind:
        unit.tell("downlinks", id=device)


def _note_heartbeat(unit: Unit, device: str, version: int | None) -> None:
    """Presence is judged by the heartbeat of the document that the device really runs."""
    if version is None:
        return
    where = (twin_history.c.device_id == device) & (twin_history.c.version == version)
    applied = unit.conn.scalar(sa.select(twin_history.c.document).where(where))
    if applied is not None:
        beat = applied.get("heartbeat_s")
        unit.conn.execute(devices.update().where(devices.c.id == device).values(heartbeat_s=beat))


def take_due(unit: Unit, *, limit: int = 100) -> list[Outgoing]:
    """Twins to send now; each is due again after a back-off until the device reports on its version."""
    query = (
        sa.select(twins.c.device_id, twins.c.version, twins.c.sha256, twins.c.document, twins.c.sent)
        .join(devices, devices.c.id == twins.c.device_id)
        .where(twins.c.next_send_at <= unit.now, reachable())
        .order_by(twins.c.next_send_at)
        .limit(limit)
    )
    found = []
    for row, message in make_each(unit, unit.conn.execute(query).all(), _message, _of):
        wait = timedelta(seconds=back_off_s(row.sent, FIRST_WAIT_S, LONGEST_WAIT_S))
        unit.conn.execute(_of(row).values(sent=row.sent + 1, next_send_at=unit.now + wait))
        found.append(Outgoing(row.device_id, Down.TWIN, message))
    return found


def _message(row: Row[Any]) -> TwinDown:
    desired = validate(Desired, row.document)
    inline = len(document_bytes(desired)) <= INLINE_LIMIT
    return TwinDown(id=ulid(), version=row.version, sha256=row.sha256, document=desired if inline else None)


def _of(row: Row[Any]) -> sa.Update:
    return twins.update().where(twins.c.device_id == row.device_id)
