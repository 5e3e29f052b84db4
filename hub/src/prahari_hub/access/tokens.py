"""API tokens ``prt_<id>_<secret>``: hashed, with a role, scopes and an expiry; shown once."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from prahari_wire.ids import ulid
from sqlalchemy import Connection

from prahari_hub.access.audit import record
from prahari_hub.access.sessions import fingerprint
from prahari_hub.access.tables import tokens
from prahari_hub.errors import Invalid, NotFound
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Unit
from prahari_hub.texts import N_

Scope = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = ("read", "write")
LONGEST = timedelta(days=366)
USED_EVERY = timedelta(minutes=1)
_FORM = re.compile(r"prt_([0-9A-HJKMNP-TV-Z]{26})_([0-9a-f]{48})")
_COLUMNS = [column for column in tokens.c if column.name != "secret_hash"]


@dataclass(frozen=True)
class Token:
    """A token without its secret."""

    id: str
    name: str
    role: Role
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def _token(row: Any) -> Token:
    return Token(**(row._asdict() | {"role": Role(row.role)}))


def create(
    unit: Unit,
    actor: Actor,
    name: str,
    *,
    role: Role,
    scopes: Sequence[str] = SCOPES,
    life: timedelta = timedelta(days=90),
) -> tuple[Token, str]:
    """The token and its text, which cannot be shown again."""
    if not name.strip() or len(name) > 60:
        raise Invalid(
            N_("A token's name says what it is for, in 1 to 60 characters."), ("name", "1 to 60 characters")
        )
    if not scopes or set(scopes) - set(SCOPES):
        raise Invalid(N_("A token's scopes are read, write or both."), ("scopes", "read and write are known"))
    if not timedelta() < life <= LONGEST:
        raise Invalid(
            N_("A token lives up to {days} days."), ("days", f"1 to {LONGEST.days}"), days=LONGEST.days
        )
    token_id, secret = ulid(), secrets.token_hex(24)
    unit.conn.execute(
        tokens.insert().values(
            id=token_id,
            name=name.strip(),
            secret_hash=fingerprint(secret),
            role=str(role),
            scopes=sorted(set(scopes)),
            created_by=actor.name,
            created_at=unit.now,
            expires_at=unit.now + life,
        )
    )
    detail = {"name": name.strip(), "role": str(role), "scopes": sorted(set(scopes))}
    record(unit, actor, "token.create", f"token:{token_id}", detail=detail)
    return get(unit.conn, token_id), f"prt_{token_id}_{secret}"


def get(conn: Connection, token_id: str) -> Token:
    row = conn.execute(sa.select(*_COLUMNS).where(tokens.c.id == token_id)).one_or_none()
    if row is None:
        raise NotFound(N_("There is no token {token_id!r}."), token_id=token_id[:40])
    return _token(row)


def listed(conn: Connection) -> list[Token]:
    """All that were ever made, newest first."""
    return [_token(row) for row in conn.execute(sa.select(*_COLUMNS).order_by(tokens.c.id.desc()))]


def revoke(unit: Unit, actor: Actor, token_id: str) -> Token:
    """Void at once; revoking twice changes nothing."""
    token = get(unit.conn, token_id)
    if token.revoked_at is None:
        unit.conn.execute(tokens.update().where(tokens.c.id == token_id).values(revoked_at=unit.now))
        record(unit, actor, "token.revoke", f"token:{token_id}", detail={"name": token.name})
    return get(unit.conn, token_id)


def check(conn: Connection, text: str, now: datetime) -> Token | None:
    """The live token behind this text, or None."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    row = conn.execute(sa.select(tokens).where(tokens.c.id == form[1])).one_or_none()
    if row is None or not hmac.compare_digest(row.secret_hash, fingerprint(form[2])):
        return None
    if row.revoked_at is not None or row.expires_at <= now:
        return None
    return get(conn, row.id)


def used(unit: Unit, token_id: str) -> None:
    unit.conn.execute(tokens.update().where(tokens.c.id == token_id).values(last_used_at=unit.now))
