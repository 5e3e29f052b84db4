"""Keep the hub's data: back it up, restore it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prahari_hub.cli.shell import SHELL, Home, load, opened, told
from prahari_hub.errors import SetupError

if TYPE_CHECKING:
    from prahari_hub.operations.backup import Made
    from prahari_hub.operations.restore import Restored, Source
    from prahari_hub.store import Store

PassphraseFile = Annotated[
    Path | None, typer.Option(help="Its first line seals the keys; without it they lie open in the backup.")
]
MIB = 1024 * 1024


def add_to(app: typer.Typer) -> None:
    for command in (backup, restore):
        app.command()(command)


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder of backups, on another disk; made if need be.")],
    passphrase_file: PassphraseFile = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Delete all but so many of the newest backups.")
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="On PostgreSQL: the dump that pg_dump --format=custom wrote right before; it is read to its end and copied in.",
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Back up the hub, also while it runs: database, pictures, keys. Pictures that the folder has already are not copied again."""
    from prahari_hub.access.audit import record
    from prahari_hub.operations import backup as backups
    from prahari_hub.operations import dump as dumps

    with opened(home) as store:
        began = datetime.now(UTC)
        made = backups.backup(
            load(home),
            folder,
            now=began,
            passphrase=_passphrase(passphrase_file),
            keep=keep,
            dump=dump,
            postgresql_revision=_revision(store),
            progress=_say,
        )
        took_s = (datetime.now(UTC) - began).total_seconds()
        detail = {
            "made_at": began.isoformat(),
            "folder": str(made.folder),
            "bytes": _size(made),
            "took_s": round(took_s, 1),
        }
        if made.manifest.database_at is not None:
            detail["dump_at"] = made.manifest.database_at.isoformat()
        store.write_sync(lambda unit: record(unit, SHELL, backups.ACTION, "hub", detail=detail))
    _report(made, took_s)
    if dump is not None and not dumps.reads():
        print(
            "pg_restore is not installed here: of the dump only the beginning was looked at. Install postgresql-client."
        )


def restore(
    source: Annotated[Path, typer.Argument(help="A backup, or a folder of backups: its newest one.")],
    home: Annotated[Path, typer.Option("--home", help="The new home; empty, or not there yet.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the keys of a sealed backup.")
    ] = None,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Leave out pictures that are missing or damaged in the backup."),
    ] = False,
    check_only: Annotated[bool, typer.Option("--check", help="Check the backup and write nothing.")] = False,
) -> None:
    """Make an empty home the hub of a backup. Every hash is checked before anything is written."""
    from prahari_hub.operations import restore as restores

    with told():
        if not check_only:
            restores.check_empty(home)
        found = restores.newest_in(source)
        checked = restores.check(
            found, passphrase=_passphrase(passphrase_file), skip_damaged=skip_damaged, progress=_say
        )
        print(
            f"The backup {found} of {checked.manifest.made_at:%Y-%m-%d %H:%M:%SZ} is whole: {_summary(checked)}."
        )
        _say_which_database(checked, source)
        if check_only:
            return
        done = restores.restore(checked, load(home), now=datetime.now(UTC))
    _say_what_next(home, checked, done)


def _summary(source: Source) -> str:
    manifest = source.manifest
    lost = f", {len(source.damaged)} of them damaged" if source.damaged else ""
    return f"schema {manifest.revision}, {manifest.blobs} blobs ({manifest.blob_bytes / MIB:.1f} MiB){lost}"


def _say_which_database(found: Source, named: Path) -> None:
    """On PostgreSQL the database is loaded by its own tools."""
    from prahari_hub.operations import restore as restores

    if found.manifest.database == "sqlite":
        return
    print(f"Its database is {restores.dump_of(found)}: pg_restore loads it into an empty one.")
    if found.manifest.database_at is None and (older := restores.newest_with_database(named)) is not None:
        print(f"The newest backup with a database is {older}.")


def _say(part: str) -> None:
    print(f"{part} …", file=sys.stderr)


def _passphrase(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text().splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise SetupError(f"no passphrase can be read from {file}: {error}") from None


def _revision(store: Store) -> str | None:
    """The schema of a PostgreSQL database; that of SQLite is read from the copy."""
    if store.engine.dialect.name == "sqlite":
        return None
    return store.read_sync(
        lambda conn: conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    )


def _size(made: Made) -> int:
    return sum(file.size for file in made.manifest.files) + made.manifest.blob_bytes


def _report(made: Made, took_s: float) -> None:
    manifest, tally = made.manifest, made.tally
    print(
        f"{made.folder}: {_size(made) / MIB:.1f} MiB in {took_s:.1f} s; {tally.blobs} blobs, {tally.copied} of them new "
        f"({tally.copied_size / MIB:.1f} MiB)."
    )
    if made.removed:
        print(f"{made.removed} older backups are deleted.")
    if manifest.database == "postgresql" and manifest.database_at is None:
        print(
            "The database is PostgreSQL and NOT in here, these are keys and pictures only: run pg_dump right before this command "
            "and give it the file with --dump (docs/operations.md)."
        )
    if manifest.blobs_elsewhere:
        print(
            "The pictures lie where blobs_url says and are NOT in here: back that store up by its own means."
        )
    if not manifest.sealed:
        print(
            "The keys lie open in the backup: whoever reads it can pass for the hub. --passphrase-file seals them."
        )
    for file in made.outside:
        print(f"{file} lies outside the home and is NOT in here.")


def _say_what_next(home: Path, source: Source, done: Restored) -> None:
    moment = f"{source.manifest.moment:%Y-%m-%d %H:%M} UTC"
    print(
        f"The hub of {moment} stands in {home}; {done.blobs} blobs are back. What happened after that time is gone:"
    )
    print("  - events that devices had delivered since: they keep no copy of what was acknowledged;")
    print(
        "  - certificates that devices renewed since are taken in again by themselves; a device ENROLLED since needs a new claim;"
    )
    print(
        "  - devices, users and claims added since, and every revocation since: REVOKE AGAIN devices, tokens and users that you shut out;"
    )
    print(
        f"  - overrides put up since end when their displays connect; {done.overrides} of the backup go out again: look at them now."
    )
    print(
        f"{done.twins} twins and {done.displays} displays go out with new numbers when their devices connect. "
        "Everybody has to sign in again."
    )
    if source.manifest.database == "sqlite" and load(home).database_url is not None:
        print(
            "hub.toml of the backup names a database_url: take that line out, the database is hub.db in the home now."
        )
    if source.manifest.blobs_elsewhere:
        print("The pictures lie where blobs_url says; see that they are there.")
    print(f"Next: prahari-hub doctor --home {home}, then prahari-hub serve --home {home}.")
