"""Taps: what devices say reaches the hub in batches."""

from __future__ import annotations

import asyncio

from prahari_hub.broker.batches import Arrived, Sink
from prahari_wire.topics import Up, inbound_subject, mapped_subject, up

CAMERA = "pune-cam-01"


async def test_what_a_device_publishes_reaches_a_tap_without_the_brokers_headers(site) -> None:
    arrived: list[Arrived] = []
    await site.broker.bus.tap(inbound_subject(), Sink(arrived.extend))
    device = await asyncio.to_thread(site.fleet.online, CAMERA, site.issue(CAMERA))
    device.publish(up(CAMERA, Up.EVENT), b"first")
    device.publish(up(CAMERA, Up.HEALTH), b"second")
    async with asyncio.timeout(10):
        while len(arrived) < 2:
            await asyncio.sleep(0.02)
    assert arrived == [
        (mapped_subject(CAMERA, Up.EVENT).encode(), b"first"),
        (mapped_subject(CAMERA, Up.HEALTH).encode(), b"second"),
    ]
