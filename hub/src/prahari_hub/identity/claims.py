"""Claims: the one-time right to an identity for one device. Functions of a Unit (they write) or a Connection (they read)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from prahari_wire.topics import is_device_id
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.http.actor import Actor, system
from prahari_hub.identity.tables import claims
from prahari_hub.identity.tokens import ClaimToken, fingerprint, new_token, read_token
from prahari_hub.store import Unit
from prahari_hub.texts import N_

MAX_FAILURES = 10
RETRY = timedelta(minutes=15)
"""So long the same key gets the same certificate again, for a reply that was lost on a bad line."""
MIN_TTL, MAX_TTL = timedelta(minutes=1), timedelta(days=30)


class Purpose(StrEnum):
    """Why a claim is made; it decides how long it lives unless told otherwise."""

    BENCH = "bench"
    REPLACE = "replace"
    PHONE = "phone"


TTL = {
    Purpose.BENCH: timedelta(days=7),
    Purpose.REPLACE: timedelta(hours=24),
    Purpose.PHONE: timedelta(minutes=15),
}


class ClaimState(StrEnum):
    """``bound``: a key has taken it, its certificate has not connected yet."""

    ISSUED = "issued"
    BOUND = "bound"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    LOCKED = "locked"


@dataclass(frozen=True)
class Claim:
    id: str
    device: str
    state: ClaimState
    purpose: Purpose
    failures: int
    serial: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Bound:
    """The claim was good. ``serial`` names the certificate that its key was given before, if any."""

    claim: str
    purpose: Purpose
    serial: str | None


def issue(
    unit: Unit,
    actor: Actor,
    device: str,
    *,
    pepper: bytes,
    purpose: Purpose = Purpose.BENCH,
    ttl: timedelta | None = None,
) -> tuple[Claim, ClaimToken]:
    """A new claim and its token, which is shown this once."""
    if not is_device_id(device):
        raise Invalid(
            N_("A device id is 3 to 32 of a-z, 0-9 and '-', and does not begin with '-'."),
            ("device", "for example pune-cam-01"),
        )
    life = TTL[purpose] if ttl is None else ttl
    if not MIN_TTL <= life <= MAX_TTL:
        raise Invalid(N_("A claim lives between a minute and 30 days."), ("ttl_s", "60 to 2592000"))
    token = new_token()
    row = {
        "id": token.id,
        "secret_hmac": fingerprint(pepper, token.secret),
        "device_id": device,
        "state": ClaimState.ISSUED,
        "purpose": purpose,
        "failures": 0,
        "created_by": actor.name,
        "created_at": unit.now,
        "expires_at": unit.now + life,
    }
    unit.conn.execute(claims.insert().values(**row))
    record(
        unit, actor, "claim.issue", f"device:{device}", detail={"claim": token.id, "purpose": str(purpose)}
    )
    return get(unit.conn, token.id, unit.now), token


Alarm = Callable[[Unit, str, str, str], None]
"""(unit, kind, device, detail): something that an operator must look at, told in the same transaction."""


def no_alarm(_unit: Unit, _kind: str, _device: str, _detail: str) -> None:
    """Where nobody listens the audit log alone has it."""


def take(
    unit: Unit, device: str, text: str, pubkey_sha256: str, *, pepper: bytes, alarm: Alarm = no_alarm
) -> Bound | None:
    """Bind the claim to this key, in one conditional UPDATE; None (one answer for every cause) if that may not be.

    The caller commits also on None: failures are counted, and the tenth locks the claim.
    """
    token = read_token(text)
    row = _row(unit.conn, token.id) if token else None
    expected = row.secret_hmac if row else "0" * 64
    right = hmac.compare_digest(fingerprint(pepper, token.secret if token else ""), expected)
    if row is None or row.state in (ClaimState.REVOKED, ClaimState.LOCKED):
        return None
    if not right or row.device_id != device:
        _count_failure(unit, row, device)
        return None
    bind = claims.update().where(
        claims.c.id == row.id, claims.c.state == ClaimState.ISSUED, claims.c.expires_at > unit.now
    )
    values = {"state": ClaimState.BOUND, "pubkey_sha256": pubkey_sha256, "bound_at": unit.now}
    if unit.conn.execute(bind.values(**values)).rowcount == 1:
        return Bound(row.id, Purpose(row.purpose), None)
    return _again(unit, row.id, device, pubkey_sha256, alarm)


def _again(unit: Unit, claim: str, device: str, pubkey_sha256: str, alarm: Alarm) -> Bound | None:
    """A claim that is no longer free: the same key soon after gets its certificate again, another key raises an alarm."""
    row = _row(unit.conn, claim)
    if row.state == ClaimState.ISSUED:
        unit.conn.execute(claims.update().where(claims.c.id == claim).values(state=ClaimState.EXPIRED))
    if row.pubkey_sha256 is None:
        return None
    if row.pubkey_sha256 != pubkey_sha256:
        record(unit, system("identity"), "claim.second_key", f"device:{device}", detail={"claim": claim})
        alarm(unit, "claim.second_key", device, f"claim {claim}")
        return None
    return Bound(claim, Purpose(row.purpose), row.serial) if unit.now - row.bound_at <= RETRY else None


def bound_to(unit: Unit, claim: str, serial: str) -> None:
    """Note which certificate the claim's key was given."""
    unit.conn.execute(claims.update().where(claims.c.id == claim).values(serial=serial))


def used(unit: Unit, serial: str) -> None:
    """The certificate has connected."""
    which = sa.and_(claims.c.serial == serial, claims.c.state == ClaimState.BOUND)
    unit.conn.execute(claims.update().where(which).values(state=ClaimState.USED))


def revoke(unit: Unit, actor: Actor, claim: str) -> Claim:
    """Void a claim that nobody has used; Conflict if a key has taken it."""
    found = get(unit.conn, claim, unit.now)
    if found.state in (ClaimState.BOUND, ClaimState.USED):
        raise Conflict(
            N_("The claim {claim} has been used; revoke the device {device} instead."),
            claim=claim,
            device=found.device,
        )
    unit.conn.execute(claims.update().where(claims.c.id == claim).values(state=ClaimState.REVOKED))
    record(unit, actor, "claim.revoke", f"device:{found.device}", detail={"claim": claim})
    return get(unit.conn, claim, unit.now)


def revoke_open(unit: Unit, device: str) -> None:
    """Void every claim of a device that nobody has used."""
    which = sa.and_(claims.c.device_id == device, claims.c.state == ClaimState.ISSUED)
    unit.conn.execute(claims.update().where(which).values(state=ClaimState.REVOKED))


def get(conn: Connection, claim: str, now: datetime) -> Claim:
    row = _row(conn, claim)
    if row is None:
        raise NotFound(N_("There is no claim {claim}."), claim=claim[:40])
    return _claim(row, now)


def listed(
    conn: Connection,
    now: datetime,
    *,
    device: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Claim]:
    """The newest first; ``before`` is (created_at, id) of the last one of the page before."""
    query = sa.select(claims).order_by(claims.c.created_at.desc(), claims.c.id.desc()).limit(limit)
    if device is not None:
        query = query.where(claims.c.device_id == device)
    if before is not None:
        at, claim = before
        query = query.where(
            sa.or_(claims.c.created_at < at, sa.and_(claims.c.created_at == at, claims.c.id < claim))
        )
    return [_claim(row, now) for row in conn.execute(query)]


def _claim(row: Any, now: datetime) -> Claim:
    state = ClaimState(row.state)
    if state is ClaimState.ISSUED and row.expires_at <= now:
        state = ClaimState.EXPIRED
    return Claim(
        row.id,
        row.device_id,
        state,
        Purpose(row.purpose),
        row.failures,
        row.serial,
        row.created_by,
        row.created_at,
        row.expires_at,
    )


def _row(conn: Connection, claim: str) -> Any:
    return conn.execute(sa.select(claims).where(claims.c.id == claim)).one_or_none()


def _count_failure(unit: Unit, row: Any, device: str) -> None:
    failures = row.failures + 1
    values: dict[str, Any] = {"failures": failures}
    if failures >= MAX_FAILURES and row.state == ClaimState.ISSUED:
        values["state"] = ClaimState.LOCKED
        record(
            unit,
            system("identity"),
            "claim.lock",
            f"device:{row.device_id}",
            detail={"claim": row.id, "asked": device[:40]},
        )
    unit.conn.execute(claims.update().where(claims.c.id == row.id).values(**values))
