"""The first and last word of a session."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, Seq, Sha256, ShortText
from prahari_wire.envelope import Envelope


class PeripheralType(StrEnum):
    CAMERA = "camera"
    CALLBOX = "callbox"
    DISPLAY = "display"


class BootReason(StrEnum):
    """Why the box, or the agent alone, started."""

    POWER_ON = "power-on"
    REBOOT = "reboot"
    WATCHDOG = "watchdog"
    AGENT_RESTART = "agent-restart"
    AGENT_CRASH = "agent-crash"
    UNKNOWN = "unknown"


class Peripheral(Message):
    id: PeripheralId
    type: PeripheralType
    model: ShortText | None = None


class Versions(Message):
    agent: ShortText
    python: ShortText
    os: ShortText
    board: ShortText


class Birth(Message):
    """``twin_version`` is the applied desired document, ``low`` the lowest seq in the outbox ``journal``."""

    peripherals: Annotated[list[Peripheral], Field(max_length=64)]
    versions: Versions
    capabilities: Annotated[list[ShortText], Field(max_length=64)] = []
    twin_version: Seq | None = None
    journal: UUID
    low: Seq
    boot_reason: BootReason = BootReason.UNKNOWN
    seed_sha256: Sha256 | None = None


class GoneReason(StrEnum):
    LOST = "lost"
    SHUTDOWN = "shutdown"
    RESTART = "restart"


class Gone(Message):
    """The last will says ``lost``; a clean disconnect says why."""

    reason: GoneReason


BirthMessage = Envelope[Birth]
GoneMessage = Envelope[Gone]
