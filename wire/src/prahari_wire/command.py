"""Commands: verbs that the hub asks of a device, each with an expiry and a journal on the device."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from prahari_wire.base import Message, ShortText, Text, Ulid, Utc


class CommandName(StrEnum):
    LAMP = "callbox.lamp"
    PREVIEW = "display.preview"
    SNAPSHOT = "camera.snapshot"
    LEARN_VIEW = "camera.learn_view"
    LIVE = "camera.live"
    RESTART = "agent.restart"
    HOLD = "recording.hold"
    RELEASE = "recording.release"
    SEND = "recording.send"
    REDACT = "recording.redact"


class Idempotency(StrEnum):
    IDEMPOTENT = "idempotent"
    AT_MOST_ONCE = "at_most_once"


class CommandState(StrEnum):
    QUEUED = "QUEUED"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"


TERMINAL = frozenset(
    {
        CommandState.SUCCEEDED,
        CommandState.FAILED,
        CommandState.REJECTED,
        CommandState.EXPIRED,
        CommandState.CANCELLED,
        CommandState.LOST,
    }
)


class Command(Message):
    """down/command, signed. ``safe``: may run although the device's clock is not synced."""

    v: Literal[1] = 1
    id: Ulid
    name: CommandName
    args: dict[str, Any] = {}
    issued_at: Utc
    expires_at: Utc
    idempotency: Idempotency = Idempotency.IDEMPOTENT
    safe: bool = False
    key: ShortText = ""
    sig: ShortText = ""


class CommandReport(Message):
    """command.state: where the command stands. ``result`` is the command's own, ``error`` one sentence."""

    command: Ulid
    state: Literal["ACCEPTED", "RUNNING", "SUCCEEDED", "FAILED", "REJECTED", "EXPIRED"]
    result: dict[str, Any] | None = None
    error: Text | None = None
