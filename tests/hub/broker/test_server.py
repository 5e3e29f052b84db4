"""The embedded server's life: started, supervised, ended with the hub."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import open_keys
from prahari_hub.broker.role import Broker
from prahari_hub.broker.server import EmbeddedServer, end_orphan
from prahari_hub.errors import SetupError, Unavailable
from prahari_wire.topics import Up, inbound_subject, mapped_subject, partition


async def settled(condition, within_s: float = 60.0) -> bool:
    for _ in range(int(within_s / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


async def test_the_brokers_partition_is_the_contracts(site) -> None:
    chosen = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    ids = {
        f"{chosen.choice(letters)}{''.join(chosen.choices(letters + '-', k=chosen.randint(2, 31)))}"
        for _ in range(1000)
    }
    heard: set[str] = set()

    async def note(subject: str, _payload: bytes) -> None:
        heard.add(subject)

    await site.broker.bus.subscribe(inbound_subject(), note)
    for device in ids:
        await site.broker.bus.publish(f"prahari.v1.{device}.up.event", b"")
    assert await settled(lambda: len(heard) == len(ids))
    assert heard == {mapped_subject(device, Up.EVENT) for device in ids}
    assert {partition(device) for device in ids} == set(range(16))


async def test_a_killed_server_is_started_again_and_the_hub_knows_that_it_was_blind(site) -> None:
    assert site.sights == [True]
    first = site.broker.server.pid
    os.kill(first, signal.SIGKILL)
    assert await settled(lambda: site.sights == [True, False])
    with pytest.raises(Unavailable, match="not reachable"):
        await site.broker.bus.publish("prahari.v1.cam-1.down.ack", b"")
    assert await settled(lambda: site.sights == [True, False, True])
    assert site.broker.server.pid != first
    assert site.broker.server.restarts == 1
    device = await asyncio.to_thread(site.fleet.online, "pune-cam-01", site.issue("pune-cam-01"))
    assert device.connected.is_set()


async def test_a_device_that_knocks_before_the_hub_answers_is_asked_to_come_again_and_not_refused(
    plan, issue, fleet
) -> None:
    """The broker would keep it until DEVICE_TIMEOUT_S and then say that it is not authorized."""
    broker = Broker(plan, open_keys(plan.folder / "keys.json"), Everybody())
    await broker.open()
    try:
        early = await asyncio.to_thread(fleet.device, "pune-cam-01", issue("pune-cam-01"))
        assert await settled(lambda: early.client.socket() is not None)
        await asyncio.sleep(0.5)
        assert not early.lost.is_set()
        await broker.answer()
        assert await asyncio.to_thread(early.lost.wait, 60)
        assert not early.refused_by_code and not early.connected.is_set()
        assert not broker.callout.refusals
        again = await asyncio.to_thread(fleet.device, "pune-cam-01", issue("pune-cam-01"))
        assert await asyncio.to_thread(again.connected.wait, 60)
    finally:
        await broker.stop()


async def test_whoever_knocks_while_the_broker_starts_again_comes_in(site) -> None:
    devices = {f"pune-cam-{number:02d}": site.issue(f"pune-cam-{number:02d}") for number in range(8)}
    os.kill(site.broker.server.pid, signal.SIGKILL)
    inside = {}
    async with asyncio.timeout(60):
        while len(inside) < len(devices):
            for name in devices.keys() - inside.keys():
                device = await asyncio.to_thread(site.fleet.device, name, devices[name])
                if await settled(lambda device=device: device.connected.is_set() or device.refused.is_set()):
                    assert not device.refused_by_code, f"{name} was told that it is not authorized"
                    if device.connected.is_set():
                        inside[name] = device


class Everybody:
    def refusal(self, _peer: object) -> None:
        return None

    def connected(self, _peer: object) -> None:
        return None


async def test_a_taken_port_is_named_with_the_way_out(plan, authority) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", plan.mqtt_port))
        holder.listen()
        with pytest.raises(SetupError, match=rf"port {plan.mqtt_port} \(MQTT\).*PRAHARI_PORT_OFFSET"):
            await EmbeddedServer(plan, open_keys(plan.folder / "keys.json")).start()


async def test_a_server_that_cannot_start_says_why(plan, authority) -> None:
    plan.certificate.write_text("no certificate")
    with pytest.raises(SetupError, match=r"the broker ended at once: .*certificate"):
        await EmbeddedServer(plan, open_keys(plan.folder / "keys.json")).start()


async def test_stop_leaves_no_process_and_no_listener(plan, authority) -> None:
    server = EmbeddedServer(plan, open_keys(plan.folder / "keys.json"))
    await server.start()
    pid = server.pid
    await server.stop()
    assert not alive(pid)
    assert not plan.pid_file.exists()


async def test_the_broker_dies_with_a_killed_hub(plan, authority, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from prahari_hub.broker.config import Plan
        from prahari_hub.broker.keys import open_keys
        from prahari_hub.broker.server import EmbeddedServer
        plan = Plan(Path({str(plan.folder)!r}), {plan.mqtt_port}, {plan.nats_port}, Path({str(plan.certificate)!r}),
                    Path({str(plan.key)!r}), Path({str(plan.ca)!r}))
        async def main():
            server = EmbeddedServer(plan, open_keys(plan.folder / "keys.json"))
            await server.start()
            print(server.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as hub:
        pid = int(await asyncio.to_thread(hub.stdout.readline))
        assert alive(pid)
        hub.kill()
    assert await settled(lambda: not alive(pid))


async def test_an_orphan_of_an_earlier_hub_is_ended_and_a_stranger_with_its_number_is_not(
    plan, authority
) -> None:
    keys = open_keys(plan.folder / "keys.json")
    orphan = EmbeddedServer(plan, keys)
    await orphan.start()
    for task in orphan._tasks:
        task.cancel()
    successor = EmbeddedServer(plan, keys)
    await successor.start()
    assert not alive(orphan._process.pid)
    await successor.stop()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as stranger:
        plan.pid_file.write_text(str(stranger.pid))
        end_orphan(plan)
        assert alive(stranger.pid)
        stranger.terminate()


async def test_a_hub_works_on_a_nats_server_that_it_did_not_start(site) -> None:
    keys = open_keys(site.plan.folder / "keys.json")
    second = Broker(site.plan, keys, site.register, external_url=site.plan.url)
    await second.start()
    try:
        assert second.server is None
        device = await asyncio.to_thread(site.fleet.online, "pune-cam-01", site.issue("pune-cam-01"))
        assert await second.kick("pune-cam-01") == 1
        assert await asyncio.to_thread(device.lost.wait, 2)
    finally:
        await second.stop()


async def test_an_external_nats_off_this_machine_needs_tls(plan, authority) -> None:
    with pytest.raises(SetupError, match="must begin with tls://"):
        await Bus("hub", "nats://nats.example:4222", open_keys(plan.folder / "keys.json").hub).open()


async def test_a_wrong_key_at_nats_is_said_in_one_sentence(site, tmp_path: Path) -> None:
    stranger = open_keys(tmp_path / "stranger" / "keys.json")
    with pytest.raises(SetupError, match="does not let the hub in as hub"):
        await Bus("hub", site.plan.url, stranger.hub).open()


def test_keys_and_configuration_are_private_and_survive(plan, authority) -> None:
    keys = open_keys(plan.folder / "keys.json")
    assert open_keys(plan.folder / "keys.json") == keys
    assert (plan.folder / "keys.json").stat().st_mode & 0o777 == 0o600
    assert plan.folder.stat().st_mode & 0o777 == 0o700
