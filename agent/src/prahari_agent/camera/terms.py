"""What the owner of a camera allows now: kept here, on the box, whatever the hub asks. The city's own cameras allow everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prahari_wire.base import Clock, Message
from prahari_wire.camera import CameraConfig, RuleEvent, Track
from prahari_wire.camera import LineCount as Count
from prahari_wire.envelope import Stamp
from prahari_wire.owner import SENTENCES, Denied, Owner, Tells, Use, denied, off
from prahari_wire.recording import GapCause, RecordingConfig

from prahari_agent.camera.recorder.daybook import Daybook, days_in
from prahari_agent.errors import Rejected
from prahari_agent.log import get_logger

log = get_logger("camera")

_TELLS: dict[type[Message], Tells] = {Track: Tells.TRACKS, RuleEvent: Tells.RULES, Count: Tells.COUNTS}


class Terms:
    """``owner`` is set with each configuration. ``stamp``, ``undisputed``: of Surroundings."""

    def __init__(self, stamp: Callable[[], Stamp], undisputed: Callable[[], bool]) -> None:
        self._stamp, self._undisputed = stamp, undisputed
        self.owner: Owner | None = None

    def off(self) -> Denied | None:
        """Why the camera must not be looked at now. Terms that depend on the time forbid it until the clock is trusted."""
        if self.owner is None:
            return None
        stamp = self._stamp()
        why = off(self.owner, stamp.at, stamp.at.astimezone())
        if why is None and self.owner.bound_to_time and stamp.clock is not Clock.SYNCED:
            return Denied.CLOCK
        return why

    def on(self) -> bool:
        return self.off() is None

    def denied(self, use: Use) -> Denied | None:
        """Why ``use`` is not allowed now; for footage at any hour."""
        return denied(self.owner, use, self._stamp().at)

    def check(self, use: Use) -> None:
        """Rejected, in a sentence of the contract, where the owner does not allow it."""
        why = self.denied(use)
        if why is None and use is not Use.FOOTAGE:
            why = self.off()
        if why is not None:
            raise Rejected(SENTENCES[why])

    def forgotten(self) -> bool:
        """Whether footage of before must go: recorded with a consent that is no more. By a date only where nobody disputes the time."""
        why = self.denied(Use.FOOTAGE)
        sure = self._stamp().clock is Clock.SYNCED and self._undisputed()
        return why is not None and (why is not Denied.ENDED or sure)

    def recording(self, wanted: RecordingConfig) -> RecordingConfig:
        """``wanted``, switched off where nothing may be recorded."""
        allowed = self.owner is None or self.denied(Use.FOOTAGE) is None
        return wanted if allowed else wanted.model_copy(update={"enabled": False})

    def told(self, body: Message) -> Message | None:
        """``body`` as far as it may leave the box, None where nothing of it may."""
        owner = self.owner
        if owner is None or type(body) not in _TELLS:
            return body
        if _TELLS[type(body)] not in owner.tells:
            return None
        if isinstance(body, Count):
            kept = [one for one in body.counts if not owner.classes or one.label in owner.classes]
            return body.model_copy(update={"counts": kept})
        assert isinstance(body, Track | RuleEvent)
        if owner.classes and body.label not in owner.classes:
            return None
        return body if owner.pictures else body.model_copy(update={"snapshot": None})


def within_terms(config: CameraConfig, terms: Terms) -> CameraConfig:
    """The configuration that the camera's process gets."""
    return config.model_copy(update={"recording": terms.recording(config.recording)})


def note_off(folder: Path, *, device: str, camera: str, at_ms: int) -> None:
    """The agent starts while the camera is off: a day that was recorded hears of it. No camera's process may run."""
    if not days_in(folder):
        return
    try:
        book = Daybook(folder, device=device, camera=camera)
        book.begin(at_ms, Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        book.gap(at_ms, GapCause.OFF)
    except OSError as error:
        log.error("that the camera is off cannot be written", camera=camera, error=str(error))
