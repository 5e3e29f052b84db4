"""One-time tokens for a browser: the first admin's set-up, and a log-in link for who already holds the machine."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from prahari_hub.access import users as accounts
from prahari_hub.access.audit import record
from prahari_hub.access.sessions import LogInRefused, SignedIn, fingerprint, open_session
from prahari_hub.access.tables import setup_tokens
from prahari_hub.access.users import User
from prahari_hub.errors import Conflict
from prahari_hub.http.actor import Role, system
from prahari_hub.store import Unit
from prahari_hub.texts import N_

SETUP_PATH, LOGIN_PATH = "/setup", "/login/link"
"""Pages that take ``?token=…``."""
SETUP_LIFE, LOGIN_LIFE = timedelta(days=7), timedelta(hours=12)


def make_setup_token(unit: Unit, role: Role = Role.ADMIN) -> str:
    """A token for /setup?token=…; those made before it are void. Conflict if there is an admin already."""
    if accounts.has_admin(unit.conn):
        raise Conflict(N_("There is an admin already; add users with prahari-hub user add."))
    unit.conn.execute(setup_tokens.delete().where(setup_tokens.c.user.is_(None)))
    return _make(unit, role=str(role), user=None, life=SETUP_LIFE)


def redeem_setup(unit: Unit, token: str, name: str, password: str) -> User:
    """Make the account that the token promises; the token is spent only if that succeeds."""
    row = _live(unit, token, login=False)
    if row is None:
        raise LogInRefused(N_("This set-up link is used or expired; run prahari-hub init for a new one."))
    if row.role == Role.ADMIN and accounts.has_admin(unit.conn):
        raise Conflict(N_("There is an admin already; ask that person for an account."))
    user = accounts.add(unit, system("setup"), name, password=password, role=Role(row.role))
    _spend(unit, row)
    return user


def make_login_link(unit: Unit, user: str) -> str:
    """A token for /login/link?token=… that signs ``user`` in once, without a password."""
    found = accounts.get(unit.conn, user)
    record(unit, system("cli"), "session.link", f"user:{found.name}")
    return _make(unit, role=str(found.role), user=found.name, life=LOGIN_LIFE)


def redeem_login(unit: Unit, token: str) -> SignedIn:
    row = _live(unit, token, login=True)
    if row is None:
        raise LogInRefused(N_("This log-in link is used or expired; sign in with your name and password."))
    _spend(unit, row)
    return open_session(unit, row.user)


def sweep(unit: Unit) -> None:
    """Forget tokens that nobody can use any more."""
    spent = sa.or_(setup_tokens.c.used_at.is_not(None), setup_tokens.c.expires_at <= unit.now)
    unit.conn.execute(setup_tokens.delete().where(spent))


def void_all(unit: Unit) -> None:
    """No link that was given out opens anything any more, used or not."""
    unit.conn.execute(setup_tokens.delete())


def _make(unit: Unit, *, role: str, user: str | None, life: timedelta) -> str:
    token = secrets.token_urlsafe(24)
    unit.conn.execute(
        setup_tokens.insert().values(
            hash=fingerprint(token), role=role, user=user, expires_at=unit.now + life
        )
    )
    return token


def _live(unit: Unit, token: str, *, login: bool) -> Any:
    kind = setup_tokens.c.user.is_not(None) if login else setup_tokens.c.user.is_(None)
    query = sa.select(setup_tokens).where(
        setup_tokens.c.hash == fingerprint(token),
        setup_tokens.c.used_at.is_(None),
        setup_tokens.c.expires_at > unit.now,
        kind,
    )
    return unit.conn.execute(query).one_or_none()


def _spend(unit: Unit, row: Any) -> None:
    unit.conn.execute(setup_tokens.update().where(setup_tokens.c.hash == row.hash).values(used_at=unit.now))
