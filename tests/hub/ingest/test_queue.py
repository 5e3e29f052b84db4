"""Events wait for company where they follow each other closely, and hardly where one comes alone."""

from __future__ import annotations

import asyncio
import inspect

from prahari_hub.fleet import faults, twins
from prahari_hub.incidents import service
from prahari_hub.ingest.handlers import WRITE_PERIPHERALS, table
from prahari_hub.ingest.queue import BUSY_WINDOW_S, WINDOW_S, Queue
from prahari_hub.ingest.read import Raw, address
from prahari_wire.topics import Up, mapped_subject


def raw(device: str = "pune-ecb-01") -> Raw:
    return Raw(address(mapped_subject(device, Up.EVENT)), b"{}", 0.0)


async def waited_s(queue: Queue) -> float:
    begun_s = asyncio.get_running_loop().time()
    await queue.take()
    return asyncio.get_running_loop().time() - begun_s


async def test_the_first_event_hardly_waits_and_one_right_after_it_waits_for_more() -> None:
    queue = Queue()
    queue.put(raw())
    await queue.take()
    queue.put(raw())
    assert await waited_s(queue) >= BUSY_WINDOW_S * 0.9 > WINDOW_S
    asyncio.get_running_loop().call_later(BUSY_WINDOW_S / 4, queue.put, raw())
    queue.put(raw())
    assert len(await queue.take()) == 2


async def test_a_batch_that_is_full_waits_for_nobody() -> None:
    queue = Queue()
    for _ in range(600):
        queue.put(raw())
    assert [len(await queue.take()) for _ in range(3)] == [256, 256, 88]


def test_every_handler_that_writes_of_peripherals_makes_the_next_heartbeat_written() -> None:
    """The rule: whoever has ``peripherals`` or ``serve`` in what it runs for an event is named."""
    writers = {faults.noted, twins.reported}
    kinds = {kind for kind, handlers in table(service.on_event).items() if writers & set(handlers)}
    assert kinds == WRITE_PERIPHERALS
    others = {handler for handlers in table(service.on_event).values() for handler in handlers} - writers
    sources = {handler.__name__: inspect.getsource(handler) for handler in others}
    assert [name for name, text in sources.items() if "peripherals." in text or "serve(" in text] == []
