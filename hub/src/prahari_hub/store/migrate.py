"""Bring the database to the newest schema (Alembic), in process."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

SLICES = ("access", "identity", "fleet", "incidents", "signage", "scheduler")


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
        settings.attributes["connection"] = conn
        command.upgrade(settings, revision)
