"""Accounts: add, list, disable, change. Every change is audited and ends the sessions that it concerns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from prahari_wire.ids import ulid
from sqlalchemy import Connection

from prahari_hub.access import passwords
from prahari_hub.access.audit import record
from prahari_hub.access.tables import sessions, users
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.http.actor import Actor, Role
from prahari_hub.store import Unit
from prahari_hub.texts import N_

NAME = r"^[a-z][a-z0-9._-]{1,31}$"
LOCALES = ("en", "hi")
NO_PASSWORD = "!"  # noqa: S105 - matches no password
_COLUMNS = [column for column in users.c if column.name != "password_hash"]


@dataclass(frozen=True)
class User:
    """An account without its password hash."""

    id: str
    name: str
    role: Role
    locale: str
    disabled: bool
    failures: int
    locked_until: datetime | None
    created_at: datetime


def _user(row: Any) -> User:
    return User(**(row._asdict() | {"role": Role(row.role)}))


def add(unit: Unit, actor: Actor, name: str, *, password: str | None, role: Role, locale: str = "en") -> User:
    """Make an account; without a password it signs in by link alone. Invalid for a bad name or password, Conflict if taken."""
    if not re.fullmatch(NAME, name):
        raise Invalid(
            N_("A user name has 2 to 32 of a-z, 0-9, '.', '_' and '-', and begins with a letter."),
            ("name", NAME),
        )
    if locale not in LOCALES:
        raise Invalid(
            N_("The language is one of {locales}."), ("locale", "not known"), locales=", ".join(LOCALES)
        )
    if password is not None:
        passwords.check(password, name=name)
    if find(unit.conn, name) is not None:
        raise Conflict(N_("There is already a user {name}; choose another name."), name=name)
    values = {
        "id": ulid(),
        "name": name,
        "role": str(role),
        "locale": locale,
        "disabled": False,
        "failures": 0,
    }
    unit.conn.execute(
        users.insert().values(
            **values,
            password_hash=NO_PASSWORD if password is None else passwords.digest(password),
            created_at=unit.now,
        )
    )
    record(unit, actor, "user.add", f"user:{name}", detail={"role": str(role)})
    return get(unit.conn, name)


def find(conn: Connection, name: str) -> User | None:
    row = conn.execute(sa.select(*_COLUMNS).where(users.c.name == name)).one_or_none()
    return None if row is None else _user(row)


def get(conn: Connection, name: str) -> User:
    found = find(conn, name)
    if found is None:
        raise NotFound(N_("There is no user {name!r}."), name=name[:40])
    return found


def listed(conn: Connection) -> list[User]:
    return [_user(row) for row in conn.execute(sa.select(*_COLUMNS).order_by(users.c.name))]


def has_admin(conn: Connection) -> bool:
    query = (
        sa.select(users.c.id).where(users.c.role == Role.ADMIN.value, users.c.disabled.is_(False)).limit(1)
    )
    return conn.execute(query).first() is not None


def set_password(unit: Unit, actor: Actor, name: str, password: str) -> None:
    user = get(unit.conn, name)
    passwords.check(password, name=name)
    _update(unit, user, password_hash=passwords.digest(password), failures=0, locked_until=None)
    _end_sessions(unit, user)
    record(unit, actor, "user.password", f"user:{name}")


def change(
    unit: Unit,
    actor: Actor,
    name: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
    locale: str | None = None,
) -> User:
    """Change what is given; the last admin can neither be disabled nor lose the role."""
    before = get(unit.conn, name)
    if locale is not None and locale not in LOCALES:
        raise Invalid(
            N_("The language is one of {locales}."), ("locale", "not known"), locales=", ".join(LOCALES)
        )
    given = {"role": role and str(role), "disabled": disabled, "locale": locale}
    values = {
        key: value for key, value in given.items() if value is not None and value != getattr(before, key)
    }
    if not values:
        return before
    _update(unit, before, **values)
    if before.role is Role.ADMIN and not has_admin(unit.conn):
        raise Conflict(N_("{name} is the last admin; make another user an admin first."), name=name)
    if "role" in values or "disabled" in values:
        _end_sessions(unit, before)
    record(unit, actor, "user.change", f"user:{name}", detail=values)
    return get(unit.conn, name)


def _update(unit: Unit, user: User, **values: Any) -> None:
    unit.conn.execute(users.update().where(users.c.id == user.id).values(**values))


def _end_sessions(unit: Unit, user: User) -> None:
    unit.conn.execute(sessions.delete().where(sessions.c.user_id == user.id))
