"""Log-in and server-side sessions. The cookie holds a secret, the database its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from prahari_hub.access import passwords
from prahari_hub.access.audit import record
from prahari_hub.access.tables import sessions, users
from prahari_hub.errors import Forbidden
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Store, Unit
from prahari_hub.texts import N_

if TYPE_CHECKING:
    from fastapi import Request, Response

IDLE, ABSOLUTE = timedelta(minutes=15), timedelta(hours=8)
FREE_FAILURES = 5
LOCK, LONGEST_LOCK = timedelta(seconds=30), timedelta(minutes=15)
REFUSED = N_("The name or the password is wrong; after several wrong ones wait up to 15 minutes.")
"""The same for a name that does not exist, and for an account that waits: nobody learns which names there are."""


class LogInRefused(Forbidden):
    """Wrong name or password, a locked or disabled account, a spent link."""


@dataclass(frozen=True)
class SignedIn:
    """A new session: ``secret`` goes into the cookie and nowhere else."""

    secret: str
    csrf: str
    user: str
    role: Role


@dataclass(frozen=True)
class Session:
    user: str
    role: Role
    locale: str
    csrf: str
    seen_at: datetime


def fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def cookie_name(*, secure: bool) -> str:
    return "__Host-prahari_session" if secure else "prahari_session"


def set_cookie(response: Response, secret: str, *, secure: bool) -> None:
    """The session cookie; it lives as long as the browser, the server decides when it ends."""
    response.set_cookie(
        cookie_name(secure=secure), secret, httponly=True, samesite="lax", secure=secure, path="/"
    )


def clear_cookie(response: Response, *, secure: bool) -> None:
    response.delete_cookie(cookie_name(secure=secure), httponly=True, samesite="lax", secure=secure, path="/")


def secret_of(request: Request, *, secure: bool) -> str | None:
    return request.cookies.get(cookie_name(secure=secure))


async def log_in(store: Store, name: str, password: str, *, old_secret: str | None = None) -> SignedIn:
    """Sign in with a password or raise LogInRefused. ``old_secret`` is the session that the browser had: it ends.

    The hash is computed outside the writer. From the fifth failure on, the account waits, twice as long each time.
    """
    account = await store.read(
        lambda conn: conn.execute(sa.select(users).where(users.c.name == name[:64])).one_or_none()
    )
    locked = account is not None and _is_locked(account, store.clock())
    stored = None if account is None or account.disabled or locked else account.password_hash
    right = await passwords.matches_soon(stored, password)
    if account is None or locked:
        raise LogInRefused(REFUSED)
    if not right:
        await store.write(lambda unit: _failed(unit, account.id, name))
        raise LogInRefused(REFUSED)
    return await store.write(lambda unit: _passed(unit, account.id, old_secret))


def _failed(unit: Unit, user_id: str, name: str) -> None:
    query = sa.select(users.c.failures).where(users.c.id == user_id)
    failures = unit.conn.execute(query).scalar_one() + 1
    values = {"failures": failures}
    if failures >= FREE_FAILURES:
        wait = min(LOCK * 2 ** min(failures - FREE_FAILURES, 10), LONGEST_LOCK)
        values["locked_until"] = unit.now + wait
    unit.conn.execute(users.update().where(users.c.id == user_id).values(**values))
    record(unit, Actor(name, Role.AUDITOR), "session.refused", f"user:{name}", detail={"failures": failures})


def _passed(unit: Unit, user_id: str, old_secret: str | None) -> SignedIn:
    row = unit.conn.execute(sa.select(users).where(users.c.id == user_id)).one()
    if _is_locked(row, unit.now):
        raise LogInRefused(REFUSED)
    unit.conn.execute(users.update().where(users.c.id == user_id).values(failures=0, locked_until=None))
    if old_secret:
        unit.conn.execute(sessions.delete().where(sessions.c.hash == fingerprint(old_secret)))
    return open_session(unit, row.name)


def _is_locked(account: Row[Any], now: datetime) -> bool:
    return account.locked_until is not None and account.locked_until > now


def open_session(unit: Unit, name: str) -> SignedIn:
    """A new session of an account that is not disabled; spent sessions are swept on the way."""
    query = sa.select(users.c.id, users.c.role).where(users.c.name == name, users.c.disabled.is_(False))
    row = unit.conn.execute(query).one_or_none()
    if row is None:
        raise LogInRefused(N_("This account is disabled; ask an admin."))
    sweep(unit)
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    unit.conn.execute(
        sessions.insert().values(
            hash=fingerprint(secret),
            user_id=row.id,
            csrf=csrf,
            created_at=unit.now,
            seen_at=unit.now,
            expires_at=unit.now + ABSOLUTE,
        )
    )
    role = Role(row.role)
    record(unit, Actor(name, role), "session.open", f"user:{name}")
    return SignedIn(secret, csrf, name, role)


def sweep(unit: Unit) -> None:
    spent = sa.or_(sessions.c.expires_at <= unit.now, sessions.c.seen_at <= unit.now - IDLE)
    unit.conn.execute(sessions.delete().where(spent))


def end_all(unit: Unit) -> None:
    """Everybody signs in anew."""
    unit.conn.execute(sessions.delete())


def find(conn: Connection, secret: str, now: datetime) -> Session | None:
    """The live session behind a cookie: neither idle too long, nor too old, nor of a disabled account."""
    query = (
        sa.select(users.c.name, users.c.role, users.c.locale, sessions.c.csrf, sessions.c.seen_at)
        .join(users, users.c.id == sessions.c.user_id)
        .where(
            sessions.c.hash == fingerprint(secret),
            sessions.c.expires_at > now,
            sessions.c.seen_at > now - IDLE,
            users.c.disabled.is_(False),
        )
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else Session(row.name, Role(row.role), row.locale, row.csrf, row.seen_at)


def touch(unit: Unit, secret: str) -> None:
    """Note that the session is in use."""
    unit.conn.execute(
        sessions.update().where(sessions.c.hash == fingerprint(secret)).values(seen_at=unit.now)
    )


def log_out(unit: Unit, secret: str) -> None:
    found = find(unit.conn, secret, unit.now)
    unit.conn.execute(sessions.delete().where(sessions.c.hash == fingerprint(secret)))
    if found is not None:
        record(unit, Actor(found.user, found.role), "session.close", f"user:{found.user}")
