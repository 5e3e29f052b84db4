"""Taps: what devices say reaches the hub in batches."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from prahari_hub.broker import connection
from prahari_hub.broker.batches import Arrived, Sink
from prahari_hub.errors import Unavailable
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


def stands_still(pid: int) -> bool:
    """Whether a signal to stop has reached each of its threads."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


async def test_a_tap_that_the_broker_does_not_confirm_hears_nothing_and_the_next_one_hears_once(
    site, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[Arrived] = []
    monkeypatch.setattr(connection, "FLUSH_S", 0.3)
    os.kill(site.broker.server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):
            while not stands_still(site.broker.server.pid):
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="does not confirm"):
            await site.broker.bus.tap(inbound_subject(), Sink(arrived.extend))
    finally:
        os.kill(site.broker.server.pid, signal.SIGCONT)
    monkeypatch.undo()
    await site.broker.bus.tap(inbound_subject(), Sink(arrived.extend))
    device = await asyncio.to_thread(site.fleet.online, CAMERA, site.issue(CAMERA))
    device.publish(up(CAMERA, Up.EVENT), b"once")
    async with asyncio.timeout(10):
        while not arrived:
            await asyncio.sleep(0.02)
    await site.broker.bus.client.flush()
    assert arrived == [(mapped_subject(CAMERA, Up.EVENT).encode(), b"once")]


async def test_a_connection_that_is_closed_takes_no_tap_and_says_so(site) -> None:
    await site.broker.bus.close()
    with pytest.raises(Unavailable, match="cannot listen"):
        await site.broker.bus.tap(inbound_subject(), Sink(print))
