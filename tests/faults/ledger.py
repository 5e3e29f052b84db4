"""What the field knows: every event that was made and every one that the hub has acknowledged. Compared with the hub's database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple
from uuid import UUID

from prahari_wire.ack import Ack


class Number(NamedTuple):
    """What names an event for ever."""

    device: str
    journal: str
    seq: int


@dataclass(frozen=True)
class Balance:
    """``missing``: acknowledged and not in the database. ``doubled``: there more than once. ``invented``: there, never made."""

    made: int
    acked: int
    stored: int
    missing: list[Number]
    doubled: list[Number]
    invented: list[Number]

    @property
    def good(self) -> bool:
        return not (self.missing or self.doubled or self.invented)


@dataclass
class Ledger:
    """Thread-safe. ``refused`` are those that the hub said it will never accept."""

    made: set[Number] = field(default_factory=set)
    acked: set[Number] = field(default_factory=set)
    refused: set[Number] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def make(self, device: str, journal: UUID, seq: int) -> None:
        with self._lock:
            self.made.add(Number(device, str(journal), seq))

    def note(self, device: str, ack: Ack, held: Iterable[int]) -> list[int]:
        """Those of the ``held`` seqs that ``ack`` settles; notes them as acknowledged, or refused."""
        refused = {refusal.seq for refusal in ack.refused}
        upto = -1 if ack.upto is None else ack.upto
        done = [
            seq
            for seq in held
            if seq <= upto or seq in refused or any(first <= seq <= last for first, last in ack.beyond)
        ]
        with self._lock:
            for seq in done:
                number = Number(device, str(ack.journal), seq)
                (self.refused if seq in refused else self.acked).add(number)
        return done

    def balance(self, stored: Iterable[Number]) -> Balance:
        """Compare with the events that the database holds of the ledger's devices."""
        found = Counter(stored)
        with self._lock:
            devices = {number.device for number in self.made}
            return Balance(
                len(self.made),
                len(self.acked),
                sum(number.device in devices for number in found),
                sorted(self.acked - set(found)),
                sorted(number for number, count in found.items() if count > 1 and number.device in devices),
                sorted(number for number in found if number.device in devices and number not in self.made),
            )
