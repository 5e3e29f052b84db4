"""Jobs that forget what has grown old; how old is a setting."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub.access import links, sessions
from prahari_hub.evidence import coverage as recorded
from prahari_hub.evidence import retention as kept
from prahari_hub.evidence.requests import OLDEST
from prahari_hub.fleet import blobs, history, retention
from prahari_hub.identity.service import sweep_nonces
from prahari_hub.incidents.tables import incidents
from prahari_hub.settings import Settings
from prahari_hub.signage.tables import displays
from prahari_hub.store import Unit


def sweep(unit: Unit) -> None:
    """Sessions, links and nonces that have ended."""
    sessions.sweep(unit)
    links.sweep(unit)
    sweep_nonces(unit)


def commands(settings: Settings) -> Callable[[Unit], object]:
    keep = timedelta(days=settings.keep_commands_days)
    return lambda unit: retention.forget_commands(unit, before=unit.now - keep)


def events(settings: Settings) -> Callable[[Unit], object]:
    """Nothing unless the setting names a number of days."""

    def run(unit: Unit) -> bool:
        if settings.keep_events_days is None:
            return False
        before = unit.now - timedelta(days=settings.keep_events_days)
        more = retention.forget_events(unit, before=before)
        return retention.forget_transitions(unit, before=before) or more

    return run


def health(settings: Settings) -> Callable[[Unit], object]:
    minutes = timedelta(days=settings.keep_health_minutes_days)
    hours = timedelta(days=settings.keep_health_hours_days)
    return lambda unit: history.forget(unit, minutes_before=unit.now - minutes, hours_before=unit.now - hours)


def coverage(unit: Unit) -> bool:
    """Days of which no box can have footage any more."""
    return recorded.forget(unit, before=unit.now - OLDEST)


def evidence(settings: Settings) -> Callable[[Unit], object]:
    """Sealed footage to its date, copies and links for a while."""
    sealed = None if settings.keep_sealed_days is None else timedelta(days=settings.keep_sealed_days)
    copies, links_for = (timedelta(days=n) for n in (settings.keep_copies_days, settings.keep_links_days))

    def run(unit: Unit) -> bool:
        footage = blobs.open_footage(settings)
        before = None if sealed is None else unit.now - sealed
        more = kept.forget_sealed(unit, footage, before=before)
        kept.forget_links(unit, before=unit.now - links_for)
        return kept.forget_copies(unit, footage, before=unit.now - copies) or more

    return run


def files(settings: Settings) -> Callable[[Unit], object]:
    """What was announced and never came, and what came long ago. A piece a run, then from the beginning again."""
    unsent = timedelta(days=settings.keep_announced_days)
    keep = timedelta(days=settings.keep_files_days)
    looked_at: str | None = None

    def run(unit: Unit) -> bool:
        nonlocal looked_at
        retention.forget_unsent(unit, before=unit.now - unsent)
        store = blobs.open_blobs(settings)
        looked_at = retention.forget_files(unit, store, named, before=unit.now - keep, after=looked_at or "")
        return looked_at is not None

    return run


def named(conn: Connection, files: Collection[str]) -> set[str]:
    """Those that an open incident shows, or a display last reported."""
    of_incidents = sa.select(incidents.c.snapshot).where(
        incidents.c.resolved_at.is_(None), incidents.c.snapshot.in_(files)
    )
    of_displays = sa.select(displays.c.frame_sha256).where(displays.c.frame_sha256.in_(files))
    return set(conn.execute(of_incidents).scalars()) | set(conn.execute(of_displays).scalars())
