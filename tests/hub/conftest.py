"""What the hub's slices are tested on: each store in turn, with the newest schema.

A test that is about one of them says so: ``@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from argon2 import PasswordHasher
from prahari_hub.access import passwords
from prahari_hub.store import Store
from prahari_hub.store.migrate import migrate
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

Database = Callable[[Path], AbstractContextManager[str]]


def build(url: str) -> None:
    store = Store.open(url)
    migrate(store.engine)
    store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def which_store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_template(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A database file with the newest schema and nothing in it, to be copied."""
    return made_once("database", lambda folder: build(f"sqlite:///{folder / 'hub.db'}")) / "hub.db"


@pytest.fixture(scope="module")
def new_database(request: pytest.FixtureRequest, which_store: str) -> Database:
    """``with new_database(folder) as url`` is a database with the newest schema and nothing in it."""

    @contextmanager
    def sqlite(folder: Path) -> Iterator[str]:
        file = folder / "hub.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"

    @contextmanager
    def postgresql(folder: Path) -> Iterator[str]:
        with request.getfixturevalue("postgres").lend("newest", build) as url:
            yield url

    return sqlite if which_store == "sqlite" else postgresql


@pytest.fixture
def database_url(new_database: Database, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the newest schema and nothing in it."""
    with new_database(tmp_path) as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def short_tracebacks() -> None:
    """structlog, left as it is, spends seconds on drawing one traceback with all its variables."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, plain])


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """SQLAlchemy keeps the SQL it compiled for one engine alone, and nearly each test opens one: they share it."""
    compiled: LRUCache[Any, Any] = LRUCache(3000)

    def share(conn: Connection) -> None:
        conn.engine._compiled_cache = compiled

    with pytest.MonkeyPatch.context() as patch:
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
            patch.setattr(dialect, "__eq__", lambda one, other: type(one) is type(other))
            patch.setattr(dialect, "__hash__", lambda one: hash(type(one)))
        event.listen(Engine, "engine_connect", share)
        yield
        event.remove(Engine, "engine_connect", share)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> None:
    """Hashing as in the field takes 60 ms of a core for each of a thousand accounts that tests make."""
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords._NOBODY = passwords.digest("which nobody has")
