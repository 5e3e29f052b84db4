"""Devices that are kept out for a while because they flood the hub: told to every process, cut, and asked to come later."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from prahari_wire.topics import is_device_id

from prahari_hub.broker.connection import Bus
from prahari_hub.broker.kick import Kicker
from prahari_hub.errors import Unavailable
from prahari_hub.log import about

SUBJECT = "prahari.hub.shut"
MOST_S = 3600.0
CUTS, CUT_EVERY_S = 3, 1.0
"""A connection that was let in a moment before is not in the first list of the broker's."""
log = logging.getLogger(__name__)


class Shut:
    """``holds`` answers the callout from memory. What a process that starts later does not know costs one more cut."""

    def __init__(self, bus: Bus, kicker: Kicker, *, mono: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._kicker, self._mono = bus, kicker, mono
        self._until_s: dict[str, float] = {}

    async def listen(self) -> None:
        await self._bus.subscribe(SUBJECT, self._heard)

    def holds(self, device: str) -> bool:
        until_s = self._until_s.get(device)
        if until_s is None:
            return False
        if until_s > self._mono():
            return True
        del self._until_s[device]
        return False

    async def out(self, device: str, for_s: float) -> None:
        """Let nobody of this name in for so long, and cut who is."""
        self._put(device, for_s)
        try:
            await self._bus.publish(SUBJECT, f"{device} {for_s:.0f}".encode())
            for _ in range(CUTS):
                await self._kicker.kick(device)
                await asyncio.sleep(CUT_EVERY_S)
        except Unavailable as error:  # then it is cut with all others
            log.info("%s is not cut: %s", device, error, extra=about(device=device))

    async def _heard(self, _subject: str, payload: bytes) -> None:
        device, _, for_s = payload.decode("ascii", errors="replace").partition(" ")
        if is_device_id(device) and for_s.isdigit():
            self._put(device, min(MOST_S, float(for_s)))

    def _put(self, device: str, for_s: float) -> None:
        self._until_s[device] = self._mono() + for_s
