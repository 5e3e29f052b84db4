"""``prahari-hub backup``: the database at one moment, the blobs that are not there yet, the keys, and a manifest written last.

The database goes first and the blobs after it: a row is committed only when its blob is on disk, so every blob that the copy names is
found, but for those that retention deletes meanwhile. So the dump of a PostgreSQL database is written before the backup that takes it in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from prahari_hub.broker.files import private_folder, write_private
from prahari_hub.errors import SetupError
from prahari_hub.evidence.parts import TRANSFERS
from prahari_hub.fleet.blobs import FOOTAGE
from prahari_hub.fleet.uploads import is_sha256
from prahari_hub.operations import dump as dumps
from prahari_hub.operations import sealed
from prahari_hub.operations.manifest import (
    BLOB_LIST,
    BLOBS,
    DATABASE,
    DUMP,
    KEYS,
    LAYERS,
    MANIFEST,
    SEALED_KEYS,
    Blob,
    Manifest,
    all_in,
    blob_list,
    describe,
    hash_of,
    holds_database,
    name_of,
)
from prahari_hub.settings import Settings
from prahari_hub.store.copy import copy_sqlite, faults, revision, sqlite_file

ACTION = "hub.backup"
NOT_KEYS = frozenset({BLOBS, FOOTAGE, LAYERS, TRANSFERS, "spool"})
"""Folders of the home that are no keys: their content is copied otherwise, or not at all."""
BROKER_KEEPS = frozenset({"keys.json"})
"""All else in ``broker/`` is made anew at each start."""


@dataclass
class Tally:
    """Blobs of a backup, and those of them that were copied now."""

    blobs: int = 0
    size: int = 0
    copied: int = 0
    copied_size: int = 0


@dataclass(frozen=True)
class Made:
    """A finished backup. ``removed`` old ones are gone; ``outside`` are files that it does not hold."""

    folder: Path
    manifest: Manifest
    tally: Tally
    removed: int
    outside: tuple[str, ...]


def backup(
    settings: Settings,
    into: Path,
    *,
    now: datetime,
    passphrase: str | None = None,
    keep: int | None = None,
    dump: Path | None = None,
    postgresql_revision: str | None = None,
    progress: Callable[[str], None] = lambda _said: None,
) -> Made:
    """Add a backup to the folder ``into``, beside a running hub or without one. SetupError says what stands in the way.

    ``dump`` is that of a PostgreSQL database, written right before; without one the backup holds keys and pictures only.
    """
    _refuse_nested(settings.home, into)
    if dump is not None and sqlite_file(settings.store_url) is not None:
        raise SetupError("the database is SQLite, and the backup copies it by itself: leave --dump out")
    try:
        private_folder(into)
        with _alone(into):
            made = _backup(settings, into, now, passphrase, dump, postgresql_revision, progress)
            removed = _thin(into, keep) if keep is not None else 0
    except OSError as error:
        raise SetupError(
            f"the backup could not be written to {into}: {error.strerror}; make room there or choose another folder"
        ) from error
    return Made(*made, removed=removed, outside=tuple(_outside(settings)))


def _refuse_nested(home: Path, into: Path) -> None:
    if into.resolve().is_relative_to(home.resolve()):
        raise SetupError("a backup inside the hub's home is lost with it: choose a folder on another disk")


@contextlib.contextmanager
def _alone(into: Path) -> Iterator[None]:
    """One backup at a time in a folder."""
    with (into / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(f"another backup into {into} is running: wait until it has ended") from None
        yield


def _backup(
    settings: Settings,
    into: Path,
    now: datetime,
    passphrase: str | None,
    dump: Path | None,
    postgresql_revision: str | None,
    progress: Callable[[str], None],
) -> tuple[Path, Manifest, Tally]:
    final = into / name_of(now)
    if final.exists():
        raise SetupError(f"there is a backup of this second already in {into}: try again")
    for unfinished in into.glob(".*.unfinished"):
        shutil.rmtree(unfinished)
    folder = private_folder(into / f".{final.name}.unfinished")
    progress("the database")
    schema, database_at = postgresql_revision, None
    if (database := sqlite_file(settings.store_url)) is not None:
        schema = _copy_database(database, folder / DATABASE)
    elif dump is not None:
        taken = dumps.take(dump, folder / DUMP)
        schema, database_at = taken.revision or schema, min(taken.began, now)
    progress("the blobs")
    tally = _copy_blobs(settings, into / BLOBS, folder / BLOB_LIST)
    progress("the keys")
    packed = sealed.pack(settings.home, keys_of(settings.home, database))
    if passphrase is None:
        write_private(folder / KEYS, packed)
    else:
        write_private(folder / SEALED_KEYS, sealed.seal(packed, passphrase))
    manifest = Manifest(
        made_at=now,
        product=version("prahari-hub"),
        city=settings.city,
        database="postgresql" if database is None else "sqlite",
        revision=schema,
        database_at=database_at,
        sealed=passphrase is not None,
        blobs=tally.blobs,
        blob_bytes=tally.size,
        blobs_elsewhere=settings.blobs_url is not None,
        files=[describe(file) for file in sorted(folder.iterdir())],
    )
    write_private(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    folder.rename(final)
    _sync(into)
    return final, manifest, tally


def _copy_database(database: Path, target: Path) -> str | None:
    """Copy, then check the copy: a backup of a damaged database would be found out when it is needed."""
    copy_sqlite(database, target)
    if found := faults(target):
        target.unlink()
        raise SetupError(
            f"the database {database} is damaged ({found[0]}): no backup was made; restore the last good one with prahari-hub restore"
        )
    return revision(target)


def _copy_blobs(settings: Settings, target: Path, listed: Path) -> Tally:
    """Copy what ``target`` has not; list all in ``listed``."""
    private_folder(target)
    tally = Tally()
    with listed.open("w", encoding="ascii") as lines:
        for file in _named_by_hash(settings):
            try:
                blob = Blob(file.name, file.stat().st_size, file.relative_to(settings.home).as_posix())
                there = blob.below(target)
                if not there.exists() or there.stat().st_size != blob.size:
                    _copy_blob(file, there)
                    tally.copied, tally.copied_size = tally.copied + 1, tally.copied_size + blob.size
            except FileNotFoundError:
                continue  # retention deleted it meanwhile
            lines.write(f"{blob.sha256} {blob.size} {blob.place}\n")
            tally.blobs, tally.size = tally.blobs + 1, tally.size + blob.size
        lines.flush()
        os.fsync(lines.fileno())
    return tally


def _named_by_hash(settings: Settings) -> Iterator[Path]:
    """Finished blobs and map layers of the home; uploads that are not yet whole have other names."""
    if settings.blobs_url is None:
        yield from _blobs_in(settings.home / BLOBS)
        yield from _blobs_in(settings.home / FOOTAGE)
    if (layers := settings.home / LAYERS).is_dir():
        yield from sorted(file for file in layers.iterdir() if is_sha256(file.name))


def _blobs_in(folder: Path) -> Iterator[Path]:
    for part in sorted(folder.glob("??")):
        yield from sorted(file for file in part.iterdir() if is_sha256(file.name))


def _copy_blob(source: Path, target: Path) -> None:
    """Whole and right under its name, or not there. A blob that is not what its name says is damaged: SetupError."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    if hash_of(part) != target.name:
        part.unlink()
        raise SetupError(
            f"the file {source} is damaged: its content is not what its name says; move it away and take the backup again"
        )
    part.chmod(0o600)
    _sync(part)
    part.replace(target)


def keys_of(home: Path, database: Path | None) -> list[Path]:
    """Every file of the home that a new home needs and that is neither database nor blob nor made anew at a start."""
    found = []
    for file in sorted(home.rglob("*")):
        first, *rest = file.relative_to(home).parts
        if first in NOT_KEYS or not file.is_file() or file.is_symlink() or file.name.startswith("."):
            continue
        if first == "broker" and (rest[0] if rest else "") not in BROKER_KEEPS:
            continue
        if file.name.startswith(DATABASE) or (database and file.name.startswith(database.name)):
            continue
        found.append(file)
    return found


def _outside(settings: Settings) -> Iterator[str]:
    """Files that settings name and that lie outside the home: somebody else has to keep them."""
    for file in (settings.nats_seed_file, settings.webhook_secret_file):
        if file is not None and not file.resolve().is_relative_to(settings.home.resolve()):
            yield str(file)


def _thin(into: Path, keep: int) -> int:
    """Leave the newest ``keep`` backups, the newest with a database whatever its age, and of the blobs those that one of them names."""
    there = all_in(into)
    whole = next((folder for folder in reversed(there) if holds_database(folder)), None)
    old = [folder for folder in there[: -max(keep, 1)] if folder != whole]
    for folder in old:
        (folder / MANIFEST).unlink()  # first: what is left of it is no backup any more
        shutil.rmtree(folder)
    if old:
        named = {blob.sha256 for folder in all_in(into) for blob in blob_list(folder)}
        for file in _blobs_in(into / BLOBS):
            if file.name not in named:
                file.unlink()
    return len(old)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
