"""Word to every process of the hub that devices come in numbers: whoever is silent meanwhile may be one of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from prahari_hub.broker.connection import Bus
from prahari_hub.errors import Unavailable

SUBJECT = "prahari.hub.crowd"
SAY_EVERY_S = 1.0
log = logging.getLogger(__name__)


class Crowd:
    """``note`` is called for each device that comes while many do; ``heard`` is what this process does about it."""

    def __init__(self, bus: Bus, *, mono: Callable[[], float] = time.monotonic) -> None:
        self.heard: Callable[[], None] = lambda: None
        self._bus, self._mono = bus, mono
        self._said_s = float("-inf")
        self._saying: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        await self._bus.subscribe(SUBJECT, self._on_word)

    def note(self) -> None:
        """At most one word a second leaves this process; call it on the event loop."""
        now_s = self._mono()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            self._saying = asyncio.get_running_loop().create_task(self._say(), name="broker.crowd")

    async def _say(self) -> None:
        try:
            await self._bus.publish(SUBJECT, b"")
        except Unavailable as error:  # then this hub is blind, and judges nobody
            log.info("other processes are not told that devices wait: %s", error)

    async def _on_word(self, _subject: str, _payload: bytes) -> None:
        self.heard()
