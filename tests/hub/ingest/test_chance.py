"""Nobody is offline because the hub's own broker was away, and nobody can keep the hub from seeing who is."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.fleet.tables import devices
from prahari_hub.ingest.chance import MOST_S, Chance, Spread
from prahari_wire.topics import Up


def presence(hub: Any) -> str:
    return str(hub.scalar(sa.select(devices.c.presence).where(devices.c.id == "pune-ecb-01")))


@pytest.fixture
async def returning(hub: Any, box: Any) -> Any:
    """A hub that sees its broker again, of a fleet that was asked to come back within 50 s."""
    hub.ingest.memory.spread = lambda: Spread(50.0, 50.0)
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.ingest.on_sight(False)
    await hub.tick(5)
    await hub.ingest.on_sight(True)
    return hub


async def test_silence_counts_when_the_window_that_the_hub_named_is_over(returning: Any) -> None:
    await returning.tick(139)
    assert presence(returning) == "unknown"
    await returning.tick(2)
    assert presence(returning) == "offline"


async def test_while_devices_stand_before_the_gate_nobody_is_offline(returning: Any) -> None:
    for _ in range(300):
        await returning.tick(1)
        returning.ingest.on_crowd()
    assert presence(returning) == "unknown"
    await returning.tick(139)
    assert presence(returning) == "unknown"
    await returning.tick(2)
    assert presence(returning) == "offline"


async def test_a_device_that_is_connected_is_not_suspect_for_a_heartbeat_that_a_crowd_held_up(
    returning: Any, box: Any
) -> None:
    box.conn += 1
    await returning.say(box, Up.BIRTH, box.birth())
    for _ in range(60):
        await returning.tick(1)
        returning.ingest.on_crowd()
    assert presence(returning) == "online"


async def test_who_knocks_for_ever_does_not_keep_the_hub_from_telling_who_is_silent(returning: Any) -> None:
    for _ in range(int(MOST_S) // 10 + 20):
        await returning.tick(10)
        returning.ingest.on_crowd()
    assert presence(returning) == "offline"


def test_a_crowd_counts_again_after_a_calm_as_long_as_the_longest_stretch() -> None:
    chance, spread = Chance(), Spread(50.0, 50.0)
    for second in range(0, 1000, 10):
        chance.crowded(float(second), spread)
    assert chance.counts_s == MOST_S + 50
    chance.crowded(1000 + MOST_S / 2, spread)
    assert chance.counts_s == MOST_S + 50
    chance.crowded(2200.0, spread)
    assert chance.counts_s == 2250.0


def test_a_state_is_given_as_long_as_its_return_takes() -> None:
    assert Spread(120.0, 1333.0).most_s == 4 * 1000 - 1
