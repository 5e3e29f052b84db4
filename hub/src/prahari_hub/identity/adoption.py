"""Certificates that this hub issued after the backup from which it was restored: it does not know them, and knows its own signature.

Devices renew by themselves, so that after the restore of a day-old backup one device in sixty shows such a certificate. Whoever could show
one that the hub did not issue could have signed anything, so it is taken in, once, with a row in the audit log; but never for a
device that was revoked before the backup, and never beyond the time that the backup misses.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from prahari_hub.access import audit
from prahari_hub.broker.callout import Peer
from prahari_hub.http.actor import system
from prahari_hub.identity.admission import ALLOWED, Standing
from prahari_hub.identity.ca import BACKDATED, spki_sha256
from prahari_hub.identity.certificates import check_key
from prahari_hub.identity.requests import BadRequest
from prahari_hub.identity.tables import certificates
from prahari_hub.store import Unit

RESTORED = "hub.restore"
"""The action in the audit log; its detail says of when the backup was."""
SLACK = timedelta(minutes=5)
"""The clock of the hub before and of the one after the restore may differ by so much."""


class Missed(NamedTuple):
    """What the backup does not know: the time from it to the restore."""

    since: datetime
    until: datetime


def missed(conn: Connection) -> Missed | None:
    """Of the last restore; None for a hub that was never restored."""
    found = audit.page(conn, audit.Filter(action=RESTORED), limit=1).items
    return Missed(datetime.fromisoformat(found[0].detail["backup"]), found[0].at) if found else None


def adopt(unit: Unit, peer: Peer, gap: Missed) -> bool:
    """Take in a certificate that was issued in the gap, as ``next``; False where it is none or its device may not come in."""
    shown = peer.certificate
    if shown is None or not _issued_in(shown, gap) or not _stood_well(unit.conn, peer.device):
        return False
    pubkey = spki_sha256(shown.public_key())
    try:
        check_key(unit.conn, peer.device, pubkey)
    except BadRequest:
        return False
    unit.conn.execute(
        certificates.insert().values(
            serial=peer.serial,
            device_id=peer.device,
            pubkey_sha256=pubkey,
            state=Standing.NEXT,
            not_before=shown.not_valid_before_utc,
            not_after=shown.not_valid_after_utc,
            issued_at=_issued_at(shown),
            pem=shown.public_bytes(Encoding.PEM).decode(),
        )
    )
    detail = {"serial": peer.serial, "issued": _issued_at(shown).isoformat()}
    why = "issued after the backup that was restored"
    audit.record(unit, system("identity"), "device.adopt", f"device:{peer.device}", reason=why, detail=detail)
    return True


def _issued_at(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc + BACKDATED


def _issued_in(certificate: x509.Certificate, gap: Missed) -> bool:
    return gap.since - SLACK <= _issued_at(certificate) <= gap.until + SLACK


def _stood_well(conn: Connection, device: str) -> bool:
    """Whether the backup knows the device with a certificate that was good, and none that was revoked."""
    states = set(conn.scalars(sa.select(certificates.c.state).where(certificates.c.device_id == device)))
    return bool(states & set(ALLOWED)) and Standing.REVOKED not in states
