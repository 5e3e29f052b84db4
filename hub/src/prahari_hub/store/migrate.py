"""Bring the database to the newest schema (Alembic), in process."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from prahari_hub.errors import SetupError
from prahari_hub.store.postgres import takes_no_limit

SLICES = (
    "store",
    "access",
    "identity",
    "fleet",
    "evidence",
    "incidents",
    "signage",
    "operations",
    "scheduler",
)
MIGRATIONS = Path(__file__).parent / "migrations"
NEWER = (
    "the database was written by a newer hub (schema {revision}): install that version again, or restore a backup of before with "
    "prahari-hub restore"
)
MIGRATION_LOCK = 0x50726168  # any number that nobody else uses in this database


def load_tables() -> None:
    """Import every slice's tables, so that the metadata is complete. By name: the store stands below the slices."""
    for name in SLICES:
        import_module(f"prahari_hub.{name}.tables")


def migrate(engine: Engine, revision: str = "head") -> None:
    """SetupError if a newer hub wrote the database; nothing of it is changed then."""
    load_tables()
    with engine.connect() as conn, conn.begin():
        _alone(conn)
        found = stands(conn)
        if found is not None and not knows(found):
            raise SetupError(NEWER.format(revision=found))
        if found != (newest() if revision == "head" else revision):
            _upgrade(conn, revision)


def newest() -> str:
    """The schema of this version of the hub."""
    return max(_revisions())


def knows(revision: str) -> bool:
    """Whether this version of the hub can bring a schema of that migration to its own."""
    return revision in _revisions()


def stands(conn: Connection) -> str | None:
    """Which migration the schema has; None if it has none."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _revisions() -> set[str]:
    """A file a migration, named for it."""
    return {file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py")}


def _upgrade(conn: Connection, revision: str) -> None:
    # a tenth of a start's time, for what a start seldom finds to do
    from alembic import command
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.attributes["connection"] = conn
    command.upgrade(settings, revision)


def _alone(conn: Connection) -> None:
    """Processes that start together migrate one after the other; the later ones find nothing left to do."""
    if conn.dialect.name == "postgresql":
        takes_no_limit(conn)
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
