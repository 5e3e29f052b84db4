"""Who sends what nobody can use, without end, is shut out for a while, and longer each time. Pure: time is a value.

Refused messages and those beyond a device's allowance count. No agent of ours comes near the limit; a program that is stuck in a loop,
or a stolen box, passes it within a second, and from then on costs the hub a look at the subject of what was still under way.
"""

from __future__ import annotations

from dataclasses import dataclass

from prahari_hub.ingest.limits import Bucket

UNUSABLE = (100.0, 1000.0)
"""So many a second, so many at once."""
FIRST_S, MOST_S = 60.0, 900.0
FORGIVEN_S = 3600.0
"""After so long without a flood the next one counts as the first."""
MOST_KEPT = 10_000
FLOOD = "flood"


@dataclass(slots=True)
class Record:
    unusable: Bucket
    times: int = 0
    until_s: float = float("-inf")


class Floods:
    """``shut`` are the devices that are not listened to now, as their names stand in subjects."""

    def __init__(self) -> None:
        self.shut: dict[bytes, float] = {}
        self._records: dict[str, Record] = {}

    def count(self, device: str, now_s: float) -> float | None:
        """One more message that cannot be used; for how many seconds its device is shut out now, if this was one too many."""
        record = self._records.get(device)
        if record is None:
            self._forget(now_s)
            record = self._records[device] = Record(Bucket.full(*UNUSABLE, now_s))
        if record.until_s > now_s or record.unusable.take(now_s):
            return None
        if now_s - record.until_s > FORGIVEN_S:
            record.times = 0
        for_s = float(min(MOST_S, FIRST_S * 2**record.times))
        record.times += 1
        record.until_s = self.shut[device.encode()] = now_s + for_s
        record.unusable = Bucket.full(*UNUSABLE, record.until_s)
        return for_s

    def holds(self, subject: bytes, now_s: float) -> bytes | None:
        """The device of a subject if it is shut out."""
        parts = subject.split(b".", 4)
        device = parts[2 if parts[1] == b"v1" else 3] if len(parts) == 5 else b""
        until_s = self.shut.get(device)
        if until_s is None:
            return None
        if until_s <= now_s:
            del self.shut[device]
            return None
        return device

    def _forget(self, now_s: float) -> None:
        """Drop who has behaved for long enough, the oldest of all others where there are too many."""
        if len(self._records) < MOST_KEPT:
            return
        kept = {device: one for device, one in self._records.items() if one.until_s + FORGIVEN_S > now_s}
        self._records = dict(list(kept.items())[-MOST_KEPT // 2 :])
