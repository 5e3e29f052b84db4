"""Whether a device is there, by the hub's clock alone: a pure machine, driven with times and sessions as values.

    UNKNOWN ── a message ──▶ ONLINE ── silence or a death of this session ──▶ SUSPECT ── grace ──▶ OFFLINE
       ▲                        ▲─────────────── a message ──────────────────────┴──────────────────┘
       └── the hub was blind: from every state, until a full grace has passed in sight of the broker

A death counts only if its session is the current one. A device that was never heard stays UNKNOWN. Times are seconds of one
monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prahari_wire.health import HEARTBEAT_S

SUPERSEDED = 4
"""How many earlier boot ids are remembered: a box never returns to one, a clone does."""
STILL_OFFLINE = "still offline after the hub was blind"
Mask = NDArray[np.bool_]
Seconds = NDArray[np.floating[Any]]
FLOODS = "device.flood"
CLONE_QUIET_S = 3600.0
"""A clone alarm ends when no earlier boot id has spoken for so long."""
CLONE_REPEAT_S = CLONE_QUIET_S / 2
"""While it lasts it is told again after so long: an alarm that is told no more ended while the hub was away."""


class Presence(StrEnum):
    ONLINE = "online"
    SUSPECT = "suspect"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class Session(NamedTuple):
    """``boot`` is new with every boot of the box, ``conn`` counts its connections within that boot."""

    boot: str
    conn: int


class Limits(NamedTuple):
    """Silence in seconds until SUSPECT and until OFFLINE, for a device that speaks every ``heartbeat_s``."""

    suspect_s: float
    offline_s: float
    heartbeat_s: float = HEARTBEAT_S

    def for_heartbeat(self, heartbeat_s: float | None) -> Limits:
        """Those of a slower device, in proportion. One that has not reported its twin speaks as agents do by default."""
        slower = max(1.0, (heartbeat_s or HEARTBEAT_S) / self.heartbeat_s)
        return Limits(self.suspect_s * slower, self.offline_s * slower, self.heartbeat_s * slower)


class Step(NamedTuple):
    """One transition. ``kind`` is presence or clone.

    A ``quiet`` one is the hub's blindness and no news of the device: it went out of sight, or is found as it was before.
    """

    kind: str
    before: str
    after: str
    detail: str
    quiet: bool = False


@dataclass(slots=True)
class Link:
    """What the hub knows of one device's link. ``heard_s`` is None until the device has spoken, ever.

    ``before`` is how it was when the hub went blind, while it is UNKNOWN for that reason.
    """

    state: Presence = Presence.UNKNOWN
    session: Session | None = None
    heard_s: float | None = None
    dead: bool = False
    superseded: tuple[str, ...] = ()
    clone_s: float | None = None
    clone_told_s: float | None = None
    before: Presence | None = None

    def born(self, session: Session, now_s: float) -> list[Step]:
        """A birth: begins a session unless it is a late repeat of an earlier connection."""
        if self.is_stale(session):
            return self._clone(now_s) if session.boot in self.superseded else []
        self._adopt(session)
        return self._alive(now_s, "birth")

    def heard(self, session: Session, now_s: float) -> list[Step]:
        """Any other message. One of an earlier session proves nothing about the present one."""
        if self.is_stale(session):
            return []
        if self.session is None or session.boot == self.session.boot:
            self._adopt(session)
        return self._alive(now_s, "message")

    def died(self, session: Session, reason: str) -> list[Step]:
        """A last will or a goodbye."""
        if session != self.session:
            return []
        self.dead = True
        if self.state is Presence.ONLINE:
            return [self._move(Presence.SUSPECT, f"gone: {reason}")]
        return []

    def swept(self, now_s: float, *, sighted_s: float | None, limits: Limits) -> list[Step]:
        """Judge the silence. ``sighted_s`` is since when it counts: the hub sees the broker and every device had its chance to come
        back, which may be a moment that is still to come; None while blind."""
        steps = self._clone_over(now_s)
        if sighted_s is None:
            return steps + self.blinded()
        if self.heard_s is None:
            return steps
        silent_s = now_s - max(self.heard_s, sighted_s)
        if self.state is Presence.ONLINE and silent_s >= limits.suspect_s:
            steps.append(self._move(Presence.SUSPECT, "missed heartbeat"))
        if self.state in (Presence.SUSPECT, Presence.UNKNOWN) and silent_s >= limits.offline_s:
            steps.append(self._move(Presence.OFFLINE, self._why_offline()))
        return steps

    def blinded(self) -> list[Step]:
        """The hub lost sight of the broker: nobody can tell how this device is."""
        if self.state is Presence.UNKNOWN:
            return []
        return [self._move(Presence.UNKNOWN, "the hub lost sight of the broker")]

    def _why_offline(self) -> str:
        if self.before is Presence.OFFLINE:
            return STILL_OFFLINE
        return "gone" if self.dead else "silent"

    def is_stale(self, session: Session) -> bool:
        """Of a connection or boot that a newer one has replaced."""
        if session.boot in self.superseded:
            return True
        current = self.session
        return current is not None and session.boot == current.boot and session.conn < current.conn

    def _adopt(self, session: Session) -> None:
        if session == self.session:
            return
        if self.session is not None and self.session.boot != session.boot:
            self.superseded = (*self.superseded, self.session.boot)[-SUPERSEDED:]
        self.session = session

    def _alive(self, now_s: float, detail: str) -> list[Step]:
        self.heard_s = now_s
        self.dead = False
        return [] if self.state is Presence.ONLINE else [self._move(Presence.ONLINE, detail)]

    def _clone(self, now_s: float) -> list[Step]:
        told_s, self.clone_s = self.clone_told_s, now_s
        if told_s is not None and now_s - told_s < CLONE_REPEAT_S:
            return []
        self.clone_told_s = now_s
        before = "single" if told_s is None else "clone"
        return [Step("clone", before, "clone", "two boots of this device id speak in turn")]

    def _clone_over(self, now_s: float) -> list[Step]:
        if self.clone_s is None or now_s - self.clone_s < CLONE_QUIET_S:
            return []
        self.clone_s = self.clone_told_s = None
        return [Step("clone", "clone", "single", "only one boot has spoken for an hour")]

    def _move(self, after: Presence, detail: str) -> Step:
        before, self.state = self.state, after
        if after is Presence.UNKNOWN:
            self.before, quiet = before, True
        else:
            quiet = self.before is after
            self.before = None
        return Step("presence", str(before), str(after), detail, quiet)


def may_move(
    online: Mask, wavering: Mask, silent_s: Seconds, suspect_s: Seconds, offline_s: Seconds
) -> NDArray[np.bool_]:
    """``Link.swept`` for a whole fleet, as far as it can be told in columns: which links move.

    ``wavering`` are SUSPECT or UNKNOWN. ``silent_s`` counts from when the device was heard or the hub saw it, whichever is later; NaN
    if it was never heard or the hub does not see it now.
    """
    return (online & (silent_s >= suspect_s)) | (wavering & (silent_s >= offline_s))
