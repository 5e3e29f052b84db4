"""The database that the hub's slices are tested on: SQLite in the test's folder, or PostgreSQL where PRAHARI_TEST_DATABASE names one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The URL of an empty database. A PostgreSQL one is emptied: give the tests one of their own."""
    url = os.environ.get("PRAHARI_TEST_DATABASE")
    if url is None:
        return f"sqlite:///{tmp_path / 'hub.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql("DROP SCHEMA public CASCADE")
        conn.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return url
