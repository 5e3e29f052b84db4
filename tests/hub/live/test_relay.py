"""Changes between processes of one hub: heard once by all others, and never missed without being known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prahari_hub.broker.config import Plan
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import open_keys
from prahari_hub.broker.server import EmbeddedServer
from prahari_hub.errors import Unavailable
from prahari_hub.identity.ca import open_authority
from prahari_hub.live import relay
from prahari_hub.live.feed import Feed
from prahari_hub.live.relay import Relay
from prahari_hub.store import Change
from prahari_wire.base import now_utc


@dataclass
class Process:
    bus: Bus
    relay: Relay
    heard: list[Change] = field(default_factory=list)
    caught_up: int = 0

    async def start(self) -> None:
        await self.bus.open()
        await self.relay.start(self.heard.extend, self.catch_up)

    async def catch_up(self) -> None:
        self.caught_up += 1

    def topics(self) -> list[str]:
        return [change.topic for change in self.heard]


class House:
    """One broker, any number of processes."""

    def __init__(self, plan: Plan) -> None:
        self.keys = open_keys(plan.folder / "keys.json")
        self.server = EmbeddedServer(plan, self.keys)
        self.processes: list[Process] = []

    async def process(self) -> Process:
        bus = Bus("relay", self.server.plan.url, self.keys.hub, echo=False)
        found = Process(bus, Relay(bus))
        self.processes.append(found)
        await found.start()
        return found


@pytest.fixture
async def house(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[House]:
    authority = open_authority(tmp_path, city="Pune", now=now_utc())
    authority.server_certificate(["localhost"], now=now_utc())
    certificate, key = authority.server_files
    found = House(Plan(tmp_path / "broker", free_port(), free_port(), certificate, key, authority.ca_file))
    await found.server.start()
    yield found
    for process in found.processes:
        await process.relay.stop()
        await process.bus.close()
    await found.server.stop()


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_each_change_reaches_every_other_process_once_and_never_its_own(house: House) -> None:
    first, second, third = [await house.process() for _ in range(3)]
    first.relay.send([Change("devices", {"id": "cam-1", "service": "retired"})])
    second.relay.send([Change("incidents", {"id": "i-1"})])
    await until(lambda: len(third.heard) == 2 and len(first.heard) == 1 and len(second.heard) == 1)
    assert first.topics() == ["incidents"]
    assert second.heard == [Change("devices", {"id": "cam-1", "service": "retired"})]
    assert first.caught_up == second.caught_up == third.caught_up == 1


async def test_many_changes_travel_in_messages_that_the_broker_takes(house: House) -> None:
    first, second = await house.process(), await house.process()
    first.relay.send(
        [Change("devices", {"id": f"cam-{number}", "note": "x" * 400}) for number in range(1000)]
    )
    await until(lambda: len(second.heard) == 1000)
    assert [change.data["id"] for change in second.heard] == [f"cam-{number}" for number in range(1000)]
    assert second.relay.gaps == 0


async def test_too_many_changes_become_the_word_to_read_everything(house: House) -> None:
    first, second = await house.process(), await house.process()
    first.relay.send([Change("devices", {"id": str(number)}) for number in range(relay.MOST + 1)])
    await until(lambda: second.caught_up == 2)
    assert second.heard == []


async def test_a_process_that_missed_a_message_reads_everything(house: House) -> None:
    first, second = await house.process(), await house.process()
    first.relay.send([Change("devices", {"id": "1"})])
    await until(lambda: second.heard)
    first.relay._number += 1  # as if the broker had dropped one for a slow reader
    first.relay.send([Change("devices", {"id": "3"})])
    await until(lambda: second.caught_up == 2)
    assert second.relay.gaps == 1


async def test_a_process_that_was_cut_off_reads_everything_and_hears_on(house: House) -> None:
    first, second = await house.process(), await house.process()
    await house.server.stop()
    await until(lambda: not first.bus.sees and not second.bus.sees)
    first.relay.send([Change("devices", {"id": "1"})])
    await house.server.start()
    await until(lambda: first.bus.sees and second.bus.sees)
    await until(lambda: first.caught_up >= 2 and second.caught_up >= 2)
    first.relay.send([Change("devices", {"id": "2"})])
    await until(lambda: any(change.data["id"] == "2" for change in second.heard))


async def test_a_free_lease_is_told_to_the_others(house: House) -> None:
    first, second = await house.process(), await house.process()
    woken: list[int] = []
    first.relay.on_nudge(lambda: woken.append(1))
    second.relay.on_nudge(lambda: woken.append(2))
    async with asyncio.timeout(10.0):
        while not woken:  # the broker may take the second's subscription after the first's word
            await first.relay.nudge()
            await asyncio.sleep(0.05)
    assert set(woken) == {2}


async def test_nudging_without_a_broker_is_refused_at_once(house: House) -> None:
    first = await house.process()
    await house.server.stop()
    await until(lambda: not first.bus.sees)
    with pytest.raises(Unavailable):
        await first.relay.nudge()


async def test_browsers_are_told_to_fetch_everything_after_a_gap() -> None:
    feed = Feed()
    browser = feed.subscribe(["devices", "incidents"])
    await browser.get()
    feed.missed()
    messages = [await browser.get(), await browser.get()]
    bodies = [json.loads(message.data) for message in messages if message]
    assert {body["topic"] for body in bodies} == {"devices", "incidents"}
    assert all(body["all"] is True for body in bodies)
