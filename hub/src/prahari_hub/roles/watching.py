"""Ties the gauges of metrics.py to the parts of this process; they are read when somebody asks, and cost nothing before."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prahari_hub import metrics
from prahari_hub.broker.role import Broker
from prahari_hub.errors import Unavailable
from prahari_hub.ingest.role import Ingest
from prahari_hub.live.feed import Feed
from prahari_hub.scheduler.trust import Trust
from prahari_hub.store import Store

Sampler = Callable[[], Awaitable[None]]


def watch_store(store: Store) -> None:
    metrics.WRITES_WAITING.set_function(lambda: store.waiting)


def watch_feed(feed: Feed) -> None:
    metrics.LIVE_SUBSCRIBERS.set_function(lambda: len(feed.subscriptions))


def watch_trust(trust: Trust) -> None:
    metrics.CLOCK_HELD.set_function(lambda: trust.held is not None)


def watch_ingest(ingest: Ingest, *, mono: Callable[[], float] = time.monotonic) -> None:
    """Depth, size and lag of both lanes, and what this process has taken over."""

    def age(oldest_s: float | None) -> float:
        return 0.0 if oldest_s is None else max(0.0, mono() - oldest_s)

    metrics.QUEUE.labels("events").set_function(lambda: len(ingest.queue))
    metrics.QUEUE.labels("heartbeats").set_function(lambda: ingest.beats.count)
    metrics.QUEUE_BYTES.labels("events").set_function(lambda: ingest.queue.bytes)
    metrics.QUEUE_BYTES.labels("heartbeats").set_function(lambda: ingest.beats.bytes)
    metrics.LAG_S.labels("events").set_function(lambda: age(ingest.queue.oldest_s))
    metrics.LAG_S.labels("heartbeats").set_function(lambda: age(ingest.beats.oldest_s))
    metrics.PARTITIONS.set_function(lambda: len(ingest.owned))
    metrics.LOADED.set_function(lambda: len(ingest.memory.columns))


def watch_broker(broker: Broker) -> Sampler:
    """Gives what must be awaited before the gauges are read: the word of the broker's nodes."""
    metrics.BROKER_UP.set_function(lambda: broker.bus.sees)

    async def sample() -> None:
        for error, count in broker.bus.problems.items():
            metrics.BROKER_ERRORS.labels(error).set(count)
        try:
            found = await broker.nodes()
        except Unavailable:
            return
        metrics.BROKER_CONNECTIONS.clear()
        metrics.BROKER_SLOW.clear()
        for node in found:
            metrics.BROKER_CONNECTIONS.labels(node.name).set(node.connections)
            metrics.BROKER_SLOW.labels(node.name).set(node.slow)

    return sample
