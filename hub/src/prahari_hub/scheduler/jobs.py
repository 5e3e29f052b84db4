"""What runs by the clock: one row a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from prahari_hub.access import chain
from prahari_hub.evidence import progress, redaction
from prahari_hub.evidence.fetching import Pace
from prahari_hub.evidence.parts import TRANSFERS, Parts
from prahari_hub.evidence.progress import Seal, not_sealing
from prahari_hub.fleet import commands, history, journal, live_views, quota, uploads
from prahari_hub.fleet.availability import closing
from prahari_hub.fleet.blobs import open_blobs, open_footage
from prahari_hub.incidents import holds, quiet
from prahari_hub.incidents.rootcause import Flapping
from prahari_hub.operations import parts, sizes
from prahari_hub.scheduler import retention, stepped
from prahari_hub.scheduler.likeness import Likeness
from prahari_hub.scheduler.silence import Silence, bars_of
from prahari_hub.scheduler.transitions import tell_incidents
from prahari_hub.settings import Settings
from prahari_hub.signage import overrides
from prahari_hub.store import Unit, partitions

KEEP_REFUSALS = timedelta(days=30)
HOUR_S = 3600.0


class Job(NamedTuple):
    """``run`` is one transaction; a true result says that there is more to do at once. ``wakes``: topics of changes that
    do not wait for the clock. ``prepare`` reads before it, at leisure. ``ends``: deletes what is old or ends what is over,
    and waits while the clock is not trusted. ``rights``: puts right what a clock that ran ahead has written, and waits also while the
    clock is behind what the hub knows."""

    name: str
    every_s: float
    run: Callable[[Unit], object]
    wakes: frozenset[str] = frozenset()
    ends: bool = False
    rights: bool = False
    prepare: Callable[[Connection, datetime], object] | None = None


def jobs(settings: Settings, seal: Seal = not_sealing) -> list[Job]:
    """``seal`` seals what came for a footage request."""
    flaps = Flapping(settings.flapping_per_hour, timedelta(seconds=settings.flapping_quiet_s))
    advance = partial(progress.advance, pace=Pace(settings.evidence_kbit_s), seal=seal)
    silence, likeness, hold = Silence(bars_of(settings), flaps), Likeness(bars_of(settings)), holds.Refresh()
    return [
        Job("clock.mend", 5.0, _once(stepped.mend)),
        Job("clock.right", 10.0, _once(stepped.Righting()), rights=True),
        Job("transitions", 1.0, partial(tell_incidents, silence=silence), frozenset({"transitions"}), prepare=silence.prepare),
        Job("incidents.hold", 5.0, hold.run, frozenset({"windows"}), prepare=hold.prepare),
        Job("outages.settle", 5.0, _once(silence.settle)),
        Job("faults.gather", 5.0, _once(likeness.gather), prepare=likeness.prepare),
        Job("clones.end", 60.0, _once(quiet.end_clones), ends=True),
        Job("floods.end", 60.0, _once(quiet.end_floods), ends=True),
        Job("live.end", 5.0, _once(live_views.sweep), ends=True),
        Job("windows.follow", 5.0, _once(silence.follow), ends=True),
        Job("commands.overdue", 2.0, _once(commands.conclude_overdue), ends=True),
        Job("overrides.expire", 0.5, _once(overrides.expire), ends=True),
        Job("overrides.renew", 1.0, _once(overrides.renew)),
        Job("evidence.advance", 2.0, _once(advance), frozenset({"requests", "commands"})),
        Job("evidence.copies", 5.0, _once(partial(redaction.advance, pictures=open_blobs(settings), footage=open_footage(settings)))),
        Job("audit.seal", 1.0, _once(chain.seal)),
        Job("refusals.forget", HOUR_S, _once(lambda unit: journal.forget_refusals(unit, before=unit.now - KEEP_REFUSALS)), ends=True),
        Job("partitions.make", HOUR_S, _once(partitions.make_ahead)),
        Job("history.hours", 1.0, _once(history.compact_hours)),
        Job("history.days", 1.0, _once(history.compact_days)),
        Job("availability.close", 1.0, _once(closing.Closer(ZoneInfo(settings.timezone))), ends=True),
        Job("history.forget", HOUR_S, retention.health(settings), ends=True),
        Job("grants.forget", HOUR_S, _once(uploads.forget_grants), ends=True),
        Job("access.sweep", HOUR_S, _once(retention.sweep), ends=True),
        Job("commands.forget", HOUR_S, retention.commands(settings), ends=True),
        Job("events.forget", HOUR_S, retention.events(settings), ends=True),
        Job("uploads.forget", HOUR_S, _once(quota.forget), ends=True),
        Job("parts.sweep", parts.EVERY_S, _once(parts.sweeper(settings)), ends=True),
        Job("sizes.note", HOUR_S, _once(partial(sizes.note, settings))),
        Job("files.forget", HOUR_S, retention.files(settings), ends=True),
        Job("coverage.forget", HOUR_S, retention.coverage, ends=True),
        Job("evidence.forget", HOUR_S, retention.evidence(settings), ends=True),
        Job("transfers.sweep", HOUR_S, _once(lambda _unit: Parts(settings.home / TRANSFERS).sweep()), ends=True),
    ]  # fmt: skip


def _once(work: Callable[[Unit], object]) -> Callable[[Unit], object]:
    """The work, whose result says how much it did, not that there is more."""

    def run(unit: Unit) -> None:
        work(unit)

    return run
