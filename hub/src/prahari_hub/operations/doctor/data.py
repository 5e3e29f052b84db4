"""The database, its schema, the audit log, the pictures, the backups."""

from __future__ import annotations

from datetime import datetime, timedelta

from prahari_hub.access import chain
from prahari_hub.errors import Unavailable
from prahari_hub.operations import parts, queries
from prahari_hub.operations.doctor.findings import Finding, Look, fail, ok, warn
from prahari_hub.operations.manifest import BLOBS, hash_of
from prahari_hub.store.copy import faults, sqlite_file
from prahari_hub.store.migrate import knows, newest, stands
from prahari_hub.texts import N_

SAMPLE = 200
BACKUP_OLD, BACKUP_TOO_OLD = timedelta(days=2), timedelta(days=7)
OLDEST_POSTGRESQL = 15


def database(look: Look) -> list[Finding]:
    """Sound, and one on which the hub is tested. A look at every page takes a second for 200 MB: only when thorough."""
    file = sqlite_file(look.settings.store_url)
    if file is None:
        return _postgresql(look)
    if not look.thorough:
        return ok("database", N_("The database is SQLite in {file}."), file=file)
    try:
        found = faults(file, thorough=True)
    except Unavailable as error:
        return fail(
            "database",
            "{error}.",
            N_("See that the home is the right one and that its owner may read it."),
            error=error,
        )
    if found:
        return fail(
            "database",
            N_("The database file is damaged: {first}."),
            N_(
                "Stop the hub, keep {file}, and restore the last good backup into an empty home: prahari-hub restore."
            ),
            first=found[0].splitlines()[-1],
            file=file,
        )
    return ok("database", N_("Every page and index of the database is sound."))


def _postgresql(look: Look) -> list[Finding]:
    if look.store is None:
        return fail(
            "database",
            N_("PostgreSQL does not answer."),
            N_("See that it runs and that PRAHARI_DATABASE_URL is right; its own log says more."),
        )
    facts = look.store.read_sync(queries.postgresql)
    if facts.version < OLDEST_POSTGRESQL:
        return warn(
            "database",
            N_("PostgreSQL {version} is older than what the hub is tested on."),
            N_("Upgrade to {least} or newer."),
            version=facts.version,
            least=OLDEST_POSTGRESQL,
        )
    if facts.encoding != "UTF8":
        return fail(
            "database",
            N_("The database's encoding is {encoding}."),
            N_("Make one with ENCODING 'UTF8' and load a dump into it."),
            encoding=facts.encoding,
        )
    if facts.collation_moved:
        return warn(
            "database",
            N_("The operating system's sort order changed under the database."),
            N_("Run REINDEX DATABASE and ALTER DATABASE … REFRESH COLLATION VERSION."),
        )
    return ok("database", N_("PostgreSQL {version} answers."), version=facts.version)


def schema(look: Look) -> list[Finding]:
    if look.store is None:
        return []
    found = look.store.read_sync(stands)
    wanted = newest()
    if found == wanted:
        return ok("schema", N_("The schema is {revision}, this version's."), revision=found)
    if found is None or knows(found):
        return warn(
            "schema",
            N_("The schema is {revision}, this version's is {wanted}."),
            N_("Start the hub: it brings the schema up by itself. Take a backup before."),
            revision=found or "-",
            wanted=wanted,
        )
    return fail(
        "schema",
        N_("The schema {revision} is of a newer hub."),
        N_("Install the version that wrote it, or restore a backup of before."),
        revision=found,
    )


def audit_log(look: Look) -> list[Finding]:
    """Reads every row: only when thorough."""
    if look.store is None or not look.thorough:
        return []
    found = look.store.read_sync(chain.verify)
    if found.broken is not None:
        return fail(
            "audit",
            N_("The audit log is not as it was sealed from row {row} on: {reason}."),
            N_(
                "Somebody changed the database past the hub. Keep it, find out who could, and compare with a backup."
            ),
            row=found.broken,
            reason=found.reason,
        )
    return ok("audit", N_("{count} rows of the audit log are as they were sealed."), count=found.sealed)


def pictures(look: Look) -> list[Finding]:
    """A sample of the files that the database says are stored: all there, and as their hash says."""
    if look.store is None or look.settings.blobs_url is not None:
        return []
    sample = look.store.read_sync(lambda conn: queries.stored_files(conn, SAMPLE if look.thorough else 20))
    lost = spoilt = 0
    for sha256 in sample:
        file = look.settings.home / BLOBS / sha256[:2] / sha256
        if not file.is_file():
            lost += 1
        elif look.thorough and hash_of(file) != sha256:
            spoilt += 1
    if lost or spoilt:
        return fail(
            "pictures",
            N_("Of {count} stored pictures looked at, {lost} are missing and {spoilt} damaged."),
            N_("Copy blobs/ back from the newest backup; the disk may be failing."),
            count=len(sample),
            lost=lost,
            spoilt=spoilt,
        )
    return ok("pictures", N_("{count} stored pictures looked at, all there."), count=len(sample))


def unfinished(look: Look) -> list[Finding]:
    count = sum(1 for _ in parts.abandoned(look.settings))
    if count:
        return warn(
            "unfinished",
            N_("{count} uploads were never finished and lie about."),
            N_(
                "A running hub deletes them within two and a half hours: nothing was added to them for a day."
            ),
            count=count,
        )
    return []


def backups(look: Look) -> list[Finding]:
    """What decides is the age of the newest database that is kept: keys and pictures alone make no hub."""
    if look.store is None:
        return []
    found = look.store.read_sync(queries.backups)
    if found.last is None:
        return warn("backup", N_("No backup was ever made."), _how_to_back_up(look))
    values = {"days": _days(look, found.kept or found.last), "folder": found.folder}
    if found.kept is None:
        return warn(
            "backup",
            N_(
                "The last backup, {days} days old, holds keys and pictures only: the database was never in one."
            ),
            _how_to_back_up(look),
            **values,
        )
    if look.now - found.kept <= BACKUP_OLD:
        if found.kept != found.database:
            text = N_(
                "PostgreSQL archives its log: with keys and pictures the hub of {days} days ago is kept, if a base backup lies with it."
            )
            return ok("backup", text, **values)
        return ok("backup", N_("The last backup, {days} days old, is in {folder}."), **values)
    make = fail if look.now - found.kept > BACKUP_TOO_OLD else warn
    if look.now - found.last <= BACKUP_OLD:
        text = N_(
            "The last backup with a database is {days} days old; what was made since holds keys and pictures only."
        )
        return make("backup", text, _how_to_back_up(look), **values)
    return make("backup", N_("The last backup is {days} days old."), _how_to_back_up(look), **values)


def _how_to_back_up(look: Look) -> str:
    if sqlite_file(look.settings.store_url) is not None:
        return N_("Let a timer run prahari-hub backup every night, onto another disk or machine.")
    return N_(
        "Let a timer run pg_dump and then prahari-hub backup with --dump every night, onto another disk or machine: docs/operations.md."
    )


def _days(look: Look, moment: datetime) -> str:
    return f"{(look.now - moment).total_seconds() / 86400:.1f}"
