"""The button of a call box over time: pressed, released, held too long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Hold:
    """How long the button has been down. A pure state machine over monotonic milliseconds."""

    stuck_after_ms: int
    down_since_ms: int | None = None
    stuck: bool = False

    def pressed(self, mono_ms: int) -> None:
        self.down_since_ms = mono_ms

    def released(self, mono_ms: int) -> float | None:
        """The seconds it was held if it had been reported stuck (it no longer is), else None."""
        held_s, was_stuck = self.held_s(mono_ms), self.stuck
        self.down_since_ms, self.stuck = None, False
        return held_s if was_stuck else None

    def check(self, mono_ms: int) -> float | None:
        """The seconds it has been held when it becomes stuck, once a hold; else None."""
        if self.stuck or self.down_since_ms is None or mono_ms - self.down_since_ms < self.stuck_after_ms:
            return None
        self.stuck = True
        return self.held_s(mono_ms)

    def held_s(self, mono_ms: int) -> float:
        return 0.0 if self.down_since_ms is None else (mono_ms - self.down_since_ms) / 1000
