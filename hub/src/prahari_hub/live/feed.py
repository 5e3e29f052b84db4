"""What changed, told to browsers: encoded once a tick, numbered by topic, with a bounded queue for each subscriber.

A subscriber that is too slow loses the oldest messages; it sees the gap in the numbers and fetches a snapshot instead.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from prahari_hub import metrics
from prahari_hub.store import Change

TICK_S = 1.0
URGENT_TICK_S = 0.1
URGENT = frozenset({"incidents", "incident"})  # an operator must see these within half a second
QUEUE = 8
MAX_CHANGES = 2000  # in one message; beyond it the topic says "fetch everything"


@dataclass(frozen=True)
class Message:
    """``event`` and ``data`` as Server-Sent Events name them; ``data`` is one line of JSON."""

    event: str
    data: str

    def encode(self) -> bytes:
        return f"event: {self.event}\ndata: {self.data}\n\n".encode()


@dataclass
class _Topic:
    number: int = 0
    flushed_at: float = float("-inf")
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Subscription:
    """One browser. ``get`` waits for the next message; None says that the feed has closed."""

    topics: frozenset[str]
    queue: deque[Message] = field(default_factory=lambda: deque(maxlen=QUEUE))
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def put(self, message: Message) -> None:
        if len(self.queue) == QUEUE:
            metrics.LIVE_DROPPED.inc()
        self.queue.append(message)
        self.ready.set()

    async def get(self) -> Message | None:
        await self.ready.wait()
        if self.queue:
            message = self.queue.popleft()
            if not self.queue and not self.closed:
                self.ready.clear()
            return message
        return None


class Feed:
    """Lives on one event loop. ``clock`` is monotonic; ``id`` is new with each start, so that a browser notices one."""

    def __init__(self, *, tick_s: float = TICK_S, clock: Callable[[], float] | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.tick_s = tick_s
        self.subscriptions: set[Subscription] = set()
        self._clock = clock
        self._topics: defaultdict[str, _Topic] = defaultdict(_Topic)
        self._listeners: list[Callable[[list[Change]], None]] = []
        self.closed = False

    def listen(self, listener: Callable[[list[Change]], None]) -> None:
        """Parts of this process that follow changes as browsers do; called at once, on the event loop."""
        self._listeners.append(listener)

    def publish(self, changes: Iterable[Change]) -> None:
        """Queue changes. The newest values of one thing win within a tick; a quiet topic is told at once."""
        told = list(changes)
        for listener in self._listeners:
            listener(told)
        for change in told:
            topic = self._topics[change.topic]
            key = str(change.data.get("id", len(topic.waiting)))
            topic.waiting[key] = {**topic.waiting.get(key, {}), **change.data}
            if topic.timer is None:
                self._schedule(change.topic, topic)

    def subscribe(self, topics: Iterable[str]) -> Subscription:
        """A new subscriber; its first message is ``hello`` with the feed's id and the number of each topic."""
        found = Subscription(frozenset(topics))
        found.put(Message("hello", json.dumps(self.position(found.topics))))
        if self.closed:
            _close(found)
        self.subscriptions.add(found)
        return found

    def missed(self) -> None:
        """Changes of other processes may not have come here: every topic says "fetch everything"."""
        for name in self._topics.keys() | {name for each in self.subscriptions for name in each.topics}:
            topic = self._topics[name]
            topic.number += 1
            body = json.dumps({"topic": name, "n": topic.number, "all": True}, separators=(",", ":"))
            for subscription in self.subscriptions:
                if name in subscription.topics:
                    subscription.put(Message("change", body))

    def unsubscribe(self, subscription: Subscription) -> None:
        self.subscriptions.discard(subscription)

    def close(self) -> None:
        """End every stream, so that a server that stops need not wait for its browsers."""
        self.closed = True
        for topic in self._topics.values():
            if topic.timer is not None:
                topic.timer.cancel()
        for subscription in self.subscriptions:
            _close(subscription)

    def position(self, topics: Iterable[str]) -> dict[str, Any]:
        """Where the feed stands: taken before a page is read, it shows a browser what it missed until it listened."""
        numbers = {name: self._topics[name].number if name in self._topics else 0 for name in sorted(topics)}
        return {"feed": self.id, "n": numbers}

    def _schedule(self, name: str, topic: _Topic) -> None:
        loop = asyncio.get_running_loop()
        now = self._clock() if self._clock else loop.time()
        tick_s = min(self.tick_s, URGENT_TICK_S) if name in URGENT else self.tick_s
        wait_s = max(0.0, topic.flushed_at + tick_s - now)
        topic.timer = loop.call_later(wait_s, self._flush, name, topic)

    def _flush(self, name: str, topic: _Topic) -> None:
        topic.timer = None
        topic.flushed_at = self._clock() if self._clock else asyncio.get_running_loop().time()
        topic.number += 1
        changes, topic.waiting = list(topic.waiting.values()), {}
        body: dict[str, Any] = {"topic": name, "n": topic.number}
        body |= {"all": True} if len(changes) > MAX_CHANGES else {"changes": changes}
        message = Message("change", json.dumps(body, separators=(",", ":"), default=str))
        for subscription in self.subscriptions:
            if name in subscription.topics:
                subscription.put(message)


def _close(subscription: Subscription) -> None:
    subscription.closed = True
    subscription.ready.set()
