"""The hub's connections to NATS: kept for ever, with word of every loss, so that the hub knows when it was blind."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from prahari_hub.broker.batches import BatchClient, Sink
from prahari_hub.errors import SetupError, Unavailable

CONNECT_S = 10.0
FLUSH_S = 10
CLOSE_S = 3.0
PING_S = 5
"""Two missed answers and the connection counts as lost: a hung broker is noticed within 15 s, a dead one at once."""
log = logging.getLogger(__name__)

Handler = Callable[[str, bytes], Awaitable[None]]
Sight = Callable[[bool], Awaitable[None]]


async def unseen(_sees: bool) -> None:
    return


class Bus:
    """One connection as one role. ``sees`` is whether it stands now and was not set aside; ``on_sight(False | True)`` is told each change.

    ``url`` may name several nodes of a cluster with commas between: when one is lost, the next is tried.

    ``problems`` counts asynchronous errors by type; a SlowConsumerError means that messages were dropped.
    """

    def __init__(
        self,
        name: str,
        url: str,
        seed: str,
        *,
        ca: Path | None = None,
        on_sight: Sight = unseen,
        echo: bool = True,
    ) -> None:
        self.name = name
        self.url = url
        self.problems: Counter[str] = Counter()
        self._seed = seed
        self._ca = ca
        self.on_sight = on_sight
        self._echo = echo
        self._client: BatchClient | None = None
        self._closing = False
        self._aside = False
        self._denied = asyncio.Event()
        self._said = "no answer"

    @property
    def client(self) -> Client:
        """The nats-py client, for what this class does not offer."""
        return self._open

    @property
    def _open(self) -> BatchClient:
        if self._client is None:
            raise Unavailable(f"the hub's connection {self.name} to the broker is not open")
        return self._client

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def sees(self) -> bool:
        return self.connected and not self._aside

    @property
    def nodes(self) -> list[str]:
        """The addresses that it was given."""
        return _nodes(self.url)

    @property
    def node(self) -> str:
        """The id of the server that it is connected to; empty before it is open."""
        return self._client.server_id if self._client else ""

    @property
    def cluster(self) -> str:
        """The name of that server's cluster; empty if it stands alone."""
        return self._client.cluster if self._client else ""

    async def open(self, *, within_s: float = CONNECT_S) -> None:
        """SetupError if NATS does not answer within this time."""
        context = _tls(self.url, self._ca)
        connect = asyncio.create_task(self._connect(context))
        denied = asyncio.create_task(self._denied.wait())
        try:
            await asyncio.wait({connect, denied}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if not connect.done() or connect.exception():
                raise SetupError(
                    f"NATS at {_shown(self.url)} does not let the hub in as {self.name} ({self._said}); "
                    "check PRAHARI_NATS_URL and the server's configuration"
                )
            self._client = connect.result()
        finally:
            for task in (connect, denied):
                task.cancel()
        await self.on_sight(True)

    async def _connect(self, context: ssl.SSLContext | None) -> BatchClient:
        client = BatchClient()
        await client.connect(
            _nodes(self.url),
            no_echo=not self._echo,
            name=f"prahari-hub {self.name}",
            nkeys_seed_str=self._seed,
            tls=context,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds to sleep; annotated too narrowly
            connect_timeout=2,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            disconnected_cb=self._lost,
            reconnected_cb=self._regained,
            error_cb=self._problem,
        )
        return client

    async def set_aside(self, aside: bool) -> None:
        """The connection stands and shows too little of the world, or enough again."""
        if aside != self._aside:
            self._aside = aside
            if self.connected:
                await self.on_sight(not aside)

    async def move(self) -> None:
        """Leave this node for another at once; what it did not take yet is lost."""
        await self._open.force_reconnect()

    async def close(self) -> None:
        """What was published goes out first, unless the broker takes nothing for so long."""
        self._closing = True
        if self._client and not self._client.is_closed:
            closing = asyncio.create_task(self._client.close())
            done, _ = await asyncio.wait({closing}, timeout=CLOSE_S)
            if not done:
                self._client.abort()
            await closing

    async def publish(self, subject: str, payload: bytes) -> None:
        """Unavailable while the connection is lost: nothing waits in a buffer to be sent too late."""
        if not self.connected:
            raise Unavailable("the broker is not reachable now; try again in a moment")
        try:
            await self.client.publish(subject, payload)
        except Error as error:
            raise Unavailable(f"the broker did not take the message: {error}") from error

    async def request(self, subject: str, payload: bytes, *, timeout_s: float = 2.0) -> bytes:
        if not self.connected:
            raise Unavailable("the broker is not reachable now; try again in a moment")
        try:
            return bytes((await self.client.request(subject, payload, timeout=timeout_s)).data)
        except Error as error:
            raise Unavailable(f"the broker did not answer: {error}") from error

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """``handler(subject, payload)`` runs for one message after the other; an error in it is logged, never fatal."""

        async def on_message(message: Msg) -> None:
            try:
                await handler(message.subject, message.data)
            except Exception:
                log.exception("handling a message on %s failed", message.subject)

        found = await self.client.subscribe(subject, queue=queue, cb=on_message)
        await self.client.flush()
        return found

    async def tap(self, subject: str, sink: Sink) -> Subscription:
        """``sink`` is given all messages of one read of the socket at once; it bounds what it keeps.

        Unavailable if the broker does not confirm it: then nothing comes, and it may be tried again.
        """
        try:
            found = await self._open.tap(subject, sink)
        except Error as error:
            raise Unavailable(f"the hub cannot listen to {subject} now: {error}") from error
        try:
            await self._open.flush(FLUSH_S)
        except Error as error:
            await self.untap(found)
            raise Unavailable(f"the broker does not confirm that the hub listens to {subject}") from error
        return found

    async def untap(self, subscription: Subscription) -> None:
        """End a tap; a connection that is closed has ended it already."""
        try:
            await self._open.untap(subscription)
        except Error as error:
            log.info("a subscription of %s had ended before: %s", self.name, error)

    async def _lost(self) -> None:
        if not self._closing:
            log.warning("the hub's connection %s to the broker is lost", self.name)
            if not self._aside:
                await self.on_sight(False)

    async def _regained(self) -> None:
        log.warning("the hub's connection %s to the broker stands again", self.name)
        if not self._aside:
            await self.on_sight(True)

    async def _problem(self, error: Exception) -> None:
        self.problems[type(error).__name__] += 1
        self._said = str(error)
        if "authorization" in self._said.lower():
            self._denied.set()
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING
        log.log(level, "connection %s to the broker: %s", self.name, error)


def _tls(url: str, ca: Path | None) -> ssl.SSLContext | None:
    """Off loopback only TLS: the seeds prove who we are, but without it anyone on the way reads and alters everything."""
    parts = [urlsplit(node) for node in _nodes(url)]
    if parts and all(each.scheme == "tls" for each in parts):
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    for each in parts:
        if each.scheme == "tls" or each.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise SetupError(
                f"NATS at {_shown(url)} is not on this machine: the address of each node must begin with tls://"
            )
    return None


def _nodes(url: str) -> list[str]:
    return [node.strip() for node in url.split(",") if node.strip()]


def _shown(url: str) -> str:
    parts = [urlsplit(node) for node in _nodes(url)]
    return ", ".join(f"{each.scheme}://{each.hostname}:{each.port or 4222}" for each in parts)
