"""The manifest of a backup: what lies in it, each file with its size and SHA-256, and what made it.

A folder of backups holds one folder a backup, named by its time, and ``blobs/`` that all of them share, because a blob is named by its hash
and never changes:

    FOLDER/20261122T031500Z/manifest.json   this file, written last
    FOLDER/20261122T031500Z/hub.db          the database at one moment (SQLite), or
    FOLDER/20261122T031500Z/hub.dump        its dump (PostgreSQL); neither where no dump was given
    FOLDER/20261122T031500Z/keys.tar        pki/, signing/, the broker's keys, hub.toml; keys.sealed where a passphrase was given
    FOLDER/20261122T031500Z/blobs.txt       blobs and map layers: SHA-256, size in bytes and place in the home, a line each
    FOLDER/blobs/ab/abcd…
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from prahari_hub.errors import SetupError

FORMAT = 1
MANIFEST, DATABASE, BLOBS, LAYERS, BLOB_LIST = "manifest.json", "hub.db", "blobs", "map-layers", "blobs.txt"
KEYS, SEALED_KEYS = "keys.tar", "keys.sealed"
DUMP = "hub.dump"
PIECE = 1 << 20


class File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """``revision`` is the schema's migration. ``blobs_elsewhere``: pictures lie where ``blobs_url`` says.

    ``database_at``: when the dump began; None for SQLite, whose copy is of ``made_at``, and without a dump.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    made_at: datetime
    product: str
    city: str
    database: str
    revision: str | None
    database_at: datetime | None = None
    sealed: bool
    blobs: int
    blob_bytes: int
    blobs_elsewhere: bool = False
    files: list[File]

    @property
    def moment(self) -> datetime:
        """The database in here knows nothing that happened later."""
        return self.database_at or self.made_at


def name_of(made_at: datetime) -> str:
    """The folder of a backup made then; sorts by time."""
    return made_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def describe(file: Path) -> File:
    return File(name=file.name, size=file.stat().st_size, sha256=hash_of(file))


def hash_of(file: Path) -> str:
    """SHA-256 in hex of a file's content."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def read(folder: Path) -> Manifest:
    """The manifest of one backup; SetupError if there is none or this version of the hub cannot read it."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise SetupError(
            f"{folder} holds no backup: its {MANIFEST} cannot be read ({error.strerror})"
        ) from error
    try:
        found = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise SetupError(
            f"{folder / MANIFEST} is damaged or of a newer hub: take another backup, or install the version that made this one"
        ) from error
    if found.format != FORMAT:
        raise SetupError(
            f"the backup {folder} was made by a newer hub ({found.product}): install that version"
        )
    return found


def all_in(folder: Path) -> list[Path]:
    """The finished backups in a folder of backups, the oldest first."""
    return sorted(
        path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")
    )


def holds_database(folder: Path) -> bool:
    """Or keys and pictures only."""
    return (folder / DATABASE).exists() or (folder / DUMP).exists()


class Blob(NamedTuple):
    """A file named by its SHA-256; ``place`` is its path in the home."""

    sha256: str
    size: int
    place: str

    def below(self, blobs: Path) -> Path:
        """Where it lies in the ``blobs/`` of a folder of backups."""
        return blobs / self.sha256[:2] / self.sha256


def blob_list(folder: Path) -> Iterator[Blob]:
    """What belongs to the backup in ``folder``; nothing where its blobs lie elsewhere."""
    if not (folder / BLOB_LIST).exists():
        return
    with (folder / BLOB_LIST).open(encoding="ascii") as lines:
        for line in lines:
            sha256, size, place = line.split()
            yield Blob(sha256, int(size), place)
