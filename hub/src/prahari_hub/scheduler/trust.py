"""Whether the hub's clock can be believed: by a clock that has jumped a year ahead, everything would be old and be deleted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from prahari_hub.scheduler.tables import hub_clock
from prahari_hub.store import Unit
from prahari_hub.store.upsert import upsert

JUMP = timedelta(days=1)
KEEP_EVERY = timedelta(minutes=1)
NOISE = timedelta(minutes=1)
"""A clock that is behind by less has been slewed, or set by a moment."""
PATIENCE_S = 3600.0
"""A hub that was off over a holiday goes on by itself after this long; a time server that is wrong is mostly put right sooner."""
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this no hub was: a clock that shows it has not been set yet, and whatever follows is no jump."""
log = logging.getLogger(__name__)


def boottime_s() -> float:
    """Seconds since the start of the machine, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Trust:
    """Keeps the newest trusted time in the store and goes on from it by a clock that nobody sets.

    While the wall clock is more than JUMP ahead of that, ``held`` says so and jobs that delete or end things wait. It ends when the
    wall clock comes back, after PATIENCE_S, or with ``accept``, by which an administrator says that the time is right at the start.

    While it is ``behind``, nobody knows which of the two was wrong. A step back of at most JUMP while the hub runs is taken for a
    correction; another clock that stays behind is believed after PATIENCE_S, and one before BEGINNING never.
    """

    def __init__(self, *, accept: bool = False, elapsed_s: Callable[[], float] = boottime_s) -> None:
        self._accept = accept
        self._elapsed_s = elapsed_s
        self._newest: datetime | None = None
        self._at_s = 0.0
        self._kept: datetime | None = None
        self._held_since_s = 0.0
        self._behind_since_s = 0.0
        self.held: str | None = None
        self.behind = False

    def check(self, unit: Unit) -> bool:
        """Whether jobs that delete or end things may run in this transaction."""
        starts = self._newest is None
        if self._newest is None:
            self._kept = unit.conn.scalar(sa.select(hub_clock.c.at))
            self._newest, self._at_s = self._kept or unit.now, self._elapsed_s()
        now_s = self._elapsed_s()
        expected = self._newest + timedelta(seconds=now_s - self._at_s)
        patient = self.held is not None and now_s - self._held_since_s >= PATIENCE_S
        if unit.now > expected + JUMP and expected >= BEGINNING and not (self._accept or patient):
            self._hold(unit.now, expected)
            return False
        if self._accept or patient:
            self._accept, expected = False, unit.now
        if self.held is not None:
            log.info("the hub's clock is trusted again; what waited is done now")
            self.held = None
        if self._is_right(unit.now, expected, now_s, starts=starts) or expected < BEGINNING:
            expected = unit.now
        self._newest, self._at_s = max(unit.now, expected), now_s
        self._keep(unit)
        return True

    def _is_right(self, now: datetime, expected: datetime, now_s: float, *, starts: bool) -> bool:
        """Whether a clock that is not ahead is taken as right; ``behind`` says it of the moment."""
        was_behind, back = self.behind, expected - now
        self.behind = back > NOISE or now < BEGINNING
        if not self.behind:
            return True
        if not was_behind:
            self._behind_since_s = now_s
            log.warning(
                "the hub's clock says %s UTC, by what it knew it is %s UTC",
                f"{now:%F %T}",
                f"{expected:%F %T}",
            )
        corrected = not (starts or was_behind) and back <= JUMP
        if now >= BEGINNING and (corrected or now_s - self._behind_since_s >= PATIENCE_S):
            self.behind = False
        return not self.behind

    def _hold(self, now: datetime, expected: datetime) -> None:
        if self.held is None:
            self._held_since_s = self._elapsed_s()
            self.held = (
                f"the hub's clock says {now:%Y-%m-%d %H:%M} UTC, by what it knows it is {expected:%Y-%m-%d %H:%M}: nothing is deleted "
                "and nothing expires for an hour; set the clock right until then, or, if it is right and that is too long, "
                "start the hub once with PRAHARI_ACCEPT_CLOCK=1"
            )
            log.error("%s", self.held)

    def _keep(self, unit: Unit) -> None:
        newest = self._newest
        if newest is None or (self._kept is not None and abs(newest - self._kept) < KEEP_EVERY):
            return
        upsert(unit.conn, hub_clock, {"id": 1, "at": newest}, keys=("id",))
        unit.after(lambda: self._has_kept(newest))

    def _has_kept(self, at: datetime) -> None:
        self._kept = at
