"""What the doctor and the hub's page read from the database about the hub itself."""

from __future__ import annotations

import time
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.fleet.tables import expected_uploads


class Postgresql(NamedTuple):
    """Major version, encoding, whether the collation's version is not the one with which the indexes were made."""

    version: int
    encoding: str
    collation_moved: bool


def postgresql(conn: Connection) -> Postgresql:
    number = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one())
    row = conn.exec_driver_sql(
        "SELECT pg_encoding_to_char(encoding), datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid) "
        "FROM pg_database WHERE datname = current_database()"
    ).one()
    return Postgresql(number // 10000, str(row[0]), bool(row[1]))


def clock_offset_s(conn: Connection) -> float:
    """How far the database's clock is ahead of this process's; 0 where they share a machine's."""
    if conn.dialect.name != "postgresql":
        return 0.0
    return (
        float(conn.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()) - time.time()
    )


def stored_files(conn: Connection, most: int) -> list[str]:
    """Hashes of the files that arrived last."""
    query = (
        sa.select(expected_uploads.c.sha256)
        .where(expected_uploads.c.stored_at.is_not(None))
        .order_by(expected_uploads.c.stored_at.desc())
        .limit(most)
    )
    return list(dict.fromkeys(conn.scalars(query)))
