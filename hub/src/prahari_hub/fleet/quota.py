"""How much a device may send in a day, so that one that is broken or stolen cannot fill the disk."""

from __future__ import annotations

from datetime import date, datetime


class Quota:
    """Bytes a device and day (UTC), counted in memory: a restarted hub begins anew."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._day: date | None = None
        self._sent: dict[str, int] = {}

    def take(self, device: str, size: int, now: datetime) -> bool:
        """Count ``size`` bytes; False, and nothing counted, where they are too many for today."""
        if now.date() != self._day:
            self._day, self._sent = now.date(), {}
        total = self._sent.get(device, 0) + size
        if total > self.most_bytes:
            return False
        self._sent[device] = total
        return True
