"""The dispatcher: signed, sent at once after the commit, and again while the broker was away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import commands, intake, registry, twins
from prahari_hub.fleet.dispatch import Dispatcher
from prahari_hub.fleet.presence import Step
from prahari_hub.fleet.tables import devices
from prahari_hub.identity.signer import open_signer, verify
from prahari_wire.command import Command, CommandName
from prahari_wire.topics import Down
from prahari_wire.twin import Desired

DEVICE = "pune-ecb-01"


class Wire:
    """What reached the broker; it may be away."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Down, Any]] = []
        self.away = False
        self.came = asyncio.Event()

    async def send(self, device: str, channel: Down, message: Any) -> None:
        if self.away:
            raise Unavailable("the broker is not reachable now")
        self.sent.append((device, channel, message))
        self.came.set()


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def test_what_is_sent_carries_the_hubs_signature_for_that_device(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path
) -> None:
    signer = open_signer(tmp_path)
    dispatcher = Dispatcher(store, wire.send, signer.sign)
    born(DEVICE)
    store.write_sync(lambda unit: twins.put(unit, asha, DEVICE, Desired(), if_version=0))
    store.write_sync(
        lambda unit: commands.issue(unit, asha, DEVICE, CommandName.RESTART, {}, expires_in_s=60)
    )
    assert await dispatcher.once() == 2
    assert [channel for _, channel, _ in wire.sent] == [Down.TWIN, Down.COMMAND]
    for device, _, message in wire.sent:
        verify(signer.public_keys[message.key], device, message)


async def test_a_commit_wakes_the_dispatcher_at_once(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path
) -> None:
    dispatcher = Dispatcher(store, wire.send, open_signer(tmp_path).sign)
    store.on_changes = dispatcher.on_changes
    born(DEVICE)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.2)
    await store.write(
        lambda unit: commands.issue(unit, asha, DEVICE, CommandName.RESTART, {}, expires_in_s=60)
    )
    await asyncio.wait_for(wire.came.wait(), 5)
    task.cancel()
    assert isinstance(wire.sent[0][2], Command)


async def test_what_could_not_be_sent_goes_out_when_the_broker_is_back(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path, time: Any
) -> None:
    dispatcher = Dispatcher(store, wire.send, open_signer(tmp_path).sign)
    born(DEVICE)
    store.write_sync(lambda unit: twins.put(unit, asha, DEVICE, Desired(), if_version=0))
    wire.away = True
    await dispatcher.once()
    wire.away = False
    time.pass_s(5)
    assert await dispatcher.once() == 1
    assert len(wire.sent) == 1


async def test_a_source_that_fails_holds_up_no_other(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path
) -> None:
    def broken(_unit: Any) -> Any:
        raise ValueError("a row that nobody thought of")

    sources = (broken, twins.take_due)
    dispatcher = Dispatcher(store, wire.send, open_signer(tmp_path).sign, sources=sources)
    born(DEVICE)
    store.write_sync(lambda unit: twins.put(unit, asha, DEVICE, Desired(), if_version=0))
    assert await dispatcher.once() == 1


async def test_a_message_that_cannot_be_signed_holds_up_no_other(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path
) -> None:
    signer = open_signer(tmp_path)

    def sign(device: str, message: Any) -> Any:
        if device == "pune-cam-01":
            raise ValueError("no such key")
        return signer.sign(device, message)

    dispatcher = Dispatcher(store, wire.send, sign)
    for device in ("pune-cam-01", DEVICE):
        born(device)
        store.write_sync(lambda unit, d=device: twins.put(unit, asha, d, Desired(), if_version=0))
    await dispatcher.once()
    assert [device for device, _, _ in wire.sent] == [DEVICE]


async def test_a_retired_device_is_of_unknown_presence_and_is_sent_nothing(
    store: Any, asha: Any, born: Any, wire: Wire, tmp_path: Path
) -> None:
    dispatcher = Dispatcher(store, wire.send, open_signer(tmp_path).sign)
    born(DEVICE)
    store.write_sync(lambda unit: twins.put(unit, asha, DEVICE, Desired(), if_version=0))
    store.write_sync(lambda unit: registry.change_device(unit, asha, DEVICE, {"service": "retired"}))
    late = Step("presence", "online", "offline", "silent")
    store.write_sync(lambda unit: intake.record_steps(unit, [(DEVICE, late, unit.now)]))
    assert await dispatcher.once() == 0
    found = sa.select(devices.c.presence).where(devices.c.id == DEVICE)
    assert store.read_sync(lambda conn: conn.scalar(found)) == "unknown"
    assert store.read_sync(registry.retired) == {DEVICE}
