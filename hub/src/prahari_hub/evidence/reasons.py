"""The fixed words of a request: where it stands, how it ended, and why footage is missing. Figures count these and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from prahari_hub.evidence.spans import Gap


class State(StrEnum):
    """SUBMITTED ─▶ COLLECTING ─▶ SEALED, or CLOSED without anything sealed."""

    SUBMITTED = "submitted"
    COLLECTING = "collecting"
    SEALED = "sealed"
    CLOSED = "closed"


class Outcome(StrEnum):
    FULFILLED = "fulfilled"
    PARTIAL = "partial"
    REFUSED = "refused"
    IMPOSSIBLE = "impossible"


class CameraState(StrEnum):
    """Of one camera of a request: ASKED ─▶ PRESERVING ─▶ SENDING ─▶ RECEIVED, or MISSING."""

    ASKED = "asked"
    PRESERVING = "preserving"
    SENDING = "sending"
    RECEIVED = "received"
    MISSING = "missing"


class TransferState(StrEnum):
    """Of one stretch of one camera: WANTED ─▶ ASKED ─▶ COMING ─▶ RECEIVED; FAILED, or OFF once nobody waits for it any more."""

    WANTED = "wanted"
    ASKED = "asked"
    COMING = "coming"
    RECEIVED = "received"
    FAILED = "failed"
    OFF = "off"


class Miss(StrEnum):
    """Why footage that was asked for is not there."""

    NO_CAMERA = "no_camera"
    NOT_RECORDING = "not_recording"
    OVERWRITTEN = "overwritten"
    POWER = "power"
    SIGNAL = "signal"
    DISK = "disk"
    CLOCK = "clock"
    MAINTENANCE = "maintenance"
    RECORDER = "recorder"
    DAMAGED = "damaged"
    DEVICE_LOST = "device_lost"
    DEVICE_FAILED = "device_failed"
    OUT_OF_TIME = "out_of_time"
    EVENTS_ONLY = "events_only"
    OWNER_CONSENT = "owner_consent"


class Refusal(StrEnum):
    """Why a person said no."""

    NOT_ENTITLED = "not_entitled"
    NO_PURPOSE = "no_purpose"
    TOO_WIDE = "too_wide"
    DUPLICATE = "duplicate"
    WITHDRAWN = "withdrawn"


OF_CAUSE: Mapping[str, Miss] = {
    "power": Miss.POWER,
    "signal": Miss.SIGNAL,
    "disk": Miss.DISK,
    "clock": Miss.CLOCK,
    "maintenance": Miss.MAINTENANCE,
    "overwritten": Miss.OVERWRITTEN,
    "off": Miss.NOT_RECORDING,
    "fault": Miss.RECORDER,
    "record": Miss.DAMAGED,
}


def main_miss(gaps: Iterable[Gap], otherwise: Miss) -> Miss:
    """The reason that explains most of the missing time; ``otherwise`` where nothing explains any."""
    lengths: dict[Miss, int] = {}
    for gap in gaps:
        miss = OF_CAUSE[gap.cause]
        lengths[miss] = lengths.get(miss, 0) + gap.end_ms - gap.start_ms
    return max(lengths, key=lambda miss: (lengths[miss], miss)) if lengths else otherwise
