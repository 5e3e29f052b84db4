"""Certificates in the store: issued, connected, superseded, revoked. Functions of a Unit or a Connection."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from prahari_hub.identity.admission import ALLOWED, Serials, Standing
from prahari_hub.identity.ca import Authority, serial_text, spki_sha256
from prahari_hub.identity.requests import BadRequest
from prahari_hub.identity.tables import certificates
from prahari_hub.store import Unit


def issue(
    unit: Unit, authority: Authority, device: str, key: ec.EllipticCurvePublicKey, *, keep: str | None = None
) -> x509.Certificate:
    """A new ``next`` certificate; it supersedes those that never connected, but for ``keep``, which the device uses now."""
    pubkey = spki_sha256(key)
    check_key(unit.conn, device, pubkey)
    made = authority.device_certificate(device, key, now=unit.now)
    waiting = sa.and_(
        certificates.c.device_id == device,
        certificates.c.state == Standing.NEXT,
        certificates.c.serial != (keep or ""),
    )
    unit.conn.execute(certificates.update().where(waiting).values(state=Standing.SUPERSEDED))
    unit.conn.execute(
        certificates.insert().values(
            serial=serial_text(made),
            device_id=device,
            pubkey_sha256=pubkey,
            state=Standing.NEXT,
            not_before=made.not_valid_before_utc,
            not_after=made.not_valid_after_utc,
            issued_at=unit.now,
            pem=made.public_bytes(Encoding.PEM).decode(),
        )
    )
    return made


def check_key(conn: Connection, device: str, pubkey_sha256: str) -> None:
    """BadRequest if another device has this key (a copied card) or a certificate over it was revoked."""
    rows = conn.execute(sa.select(certificates).where(certificates.c.pubkey_sha256 == pubkey_sha256)).all()
    if any(row.device_id != device for row in rows):
        raise BadRequest(
            "this key already belongs to another device (a copied card?); make a new key on this device"
        )
    if any(row.state == Standing.REVOKED for row in rows):
        raise BadRequest("a certificate over this key was revoked; make a new key on this device")


def reissued(
    conn: Connection, device: str, pubkey_sha256: str, now: datetime, *, other_than: str
) -> x509.Certificate | None:
    """The certificate that this key was given last and that has not connected yet: the answer to a repeated request.

    ``other_than`` is the serial that the device asks with.
    """
    query = sa.select(certificates.c.pem).where(
        certificates.c.device_id == device,
        certificates.c.pubkey_sha256 == pubkey_sha256,
        certificates.c.state == Standing.NEXT,
        certificates.c.not_after > now,
        certificates.c.serial != other_than,
    )
    text = conn.execute(query.order_by(certificates.c.issued_at.desc()).limit(1)).scalar_one_or_none()
    return x509.load_pem_x509_certificate(text.encode()) if text else None


def by_serial(conn: Connection, serial: str) -> Any:
    """The row, or None."""
    return conn.execute(sa.select(certificates).where(certificates.c.serial == serial)).one_or_none()


def connected(unit: Unit, device: str, serial: str) -> bool:
    """A ``next`` certificate has connected: it is current now, those before it are superseded. False if it was not ``next``."""
    row = by_serial(unit.conn, serial)
    if row is None or row.device_id != device or row.state != Standing.NEXT:
        return False
    before = sa.and_(
        certificates.c.device_id == device,
        certificates.c.serial != serial,
        sa.or_(
            certificates.c.state == Standing.CURRENT,
            sa.and_(certificates.c.state == Standing.NEXT, certificates.c.issued_at < row.issued_at),
        ),
    )
    unit.conn.execute(certificates.update().where(before).values(state=Standing.SUPERSEDED))
    unit.conn.execute(
        certificates.update().where(certificates.c.serial == serial).values(state=Standing.CURRENT)
    )
    return True


def revoke_all(unit: Unit, device: str, reason: str) -> int:
    """Revoke every certificate of a device that could still be used; how many there were."""
    which = sa.and_(certificates.c.device_id == device, certificates.c.state != Standing.REVOKED)
    open_ones = unit.conn.execute(
        sa.select(sa.func.count()).where(which, certificates.c.state.in_(ALLOWED))
    ).scalar_one()
    values = {"state": Standing.REVOKED, "revoked_at": unit.now, "reason": reason}
    unit.conn.execute(certificates.update().where(which).values(**values))
    return int(open_ones)


def allowed(conn: Connection, device: str) -> Serials:
    """The serials with which this device may come in."""
    return allowed_of_all(conn, certificates.c.device_id == device).get(device, {})


def allowed_of_all(conn: Connection, *conditions: sa.ColumnElement[bool]) -> dict[str, Serials]:
    """Of every device. Whether a certificate has ended is judged in each handshake and by the end of what the callout allows,
    never here: read while the hub's clock is wrong, a table without the ended ones would keep devices out after it is right.
    """
    query = sa.select(certificates.c.device_id, certificates.c.serial, certificates.c.state).where(
        certificates.c.state.in_(ALLOWED), *conditions
    )
    found: dict[str, Serials] = {}
    for device, serial, state in conn.execute(query):
        found.setdefault(device, {})[serial] = Standing(state)
    return found


def history(conn: Connection, device: str) -> list[Any]:
    """Every certificate of a device, the newest first."""
    query = sa.select(certificates).where(certificates.c.device_id == device)
    return list(conn.execute(query.order_by(certificates.c.issued_at.desc())))


class Horizon(NamedTuple):
    """Of the newest certificate of each device: expired, ending within the given time, all; and the first end to come."""

    expired: int
    soon: int
    devices: int
    next_end: datetime | None


def horizon(conn: Connection, now: datetime, within: timedelta) -> Horizon:
    """Devices whose certificates end; revoked ones and those of retired devices' past do not count."""
    ends = (
        sa.select(sa.func.max(certificates.c.not_after).label("end"))
        .where(certificates.c.state.in_(ALLOWED))
        .group_by(certificates.c.device_id)
        .subquery()
    )
    end: sa.Column[datetime] = sa.type_coerce(ends.c.end, certificates.c.not_after.type)  # type: ignore[assignment]

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    row = conn.execute(
        sa.select(
            count(end <= now),
            count(sa.and_(end > now, end <= now + within)),
            sa.func.count(),
            sa.type_coerce(sa.func.min(sa.case((end > now, end))), certificates.c.not_after.type),
        ).select_from(ends)
    ).one()
    return Horizon(int(row[0]), int(row[1]), int(row[2]), row[3])
