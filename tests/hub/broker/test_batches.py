"""Messages in batches: the parser beside nats-py's own, cut at any byte, and on a real server."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from prahari_hub.broker.batches import COMPANY_S, PINNED, BatchParser, Sink


class Rest(Client):
    """What nats-py's own parser is given, in the order in which it came."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.heard.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.heard.append("ping")

    async def _process_err(self, err: str) -> None:
        self.heard.append(err)


WIRE = (
    b"PING\r\nMSG prahari.in.3.dev-1.health 7 5\r\nhello\r\nMSG a.b 8 inbox.1 4\r\nMSG \r\n+OK\r\n"
    b"MSG prahari.in.3.dev-2.health 7 2\r\n\r\n\r\nHMSG a.c 8 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
    b"-ERR 'Slow Consumer'\r\nMSG prahari.in.4.dev-3.event 9 reply 0\r\n\r\nPING\r\n"
)


def test_the_release_of_nats_py_is_the_one_this_was_written_against() -> None:
    assert version("nats-py") == PINNED


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(WIRE)), max_size=8))
def test_cut_at_any_bytes_each_message_comes_once_and_in_order(cuts: list[int]) -> None:
    rest = Rest()
    parser = BatchParser(rest)
    taken: list[Any] = []
    sink = Sink(taken.extend)
    parser.sinks |= {b"7": sink, b"9": sink}

    async def feed() -> None:
        edges = [0, *sorted(cuts), len(WIRE)]
        for start, stop in pairwise(edges):
            await parser.parse(WIRE[start:stop])

    asyncio.run(feed())
    assert taken == [
        (b"prahari.in.3.dev-1.health", b"hello"),
        (b"prahari.in.3.dev-2.health", b"\r\n"),
        (b"prahari.in.4.dev-3.event", b""),
    ]
    assert rest.heard == [
        "ping",
        (8, b"a.b", b"inbox.1", b"MSG ", None),
        (8, b"a.c", b"", b"hi", b"NATS/1.0\r\n\r\n"),
        "'slow consumer'",
        "ping",
    ]


async def test_a_tap_hears_everything_also_after_the_connection_was_lost(site: Any) -> None:
    bus = site.broker.bus
    taken: list[tuple[bytes, bytes]] = []
    tap = await bus.tap("prahari.in.5.>", Sink(taken.extend))
    for number in range(500):
        await bus.publish("prahari.in.5.dev-1.health", b"%d" % number)
    await bus.client.flush()
    await asyncio.sleep(0.1)
    assert [int(payload) for _, payload in taken] == list(range(500))
    bus.client._transport.close()
    for _ in range(200):
        await asyncio.sleep(0.05)
        if bus.sees and bus.client._transport is not None and not bus.client._transport.at_eof():
            break
    await asyncio.sleep(0.5)
    await bus.publish("prahari.in.5.dev-1.health", b"again")
    for _ in range(100):
        await asyncio.sleep(0.05)
        if taken[-1][1] == b"again":
            break
    assert taken[-1][1] == b"again"
    await bus.untap(tap)
    await bus.publish("prahari.in.5.dev-1.health", b"never")
    await bus.client.flush()
    assert taken[-1][1] == b"again"


async def test_a_tap_that_fails_costs_its_messages_and_not_the_connection(site: Any) -> None:
    bus = site.broker.bus

    def fail(_batch: list[Any]) -> None:
        raise RuntimeError("a tap that fails")

    tap = await bus.tap("prahari.in.6.>", Sink(fail))
    await bus.publish("prahari.in.6.dev-1.health", b"x")
    await bus.client.flush()
    assert bus.sees
    await bus.untap(tap)


async def test_where_reads_follow_each_other_closely_the_next_messages_gather() -> None:
    parser = BatchParser(Rest())
    taken: list[Any] = []
    parser.sinks[b"7"] = Sink(taken.extend)
    loop = asyncio.get_running_loop()
    await parser.parse(b"MSG a.b 7 2\r\nhi\r\n")
    begun_s = loop.time()
    await parser.parse(b"MSG a.b 7 2\r\nho\r\n")
    assert loop.time() - begun_s >= COMPANY_S * 0.9
    assert [payload for _, payload in taken] == [b"hi", b"ho"]
