"""Changes between the processes of one hub, over NATS: what one commits, all others hear, or know that they missed something.

Each process numbers its messages and sends a beat while it is quiet, so that a gap shows within seconds. Who was cut off, or
finds a gap, reads what it holds from the store again: nothing depends on a message that arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from prahari_wire.ids import ulid

from prahari_hub import metrics
from prahari_hub.broker.connection import Bus
from prahari_hub.ending import end
from prahari_hub.errors import Unavailable
from prahari_hub.store import Change

SUBJECT = "prahari.hub.changes"
NUDGES = "prahari.hub.leases"
BEAT_S = 5.0
MOST = 10_000
"""Changes that wait to be sent; beyond it other processes are told to read everything."""
CHUNK_BYTES = 48 * 1024
log = logging.getLogger(__name__)

Listening = Callable[[list[Change]], None]
CatchUp = Callable[[], Awaitable[None]]


class Relay:
    """Over a connection of its own that does not hear itself. ``send`` may be called from the event loop at any time."""

    def __init__(self, bus: Bus) -> None:
        self.id = ulid()
        self.gaps = 0
        self._bus = bus
        self._number = 0
        self._waiting: deque[dict[str, Any]] = deque()
        self._missed = False
        self._news = asyncio.Event()
        self._behind = asyncio.Event()
        self._others: dict[str, int] = {}
        self._nudged: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, hear: Listening, catch_up: CatchUp) -> None:
        """``hear`` gets what others changed, ``catch_up`` runs at once and whenever something may have been missed."""
        self._hear, self._catch_up = hear, catch_up
        self._bus.on_sight = self._on_sight
        await self._bus.subscribe(SUBJECT, self._on_message)
        await self._bus.subscribe(NUDGES, self._on_nudge)
        await catch_up()
        self._tasks = [
            asyncio.create_task(self._talk(), name="hub.relay.talk"),
            asyncio.create_task(self._repair(), name="hub.relay.repair"),
        ]

    async def stop(self) -> None:
        await end(self._tasks)

    def send(self, changes: list[Change]) -> None:
        """Tell the other processes, soon."""
        if len(self._waiting) + len(changes) > MOST:
            self._waiting.clear()
            self._missed = True
        else:
            self._waiting.extend({"topic": change.topic, "data": change.data} for change in changes)
        self._news.set()

    def on_nudge(self, wake: Callable[[], None]) -> None:
        """``wake`` runs when another worker says that a lease has become free."""
        self._nudged.append(wake)

    async def nudge(self) -> None:
        """Unavailable while the broker is not reachable: the others look for themselves in a moment."""
        await self._bus.publish(NUDGES, self.id.encode())

    async def _talk(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._flush()
            except Unavailable:
                await asyncio.sleep(
                    0.2
                )  # what waits goes out when the broker is back, or as one word that it was too much
                if self._waiting or self._missed:
                    self._news.set()
            except Exception:
                metrics.WORKER_FAILURES.labels("relay").inc()
                log.exception("telling other processes failed")

    async def _flush(self) -> None:
        if self._missed:
            await self._publish([], missed=True)
            self._missed = False
        while self._waiting:
            chunk = self._chunk()
            try:
                await self._publish(chunk)
            except Unavailable:
                self._waiting.extendleft(reversed(chunk))
                raise
        await self._publish([])

    def _chunk(self) -> list[dict[str, Any]]:
        found, size = [], 0
        while self._waiting and size < CHUNK_BYTES:
            found.append(self._waiting.popleft())
            size += len(json.dumps(found[-1], default=str))
        return found

    async def _publish(self, changes: list[dict[str, Any]], *, missed: bool = False) -> None:
        """Numbered by messages that carried something; an empty one is a beat and repeats the last number."""
        number = self._number + bool(changes or missed)
        body = {"from": self.id, "n": number, "changes": changes, "missed": missed}
        await self._bus.publish(SUBJECT, json.dumps(body, separators=(",", ":"), default=str).encode())
        self._number = number

    async def _on_message(self, _subject: str, payload: bytes) -> None:
        body = json.loads(payload)
        sender, number = str(body["from"]), int(body["n"])
        if sender == self.id:
            return
        known = self._others.get(sender)
        self._others[sender] = number
        expected = None if known is None else known + bool(body["changes"] or body["missed"])
        if body["missed"] or (expected is not None and number != expected):
            self.gaps += 1
            self._behind.set()
        if body["changes"]:
            self._hear([Change(item["topic"], item["data"]) for item in body["changes"]])

    async def _on_nudge(self, _subject: str, payload: bytes) -> None:
        if payload.decode(errors="replace") != self.id:
            for wake in self._nudged:
                wake()

    async def _on_sight(self, sees: bool) -> None:
        if sees:
            self._others.clear()
            self._behind.set()

    async def _repair(self) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self._catch_up()
            except Unavailable as error:
                log.warning("what other processes changed is read later: %s", error)
                await asyncio.sleep(1.0)
                self._behind.set()
            except Exception:
                metrics.WORKER_FAILURES.labels("relay").inc()
                log.exception("reading anew what other processes changed failed")
