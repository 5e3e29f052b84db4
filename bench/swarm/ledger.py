"""What the swarm sent and what came back, and the balance with the hub's database: nothing acked may be missing or doubled."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from hdrh.histogram import HdrHistogram
from prahari_wire.events import PRESS

LONGEST_US = 3_600_000_000
Key = tuple[str, str, int]
"""(device, journal, seq)"""


class Entry(NamedTuple):
    """Unix times in seconds; ``acked_s`` 0 while no ack came. ``first_late``: it was not live when first sent."""

    kind: str
    ulid: str
    made_s: float
    sent_s: float = 0.0
    acked_s: float = 0.0
    refused: str = ""
    first_late: bool = False


@dataclass
class Balance:
    """The ledger against the database; lists hold at most the first hundred keys."""

    made: int = 0
    acked: int = 0
    unacked: int = 0
    refused: int = 0
    stored: int = 0
    missing: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    foreign: list[Key] = field(default_factory=list)
    presses: int = 0
    presses_without_incident: list[Key] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Nothing acked is missing, nothing is doubled, no event came from nowhere, each press that was live has its incident."""
        return not (self.missing or self.doubled or self.foreign or self.presses_without_incident)

    def __str__(self) -> str:
        return (
            f"{self.made} events made, {self.acked} acked, {self.unacked} open, {self.refused} refused, {self.stored} stored; "
            f"missing {self.missing[:5]}, doubled {self.doubled[:5]}, foreign {self.foreign[:5]}, "
            f"presses {self.presses}, without incident {self.presses_without_incident[:5]}"
        )


class Ledger:
    """One thread writes; ``check`` and ``summary`` may be called from another when the swarm is still."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.counts: Counter[str] = Counter()
        self.to_ack = HdrHistogram(1, LONGEST_US, 3)
        self.press_to_ack = HdrHistogram(1, LONGEST_US, 3)
        self.commit_to_ack = HdrHistogram(1, LONGEST_US, 3)

    def made(self, device: str, journal: str, seq: int, kind: str, ulid: str) -> None:
        self.entries[device, journal, seq] = Entry(kind, ulid, time.time())

    def sent(self, device: str, journal: str, seq: int, *, late: bool) -> None:
        key = (device, journal, seq)
        entry = self.entries[key]
        self.counts["event_sends"] += 1
        if entry.sent_s == 0.0:
            self.entries[key] = entry._replace(sent_s=time.time(), first_late=late)
        else:
            self.counts["event_repeats"] += 1

    def refused(self, device: str, journal: str, seq: int, detail: str) -> None:
        key = (device, journal, seq)
        self.entries[key] = self.entries[key]._replace(refused=detail)

    def acked(self, device: str, journal: str, seq: int, hub_at: str) -> None:
        key = (device, journal, seq)
        entry, now_s = self.entries[key], time.time()
        if entry.acked_s:
            self.counts["acked_twice"] += 1
            return
        self.entries[key] = entry._replace(acked_s=now_s)
        took_us = _us(now_s - entry.sent_s)
        self.to_ack.record_value(took_us)
        if entry.kind == PRESS:
            self.press_to_ack.record_value(_us(now_s - entry.made_s))
        self.commit_to_ack.record_value(_us(now_s - datetime.fromisoformat(hub_at).timestamp()))

    @property
    def open(self) -> int:
        """Events that wait for their ack."""
        return sum(1 for entry in list(self.entries.values()) if not entry.acked_s and not entry.refused)

    def summary(self) -> dict[str, Any]:
        """Counts, and percentiles in milliseconds: first sent to ack; press to ack; the ack's own time to its arrival."""
        entries = list(self.entries.values())
        return {
            "events": len(entries),
            "acked": sum(1 for entry in entries if entry.acked_s),
            "refused": sum(1 for entry in entries if entry.refused),
            **self.counts,
            "sent_to_ack": shown(self.to_ack),
            "press_to_ack": shown(self.press_to_ack),
            "commit_to_ack": shown(self.commit_to_ack),
        }

    def save(self, file: Path) -> None:
        """For a coordinator in another process."""
        state = self.entries, self.counts, [h.encode() for h in self._histograms]
        file.write_bytes(pickle.dumps(state))

    def merge(self, file: Path) -> None:
        """Take over what another process of this swarm saved."""
        entries, counts, histograms = pickle.loads(file.read_bytes())
        self.entries |= entries
        self.counts.update(counts)
        for mine, encoded in zip(self._histograms, histograms, strict=True):
            mine.decode_and_add(encoded)

    @property
    def _histograms(self) -> tuple[HdrHistogram, HdrHistogram, HdrHistogram]:
        return self.to_ack, self.press_to_ack, self.commit_to_ack

    def check(self, database_url: str) -> Balance:
        """Compare with the events of the hub's database, and each live press with the incidents."""
        engine = sa.create_engine(database_url)
        try:
            with engine.connect() as conn:
                known = {(device, journal) for device, journal, _ in self.entries}
                rows = conn.execute(sa.text("SELECT device_id, journal, seq FROM events"))
                stored = Counter(
                    (device, journal, int(seq)) for device, journal, seq in rows if (device, journal) in known
                )
                logged = set(
                    conn.scalars(sa.text("SELECT event_ulid FROM incident_log WHERE event_ulid IS NOT NULL"))
                )
        finally:
            engine.dispose()
        return self._balance(stored, logged)

    def _balance(self, stored: Counter[Key], logged: set[str]) -> Balance:
        entries = dict(self.entries)
        live_presses = [
            key
            for key, entry in entries.items()
            if entry.kind == PRESS and entry.acked_s and not entry.first_late
        ]
        return Balance(
            made=len(entries),
            acked=sum(1 for entry in entries.values() if entry.acked_s),
            unacked=sum(1 for entry in entries.values() if not entry.acked_s and not entry.refused),
            refused=sum(1 for entry in entries.values() if entry.refused),
            stored=sum(stored.values()),
            missing=_first(key for key, entry in entries.items() if entry.acked_s and key not in stored),
            doubled=_first(key for key, count in stored.items() if count > 1),
            foreign=_first(key for key in stored if key not in entries),
            presses=len(live_presses),
            presses_without_incident=_first(key for key in live_presses if entries[key].ulid not in logged),
        )


def shown(histogram: HdrHistogram) -> dict[str, float]:
    """Milliseconds of a histogram of microseconds."""
    found: dict[str, float] = {"n": histogram.get_total_count()}
    if found["n"]:
        for name, at in (("p50_ms", 50.0), ("p95_ms", 95.0), ("p99_ms", 99.0), ("max_ms", 100.0)):
            found[name] = round(histogram.get_value_at_percentile(at) / 1000, 2)
    return found


def _us(seconds: float) -> int:
    return min(LONGEST_US, max(1, int(seconds * 1_000_000)))


def _first(keys: Iterable[Key]) -> list[Key]:
    found: list[Key] = []
    for key in keys:
        found.append(key)
        if len(found) == 100:
            break
    return found
