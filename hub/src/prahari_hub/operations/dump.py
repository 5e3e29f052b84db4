"""The dump of a PostgreSQL database that ``pg_dump --format=custom`` wrote: copied into a backup, then read to its end.

It is copied, not linked: a link shares its bytes with the file that pg_dump empties when it begins the next night.
``pg_restore --list`` is no check: the list stands at the beginning, so that a dump that was cut off in its data has it too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prahari_hub.errors import SetupError

MAGIC = b"PGDMP"
BEGAN = re.compile(r"^; Archive created at (\d+-\d+-\d+ \d+:\d+:\d+)", re.MULTILINE)
REVISION = re.compile(r"^COPY \S+\.alembic_version \(version_num\) FROM stdin;\n(\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Dump:
    """``began``: the dump holds the database as it was then. ``revision``: its schema; None where pg_restore is missing."""

    began: datetime
    revision: str | None


def take(source: Path, target: Path) -> Dump:
    """Copy a dump and read the copy; SetupError for one that is not whole or holds no hub, and no copy is left of it."""
    if not source.is_file():
        raise SetupError(f"there is no dump {source}: write it with pg_dump --format=custom first")
    try:
        return _copy(source, target)
    except BaseException:
        target.unlink(missing_ok=True)  # half of it would keep a full disk full until the next backup
        raise


def reads() -> bool:
    """Whether pg_restore is there to read a dump."""
    return shutil.which("pg_restore") is not None


def _copy(source: Path, target: Path) -> Dump:
    ended = datetime.fromtimestamp(source.stat().st_mtime, UTC)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
        if stream.read(len(MAGIC)) != MAGIC:
            raise SetupError(
                f"{source} is no dump of pg_dump --format=custom: write one, and give it to --dump"
            )
    if not reads():
        return Dump(ended, None)
    _pg_restore(source, target, "--file=/dev/null")
    found = REVISION.search(_pg_restore(source, target, "--data-only", "--table=alembic_version", "--file=-"))
    if found is None:
        raise SetupError(
            f"the dump {source} holds no hub: see that pg_dump takes the whole database that PRAHARI_DATABASE_URL names"
        )
    return Dump(min(ended, _began(_pg_restore(source, target, "--list")) or ended), found[1])


def _began(listed: str) -> datetime | None:
    """The list has it in the time zone of the machine, as pg_dump on this machine had."""
    found = BEGAN.search(listed)
    return None if found is None else datetime.fromisoformat(found[1]).astimezone(UTC)


def _pg_restore(source: Path, copy: Path, *options: str) -> str:
    done = subprocess.run(
        ["pg_restore", *options, copy],
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix(
            "pg_restore: error: "
        )
        raise SetupError(
            f"the dump {source} is not whole, or of a newer PostgreSQL than pg_restore here ({said}): write it anew with pg_dump"
        )
    return done.stdout
