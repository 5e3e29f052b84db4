"""The override set of one display: kept on disk before it shows, judged by lease and expiry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from prahari_wire.base import Clock, Message, Refused, ShortText, Ulid, parse
from prahari_wire.display import Override, OverrideSet
from prahari_wire.envelope import Stamp

from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger

log = get_logger("display")

RECORD_LIMIT = 64 * 1024
CLOCK_POLL_S = 5.0
"""How often an override that waits for a trusted clock is judged again."""


class Standing(Enum):
    IN_FORCE = "in force"
    WAITING = "waits for a clock that is synced"
    ENDED = "ended"


class Verdict(NamedTuple):
    """``left_s``: judge again after that many seconds at the latest. ``why``: for ENDED, one clause for a person."""

    standing: Standing
    left_s: float | None = None
    why: str = ""


class Record(Message):
    """The file: the set, when and in which boot it came, what had expired by then, and what has ended since."""

    set: OverrideSet
    received: Stamp
    boot: ShortText
    expired: dict[Ulid, ShortText] = {}
    ended: dict[Ulid, ShortText] = {}


def judge(override: Override, record: Record, now: Stamp, boot: str) -> Verdict:
    """Whether an override of ``record`` holds at ``now``.

    Within the boot in which it came the lease counts on the monotonic clock. After a restart of the box that clock
    began anew: then lease and expiry are judged by the wall clock, and only if it was synced then and is now.
    """
    if record.boot == boot:
        lease_left_s = override.lease_s - (now.mono_ms - record.received.mono_ms) / 1000
    elif record.received.clock is not Clock.SYNCED:
        return Verdict(Standing.ENDED, why="the box restarted, and its clock was not synced when this came")
    elif now.clock is not Clock.SYNCED:
        return Verdict(Standing.WAITING, CLOCK_POLL_S)
    else:
        lease_left_s = override.lease_s - (now.at - record.received.at).total_seconds()
    if lease_left_s <= 0:
        return Verdict(Standing.ENDED, why="its lease ended and the hub did not renew it")
    if now.clock is not Clock.SYNCED:
        return Verdict(Standing.IN_FORCE, lease_left_s)
    expiry_left_s = (override.expires_at - now.at).total_seconds()
    if expiry_left_s <= 0:
        return Verdict(Standing.ENDED, why="it expired")
    return Verdict(Standing.IN_FORCE, min(lease_left_s, expiry_left_s))


@dataclass
class Judged:
    """All overrides of the set at one moment; ``left_s`` until this may change.

    ``expired`` had done so before they came, which the hub must know: it would send them again if they just ended.
    """

    in_force: list[Override]
    expired: Mapping[str, str]
    ended: Mapping[str, str]
    left_s: float | None


class OverrideBook:
    """Owns the file of a display's override set."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path, self._boot = path, boot
        self._record = self._load()

    @property
    def epoch(self) -> int | None:
        """The highest epoch taken so far."""
        return None if self._record is None else self._record.set.epoch

    def accept(self, new: OverrideSet, now: Stamp) -> bool:
        """Take ``new`` once it is on disk, or give False: its epoch is not higher.

        OSError if the disk refuses it: the epoch stays, nothing new shows, but what ``new`` takes away is gone at once.
        """
        if self.epoch is not None and new.epoch <= self.epoch:
            return False
        record = Record(set=new, received=now, boot=self._boot, expired=_expired(new, now))
        try:
            write_atomic(self._path, record.model_dump_json().encode())
        except OSError:
            self._withdraw(new)
            raise
        self._record = record
        return True

    def _withdraw(self, new: OverrideSet) -> None:
        """Keep of the set in force only what ``new`` keeps: an operator's end of an override waits for no disk."""
        if self._record is not None:
            wanted = {override.id for override in new.overrides}
            kept = [override for override in self._record.set.overrides if override.id in wanted]
            left = self._record.set.model_copy(update={"overrides": kept})
            self._record = self._record.model_copy(update={"set": left})

    def ids(self) -> set[str]:
        """Those of the set that was taken last."""
        return {override.id for override in self._record.set.overrides} if self._record else set()

    def judged(self, now: Stamp) -> Judged:
        """What holds at ``now``. What has ended is written down and stays ended, whatever the clocks say later."""
        if self._record is None:
            return Judged([], {}, {}, None)
        record = self._record
        over = {**record.expired, **record.ended}
        open_ones = [override for override in record.set.overrides if override.id not in over]
        verdicts = [(override, judge(override, record, now, self._boot)) for override in open_ones]
        ended = {
            override.id: verdict.why for override, verdict in verdicts if verdict.standing is Standing.ENDED
        }
        if ended:
            self._end(record.model_copy(update={"ended": {**record.ended, **ended}}))
        left = [verdict.left_s for _, verdict in verdicts if verdict.left_s is not None]
        in_force = [override for override, verdict in verdicts if verdict.standing is Standing.IN_FORCE]
        return Judged(in_force, record.expired, self._record.ended, min(left, default=None))

    def _end(self, record: Record) -> None:
        """What has ended is over also where the disk is full."""
        self._record = record
        try:
            write_atomic(self._path, record.model_dump_json().encode())
        except OSError as error:
            log.error("overrides.json cannot be written: free space on the disk", error=str(error))

    def _load(self) -> Record | None:
        try:
            return parse(Record, self._path.read_bytes(), limit=RECORD_LIMIT)
        except FileNotFoundError:
            return None
        except (OSError, Refused) as error:
            log.error("overrides.json cannot be read and is set aside", error=str(error))
            if self._path.is_file():
                self._path.replace(self._path.with_suffix(".broken"))
            return None


def _expired(new: OverrideSet, now: Stamp) -> dict[str, str]:
    if now.clock is not Clock.SYNCED:
        return {}
    return {
        override.id: "It has expired by the clock of the display."
        for override in new.overrides
        if override.expires_at <= now.at
    }
