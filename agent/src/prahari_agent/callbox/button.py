"""The button of a call box over time: pressed, released, held too long; and how often a press is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Hold:
    """How long the button has been down. A pure state machine over monotonic milliseconds."""

    stuck_after_ms: int
    down_since_ms: int | None = None
    last_ms: int = 0

    def pressed(self, mono_ms: int) -> None:
        self.down_since_ms = mono_ms

    def released(self, mono_ms: int) -> None:
        if self.down_since_ms is not None:
            self.last_ms, self.down_since_ms = mono_ms - self.down_since_ms, None

    @property
    def down(self) -> bool:
        return self.down_since_ms is not None

    def stuck(self, mono_ms: int) -> bool:
        return self.down_since_ms is not None and mono_ms - self.down_since_ms >= self.stuck_after_ms

    def held_s(self, mono_ms: int) -> float:
        """How long it has been down, or was when it was down last."""
        return (self.last_ms if self.down_since_ms is None else mono_ms - self.down_since_ms) / 1000
