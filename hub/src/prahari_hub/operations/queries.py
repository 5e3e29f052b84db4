"""What the doctor and the hub's page read from the database about the hub itself."""

from __future__ import annotations

import time
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access.tables import audit
from prahari_hub.fleet.tables import expected_uploads
from prahari_hub.operations.backup import ACTION


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


class Backups(NamedTuple):
    """What the audit log and PostgreSQL say is kept.

    ``last``: the newest backup of keys and pictures at least. ``database``: the moment of the newest database in a backup, which lies in
    ``folder``. ``archived``: when PostgreSQL's own log was last archived.
    """

    last: datetime | None
    database: datetime | None
    folder: str
    archived: datetime | None

    @property
    def kept(self) -> datetime | None:
        """The hub could be made anew as it was then. An archive of the log has the database, and keys are as new as the last backup."""
        moments = [] if self.database is None else [self.database]
        if self.last is not None and self.archived is not None:
            moments.append(min(self.last, self.archived))
        return max(moments, default=None)


def backups(conn: Connection) -> Backups:
    newest = sa.select(audit).where(audit.c.action == ACTION).order_by(audit.c.id.desc()).limit(1)
    last = conn.execute(newest).first()
    if last is None:
        return Backups(None, None, "-", None)
    if conn.dialect.name == "sqlite":
        return Backups(last.at, last.at, str(last.detail.get("folder", "-")), None)
    archived = archived_at(conn)
    whole = conn.execute(newest.where(audit.c.detail["dump_at"].as_string().is_not(None))).first()
    if whole is None:
        return Backups(last.at, None, str(last.detail.get("folder", "-")), archived)
    return Backups(
        last.at,
        datetime.fromisoformat(whole.detail["dump_at"]),
        str(whole.detail.get("folder", "-")),
        archived,
    )


def archived_at(conn: Connection) -> datetime | None:
    """When PostgreSQL last archived a piece of its log; None where it was not told to, or never could."""
    query = "SELECT last_archived_time FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'"
    found: datetime | None = conn.exec_driver_sql(query).scalar()
    return found


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
