"""Messages from NATS in batches: nats-py runs a coroutine and builds an object for each message, which costs 5 µs of every heartbeat.

The parser here cuts what the socket gave into protocol items itself. Messages of a tapped subscription go to its tap, all of one
read at once, without the headers that the broker adds to what came by MQTT; every other item is given to nats-py's own parser,
one by one and unchanged.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error, ProtocolError
from nats.protocol.parser import PERMISSIONS_ERR, STALE_CONNECTION, Parser

from prahari_hub import metrics

PINNED = "2.16.0"
"""The release of nats-py whose insides (``_ps``, ``_subs``, ``stats``, how it loses a connection) this file was written against; a test
compares.
"""

LONGEST_LINE = 64 * 1024
COMPANY_S = 0.005
"""So long what comes next gathers in the socket, where reads with messages of taps follow each other within that time: a read costs as
much as some messages, and may bring two."""
FULL = 16 * 1024
"""Bytes of a read that need no company."""
log = logging.getLogger(__name__)

_message = re.compile(rb"(H)?MSG +(\S+) +(\S+) +(?:\S+ +)??(?(1)([0-9]+) +|)([0-9]+) *\r\n").match
Arrived = tuple[bytes, bytes]
"""Subject and payload."""
Tap = Callable[[list[Arrived]], None]
"""Takes what one read of the socket brought. It may neither fail nor wait: it puts the messages where they are bounded."""


class Sink:
    """Where the messages of some subscriptions go, in the order in which they came."""

    def __init__(self, take: Tap) -> None:
        self.take = take
        self.waiting: list[Arrived] = []

    def deliver(self) -> None:
        batch, self.waiting = self.waiting, []
        try:
            self.take(batch)
        except Exception:
            metrics.WORKER_FAILURES.labels("tap").inc()
            log.exception("%d messages could not be taken in", len(batch))


class BatchParser(Parser):
    """``sinks`` by subscription id in bytes, as it stands on the wire."""

    def __init__(self, nc: Client) -> None:
        super().__init__(nc)
        self.sinks: dict[bytes, Sink] = {}
        self._filled: list[Sink] = []
        self._read_s = float("-inf")

    async def parse(self, data: bytes = b"") -> None:
        """Give each tap its messages, nats-py the rest; an incomplete item waits for the next read. The next read waits for this."""
        size, tapped = len(data), self.nc.stats["in_msgs"]
        await self._parse(data)
        if not self.sinks or size >= FULL or self.nc.stats["in_msgs"] == tapped:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._read_s < COMPANY_S:
            await asyncio.sleep(COMPANY_S)
        self._read_s = loop.time()

    async def _parse(self, data: bytes) -> None:
        if self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        at, end = 0, len(data)
        sink_of = self.sinks.get
        while at < end:
            message = _message(data, at)
            if message is not None:
                _, subject, sid, head, size = message.groups()
                begin = message.end()
                after = begin + int(size) + 2
                if after > end:
                    break
                if (sink := sink_of(sid)) is not None:
                    if head:
                        begin += int(head)
                    if not sink.waiting:
                        self._filled.append(sink)
                    sink.waiting.append((subject, data[begin : after - 2]))
                    at = after
                    continue
            else:
                after = data.find(b"\r\n", at) + 2
                if after < 2:
                    if end - at > LONGEST_LINE:
                        raise ProtocolError("nats: a line without an end")
                    break
                if data.startswith((b"MSG ", b"HMSG "), at):
                    raise ProtocolError("nats: malformed MSG")
            self._deliver()
            await super().parse(data[at:after])
            at = after
        self._deliver()
        if at < end:
            self.buf[:0] = data[at:]

    def _deliver(self) -> None:
        for sink in self._filled:
            self.nc.stats["in_msgs"] += len(sink.waiting)
            self.nc.stats["in_bytes"] += sum([len(payload) for _, payload in sink.waiting])
            sink.deliver()
        self._filled.clear()


class BatchClient(Client):
    """nats-py's client with taps; it leaves a server that hangs at once, and returns to one that threw it out."""

    def __init__(self) -> None:
        super().__init__()
        self._ps: BatchParser = BatchParser(self)

    @property
    def server_id(self) -> str:
        """Of the server that it is connected to, or was last."""
        return str(self._server_info.get("server_id", ""))

    @property
    def cluster(self) -> str:
        """The cluster of that server; empty if it stands alone. A city's node is one of its own, by its own name."""
        return str(self._server_info.get("cluster", ""))

    def abort(self) -> None:
        """End the connection to this server without a good-bye; what it did not take yet is lost."""
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:
            transport._io_writer.transport.abort()

    async def _attempt_reconnect(self) -> None:
        """A good-bye to a server that hangs waits half a minute by TLS, and for ever for what could not be written: the loss would be told,
        and another server be tried, only then.
        """
        self.abort()
        await super()._attempt_reconnect()

    async def _process_err(self, err_msg: str) -> None:
        """What the server says before it throws a client out; nats-py would close itself for good."""
        if PERMISSIONS_ERR in err_msg or STALE_CONNECTION in err_msg:
            await super()._process_err(err_msg)
            return
        error = Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _process_pong(self) -> None:
        """One that comes after its flush gave up is nobody's; nats-py would stop reading at it, and be deaf until the next ping fails."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def tap(self, subject: str, sink: Sink) -> Subscription:
        """Subscribe; from now on what comes goes to ``sink``. It survives reconnections."""
        subscription = await self.subscribe(subject)
        self._ps.sinks[b"%d" % subscription._id] = sink
        while not subscription._pending_queue.empty():
            message = subscription._pending_queue.get_nowait()
            sink.waiting.append((message.subject.encode(), message.data))
        if sink.waiting:
            sink.deliver()
        return subscription

    async def untap(self, subscription: Subscription) -> None:
        """Nothing more comes after this."""
        self._ps.sinks.pop(b"%d" % subscription._id, None)
        await subscription.unsubscribe()
