"""Copies of the SQLite database while the hub writes to it, and whether a database file is sound."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from prahari_hub.errors import SetupError, Unavailable
from prahari_hub.store.engine import DAMAGED

STEP_PAGES = 512
STEP_PAUSE_S = 0.002
"""2 MiB of 4 KiB pages, then a breath: the disk is the hub's, which commits beside this."""
FAULTS_NAMED = 20
LOOKED_AT_BYTES = 128 * 1024 * 1024
"""Half a second on a Pi's card; a state's database would keep the hub from its devices for a minute."""


def sqlite_file(url: str) -> Path | None:
    """The database file that a SQLAlchemy URL names; None where it is not SQLite."""
    found = sa.make_url(url)
    if found.get_backend_name() != "sqlite" or not found.database or found.database == ":memory:":
        return None
    return Path(found.database)


def copy_sqlite(source: Path, target: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Write ``target`` as the database was at one moment, in one file and on disk; SetupError if ``source`` is damaged.

    A read transaction held for the whole copy pins that moment, so that no writer makes the copy begin anew and none waits for it;
    meanwhile the write-ahead log grows by what is written.
    """
    with contextlib.closing(_read_only(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        target.chmod(0o600)
        try:
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()
            old.backup(new, pages=STEP_PAGES, progress=lambda *_: pause(STEP_PAUSE_S))
            new.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.DatabaseError as error:
            raise SetupError(DAMAGED, file=source, cause=error) from error
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def faults(file: Path, *, thorough: bool = False) -> list[str]:
    """What SQLite finds wrong in a database file, at most FAULTS_NAMED lines; nothing if it is sound.

    ``thorough`` also compares every index with its table. Unavailable if the file cannot be read now.
    """
    pragma = "integrity_check" if thorough else "quick_check"
    try:
        with contextlib.closing(_read_only(file)) as database:
            found = [str(row[0]) for row in database.execute(f"PRAGMA {pragma}({FAULTS_NAMED})")]
    except sqlite3.OperationalError as error:
        raise Unavailable(f"the database {file} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def refuse_damaged(url: str) -> None:
    """SetupError for a damaged SQLite file; one above LOOKED_AT_BYTES is only looked at by ``doctor``."""
    file = sqlite_file(url)
    if file is None or not file.exists() or file.stat().st_size > LOOKED_AT_BYTES:
        return
    if found := faults(file):
        raise SetupError(DAMAGED, file=file, cause=found[0].splitlines()[-1])


def revision(file: Path) -> str | None:
    """Which migration the schema of a database file has; None if it has none."""
    with contextlib.closing(_read_only(file)) as database:
        try:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError:
            return None
    return str(row[0]) if row else None


def _read_only(file: Path) -> sqlite3.Connection:
    if not file.is_file():
        raise Unavailable(f"there is no database {file}")
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
