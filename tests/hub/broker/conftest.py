"""A real broker with the callout, a real authority, real MQTT clients over mutual TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_hub.broker.callout import Peer
from prahari_hub.broker.config import Plan
from prahari_hub.broker.keys import open_keys
from prahari_hub.broker.role import Broker
from prahari_hub.identity.ca import Authority, open_authority, pem
from prahari_wire.topics import down_filter


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class Register:
    """An admission that lets in everyone whom it does not name."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.seen: list[Peer] = []

    def refusal(self, peer: Peer) -> str | None:
        return "revoked" if peer.device in self.revoked else None

    def connected(self, peer: Peer) -> None:
        self.seen.append(peer)


@dataclass
class Credentials:
    certificate: Path
    key: Path


class Issuer:
    """Makes certificate files for tests from an authority."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder
        self.authority = authority

    def __call__(
        self, device: str, *, life: timedelta = timedelta(days=90), file: str | None = None
    ) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.authority.device_certificate(
            device, key.public_key(), now=datetime.now(UTC), life=life
        )
        return self.keep(file or device, pem([certificate]), key)

    def stored(self, certificate: Path, key: Path) -> Credentials:
        return Credentials(certificate, key)

    def keep(self, name: str, certificate: bytes, key: ec.EllipticCurvePrivateKey) -> Credentials:
        found = Credentials(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        found.certificate.write_bytes(certificate)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        found.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return found


@dataclass
class Device:
    """A paho client that notes what happens to it."""

    client: mqtt.Client
    connected: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)
    refused: threading.Event = field(default_factory=threading.Event)
    refused_by_code: bool = False
    subscribed: threading.Event = field(default_factory=threading.Event)
    granted: list[str] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def subscribe(self, topic: str) -> list[str]:
        self.subscribed.clear()
        self.client.subscribe(topic)
        assert self.subscribed.wait(60)
        return self.granted

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> None:
        self.client.publish(topic, payload, qos)


class Fleet:
    """Connects devices to one broker and disconnects them all at the end."""

    def __init__(self, port: int, ca: Path) -> None:
        self.port = port
        self.ca = ca
        self._devices: list[Device] = []

    def device(
        self,
        name: str,
        credentials: Credentials | None,
        *,
        will: tuple[str, bytes] | None = None,
        client_id: str | None = None,
        user: str | None = None,
    ) -> Device:
        """Connect once; the caller asks ``connected`` or ``refused``."""
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id or name,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        device = Device(client)
        context = ssl.create_default_context(cafile=str(self.ca))
        if credentials:
            context.load_cert_chain(credentials.certificate, credentials.key)
        client.tls_set_context(context)
        if user:
            client.username_pw_set(user, "x")
        if will:
            client.will_set(*will, qos=1)
        client.on_connect = lambda _c, _u, _f, code, _p: (
            setattr(device, "refused_by_code", code.is_failure),
            (device.refused if code.is_failure else device.connected).set(),
        )
        client.on_disconnect = lambda *_: (
            device.lost.set(),
            device.connected.is_set() or device.refused.set(),
        )
        client.on_subscribe = lambda _c, _u, _m, codes, _p: (
            setattr(device, "granted", [str(c) for c in codes]),
            device.subscribed.set(),
        )
        client.on_message = lambda _c, _u, message: device.messages.append((message.topic, message.payload))
        self._devices.append(device)
        try:
            client.connect("127.0.0.1", self.port, keepalive=30)
            client.loop_start()
        except (OSError, ssl.SSLError):
            device.refused.set()
        return device

    def online(self, name: str, credentials: Credentials, **extra: object) -> Device:
        device = self.device(name, credentials, **extra)
        assert device.connected.wait(60), f"{name} did not come in"
        assert "Granted" in device.subscribe(down_filter(name))[0]
        return device

    def close(self) -> None:
        for device in self._devices:
            device.client.disconnect()
            device.client.loop_stop()


@dataclass
class Site:
    broker: Broker
    plan: Plan
    register: Register
    issue: Issuer
    fleet: Fleet
    sights: list[bool]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    now = datetime.now(UTC)
    found = open_authority(tmp_path / "home", city="Pune", now=now)
    found.server_certificate(["localhost", "127.0.0.1"], now=now)
    return found


@pytest.fixture
def plan(tmp_path: Path, authority: Authority) -> Plan:
    certificate, key = authority.server_files
    folder = tmp_path / "home" / "broker"
    return Plan(folder, free_port(), free_port(), certificate, key, authority.ca_file)


@pytest.fixture
def issue(tmp_path: Path, authority: Authority) -> Issuer:
    return Issuer(tmp_path, authority)


@pytest.fixture
def fleet(plan: Plan) -> Iterator[Fleet]:
    found = Fleet(plan.mqtt_port, plan.ca)
    yield found
    found.close()


@pytest.fixture
async def site(plan: Plan, issue: Issuer, fleet: Fleet) -> AsyncIterator[Site]:
    sights: list[bool] = []

    async def on_sight(sees: bool) -> None:
        sights.append(sees)

    register = Register()
    broker = Broker(plan, open_keys(plan.folder / "keys.json"), register, on_sight=on_sight)
    await broker.start()
    yield Site(broker, plan, register, issue, fleet, sights)
    fleet.close()
    await broker.stop()
