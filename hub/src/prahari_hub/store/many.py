"""Many rows by one statement, alike in both databases: the rows are one JSON text that the database takes apart.

A statement a row costs a round trip of PostgreSQL, and of SQLite one turn of Python's lock, for which a writer beside a busy event loop
waits longer than the row takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Table

Row = dict[str, Any]


def insert_many(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all name the same columns; the others get what the database gives them by default."""
    if rows:
        names = tuple(rows[0])
        conn.execute(_insert(table, names, conn.dialect.name), {"rows": _packed(conn, table, names, rows)})


def update_many(
    conn: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    keys: Sequence[str],
    where: sa.ColumnElement[bool] | None = None,
    also: Mapping[str, sa.ColumnElement[Any]] | None = None,
) -> None:
    """Give the rows with these ``keys`` their other named columns, and the columns of ``also`` what is computed from each row as it
    was. What does not stand there, or fails ``where``, is left out; two rows with the same keys contradict each other."""
    if rows:
        names = tuple(rows[0])
        statement = _update(table, names, tuple(keys), conn.dialect.name)
        if where is not None:
            statement = statement.where(where)
        if also:
            statement = statement.values(dict(also))
        conn.execute(statement, {"rows": _packed(conn, table, names, rows)})


@lru_cache(maxsize=64)
def _insert(table: Table, names: tuple[str, ...], dialect: str) -> sa.Insert:
    return table.insert().from_select(list(names), sa.select(*_given(table, names, dialect)))


@lru_cache(maxsize=64)
def _update(table: Table, names: tuple[str, ...], keys: tuple[str, ...], dialect: str) -> sa.Update:
    given = sa.select(*_given(table, names, dialect)).subquery("given")
    here = [table.c[key] == given.c[key] for key in keys]
    return table.update().values({name: given.c[name] for name in names if name not in keys}).where(*here)


def _given(table: Table, names: Iterable[str], dialect: str) -> list[sa.ColumnElement[Any]]:
    """The columns of the JSON text: a list of rows, each a list of values."""
    rows = sa.bindparam("rows", type_=sa.String)
    if dialect == "sqlite":
        row = sa.func.json_each(rows).table_valued("value").c.value
        return [
            sa.func.json_extract(row, f"$[{at}]", type_=table.c[name].type).label(name)
            for at, name in enumerate(names)
        ]
    each = sa.func.json_array_elements(sa.cast(rows, sa.JSON)).column_valued("value")
    return [
        sa.cast(each.op("->>")(sa.literal_column(str(at))), table.c[name].type).label(name)
        for at, name in enumerate(names)
    ]


def _packed(conn: Connection, table: Table, names: Sequence[str], rows: Iterable[Row]) -> str:
    spell = [_speller(conn, table.c[name]) for name in names]
    return json.dumps(
        [
            [None if row[name] is None else say(row[name]) for name, say in zip(names, spell, strict=True)]
            for row in rows
        ]
    )


def _speller(conn: Connection, column: Column[Any]) -> Callable[[Any], Any]:
    """How a value of this column stands in the JSON text: what the database keeps of it, or can be cast to that."""
    if isinstance(column.type, sa.JSON):
        return json.dumps
    if conn.dialect.name == "sqlite":
        return column.type.dialect_impl(conn.dialect).bind_processor(conn.dialect) or _same
    return _plain


def _same(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
