"""The session: which boot of the box this is, how many connections it has made, and why it started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from uuid import UUID, uuid4, uuid5

from prahari_wire.envelope import Session
from prahari_wire.presence import BootReason

from prahari_agent.clock import boottime_ms
from prahari_agent.state import State

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WATCHDOG = Path("/sys/class/watchdog/watchdog0/bootstatus")
_WDIOF_CARDRESET = 0x20


def boot_id(home: Path, *, source: Path = BOOT_ID) -> UUID:
    """The same for every start within one boot; of its own for each home, so that agents that share a machine differ."""
    try:
        machine = UUID(source.read_text().strip())
    except (OSError, ValueError):
        return uuid4()
    return uuid5(machine, str(home.resolve()))


def watchdog_reset(*, source: Path = WATCHDOG) -> bool:
    """True where the board says that its hardware watchdog caused the last reset."""
    try:
        return bool(int(source.read_text().strip(), 0) & _WDIOF_CARDRESET)
    except (OSError, ValueError):
        return False


def uptime_s() -> int:
    return boottime_ms() // 1000


class Sessions:
    """Numbers connections; ``conn`` never goes back within a boot, also over restarts of the agent.

    It is never below the seconds since boot: so it rises also where ``state.json`` was lost or cannot be written.
    """

    def __init__(
        self,
        state: State,
        boot: UUID,
        *,
        by_watchdog: Callable[[], bool] = watchdog_reset,
        uptime_s: Callable[[], int] = uptime_s,
    ) -> None:
        self._state, self._lock, self._uptime_s = state, Lock(), uptime_s
        self.boot = boot
        before = state.get("boot")
        self.boot_reason = self._reason(before, by_watchdog)
        kept = state.get("conn", 0) if before == str(boot) else 0
        self._conn = max(kept if isinstance(kept, int) else 0, uptime_s())
        state.put(boot=str(boot), conn=self._conn, clean=False)

    def _reason(self, before: str | None, by_watchdog: Callable[[], bool]) -> BootReason:
        clean = bool(self._state.get("clean", False))
        if before == str(self.boot):
            return BootReason.AGENT_RESTART if clean else BootReason.AGENT_CRASH
        if by_watchdog():
            return BootReason.WATCHDOG
        return BootReason.REBOOT if clean else BootReason.POWER_ON

    def current(self) -> Session:
        with self._lock:
            return Session(boot=self.boot, conn=self._conn)

    def next(self) -> Session:
        """The session of the next connection, persisted before it is used."""
        with self._lock:
            self._conn = max(self._conn + 1, self._uptime_s())
            self._state.put(conn=self._conn)
            return Session(boot=self.boot, conn=self._conn)

    def stopped_clean(self) -> None:
        self._state.put(clean=True)
