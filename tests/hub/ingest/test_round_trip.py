"""Ingest on a real broker: what is said on a device's subject is committed and answered on its ack subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.broker.callout import Peer
from prahari_hub.broker.config import Plan
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import open_keys
from prahari_hub.broker.role import Broker
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.tables import devices, events
from prahari_hub.identity.ca import open_authority
from prahari_hub.ingest.handlers import table
from prahari_hub.ingest.role import Ingest
from prahari_wire.ack import Ack
from prahari_wire.topics import Down, Up, down_subject, gone_subject, mapped_subject

PATIENCE_S = 60.0


class Everyone:
    """An admission that nobody needs here: the test speaks over NATS itself."""

    def refusal(self, _peer: Peer) -> str | None:
        return None

    def connected(self, _peer: Peer) -> None:
        return


async def eventually(condition: Callable[[], object]) -> None:
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")


@pytest.fixture
async def spoken(
    store: Any, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[tuple[Bus, Ingest, list[Ack]]]:
    """(a connection to speak on, the running ingest, the acks that device pune-ecb-01 hears)."""
    authority = open_authority(tmp_path / "home", city="Pune", now=datetime.now(UTC))
    authority.server_certificate(["localhost", "127.0.0.1"], now=datetime.now(UTC))
    certificate, key = authority.server_files
    plan = Plan(tmp_path / "broker", free_port(), free_port(), certificate, key, authority.ca_file)
    keys = open_keys(plan.folder / "keys.json")

    async def send(device: str, channel: Down, ack: Ack) -> None:
        await broker.downlink.send(device, channel, ack)

    ingest = Ingest(
        store,
        send,
        handlers=table(lambda _unit, _fact: None),
        limits=Limits(45, 90),
    )
    broker = Broker(plan, keys, Everyone(), on_sight=ingest.on_sight)
    await broker.start()
    await ingest.start(broker.bus)
    speaker = Bus("test", plan.url, keys.hub)
    await speaker.open()
    heard: list[Ack] = []

    async def hear(_subject: str, payload: bytes) -> None:
        heard.append(Ack.model_validate_json(payload))

    await speaker.subscribe(down_subject("pune-ecb-01", Down.ACK), hear)
    yield speaker, ingest, heard
    await speaker.close()
    await ingest.stop()
    await broker.stop()


async def test_a_birth_a_press_and_a_last_will_go_all_the_way(spoken: Any, store: Any, box: Any) -> None:
    speaker, _, heard = spoken

    async def say(subject: str, message: Any) -> None:
        await speaker.publish(subject, json.dumps(message).encode())

    birth, batch = box.birth(), box.batch(box.press())
    await say(mapped_subject(box.device, Up.BIRTH), birth)
    await eventually(lambda: [ack.birth for ack in heard] == [birth["id"]])
    await say(mapped_subject(box.device, Up.EVENT), batch)
    await eventually(lambda: [ack.upto for ack in heard if ack.batch == batch["id"]] == [0])
    stored = store.read_sync(lambda conn: conn.scalar(sa.select(events.c.kind)))
    assert stored == "callbox.press"
    await say(gone_subject(box.device), box.gone("shutdown"))
    presence = sa.select(devices.c.presence).where(devices.c.id == box.device)
    await eventually(lambda: store.read_sync(lambda conn: conn.scalar(presence)) == "suspect")


async def test_a_thousand_presses_in_small_batches_arrive_once_each(
    spoken: Any, store: Any, box: Any
) -> None:
    speaker, _, heard = spoken
    await speaker.publish(mapped_subject(box.device, Up.BIRTH), json.dumps(box.birth()).encode())
    held = [box.press() for _ in range(1000)]
    for start in range(0, 1000, 25):
        payload = json.dumps(box.batch(*held[start : start + 25])).encode()
        for _ in range(2):
            await speaker.publish(mapped_subject(box.device, Up.EVENT), payload)
    await eventually(lambda: any(ack.upto == 999 for ack in heard))
    counted = sa.select(sa.func.count(), sa.func.count(sa.distinct(events.c.seq)))
    assert store.read_sync(lambda conn: conn.execute(counted).one()) == (1000, 1000)
