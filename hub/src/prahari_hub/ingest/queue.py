"""The two bounded lanes between the broker and the database: births and events in one, heartbeats and last words in the other.

Births and events never wait behind heartbeats, and heartbeats are dropped first: those that come when their lane is full. Last words
share the lane of heartbeats, because a heartbeat that overtook one would bring a dead session back to life.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

from prahari_wire.topics import Up

from prahari_hub.ingest.read import Raw

MOST_BEATS = 60_000
MOST_BEAT_BYTES = 48 * 1024 * 1024
MOST_EVENTS = 20_000
MOST_EVENT_BYTES = 64 * 1024 * 1024
WINDOW_S, BUSY_WINDOW_S = 0.002, 0.02
"""How long the first event of a batch waits for company: longer where batches follow each other within CLOSE_S, because a transaction
costs as much as the three or four events that then share it."""
BIRTHS_WINDOW_S = 0.15
"""How long births alone wait where they follow each other: nobody waits for a birth as for a press, and an event ends their wait."""
CLOSE_S = 0.1
BATCH_MESSAGES = 256
BATCH_BYTES = 512 * 1024
BEATS_AT_ONCE = 512
"""Folded in about 5 ms: so long everything else waits at most."""
BEATS_WINDOW_S = 0.05
"""How long heartbeats wait for company: a fold costs some 0.2 ms however few it has, and a read of the socket may bring two."""

Arrived = tuple[bytes, bytes]


class Beats:
    """Heartbeats and last words as they came, in the order in which they came. ``taken`` counts what has left, from the beginning."""

    def __init__(self, *, messages: int = MOST_BEATS, size: int = MOST_BEAT_BYTES) -> None:
        self._messages, self._size = messages, size
        self._held: deque[tuple[float, int, list[Arrived]]] = deque()
        self.count = 0
        self.taken = 0
        self.bytes = 0
        self.dropped = 0
        self._ready = asyncio.Event()

    @property
    def oldest_s(self) -> float | None:
        return self._held[0][0] if self._held else None

    def put(self, beats: list[Arrived], at_s: float) -> int:
        """Keep them all, or none when the lane is full; how many were dropped. What was dropped is counted."""
        size = sum([len(payload) for _, payload in beats])
        if self.count + len(beats) > self._messages or self.bytes + size > self._size:
            self.dropped += len(beats)
            return len(beats)
        self._held.append((at_s, size, beats))
        self.count += len(beats)
        self.bytes += size
        self._ready.set()
        return 0

    async def wait(self) -> None:
        """Until there is enough for one fold, or what there is has waited for BEATS_WINDOW_S."""
        await self._ready.wait()
        if self.count < BEATS_AT_ONCE:
            await asyncio.sleep(BEATS_WINDOW_S)

    def take(self) -> tuple[float, list[Arrived]]:
        """About BEATS_AT_ONCE of the oldest, and when the first of them came; nothing if nothing waits."""
        if not self._held:
            return 0.0, []
        at_s, size, taken = self._held.popleft()
        while self._held and len(taken) + len(self._held[0][2]) <= BEATS_AT_ONCE:
            _, more, beats = self._held.popleft()
            taken += beats
            size += more
        self.count -= len(taken)
        self.taken += len(taken)
        self.bytes -= size
        if not self._held:
            self._ready.clear()
        return at_s, taken


class Queue:
    """Births and events, first come, first served. ``taken`` counts what has left, ``dropped`` what found no room, from the beginning."""

    def __init__(self, *, messages: int = MOST_EVENTS, size: int = MOST_EVENT_BYTES) -> None:
        self._messages, self._size = messages, size
        self._held: deque[Raw] = deque()
        self.taken = 0
        self.bytes = 0
        self.dropped = 0
        self._ready = asyncio.Event()
        self._event = asyncio.Event()
        self._taken_s = float("-inf")

    def __len__(self) -> int:
        return len(self._held)

    @property
    def oldest_s(self) -> float | None:
        """When the message came that waits longest."""
        return self._held[0].at_s if self._held else None

    def put(self, raw: Raw) -> bool:
        """False if there is no room: the device keeps the event and sends it again."""
        if len(self._held) >= self._messages or self.bytes + len(raw.payload) > self._size:
            self.dropped += 1
            return False
        self._held.append(raw)
        self.bytes += len(raw.payload)
        self._ready.set()
        if raw.at.channel is not Up.BIRTH or len(self._held) >= BATCH_MESSAGES:
            self._event.set()
        return True

    async def take(self) -> Sequence[Raw]:
        """Wait for a message; give it and those that come within the window, up to the size of one transaction."""
        await self._ready.wait()
        loop = asyncio.get_running_loop()
        if len(self._held) < BATCH_MESSAGES:
            busy = loop.time() - self._taken_s < CLOSE_S
            await asyncio.sleep(BUSY_WINDOW_S if busy else WINDOW_S)
            if busy and not self._event.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BIRTHS_WINDOW_S - BUSY_WINDOW_S):
                        await self._event.wait()
        self._taken_s = loop.time()
        return self.take_now()

    def take_now(self) -> list[Raw]:
        taken: list[Raw] = []
        size = 0
        while self._held and len(taken) < BATCH_MESSAGES and size < BATCH_BYTES:
            raw = self._held.popleft()
            size += len(raw.payload)
            taken.append(raw)
        self.bytes -= size
        self.taken += len(taken)
        if not self._held:
            self._ready.clear()
            self._event.clear()
        return taken
