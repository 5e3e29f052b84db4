"""What the hub sends to one device. Messages are signed before they come here."""

from __future__ import annotations

from prahari_wire.ack import Ack
from prahari_wire.command import Command
from prahari_wire.display import OverrideSet
from prahari_wire.topics import Down, down_subject
from prahari_wire.twin import TwinDown

from prahari_hub.broker.connection import Bus

DownMessage = Ack | TwinDown | Command | OverrideSet


class Downlink:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def send(self, device: str, channel: Down, message: DownMessage) -> None:
        """Publish at most once; Unavailable while the broker is out of reach. Whoever needs certainty sends again.

        An ack leaves out what it does not say: a device that is older than a field of it refuses the field, not the ack without it.
        """
        text = message.model_dump_json(by_alias=True, exclude_none=isinstance(message, Ack))
        await self._bus.publish(down_subject(device, channel), text.encode())
