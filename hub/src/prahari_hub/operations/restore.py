"""``prahari-hub restore``: an empty home becomes the hub of a backup. Nothing is written before every hash has been checked.

Devices have gone on since the backup: they were given twins and overrides of which it knows nothing, and they take no version or epoch
that is not higher. So both leap by more than they can have grown since; people sign in anew; the audit log says what was restored.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from sqlalchemy.exc import DatabaseError

from prahari_hub.access import links, sessions
from prahari_hub.access.audit import record
from prahari_hub.broker.files import private_folder, write_private
from prahari_hub.errors import SetupError
from prahari_hub.fleet import restored as fleet
from prahari_hub.http.actor import system
from prahari_hub.identity.adoption import RESTORED
from prahari_hub.operations import manifest as manifests
from prahari_hub.operations import sealed
from prahari_hub.operations.manifest import DATABASE, DUMP, KEYS, SEALED_KEYS, Blob, Manifest
from prahari_hub.settings import Settings
from prahari_hub.signage import restored as signage
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import knows, migrate

LEAST_STEP = 1000
PASSES_A_SECOND = 2
"""Twice what a display's epoch or a twin's version can grow in a second: a second restore of the same backup must leap over the first."""
Keys = dict[PurePosixPath, bytes]


@dataclass(frozen=True)
class Source:
    """A backup that was checked: every file and blob is there and is what the manifest says, but for ``damaged`` blobs."""

    folder: Path
    manifest: Manifest
    keys: Keys
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """How many twins and displays leapt, overrides that go out again, blobs that are back."""

    twins: int
    displays: int
    overrides: int
    blobs: int


def newest_in(path: Path) -> Path:
    """The backup that ``path`` names: itself, or the newest in a folder of backups."""
    if (path / manifests.MANIFEST).exists():
        return path
    found = manifests.all_in(path) if path.is_dir() else []
    if not found:
        raise SetupError(f"there is no backup in {path}: name a folder that prahari-hub backup has written")
    return found[-1]


def newest_with_database(path: Path) -> Path | None:
    """In the folder of backups that ``path`` is or lies in."""
    into = path.absolute().parent if (path / manifests.MANIFEST).exists() else path
    return next(
        (found for found in reversed(manifests.all_in(into)) if manifests.holds_database(found)), None
    )


def check(
    folder: Path,
    *,
    passphrase: str | None = None,
    skip_damaged: bool = False,
    progress: Callable[[str], None] = lambda _said: None,
) -> Source:
    """Read the whole backup and compare every hash; SetupError names what is wrong. Writes nothing."""
    manifest = manifests.read(folder)
    if manifest.revision is not None and not knows(manifest.revision):
        raise SetupError(
            f"the backup was made by a newer hub ({manifest.product}, schema {manifest.revision}): install that version first"
        )
    progress("checking the database and the keys")
    for file in manifest.files:
        _check_file(folder / file.name, file)
    keys = _keys(folder, manifest, passphrase)
    progress(f"checking {manifest.blobs} blobs")
    damaged = tuple(blob.sha256 for blob in manifests.blob_list(folder) if not _sound(blob, folder))
    if damaged and not skip_damaged:
        raise SetupError(
            f"{len(damaged)} of {manifest.blobs} blobs in the backup are missing or damaged (the first is {damaged[0]}): "
            "take another backup, or restore without them by --skip-damaged"
        )
    return Source(folder, manifest, keys, damaged)


def restore(source: Source, settings: Settings, *, now: datetime) -> Restored:
    """Fill the home of ``settings``; SetupError, and the home as it was, if anything fails."""
    home = settings.home
    check_empty(home)
    _check_database(source, settings)
    try:
        private_folder(home)
        blobs = _put_files(source, home)
        if source.manifest.database == "sqlite":
            unfinished = home / f"{DATABASE}.restoring"
            shutil.copyfile(source.folder / DATABASE, unfinished)
            unfinished.chmod(0o600)
            counts = _go_on(f"sqlite:///{unfinished.absolute()}", source, now)
            unfinished.rename(home / DATABASE)
        else:
            counts = _go_on(settings.store_url, source, now)
    except BaseException as error:
        _clear(home)
        if isinstance(error, OSError):
            raise SetupError(
                f"the home {home} could not be filled: {error.strerror}; make room and try again"
            ) from error
        raise
    return Restored(*counts, blobs=blobs)


def check_empty(home: Path) -> None:
    """SetupError if anything lies in the folder: a restore never mixes two hubs."""
    if home.exists() and any(home.iterdir()):
        raise SetupError(
            f"the home {home} is not empty: stop the hub that lives there, move the folder away, and restore into an empty one"
        )


def step_since(made_at: datetime, now: datetime) -> int:
    """By how much versions and epochs leap."""
    return LEAST_STEP + PASSES_A_SECOND * max(0, int((now - made_at).total_seconds()))


def _check_file(path: Path, told: manifests.File) -> None:
    if not path.is_file() or path.stat().st_size != told.size or manifests.hash_of(path) != told.sha256:
        raise SetupError(f"{path} is missing or is not as the backup wrote it: take another backup")


def _keys(folder: Path, manifest: Manifest, passphrase: str | None) -> Keys:
    if not manifest.sealed:
        return sealed.unpack((folder / KEYS).read_bytes())
    if passphrase is None:
        raise SetupError("the keys in this backup are sealed: give the passphrase with --passphrase-file")
    return sealed.unpack(sealed.unseal((folder / SEALED_KEYS).read_bytes(), passphrase))


def _sound(blob: Blob, folder: Path) -> bool:
    place = PurePosixPath(blob.place)
    if place.is_absolute() or ".." in place.parts or place.name != blob.sha256:
        return False
    file = blob.below(folder.parent / manifests.BLOBS)
    return file.is_file() and file.stat().st_size == blob.size and manifests.hash_of(file) == blob.sha256


def dump_of(source: Source) -> str:
    """The dump that belongs to a backup of a hub on PostgreSQL, for a sentence: the file in it, or what is known of another one."""
    if (source.folder / DUMP).exists():
        return f"the dump {source.folder / DUMP}"
    return f"the dump that was taken right before {source.manifest.made_at:%Y-%m-%d %H:%M} UTC (there is none in {source.folder})"


def _check_database(source: Source, settings: Settings) -> None:
    if source.manifest.database == "sqlite" and settings.database_url is not None:
        raise SetupError(
            "the backup holds a SQLite database and PRAHARI_DATABASE_URL names another: restore without that setting"
        )
    if source.manifest.database == "postgresql" and settings.database_url is None:
        raise SetupError(
            f"the backup is of a hub on PostgreSQL: load {dump_of(source)} into an empty database with pg_restore, "
            "set PRAHARI_DATABASE_URL to that database, and restore again"
        )


def _put_files(source: Source, home: Path) -> int:
    """Keys and blobs; how many blobs."""
    for path, content in source.keys.items():
        file = home / path
        private_folder(file.parent)
        write_private(file, content)
    count = 0
    for blob in _good(source):
        target = home / blob.place
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(blob.below(source.folder.parent / manifests.BLOBS), target)
        count += 1
    return count


def _good(source: Source) -> Iterator[Blob]:
    damaged = set(source.damaged)
    return (blob for blob in manifests.blob_list(source.folder) if blob.sha256 not in damaged)


def _go_on(url: str, source: Source, now: datetime) -> tuple[int, int, int]:
    """The newest schema, then the leap, in one transaction with the audit's row."""
    store = Store.open(url, clock=lambda: now)
    try:
        _check_loaded(store, source)
        migrate(store.engine)
        return store.write_sync(lambda unit: _leap(unit, source.manifest))
    finally:
        store.close()


def _check_loaded(store: Store, source: Source) -> None:
    try:
        with store.engine.connect() as conn:
            conn.exec_driver_sql("SELECT version_num FROM alembic_version").one()
    except DatabaseError:
        raise SetupError(
            f"the database holds no hub yet: load {dump_of(source)} into it with pg_restore first"
        ) from None


def _leap(unit: Unit, manifest: Manifest) -> tuple[int, int, int]:
    step = step_since(manifest.moment, unit.now)
    found = fleet.leap(unit, step), signage.leap(unit, step), signage.in_force(unit)
    sessions.end_all(unit)
    links.void_all(unit)
    detail = {"backup": manifest.moment.isoformat(), "product": manifest.product, "leap": step}
    record(unit, system("shell"), RESTORED, "hub", detail=detail)
    return found


def _clear(home: Path) -> None:
    """Take away what a failed restore put into a home that was empty."""
    for path in home.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
