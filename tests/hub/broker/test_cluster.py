"""Three nodes: devices and hub go on when one is killed, and a minority lets nobody in. A city's node that hangs on a cluster."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prahari_hub.broker.cluster import LEAF_PORT, Node, plan_of, write_nodes
from prahari_hub.broker.config import LOOPBACK, Cluster, Plan, write
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.keys import Keys, open_keys
from prahari_hub.broker.role import Broker
from prahari_hub.broker.server import binary
from prahari_hub.errors import SetupError
from prahari_wire.base import now_utc
from prahari_wire.topics import Up, gone_subject, inbound_subject, up

from tests.faults.proxy import Proxy

CAMERA, OTHER = "pune-cam-01", "pune-cam-02"
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
ELECTION_S = 60.0
"""Nodes that lost their leader elect another within some seconds; a busy machine takes longer."""
SOON_S = 25.0
"""Shorter than a good-bye by TLS to a node that hangs."""


@dataclass
class Server:
    plan: Plan
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(binary()), "-c", str(self.plan.config_file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Nodes:
    """Servers with one authority; ``urls`` is what the hub is given."""

    def __init__(self, plans: list[Plan], keys: Keys) -> None:
        self.servers = [Server(plan) for plan in plans]
        for server in self.servers:
            write(server.plan, keys)
            server.start()

    @property
    def urls(self) -> str:
        return ",".join(f"tls://{server.plan.nats_listen}:{server.plan.nats_port}" for server in self.servers)

    def at(self, bus: Bus) -> Server:
        """The one that this connection stands to."""
        netloc = bus.client.connected_url.netloc
        return next(each for each in self.servers if netloc.endswith(f":{each.plan.nats_port}"))

    def end(self) -> None:
        for server in self.servers:
            server.kill()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return open_keys(tmp_path / "keys.json")


@pytest.fixture
def three(tmp_path: Path, authority, keys: Keys, free_port: Callable[[], int]) -> Iterator[Nodes]:
    """A cluster whose nodes differ by address; everything between them is wrapped in TLS, as on three machines."""
    ports = {host: free_port() for host in HOSTS}
    plans = []
    for host in HOSTS:
        folder = tmp_path / host
        folder.mkdir()
        authority.node_certificate(folder, [host, "localhost", LOOPBACK], now=now_utc())
        routes = tuple(f"{other}:{ports[other]}" for other in HOSTS if other != host)
        plans.append(
            Plan(
                folder,
                free_port(),
                free_port(),
                folder / "node.pem",
                folder / "node.key",
                folder / "ca.pem",
                name=f"node-{host[-1]}",
                nats_listen=host,
                cluster=Cluster(f"{host}:{ports[host]}", routes),
                leaves=f"{LOOPBACK}:{free_port()}",
            )
        )
    found = Nodes(plans, keys)
    yield found
    found.end()


@pytest.fixture
async def hub(three: Nodes, plan: Plan, keys: Keys, authority) -> AsyncIterator[Broker]:
    broker = Broker(plan, keys, Register(), external_url=three.urls, external_ca=authority.ca_file)
    await broker.start()
    yield broker
    await broker.stop()


class Register:
    def refusal(self, peer: object) -> None:
        return None

    def connected(self, peer: object) -> None:
        return None


async def comes_in(fleet, server: Server, device: str, credentials, within_s: float = ELECTION_S):
    """The device as soon as this node lets it in, and the seconds that took."""
    fleet.port, begun = server.plan.mqtt_port, time.monotonic()
    while time.monotonic() - begun < within_s:
        found = await asyncio.to_thread(fleet.device, device, credentials)
        if await asyncio.to_thread(found.connected.wait, 20):
            await asyncio.to_thread(found.subscribe, f"prahari/v1/{device}/down/#")
            return found, time.monotonic() - begun
        await asyncio.sleep(0.2)
    pytest.fail(f"{device} was not let in within {within_s:.0f} s")


async def heard(say: Callable[[], object], found: Callable[[], object], within_s: float = ELECTION_S) -> bool:
    """Whether what is said again and again arrives, as devices say theirs until it is acked: a node that has just found the others
    does not know at once who listens there.
    """
    deadline = time.monotonic() + within_s
    while not found() and time.monotonic() < deadline:
        if asyncio.iscoroutine(said := say()):
            await said
        for _ in range(20):
            if found():
                break
            await asyncio.sleep(0.05)
    return bool(found())


@pytest.mark.timeout(300)
async def test_a_killed_node_is_survived_and_a_minority_lets_nobody_in(three, hub, fleet, issue) -> None:
    messages: list[bytes] = []

    async def note(_subject: str, payload: bytes) -> None:
        messages.append(payload)

    await hub.bus.subscribe(inbound_subject(), note)
    credentials = issue(CAMERA)
    first, second, third = three.servers
    device, _ = await comes_in(fleet, first, CAMERA, credentials)

    async def reaches_the_hub(payload: bytes) -> bool:
        return await heard(lambda: device.publish(up(CAMERA, Up.EVENT), payload), lambda: payload in messages)

    assert await reaches_the_hub(b"by the first")

    first.kill()
    assert await asyncio.to_thread(device.lost.wait, ELECTION_S)
    device, took_s = await comes_in(fleet, second, CAMERA, credentials)
    print(f"let in by another node after {took_s:.1f} s")
    assert await reaches_the_hub(b"by the second")
    assert await asyncio.to_thread(eventually, lambda: hub.bus.sees)

    third.kill()
    fleet.port = second.plan.mqtt_port
    alone = await asyncio.to_thread(fleet.device, OTHER, issue(OTHER))
    assert await asyncio.to_thread(alone.refused.wait, ELECTION_S) and not alone.connected.is_set()
    assert await reaches_the_hub(b"whoever was in goes on")

    first.start()
    _, took_s = await comes_in(fleet, second, OTHER, issue(OTHER))
    print(f"the majority is back after {took_s:.1f} s")


class Lines:
    """The lines between three nodes, each through a proxy: the others reach a node by its ``doors``, the third reaches them by
    ``own`` ones. ``split`` takes the third away from the others, which keep theirs.
    """

    def __init__(self, plans: list[Plan], keys: Keys) -> None:
        self._listens = [plan.cluster.listen for plan in plans if plan.cluster]
        self.doors = [self._proxy(listen) for listen in self._listens]
        self.own = [self._proxy(listen) for listen in self._listens[:2]]
        for number, plan in enumerate(plans):
            ways = self.own if number == 2 else [d for n, d in enumerate(self.doors) if n != number]
            cluster = Cluster(self._listens[number], tuple(f"{LOOPBACK}:{way.port}" for way in ways))
            write(replace(plan, cluster=cluster), keys)
            text = plan.config_file.read_text()
            advertise = f'  pool_size: 3\n  advertise: "{LOOPBACK}:{self.doors[number].port}"\n'
            plan.config_file.write_text(text.replace("  pool_size: 3\n", advertise))

    @staticmethod
    def _proxy(listen: str) -> Proxy:
        host, port = listen.split(":")
        return Proxy((host, int(port))).start()

    def split(self) -> None:
        for proxy in (*self.doors, *self.own):
            proxy.weather.open = False
        for proxy in (self.doors[2], *self.own):
            proxy.reset()

    def heal(self) -> None:
        for proxy in (*self.doors, *self.own):
            proxy.weather.open = True

    def stop(self) -> None:
        for proxy in (*self.doors, *self.own):
            proxy.stop()


@pytest.fixture
def lines(three: Nodes, keys: Keys) -> Iterator[Lines]:
    """The same nodes, started again with a proxy on each line."""
    three.end()
    found = Lines([server.plan for server in three.servers], keys)
    for server in three.servers:
        server.start()
    yield found
    found.stop()


@pytest.mark.timeout(300)
async def test_a_node_that_is_split_off_lets_nobody_in_and_what_it_is_told_reaches_nobody(
    three, lines, plan, keys, authority, fleet, issue
) -> None:
    """Nothing is acknowledged there, so its devices find the others by themselves; when the line stands again it serves as before."""
    first, _, third = three.servers
    url = f"tls://{first.plan.nats_listen}:{first.plan.nats_port}"
    hub = Broker(plan, keys, Register(), external_url=url, external_ca=authority.ca_file)
    await hub.start()
    messages: list[bytes] = []

    async def note(_subject: str, payload: bytes) -> None:
        messages.append(payload)

    try:
        await hub.bus.subscribe(inbound_subject(), note)
        device, _ = await comes_in(fleet, third, CAMERA, issue(CAMERA))

        async def reaches(who, payload: bytes, within_s: float = ELECTION_S) -> bool:
            return await heard(
                lambda: who.publish(up(CAMERA, Up.EVENT), payload), lambda: payload in messages, within_s
            )

        assert await reaches(device, b"before")
        lines.split()
        alone = await asyncio.to_thread(fleet.device, OTHER, issue(OTHER))
        assert not await asyncio.to_thread(alone.connected.wait, 8)
        assert not await reaches(device, b"on the wrong side", 3)
        moved, took_s = await comes_in(fleet, first, CAMERA, issue(CAMERA))
        print(f"let in by the others after {took_s:.1f} s")
        assert await reaches(moved, b"on the other side")
        assert b"on the wrong side" not in messages
        lines.heal()
        _, took_s = await comes_in(fleet, third, OTHER, issue(OTHER))
        print(f"whole again after {took_s:.1f} s")
    finally:
        await hub.stop()


@pytest.fixture
def cities(tmp_path: Path, three: Nodes, keys: Keys, free_port: Callable[[], int]) -> Iterator[Nodes]:
    """Two cities' nodes that hang on the third."""
    third = three.servers[2].plan
    plans = [
        replace(
            third,
            folder=tmp_path / name,
            name=name,
            mqtt_port=free_port(),
            nats_port=free_port(),
            nats_listen=LOOPBACK,
            cluster=None,
            leaves=None,
            centre=(f"nats://{third.leaves}",),
        )
        for name in ("pune", "nashik")
    ]
    found = Nodes(plans, keys)
    yield found
    found.end()


async def all_that_answer(system: Bus) -> set[str]:
    """Nodes and cities' nodes, by name."""
    inbox = system.client.new_inbox()
    answers = await system.client.subscribe(inbox)
    await system.client.publish("$SYS.REQ.SERVER.PING.STATSZ", b"", reply=inbox)
    names: set[str] = set()
    try:
        while len(names) < 5:
            names.add(json.loads((await answers.next_msg(timeout=1)).data)["server"]["name"])
    except TimeoutError:
        pass
    finally:
        await answers.unsubscribe()
    return names


@pytest.mark.timeout(300)
async def test_a_hub_on_the_smaller_side_of_a_split_counts_as_blind_and_moves_to_the_greater(
    three, lines, cities, plan, keys, authority, fleet, issue
) -> None:
    """It would hear few devices and call the others offline; the connection itself stands all the while. Cities' nodes that hang on
    the smaller side make it no greater.
    """
    first, _, third = three.servers
    sights: list[bool] = []
    messages: list[bytes] = []

    async def on_sight(sees: bool) -> None:
        sights.append(sees)

    async def note(_subject: str, payload: bytes) -> None:
        messages.append(payload)

    hub = Broker(
        plan, keys, Register(), external_url=three.urls, external_ca=authority.ca_file, on_sight=on_sight
    )
    await hub.start()
    try:
        await hub.bus.subscribe(inbound_subject(), note)
        device, _ = await comes_in(fleet, first, CAMERA, issue(CAMERA))
        port = f":{third.plan.nats_port}"
        while not hub.bus.client.connected_url.netloc.endswith(port):
            await hub.bus.move()
            assert await asyncio.to_thread(eventually, lambda: hub.bus.connected)
        assert await heard(
            lambda: device.publish(up(CAMERA, Up.EVENT), b"before"), lambda: b"before" in messages
        )
        deadline = time.monotonic() + ELECTION_S
        while len(await all_that_answer(hub._system)) < 5 and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert [node.name for node in await hub.nodes()] == ["node-2", "node-3", "node-4"]
        sights.clear()
        lines.split()
        assert await asyncio.to_thread(eventually, lambda: sights == [False, True]), sights
        assert not hub.bus.client.connected_url.netloc.endswith(port)
        if not device.connected.is_set() or device.lost.is_set():
            device, _ = await comes_in(fleet, first, CAMERA, issue(CAMERA))
        assert await heard(
            lambda: device.publish(up(CAMERA, Up.EVENT), b"after"), lambda: b"after" in messages
        )
    finally:
        await hub.stop()


async def test_a_worker_that_lets_nobody_in_looks_for_the_greater_side_too_and_leaves_a_node_that_hangs(
    three, plan, keys, authority
) -> None:
    """Its connection for letting devices in is never opened."""
    sights: list[bool] = []

    async def on_sight(sees: bool) -> None:
        sights.append(sees)

    hub = Broker(
        plan, keys, Register(), external_url=three.urls, external_ca=authority.ca_file, on_sight=on_sight
    )
    await hub.open()
    try:
        await hub.bus.set_aside(True)
        deadline = time.monotonic() + ELECTION_S
        while not hub.bus.sees and time.monotonic() < deadline:
            await hub._lookout.look()
            await asyncio.sleep(0.2)
        assert hub.bus.sees
        sights.clear()
        hung, begun = hub.bus.node, time.monotonic()
        three.at(hub.bus).process.send_signal(signal.SIGSTOP)
        assert await asyncio.to_thread(eventually, lambda: False in sights, SOON_S)
        print(f"a node that hangs was noticed after {time.monotonic() - begun:.1f} s")
        assert await asyncio.to_thread(eventually, lambda: hub.bus.sees, SOON_S)
        print(f"and left for another after {time.monotonic() - begun:.1f} s")
        assert hub.bus.node != hung
    finally:
        await hub.stop()


async def test_a_device_cannot_pass_for_a_node(three, issue) -> None:
    """Its certificate is of the same authority; the port for nodes asks for their password as well."""
    host, port = three.servers[0].plan.cluster.listen.split(":")
    credentials = issue(CAMERA)
    context = ssl.create_default_context(cafile=str(three.servers[0].plan.ca))
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.check_hostname = False
    async with asyncio.timeout(20):
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
                break
            except OSError:
                await asyncio.sleep(0.1)
        assert (await reader.readline()).startswith(b"INFO")
        writer.write(b'CONNECT {"verbose":false,"name":"thief","protocol":1}\r\nPING\r\n')
        await writer.drain()
        assert b"Authorization Violation" in await reader.read()
    writer.close()


@pytest.mark.timeout(120)
async def test_a_citys_node_serves_its_devices_for_the_centre(
    tmp_path: Path, plan: Plan, keys: Keys, authority, fleet, issue, free_port
) -> None:
    """With a callout of its own in the city; questions do not cross the line."""
    leaves = f"{LOOPBACK}:{free_port()}"
    centre = replace(
        plan,
        folder=tmp_path / "centre",
        name="centre",
        leaves=leaves,
    )
    city = replace(
        plan,
        folder=tmp_path / "city",
        name="city",
        mqtt_port=free_port(),
        nats_port=free_port(),
        centre=(f"nats://{leaves}",),
    )
    nodes = Nodes([centre, city], keys)
    hubs = [Broker(each, keys, Register(), external_url=each.url) for each in (centre, city)]
    messages: list[bytes] = []

    async def note(_subject: str, payload: bytes) -> None:
        messages.append(payload)

    try:
        await hubs[0].open()
        await hubs[1].start()
        for subject in (inbound_subject(), gone_subject()):
            await hubs[0].bus.subscribe(subject, note)
        device, _ = await comes_in(fleet, nodes.servers[1], CAMERA, issue(CAMERA))
        assert await heard(lambda: device.publish(up(CAMERA, Up.EVENT), b"from the city"), lambda: messages)
        down = f"prahari.v1.{CAMERA}.down.ack"
        assert await heard(lambda: hubs[0].bus.publish(down, b"from the centre"), lambda: device.messages)
        assert {payload for _, payload in device.messages} == {b"from the centre"}
        assert await heard(lambda: hubs[0].kick(CAMERA), device.lost.is_set)
    finally:
        for each in hubs:
            await each.stop()
        nodes.end()


def eventually(condition: Callable[[], object], within_s: float = ELECTION_S) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and not condition():
        time.sleep(0.02)
    return bool(condition())


def test_each_nodes_folder_holds_a_configuration_that_the_server_accepts(
    tmp_path: Path, keys: Keys, authority
) -> None:
    nodes = [Node.parse(f"{name}=127.0.0.{number}") for number, name in enumerate("abc", 2)]
    leaf = Node.parse("pune=127.0.0.9")
    for at in (tmp_path / "nodes" / name for name in ("a", "pune")):
        made = write_nodes(
            tmp_path / "nodes",
            keys,
            nodes,
            [leaf],
            at=at,
            names=["hub.example"],
            certify=lambda folder, names: authority.node_certificate(folder, names, now=now_utc()),
        )
        subprocess.run([str(binary()), "-t", "-c", str(at / "nats.conf")], check=True, capture_output=True)
    assert [folder.name for folder in made] == ["a", "b", "c", "pune"]
    assert {file.stat().st_mode & 0o777 for folder in made for file in folder.iterdir()} == {0o600}
    assert plan_of(leaf, nodes, at=tmp_path, leaves=True).centre[0] == f"tls://127.0.0.2:{LEAF_PORT}"


@pytest.mark.parametrize("wrong", ["a", "a=", "=host", "a b=host"])
def test_a_node_that_is_not_name_and_host_is_refused(wrong: str) -> None:
    with pytest.raises(SetupError, match="NAME=HOST"):
        Node.parse(wrong)


@pytest.mark.parametrize(
    ("nodes", "leaves", "said"), [("ab", [], "not 2: name 3"), ("a", ["prahari"], "give it another name")]
)
def test_nodes_that_could_not_work_together_are_refused(
    tmp_path: Path, keys: Keys, nodes: str, leaves: list[str], said: str
) -> None:
    """An even number stands no more losses; a server refuses a city's node that is named as its cluster."""
    with pytest.raises(SetupError, match=said):
        write_nodes(
            tmp_path,
            keys,
            [Node(name, name) for name in nodes],
            [Node(name, name) for name in leaves],
            at=tmp_path,
            names=[],
            certify=lambda *_: None,
        )
