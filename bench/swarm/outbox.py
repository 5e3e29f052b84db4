"""A simulated device's outbox: events with their seq, held until an ack names them, repeated with back-off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prahari_wire.events import KINDS

from bench.swarm import payloads
from bench.swarm.chance import CHANCE
from bench.swarm.ledger import Ledger

FIRST_REPEAT_S, LONGEST_REPEAT_S = 3.0, 60.0
"""As the agent repeats."""
LATE_AFTER_S = 30.0
MOST_A_BATCH = 100


@dataclass(slots=True)
class Held:
    cls: int
    before: bytes
    after: bytes
    made_s: float
    due_s: float = 0.0
    attempts: int = 0


class Outbox:
    """One journal. Times are the swarm's monotonic clock in seconds."""

    __slots__ = ("device", "held", "hold_until_s", "journal", "ledger", "seq")

    def __init__(self, device: str, journal: str, ledger: Ledger, *, seq: int = 0) -> None:
        self.device, self.journal, self.ledger, self.seq = device, journal, ledger, seq
        self.held: dict[int, Held] = {}
        self.hold_until_s = 0.0

    @property
    def low(self) -> int:
        """The lowest seq that is held, or the next one."""
        return min(self.held, default=self.seq + 1)

    @property
    def urgent(self) -> bool:
        """Whether a press waits."""
        return any(item.cls == 0 for item in self.held.values())

    def emit(
        self,
        boot: str,
        conn: int,
        up_s: float,
        now_s: float,
        *,
        kind: str,
        peripheral: str | None,
        body: dict[str, Any],
    ) -> int:
        """Hold one more event and enter it into the ledger; its seq."""
        self.seq += 1
        event_id = payloads.quick_ulid()
        before, after = payloads.event_parts(
            boot, conn, up_s, event_id=event_id, seq=self.seq, kind=kind, peripheral=peripheral, body=body
        )
        self.held[self.seq] = Held(KINDS[kind].cls, before, after, now_s)
        self.ledger.made(self.device, self.journal, self.seq, kind, event_id)
        return self.seq

    def due_s(self, *, welcomed: bool) -> float:
        """When the next batch is due; infinite with nothing that may be sent."""
        if not self.held:
            return float("inf")
        presses = min((item.due_s for item in self.held.values() if item.cls == 0), default=float("inf"))
        if not welcomed:
            return presses
        return min(presses, max(self.hold_until_s, min(item.due_s for item in self.held.values())))

    def take(self, now_s: float, *, welcomed: bool) -> bytes | None:
        """The next batch of what is due, presses first; before the welcome and while held back presses alone."""
        free = welcomed and now_s >= self.hold_until_s
        due = [
            (item.cls, seq)
            for seq, item in self.held.items()
            if item.due_s <= now_s and (free or item.cls == 0)
        ]
        if not due:
            return None
        chosen = sorted(sorted(due)[:MOST_A_BATCH], key=lambda pair: pair[1])
        events = []
        for _, seq in chosen:
            item = self.held[seq]
            late = b"true" if now_s - item.made_s > LATE_AFTER_S else b"false"
            events.append(item.before + late + item.after)
            wait_s = min(LONGEST_REPEAT_S, FIRST_REPEAT_S * 2**item.attempts)
            item.attempts += 1
            item.due_s = now_s + wait_s * CHANCE.uniform(0.75, 1.25)
            self.ledger.sent(self.device, self.journal, seq, late=late == b"true")
        return payloads.batch(self.journal, self.low, events)

    def new_connection(self) -> None:
        """What flew on the old connection is due again."""
        for item in self.held.values():
            item.due_s, item.attempts = 0.0, 0

    def acked(self, ack: dict[str, Any], now_s: float) -> None:
        """Forget what is committed or refused."""
        if ack.get("retry_after_s"):
            self.hold_until_s = now_s + float(ack["retry_after_s"])
        if ack.get("journal") != self.journal:
            return
        for refusal in ack.get("refused") or ():
            if self.held.pop(int(refusal["seq"]), None):
                self.ledger.refused(self.device, self.journal, int(refusal["seq"]), str(refusal["detail"]))
        upto = -1 if ack.get("upto") is None else int(ack["upto"])
        beyond = ack.get("beyond") or ()
        for seq in [
            seq for seq in self.held if seq <= upto or any(first <= seq <= last for first, last in beyond)
        ]:
            del self.held[seq]
            self.ledger.acked(self.device, self.journal, seq, str(ack["at"]))
