"""What was refused since the last flush: counted by device and reason, and a few kept for whoever repairs the sender."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from prahari_wire.base import Reason, Refused

from prahari_hub import metrics
from prahari_hub.fleet import journal
from prahari_hub.ingest.floods import FLOOD
from prahari_hub.ingest.read import Raw
from prahari_hub.store import Unit

MOST_KEPT = 200
UNKNOWN_DEVICE = "unknown-device"
Heed = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    device: str
    channel: str
    reason: Reason
    detail: str
    payload: bytes


class Refusals:
    """``heed(device)`` is told of each message that was kept.

    Devices that are not registered, and subjects that are none of ours, count under the empty device id."""

    def __init__(self, heed: Heed = lambda device: None) -> None:
        self._heed = heed
        self.counts: Counter[tuple[str, str]] = Counter()
        self.kept: list[Kept] = []

    def count(self, device: str, refused: Refused) -> None:
        self.counts[device, str(refused.reason)] += 1
        metrics.REFUSALS.labels(refused.reason).inc()

    def count_flood(self, device: str) -> None:
        """What was not looked at, because its device is shut out."""
        self.counts[device, FLOOD] += 1
        metrics.REFUSALS.labels(FLOOD).inc()

    def count_unknown(self) -> None:
        self.counts["", UNKNOWN_DEVICE] += 1
        metrics.REFUSALS.labels(UNKNOWN_DEVICE).inc()

    def keep(self, raw: Raw, refused: Refused) -> None:
        self.count(raw.at.device, refused)
        self._heed(raw.at.device)
        if len(self.kept) < MOST_KEPT:
            channel = str(raw.at.channel)
            payload = raw.payload[: journal.KEPT_BYTES]
            self.kept.append(Kept(raw.at.device, channel, refused.reason, refused.detail, payload))

    def write(self, unit: Unit, counts: Counter[tuple[str, str]], kept: list[Kept]) -> None:
        journal.count_refusals(unit, counts)
        for item in kept:
            journal.quarantine(
                unit,
                item.device,
                channel=item.channel,
                reason=item.reason,
                detail=item.detail,
                payload=item.payload,
            )

    def take(self) -> tuple[Counter[tuple[str, str]], list[Kept]]:
        taken = self.counts, self.kept
        self.counts, self.kept = Counter(), []
        return taken
