"""The open segment, and what will be said of it: above all when it began."""

from __future__ import annotations

from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream
from prahari_wire.base import Clock as Quality
from prahari_wire.evidence import Segment

from prahari_agent.camera.recorder.daybook import midnight_ms
from prahari_agent.camera.recorder.segment import OpenSegment
from prahari_agent.camera.recorder.template import Template

DRIFT_MS = 1000
BURST_S = 1.0
"""Packets that come so soon after the first tell whether it came late: cameras send the last key frame's pictures at once when they
are connected, and networks what they held up."""
LATE_S = 0.2
"""Less is jitter."""


@dataclass
class Current:
    """``came_s``: monotonic second of its first packet, whose Unix time is ``came_ms``; ``after_ms``: where the one before ended."""

    open: OpenSegment
    day: str
    position: int
    came_s: float
    came_ms: int
    after_ms: int | None
    offset_s: float
    clock: Quality
    template: Template
    late_s: float = 0.0

    @property
    def start_ms(self) -> int:
        """Its first picture, by the packet of a burst that was held up the least; where the one before ended if that is about then."""
        late_ms = round(self.late_s * 1000) if self.late_s >= LATE_S else 0
        start_ms = max(self.came_ms - late_ms, min(self.came_ms, midnight_ms(self.day)))
        if self.after_ms is None:
            return start_ms
        if abs(start_ms - self.after_ms) <= DRIFT_MS or start_ms < self.after_ms <= self.came_ms:
            return self.after_ms
        return start_ms

    def add(self, packet: Packet[VideoStream], came_s: float) -> bool:
        """As ``OpenSegment.add``."""
        since_s = came_s - self.came_s
        place_s = self.open.place(packet) if since_s <= BURST_S else 0.0
        if not self.open.add(packet):
            return False
        self.late_s = max(self.late_s, place_s - since_s)
        return True

    def closed(self) -> Segment:
        """Bring it to the disk, and what is said of it."""
        duration_ms = round(self.open.seconds * 1000)
        sha256 = self.open.close()
        return Segment(
            position=self.position, start_ms=self.start_ms, duration_ms=duration_ms, size=self.open.size, sha256=sha256,
            codec=self.template.codec, width=self.template.width, height=self.template.height, clock=self.clock,
        )  # fmt: skip
