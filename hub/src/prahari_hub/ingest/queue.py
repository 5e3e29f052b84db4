"""The one bounded queue between the broker and the database: in count and in bytes, and heartbeats give way first."""

from __future__ import annotations

import asyncio
from collections import deque

from prahari_wire.topics import Up

from prahari_hub.ingest.read import Raw

MOST_MESSAGES = 20_000
MOST_BYTES = 64 * 1024 * 1024
WINDOW_S = 0.002
"""How long the first message of a batch waits for company."""
BATCH_MESSAGES = 256
BATCH_BYTES = 512 * 1024


class Queue:
    """``dropped`` counts what found no room, from the beginning."""

    def __init__(self, *, messages: int = MOST_MESSAGES, size: int = MOST_BYTES) -> None:
        self._messages = messages
        self._size = size
        self._held: deque[Raw] = deque()
        self._bytes = 0
        self.dropped = 0
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def oldest_s(self) -> float | None:
        """When the message came that waits longest."""
        return self._held[0].at_s if self._held else None

    def put(self, raw: Raw) -> bool:
        """False if there is no room; a heartbeat may only fill the first half."""
        share = 0.5 if raw.at.channel is Up.HEALTH else 1.0
        if len(self._held) >= self._messages * share or self._bytes + len(raw.payload) > self._size * share:
            self.dropped += 1
            return False
        self._held.append(raw)
        self._bytes += len(raw.payload)
        self._ready.set()
        return True

    async def take(self) -> list[Raw]:
        """Wait for a message; give it and those that come within WINDOW_S, up to the size of one transaction."""
        await self._ready.wait()
        await asyncio.sleep(WINDOW_S)
        taken: list[Raw] = []
        size = 0
        while self._held and len(taken) < BATCH_MESSAGES and size < BATCH_BYTES:
            raw = self._held.popleft()
            size += len(raw.payload)
            taken.append(raw)
        self._bytes -= size
        if not self._held:
            self._ready.clear()
        return taken
