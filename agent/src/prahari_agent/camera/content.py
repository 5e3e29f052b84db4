"""Is the picture a living one: pure rules for SignalLoss and Frozen, each with raise and clear.

Good video holds exact duplicates now and then, so a picture is frozen only when every frame of ``frozen_after_s`` is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from prahari_wire.camera import CameraFault, ContentFault

GOOD_FRAMES = 3
"""So many good frames end a fault."""


@dataclass
class _Fault:
    since: datetime
    good: int = 0


class Content:
    """Told of every frame and, while none comes, of the silence; gives the faults that begin or end.

    ``active``: faults told before the camera's process started anew.
    """

    def __init__(
        self, *, frozen_after_s: float, signal_loss_after_s: float, active: Iterable[CameraFault] = ()
    ) -> None:
        self._frozen_after_s = frozen_after_s
        self._signal_loss_after_s = signal_loss_after_s
        self._active = {fault.fault: _Fault(fault.since) for fault in active}
        self._same_since: tuple[datetime, float] | None = None

    @property
    def active(self) -> list[ContentFault]:
        return list(self._active)

    @property
    def night(self) -> bool:
        return False

    def frame(self, at: datetime, time_s: float, *, same: bool) -> list[CameraFault]:
        """A frame came; ``same``: every pixel is as in the frame before. ``time_s`` is the source's time line."""
        changes = self._good(ContentFault.SIGNAL_LOSS)
        if not same or self._same_since is None:
            self._same_since = (at, time_s)
        since, since_s = self._same_since
        if not same:
            changes += self._good(ContentFault.FROZEN)
        elif time_s - since_s >= self._frozen_after_s:
            detail = f"the same picture for {time_s - since_s:.0f} s: restart the camera, look at its lens and encoder"
            changes += self._bad(ContentFault.FROZEN, since, detail)
        return changes

    def silence(self, now: datetime, silent_s: float, reason: str | None) -> list[CameraFault]:
        """No frame came for ``silent_s`` until ``now``; ``reason`` is what the source says about it."""
        if silent_s < self._signal_loss_after_s:
            return []
        detail = (reason or "no picture arrives: check the camera's power, cable and address")[:120]
        return self._bad(ContentFault.SIGNAL_LOSS, now - timedelta(seconds=silent_s), detail)

    def _bad(self, fault: ContentFault, since: datetime, detail: str) -> list[CameraFault]:
        if fault in self._active:
            self._active[fault].good = 0
            return []
        self._active[fault] = _Fault(since)
        return [CameraFault(fault=fault, active=True, since=since, detail=detail)]

    def _good(self, fault: ContentFault) -> list[CameraFault]:
        state = self._active.get(fault)
        if state is None:
            return []
        state.good += 1
        if state.good < GOOD_FRAMES:
            return []
        del self._active[fault]
        return [CameraFault(fault=fault, active=False, since=state.since)]
