"""The swarm against a real hub with its broker: births, events, ledger."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator

import httpx
import pytest
from prahari_hub.settings import Settings, load
from prahari_provisioning.demo.processes import Program, installed

from bench.place import until
from bench.swarm import Identity, Swarm, issue

pytestmark = pytest.mark.system
DEVICES = 30


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, find_port_offset: Callable[[], int]) -> Settings:
    home = tmp_path_factory.mktemp("swarm") / "hub"
    return load(home=home, port_offset=find_port_offset(), heartbeat_s=2)


@pytest.fixture(scope="module")
def identities(settings: Settings) -> list[Identity]:
    return issue(settings, DEVICES)


@pytest.fixture(scope="module", autouse=True)
def hub(settings: Settings, identities: list[Identity]) -> Iterator[Program]:
    env = {
        **os.environ,
        "PRAHARI_HOME": str(settings.home),
        "PRAHARI_PORT_OFFSET": str(settings.port_offset),
        "PRAHARI_HEARTBEAT_S": "2",
    }
    program = Program("hub", [installed("prahari-hub"), "serve"], settings.home.parent / "hub.log", env)
    yield program
    program.ask_to_stop()
    program.wait()


@pytest.fixture
def swarm(settings: Settings, identities: list[Identity]) -> Iterator[Swarm]:
    """Begins when the hub is ready: who knocks at a hub that starts waits longer and longer."""
    ready = f"http://127.0.0.1:{settings.console_port}/readyz"
    until(lambda: httpx.get(ready, timeout=5).is_success, "the hub to be ready", within_s=90)
    with Swarm(
        identities, "127.0.0.1", settings.mqtt_port, ca=settings.home / "pki" / "ca.pem", heartbeat_s=2
    ) as found:
        found.wait_welcomed()
        yield found


def stored(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{settings.home / 'hub.db'}?mode=ro", uri=True) as database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


def test_every_event_is_acked_and_stands_in_the_database_once(settings: Settings, swarm: Swarm) -> None:
    names = list(swarm.devices)
    for device in names[:10]:
        swarm.press(device)
        swarm.selftest(device)
    swarm.wait(lambda: len(swarm.ledger.entries) >= 20, within_s=10, what="20 events to be made")
    swarm.wait_acked()
    balance = swarm.ledger.check(settings.store_url)
    assert balance.balanced, str(balance)
    assert balance.presses == 10
    assert swarm.ledger.counts["acked_twice"] == 0
    assert swarm.ledger.summary()["sent_to_ack"]["n"] == balance.acked


def made_by(swarm: Swarm, device: str) -> list[tuple[str, str, int]]:
    """Keys of this device's events once there is one and all are acked; others may answer commands of open incidents meanwhile."""
    found = lambda: [key for key in list(swarm.ledger.entries) if key[0] == device]  # noqa: E731
    swarm.wait(lambda: bool(found()), within_s=10, what="an event to be made")
    swarm.wait_acked()
    return found()


def test_a_lost_event_and_a_doubled_one_are_named(settings: Settings, swarm: Swarm) -> None:
    swarm.selftest("swarm-000020")
    (key,) = made_by(swarm, "swarm-000020")
    swarm.ledger.entries[key[0], key[1], 99] = swarm.ledger.entries[key]
    assert swarm.ledger.check(settings.store_url).missing == [(key[0], key[1], 99)]
    del swarm.ledger.entries[key]
    balance = swarm.ledger.check(settings.store_url)
    assert key in balance.foreign
    assert not balance.balanced


def test_a_cut_device_comes_back_and_its_press_arrives(settings: Settings, swarm: Swarm) -> None:
    swarm.cut("swarm-000025")
    swarm.press("swarm-000025")
    swarm.wait(lambda: bool(swarm.ledger.counts["losses"]), within_s=10, what="the connection to be cut")
    made_by(swarm, "swarm-000025")
    swarm.wait_welcomed()
    assert swarm.ledger.counts["losses"] == 1
    assert swarm.ledger.check(settings.store_url).presses == 1


def test_heartbeats_keep_every_device_online(settings: Settings, swarm: Swarm) -> None:
    query = "SELECT count(*) FROM devices WHERE presence = 'online' AND id LIKE 'swarm-%'"
    swarm.wait(lambda: stored(settings, query) == [(DEVICES,)], within_s=30, what="all devices to be online")
    assert swarm.up == DEVICES
