"""How much one device may send, so that a flood from one starves nobody. Pure: time is a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Tokens that return at ``rate`` a second up to ``burst``; begins full."""

    rate: float
    burst: float
    tokens: float
    at_s: float

    @classmethod
    def full(cls, rate: float, burst: float, now_s: float) -> Bucket:
        return cls(rate, burst, burst, now_s)

    def take(self, now_s: float, cost: float = 1.0) -> bool:
        """Take ``cost`` tokens if they are there."""
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True

    def wait_s(self, cost: float = 1.0) -> float:
        """After how long ``cost`` tokens will be there."""
        return max(0.0, (cost - self.tokens) / self.rate)


HEARTBEAT_EVERY_S = 0.5
"""Two heartbeats a second: the fastest setting is one a second."""
HEARTBEAT_BURST_S = 4.5
"""Ten at once: a heartbeat finds its device at most nine steps ahead of its rate."""
BATCHES = (20.0, 100.0)
"""Event batches and births: a backlog of 2000 small batches drains in 95 s."""
BYTES = (512 * 1024.0, 4 * 1024 * 1024.0)


@dataclass(slots=True)
class Allowance:
    """How many births and batches of events one device may still send now. Heartbeats are limited in the fold: one number each."""

    batches: Bucket
    bytes: Bucket
    told_s: float = float("-inf")

    @classmethod
    def full(cls, now_s: float) -> Allowance:
        return cls(Bucket.full(*BATCHES, now_s), Bucket.full(*BYTES, now_s))

    def batch(self, now_s: float, size: int) -> bool:
        return self.batches.take(now_s) and self.bytes.take(now_s, size)

    def is_full(self, now_s: float) -> bool:
        """Whether it can be forgotten: a new one would say the same."""
        return all(
            bucket.tokens + (now_s - bucket.at_s) * bucket.rate >= bucket.burst
            for bucket in (self.batches, self.bytes)
        )

    def hold_back_s(self, now_s: float) -> float | None:
        """How long to ask the device to wait, at most once a second; None when it has just been asked."""
        if now_s - self.told_s < 1.0:
            return None
        self.told_s = now_s
        return max(1.0, self.batches.wait_s(), self.bytes.wait_s(64 * 1024))
