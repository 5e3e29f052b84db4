"""A state in small: few connections speak for many devices, at a hub that allows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.place import Place, until
from bench.state import presence
from bench.swarm import Ledger
from bench.swarm.identities import Identity, has_callbox, name_of
from bench.swarm.multiplex import Lane

DEVICES = 60


def test_every_device_has_its_own_moment_in_each_round() -> None:
    lane = Lane(Identity("bench-multiplex-0", 0, Path()), range(1000), 30.0)
    assert sorted(lane.numbers) == list(range(1000))
    assert lane.phases == sorted(lane.phases)
    assert 0 <= lane.phases[0] < lane.phases[-1] < 30
    assert max(b - a for a, b in zip(lane.phases, lane.phases[1:], strict=False)) < 1


def test_one_device_in_twenty_serves_a_call_box() -> None:
    assert sum(map(has_callbox, range(1000))) == 50
    assert name_of(20) == "swarm-000020"


@pytest.mark.system
def test_many_devices_over_few_connections_are_online_and_their_events_are_stored_once(
    find_port_offset: Callable[[], int],
) -> None:
    with Place(port_offset=find_port_offset(), heartbeat_s=2) as place:
        _, lanes = place.state(DEVICES)
        place.start()
        player = place.play("state", "multiplex", lanes, numbers=(0, DEVICES), events_per_s=10.0)
        until(lambda: presence(place).get("online", 0) == DEVICES, "all to be online", within_s=60)
        player.press_some()
        until(lambda: player.status().get("event_sends", 0) > 20, "some events", within_s=30)
        until(
            lambda: player.status().get("cpu_s", 0) > 0 and place.broker_pid > 0, "its own cost", within_s=10
        )
        player.end()
        ledger = Ledger()
        ledger.merge(player.spec.ledger)
        balance = ledger.check(place.settings.store_url)
        assert balance.balanced, str(balance)
        assert balance.acked > 10
