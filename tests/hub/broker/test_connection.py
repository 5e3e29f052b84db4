"""The hub's connection to a broker whose machine hangs, or that throws the hub out."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from prahari_hub.broker.config import Plan, write
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import Keys, open_keys
from prahari_hub.broker.server import binary
from prahari_wire.topics import Up, inbound_subject, mapped_subject

from tests.faults.proxy import Proxy

SERVER = "127.0.0.2"
"""Off the hub's loopback address, so that the server asks for TLS."""
NOTICED_S = 28.0
"""Two missed answers take 15 s; a good-bye by TLS to a server that hangs took 30 s more."""
AT_ONCE_S = 10.0
WAITING_BYTES = 1_000_000


@dataclass
class Way:
    """A connection through two proxies that stand for two nodes, and what it told."""

    bus: Bus
    proxies: tuple[Proxy, Proxy]
    sights: list[bool]

    @property
    def taken(self) -> Proxy:
        netloc = self.bus.client.connected_url.netloc
        return next(proxy for proxy in self.proxies if netloc.endswith(f":{proxy.port}"))

    def hang(self) -> Proxy:
        """The node that was taken reads and says nothing more, and lets nobody in; the other is well."""
        proxy = self.taken
        for each in self.proxies:
            each.weather.open, each.weather.dead = each is not proxy, each is proxy
        self.sights.clear()
        return proxy

    async def fill(self) -> None:
        """Publish until nothing more goes out."""
        while self.bus.client.pending_data_size < WAITING_BYTES:
            await self.bus.publish("prahari.v1.pune-cam-01.down.ack", bytes(60_000))
            await asyncio.sleep(0.01)

    async def other_is_taken(self, than: Proxy, *, within_s: float) -> None:
        begun = time.monotonic()
        async with asyncio.timeout(within_s):
            while self.sights != [False, True]:
                await asyncio.sleep(0.05)
        print(f"another node was taken after {time.monotonic() - begun:.1f} s")
        assert self.taken is not than


@pytest.fixture
def keys(plan: Plan) -> Keys:
    return open_keys(plan.folder / "keys.json")


@pytest.fixture
def server(plan: Plan, keys: Keys) -> Iterator[Plan]:
    """A server that speaks TLS, and runs."""
    found = replace(plan, nats_listen=SERVER)
    write(found, keys)
    process = subprocess.Popen(
        [str(binary()), "-c", str(found.config_file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield found
    process.kill()
    process.wait()


@pytest.fixture
async def way(server: Plan, keys: Keys) -> AsyncIterator[Way]:
    proxies = Proxy((SERVER, server.nats_port)).start(), Proxy((SERVER, server.nats_port)).start()
    sights: list[bool] = []

    async def on_sight(sees: bool) -> None:
        sights.append(sees)

    url = ",".join(f"tls://localhost:{proxy.port}" for proxy in proxies)
    bus = Bus("hub", url, keys.hub, ca=server.ca, on_sight=on_sight)
    await bus.open(within_s=60)
    yield Way(bus, proxies, sights)
    await bus.close()
    for proxy in proxies:
        proxy.stop()


async def test_a_node_that_hangs_is_noticed_and_left_for_another_within_half_a_minute(way: Way) -> None:
    """By itself after missed answers, and at once where the hub is told to move, and where it ends; also with much to say."""
    hung = way.hang()
    await way.other_is_taken(hung, within_s=NOTICED_S)

    hung = way.hang()
    await way.fill()
    await way.bus.move()
    await way.other_is_taken(hung, within_s=AT_ONCE_S)

    way.hang()
    await way.fill()
    begun = time.monotonic()
    await way.bus.close()
    assert time.monotonic() - begun < AT_ONCE_S


async def test_what_was_published_before_the_end_of_a_connection_arrives(way: Way, keys: Keys) -> None:
    """A hub that ends has said its last acks."""
    heard: list[bytes] = []
    listener = Bus("relay", way.bus.url, keys.hub, ca=way.bus._ca)
    await listener.open(within_s=60)

    async def note(_subject: str, payload: bytes) -> None:
        heard.append(payload)

    try:
        await listener.subscribe(inbound_subject(), note)
        for number in range(1000):
            await way.bus.publish(mapped_subject("pune-cam-01", Up.EVENT), b"%d" % number)
        await way.bus.close()
        async with asyncio.timeout(60):
            while len(heard) < 1000:
                await asyncio.sleep(0.05)
    finally:
        await listener.close()


async def test_a_connection_that_the_server_ends_with_an_error_is_opened_again(way: Way) -> None:
    """The server answers bytes that it cannot read with an error and throws the hub out."""
    way.sights.clear()
    way.bus.problems.clear()
    transport = way.bus._open._transport
    transport.write(b"NONSENSE\r\n")
    await transport.drain()
    async with asyncio.timeout(60):
        while way.sights != [False, True]:
            await asyncio.sleep(0.05)
    await way.bus.client.flush()
    assert way.bus.problems["Error"] == 1, "the server said why"
