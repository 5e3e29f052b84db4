"""SQLite serves one process: a second one is refused in one sentence."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from prahari_hub.errors import SetupError
from prahari_hub.settings import ROLES, Settings


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the SQLite database for this process; the kernel gives it back however the process ends. PostgreSQL takes many."""
    url = make_url(settings.store_url)
    if url.get_backend_name() != "sqlite":
        yield
        return
    if set(settings.roles) != set(ROLES):
        raise SetupError(
            "with SQLite one process has all roles: set PRAHARI_DATABASE_URL to a PostgreSQL server to run them apart"
        )
    file = Path(f"{url.database or settings.home / 'hub.db'}.serving")
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        other = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
        raise SetupError(
            f"another hub (process {other}) serves this SQLite database: stop it first, or move to PostgreSQL to run several"
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
