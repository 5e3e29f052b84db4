"""The twin: what the hub wants of a device, and what the device made of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from prahari_wire.base import Message, PeripheralId, Seq, Sha256, ShortText, Text, Ulid, canonical
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig
from prahari_wire.display import DisplayConfig
from prahari_wire.health import HEARTBEAT_S

INLINE_LIMIT = 12 * 1024
"""A document up to this size travels in the message; a larger one is fetched over HTTPS."""
DOCUMENT_LIMIT = 256 * 1024

PeripheralConfig = Annotated[CameraConfig | CallboxConfig | DisplayConfig, Field(discriminator="type")]


class Desired(Message):
    """The whole configuration of a device."""

    heartbeat_s: Annotated[int, Field(ge=1, le=3600)] = HEARTBEAT_S
    peripherals: Annotated[dict[PeripheralId, PeripheralConfig], Field(max_length=64)] = {}


def document_bytes(desired: Desired) -> bytes:
    """The bytes whose SHA-256 names a desired document."""
    return canonical(desired.model_dump(mode="json", by_alias=True))


class TwinDown(Message):
    """down/twin, signed. Without ``document`` the device fetches it: GET /device/v1/twin/{version}."""

    v: Literal[1] = 1
    id: Ulid
    version: Seq
    sha256: Sha256
    document: Desired | None = None
    key: ShortText = ""
    sig: ShortText = ""


class TwinOutcome(StrEnum):
    APPLIED = "applied"
    REJECTED = "rejected"


class FieldError(Message):
    """``path`` of the field, ``message``: what was expected."""

    path: ShortText
    message: Text


class TwinReport(Message):
    """twin.report: a rejected document leaves the last good one (``applied_version``) in force."""

    version: Seq
    outcome: TwinOutcome
    applied_version: Seq | None = None
    errors: Annotated[list[FieldError], Field(max_length=20)] = []
