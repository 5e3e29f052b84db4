"""INSERT … ON CONFLICT, which both databases know and SQLAlchemy spells by dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = dict[str, Any] | Sequence[dict[str, Any]]


def insert(conn: Connection, table: Table) -> Any:
    """The dialect's INSERT, which has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


def upsert(conn: Connection, table: Table, rows: Rows, *, keys: Sequence[str]) -> None:
    """Insert rows; where one with the same ``keys`` stands already, its other given columns take the new values."""
    given = [rows] if isinstance(rows, dict) else list(rows)
    if not given:
        return
    statement = insert(conn, table)
    changed = {name: statement.excluded[name] for name in given[0] if name not in keys}
    if changed:
        statement = statement.on_conflict_do_update(index_elements=list(keys), set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(keys))
    conn.execute(statement, given)


def insert_new(conn: Connection, table: Table, row: dict[str, Any], *, keys: Sequence[str]) -> bool:
    """Insert a row unless one with the same ``keys`` stands; whether it was new."""
    statement = insert(conn, table).on_conflict_do_nothing(index_elements=list(keys))
    return bool(conn.execute(statement, row).rowcount)
