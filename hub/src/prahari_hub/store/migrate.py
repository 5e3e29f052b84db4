"""Bring the database to the newest schema (Alembic), in process."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

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
MIGRATION_LOCK = 0x50726168  # any number that nobody else uses in this database


def load_tables() -> None:
    """Import every slice's tables, so that the metadata is complete. By name: the store stands below the slices."""
    for name in SLICES:
        import_module(f"prahari_hub.{name}.tables")


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return found


def migrate(engine: Engine, revision: str = "head") -> None:
    load_tables()
    settings = config()
    with engine.connect() as conn, conn.begin():
        _alone(conn)
        settings.attributes["connection"] = conn
        command.upgrade(settings, revision)


def newest() -> str:
    """The schema of this version of the hub."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def knows(revision: str) -> bool:
    """Whether this version of the hub can bring a schema of that migration to its own."""
    return any(
        script.revision == revision for script in ScriptDirectory.from_config(config()).walk_revisions()
    )


def _alone(conn: Connection) -> None:
    """Processes that start together migrate one after the other; the later ones find nothing left to do."""
    if conn.dialect.name == "postgresql":
        takes_no_limit(conn)
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
