"""The disk, the clock, the files' modes, the settings."""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from prahari_hub.operations import queries, sizes
from prahari_hub.operations.backup import keys_of
from prahari_hub.operations.doctor.findings import Finding, Look, fail, ok, warn
from prahari_hub.store.copy import sqlite_file
from prahari_hub.texts import N_

MIB, GIB = 1024**2, 1024**3
LEAST_FREE = 0.05
LEAST_FREE_BYTES = GIB
FEW_DAYS, SOME_DAYS = 7, 30
MOST_OFFSET_S = 1.0
TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""
TIMEX_BYTES = 256
GROWTH = N_(
    "The database has {database} GiB on PostgreSQL's machine and grows by {growth} MiB a day: watch the disk there. "
    "On the disk of the home {free} GiB are free."
)
GROWTH_UNKNOWN = N_(
    "The database has {database} GiB on PostgreSQL's machine, how fast it grows is not known yet: watch the disk there. "
    "On the disk of the home {free} GiB are free."
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def disk(look: Look) -> list[Finding]:
    """Room on the home's disk, and for how many days at the growth of the last week; on PostgreSQL how the database grows."""
    if look.store is None:
        return []
    room = look.store.read_sync(lambda conn: sizes.room(look.settings, conn))
    values = {
        "free": f"{room.free / GIB:.1f}",
        "growth": "-" if room.database_a_day is None else f"{max(room.database_a_day, 0) / MIB:.1f}",
        "database": f"{room.database / GIB:.2f}",
        "days": "-" if room.days is None else f"{min(room.days, 9999):.0f}",
    }
    do = N_("Make room, add a disk, or keep less: keep_events_days and keep_files_days in the settings.")
    if room.free < LEAST_FREE_BYTES or room.free < LEAST_FREE * room.total:
        return fail("disk", N_("Only {free} GiB are free on the disk of the home."), do, **values)
    if room.elsewhere:
        return ok("disk", GROWTH_UNKNOWN if room.database_a_day is None else GROWTH, **values)
    if room.days is not None and room.days < SOME_DAYS:
        make = fail if room.days < FEW_DAYS else warn
        return make(
            "disk",
            N_("{free} GiB are free: at the growth of the last week, enough for {days} days."),
            do,
            **values,
        )
    if room.days is None:
        return ok("disk", N_("{free} GiB are free, the database has {database} GiB."), **values)
    return ok(
        "disk", N_("{free} GiB are free, enough for {days} days; the database has {database} GiB."), **values
    )


def clock(look: Look) -> list[Finding]:
    """Whether the kernel holds its clock for synchronised, and how far the database's is away."""
    if look.store is not None:
        offset_s = look.store.read_sync(queries.clock_offset_s)
        if abs(offset_s) > MOST_OFFSET_S:
            return fail(
                "clock",
                N_("The database's clock is {offset} s away from this machine's."),
                N_("Let both machines follow the same time servers (chrony, systemd-timesyncd)."),
                offset=f"{offset_s:.1f}",
            )
    if synchronised() is False:
        return warn(
            "clock",
            N_("This machine's clock is not synchronised."),
            N_("Switch on chrony or systemd-timesyncd; events are judged by this clock."),
        )
    return ok("clock", N_("The clock is synchronised."))


def synchronised() -> bool | None:
    """The kernel's word; None where it cannot be asked."""
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != TIME_ERROR


def modes(look: Look) -> list[Finding]:
    """Keys that others on the machine can read."""
    files = keys_of(look.settings.home, sqlite_file(look.settings.store_url))
    files += [file for file in (look.settings.nats_seed_file, look.settings.webhook_secret_file) if file]
    open_ones = [file for file in files if _readable_by_others(file)]
    if open_ones:
        return fail(
            "modes",
            N_("{count} files with keys or secrets can be read by others, the first is {file}."),
            N_("chmod 600 them and see that they belong to the hub's user."),
            count=len(open_ones),
            file=open_ones[0],
        )
    foreign = [
        file for file in files if file.exists() and file.stat().st_uid != os.geteuid() and os.geteuid() != 0
    ]
    if foreign:
        return warn(
            "modes",
            N_("{file} belongs to another user."),
            N_("Run the doctor as the hub's user, or give the file to it."),
            file=foreign[0],
        )
    return ok("modes", N_("Keys can be read by the hub's user alone."))


def _readable_by_others(file: Path) -> bool:
    try:
        return bool(stat.S_IMODE(file.stat().st_mode) & 0o077) and file.suffix != ".toml"
    except FileNotFoundError:
        return False


def settings(look: Look) -> list[Finding]:
    """Settings that are allowed and hardly meant."""
    given, found = look.settings, []
    everywhere = given.listen not in LOOPBACK
    if everywhere and not given.cookie_secure:
        found += warn(
            "settings",
            N_("The console listens on {address} and its cookies also go over plain HTTP."),
            N_("Put a TLS proxy before it and set PRAHARI_COOKIE_SECURE=true."),
            address=given.listen,
        )
    if everywhere and set(given.hosts) <= {"localhost", "127.0.0.1"}:
        found += fail(
            "settings",
            N_(
                "The hub listens on {address}, and its certificate names localhost alone: no device elsewhere will trust it."
            ),
            N_("Set PRAHARI_HOSTS to the names by which devices reach the hub."),
            address=given.listen,
        )
    if given.webhook_url is None and given.smtp_url is None:
        found += warn(
            "settings",
            N_("Nobody is told of an incident that is not acknowledged."),
            N_("Set webhook_url, or smtp_url with mail_to."),
        )
    return found or ok("settings", N_("The settings fit together."))
