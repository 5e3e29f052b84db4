"""What time it is, and how far that can be trusted.

A Raspberry Pi has no battery-backed clock: it may wake in 1970. A persisted floor keeps stamps from running backwards,
the monotonic clock orders what happened within a boot, and every stamp carries its doubt.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from prahari_wire.base import Clock as Quality
from prahari_wire.base import Wall, now_utc
from prahari_wire.envelope import Stamp

from prahari_agent.state import State

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""This program is younger: no clock that says less is right."""
SYNCED_WITHIN_MS = 2000
FLOOR_MARGIN = timedelta(minutes=1)
"""NTP may step a clock back a little: that is no reason to distrust it."""
DRIFT_PPM = 200
"""An uncompensated quartz of a cheap board; a measured offset loses this much of its worth as time goes by."""
HUB_SPEAKS_WITHIN_MS = 3_600_000
"""A time server that the hub has not confirmed is disputed for so long: it may be the one that is wrong."""
TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


def boottime_ms() -> int:
    """Milliseconds since the box booted, time asleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def kernel_synced() -> bool:
    """Whether NTP disciplines the operating system's clock; timesyncd's mark counts where a sandbox forbids to ask the kernel."""
    told = kernel_says()
    return TIMESYNCD.exists() if told is None else told


def kernel_says() -> bool | None:
    """Whether the kernel's clock is disciplined, by adjtimex(2), which needs no privilege to read; None where it may not be asked."""
    buffer = (ctypes.c_char * 256)()  # struct timex: 208 bytes on 64-bit systems, modes = 0 reads only
    try:
        outcome: int = ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))
    except (OSError, AttributeError):
        return None
    if outcome == -1:
        return None
    status_at = 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20
    status = int.from_bytes(buffer.raw[status_at : status_at + 4], "little")
    return outcome != _TIME_ERROR and not status & _STA_UNSYNC


class _HubTime(NamedTuple):
    """``epoch_ms``: the hub's time at the moment when the device's monotonic clock said ``mono_ms``."""

    epoch_ms: float
    mono_ms: int


class Clock:
    """Wall clock, monotonic clock, floor and the hub's time in one. Thread-safe."""

    def __init__(
        self,
        floor: datetime = EARLIEST,
        *,
        wall: Wall = now_utc,
        mono_ms: Callable[[], int] = boottime_ms,
        os_synced: Callable[[], bool] = kernel_synced,
    ) -> None:
        self._wall, self._mono_ms, self._os_synced = wall, mono_ms, os_synced
        self._lock = Lock()
        self._floor, self._floor_mono_ms = max(floor, EARLIEST), mono_ms()
        self._hub: _HubTime | None = None
        self._contradicted = self._denied = False
        self._begun_mono_ms = mono_ms()

    def mono_ms(self) -> int:
        return self._mono_ms()

    def floor(self) -> datetime:
        """The least that the time can be by now."""
        with self._lock:
            return self._floor + timedelta(milliseconds=self._mono_ms() - self._floor_mono_ms)

    def plausible(self) -> bool:
        """False while the wall clock says less than the floor, as after a boot without a clock.

        Where the hub agrees with the wall clock it is the floor that is wrong: a time server had once been far ahead.
        """
        with self._lock:
            wall, floor = self._wall(), self._floor
        return wall >= floor or (wall >= EARLIEST and self.agrees_with_hub() is True)

    def dates_count(self) -> bool:
        """Whether certificates may be judged by this clock: not below the floor, nor where the hub's own certificate denies a time
        that nobody vouches for. A box that was set a year ahead must still be able to tell of a press.
        """
        if self._contradicted and (self._os_synced() or self.agrees_with_hub()):
            self._contradicted = False
        return self.plausible() and not self._contradicted

    def contradicted(self) -> None:
        """By this clock the hub's certificate has expired or is not valid yet."""
        self._contradicted = self._denied = True

    def now(self) -> datetime:
        return self._wall() if self.plausible() else self.floor()

    def quality(self) -> Quality:
        if not self.plausible():
            return Quality.FLOOR
        return Quality.SYNCED if self.agrees_with_hub() or self._os_synced() else Quality.UNSYNCED

    def agrees_with_hub(self) -> bool | None:
        """Whether the wall clock is within two seconds of the hub's, less what the measure has lost by age; None if not measured."""
        offset_ms = self.offset_ms()
        return None if offset_ms is None else abs(offset_ms) < SYNCED_WITHIN_MS - self._worn_ms()

    def undisputed(self) -> bool:
        """Whether the time may decide what can never be taken back. The hub says the same; or it has not been heard although it had
        its time, and a time server vouches. Neither its time nor its certificate denies it.
        """
        agrees = self.agrees_with_hub()
        if agrees:
            self._denied = False
        if agrees is not None:
            return agrees and self.plausible()
        waited = self._mono_ms() - self._begun_mono_ms >= HUB_SPEAKS_WITHIN_MS
        return waited and not self._denied and self.quality() is Quality.SYNCED

    def stamp(self) -> Stamp:
        return Stamp(at=self.now(), mono_ms=self._mono_ms(), clock=self.quality())

    def hub_said(self, at: datetime, *, sent_mono_ms: int, received_mono_ms: int) -> None:
        """The hub answered ``at`` to something sent; half of the round trip is taken for the way back."""
        with self._lock:
            half_ms = (received_mono_ms - sent_mono_ms) / 2
            self._hub = _HubTime(at.timestamp() * 1000 + half_ms, received_mono_ms)

    def hub_now(self) -> datetime | None:
        """The hub's time now, which wants no clock of our own; None until the hub has answered."""
        with self._lock:
            if self._hub is None:
                return None
            hub_now_ms = self._hub.epoch_ms + self._mono_ms() - self._hub.mono_ms
        return datetime.fromtimestamp(hub_now_ms / 1000, UTC)

    def offset_ms(self) -> float | None:
        """How far the wall clock is ahead of the hub's (negative: behind); None until the hub has answered."""
        hub_now = self.hub_now()
        return None if hub_now is None else (self._wall() - hub_now) / timedelta(milliseconds=1)

    def _worn_ms(self) -> float:
        with self._lock:
            age_ms = 0 if self._hub is None else self._mono_ms() - self._hub.mono_ms
        return min(SYNCED_WITHIN_MS / 2, age_ms * DRIFT_PPM / 1e6)

    def save_floor(self, state: State) -> None:
        """Persist the floor. It rises by a time that is trusted and that the hub does not deny: a clock in 2099 must not
        poison it. Where the hub agrees with the wall clock, a floor above both is lowered.
        """
        wall = self._wall()
        agrees = self.agrees_with_hub()
        if agrees or (agrees is None and self.quality() is Quality.SYNCED):
            with self._lock:
                trusted = max(EARLIEST, wall - FLOOR_MARGIN)
                self._floor = trusted if agrees else max(self._floor, trusted)
                self._floor_mono_ms = self._mono_ms()
        state.put(clock_floor=(self._floor if self.plausible() else self.floor()).isoformat())


def saved_floor(state: State) -> datetime:
    try:
        return max(EARLIEST, datetime.fromisoformat(state.get("clock_floor")))
    except (TypeError, ValueError):
        return EARLIEST
