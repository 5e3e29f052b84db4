"""The one table of channels: which message each carries, in which bounds it is read, with which QoS it travels."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from prahari_wire.ack import Ack
from prahari_wire.base import MAX_EVENT_BATCH, MAX_MESSAGE
from prahari_wire.command import Command
from prahari_wire.display import OverrideSet
from prahari_wire.envelope import EventBatch
from prahari_wire.health import HealthMessage
from prahari_wire.presence import BirthMessage, GoneMessage
from prahari_wire.topics import Down, Up
from prahari_wire.twin import TwinDown


class Channel(NamedTuple):
    """``limit`` in bytes; ``scan``: depth and duplicate keys are checked too; ``says`` is one sentence for the reference."""

    message: type[BaseModel]
    qos: int
    limit: int
    scan: bool
    says: str


CHANNELS: dict[Up | Down, Channel] = {
    Up.BIRTH: Channel(
        BirthMessage, 0, MAX_MESSAGE, True, "The first word of a session, repeated until acknowledged."
    ),
    Up.GONE: Channel(
        GoneMessage, 1, MAX_MESSAGE, False, "The last will, and what a device says before it leaves."
    ),
    Up.HEALTH: Channel(HealthMessage, 0, MAX_MESSAGE, False, "The heartbeat: the table of checks."),
    Up.EVENT: Channel(
        EventBatch, 0, MAX_EVENT_BATCH, True, "Durable events, repeated until the hub has committed them."
    ),
    Down.ACK: Channel(
        Ack, 0, MAX_MESSAGE, False, "What the hub has committed; it may ask the device to hold back."
    ),
    Down.TWIN: Channel(
        TwinDown, 0, MAX_MESSAGE, True, "The desired document, or where its version is fetched."
    ),
    Down.COMMAND: Channel(Command, 0, MAX_MESSAGE, False, "A command, sent again until accepted or expired."),
    Down.OVERRIDE: Channel(
        OverrideSet, 0, MAX_MESSAGE, False, "The complete set of one display's active overrides."
    ),
}
