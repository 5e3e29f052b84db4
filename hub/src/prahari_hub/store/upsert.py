"""INSERT … ON CONFLICT, which both databases know and SQLAlchemy spells by dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = dict[str, Any] | Sequence[dict[str, Any]]
_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert(conn: Connection, table: Table) -> Any:
    """The dialect's INSERT, which has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return _INSERT[conn.dialect.name](table)


def upsert(conn: Connection, table: Table, rows: Rows, *, keys: Sequence[str]) -> None:
    """Insert rows; where one with the same ``keys`` stands already, its other given columns take the new values."""
    given = [rows] if isinstance(rows, dict) else list(rows)
    if given:
        conn.execute(_upsert(conn.dialect.name, table, tuple(given[0]), tuple(keys)), given)


@lru_cache(maxsize=128)
def _upsert(dialect: str, table: Table, names: tuple[str, ...], keys: tuple[str, ...]) -> Any:
    """Built once: building costs more than running it."""
    statement: Any = _INSERT[dialect](table)
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    if changed:
        return statement.on_conflict_do_update(index_elements=list(keys), set_=changed)
    return statement.on_conflict_do_nothing(index_elements=list(keys))


def insert_new(conn: Connection, table: Table, row: dict[str, Any], *, keys: Sequence[str]) -> bool:
    """Insert a row unless one with the same ``keys`` stands; whether it was new."""
    statement = insert(conn, table).on_conflict_do_nothing(index_elements=list(keys))
    return bool(conn.execute(statement, row).rowcount)
