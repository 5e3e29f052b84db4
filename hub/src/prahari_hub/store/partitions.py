"""Tables in partitions of time, on PostgreSQL: made ahead, and dropped as a whole when what is in them has grown old.

A table says so in its ``info``: ``{"partition": ("at", "month")}``. Rows for which no partition was made are in ``<table>_rest``, so that
none is ever refused. On SQLite a table is one table, and whoever forgets rows deletes them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from prahari_hub.store.engine import Unit
from prahari_hub.store.schema import metadata

AHEAD = {"day": 7, "month": 3}
PIECE = 2000
PATIENCE_S = 2
"""A partition comes and goes under a lock that everybody else waits behind: if it is not to be had soon, the next run tries again."""


def make_ahead(unit: Unit) -> int:
    """Make the partitions of now and of the time to come that are not there; how many."""
    made = 0
    if unit.conn.dialect.name == "postgresql":
        for table in partitioned():
            there = set(_names(unit.conn, table))
            wanted = [name for name in _wanted(table, unit.now) if name not in there]
            for name in wanted:
                _be_patient(unit.conn)
                _make(unit.conn, table, name)
            made += len(wanted)
    return made


def partitioned() -> list[Table]:
    return [table for table in metadata.sorted_tables if "partition" in table.info]


def forget(
    conn: Connection, table: Table, before: datetime, *, keep: tuple[str, str] | None = None
) -> bool | None:
    """Drop the partitions whose rows are all older, and a piece of what is older in the rest; whether there may be more.

    ``keep``: column and value of the rows that stay, in the rest from then on. None: the table is not in partitions here, and nothing
    was done.
    """
    if conn.dialect.name != "postgresql" or "partition" not in table.info:
        return None
    for name in _names(conn, table):
        if name != _rest(table) and _span(table, name)[1] <= before:
            _be_patient(conn)
            _drop(conn, table, name, keep)
    column, _ = table.info["partition"]
    kept, value = keep or (column, None)
    rest = sa.table(_rest(table), sa.column(column), sa.column(kept), sa.column("ctid"))
    old = sa.select(rest.c.ctid).where(rest.c[column] < before).limit(PIECE)
    if keep:
        old = old.where(rest.c[kept] != value)
    return conn.execute(sa.delete(rest).where(rest.c.ctid.in_(old))).rowcount == PIECE


def _names(conn: Connection, table: Table) -> list[str]:
    found = sa.text(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:table AS regclass)"
    )
    return sorted(conn.scalars(found, {"table": table.name}))


def _rest(table: Table) -> str:
    return f"{table.name}_rest"


def _wanted(table: Table, now: datetime) -> list[str]:
    step = table.info["partition"][1]
    start, names = _start(now, step), []
    for _ in range(AHEAD[step] + 1):
        names.append(f"{table.name}_{start:%Y%m%d}" if step == "day" else f"{table.name}_{start:%Y%m}")
        start = _next(start, step)
    return names


def _span(table: Table, name: str) -> tuple[datetime, datetime]:
    """(first moment, end) of a partition by its name."""
    step, written = table.info["partition"][1], name.removeprefix(f"{table.name}_")
    start = datetime.strptime(written, "%Y%m%d" if step == "day" else "%Y%m").replace(tzinfo=UTC)
    return start, _next(start, step)


def _start(at: datetime, step: str) -> datetime:
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if step == "day" else day.replace(day=1)


def _next(start: datetime, step: str) -> datetime:
    return start + timedelta(days=1) if step == "day" else _start(start + timedelta(days=31), "month")


def _make(conn: Connection, table: Table, name: str) -> None:
    """Rows of that time that are in the rest already move over."""
    column, _ = table.info["partition"]
    first, end = (moment.isoformat() for moment in _span(table, name))
    conn.exec_driver_sql(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS)")
    early, of_then = _rest(table), f"{column} >= '{first}' AND {column} < '{end}'"
    conn.exec_driver_sql(f"INSERT INTO {name} SELECT * FROM {early} WHERE {of_then}")  # noqa: S608
    conn.exec_driver_sql(f"DELETE FROM {early} WHERE {of_then}")  # noqa: S608 - names of our own tables
    conn.exec_driver_sql(
        f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')"
    )


def _drop(conn: Connection, table: Table, name: str, keep: tuple[str, str] | None) -> None:
    if keep:
        # the rest takes nothing of a time that has a partition
        conn.exec_driver_sql(f"ALTER TABLE {table.name} DETACH PARTITION {name}")
        column, value = keep
        kept = f"INSERT INTO {_rest(table)} SELECT * FROM {name} WHERE {column} = %s"  # noqa: S608 - names of our own tables
        conn.exec_driver_sql(kept, (value,))
    conn.exec_driver_sql(f"DROP TABLE {name}")


def _be_patient(conn: Connection) -> None:
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = {int(PATIENCE_S * 1000)}")
