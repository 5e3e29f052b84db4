"""Who a device is: enrolment with curl and openssl alone, nobody speaks as another, a revoked device is cut."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire.base import Clock, now_utc
from prahari_wire.callbox import CallboxConfig, Press
from prahari_wire.envelope import Event, EventBatch
from prahari_wire.ids import ulid
from prahari_wire.topics import Up, down_filter, mapped_subject, up

pytestmark = [pytest.mark.system, pytest.mark.needs("curl"), pytest.mark.needs("openssl")]
BOOT = UUID("7b0f3f6e-8a51-4d58-9a52-0c1a6d5a3b11")


def run(*command: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Card:
    """A device's key and certificates as files, made with curl and openssl alone."""

    def __init__(self, town: Any, device: str, folder: str | None = None) -> None:
        self.town = town
        self.device = device
        self.folder = town.folder / (folder or f"card-{device}")
        self.folder.mkdir()
        self.est = f"https://localhost:{8443 + town.offset}/.well-known/est"
        self.ca.write_text(town.get("/ca")["pem"])
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self.key))

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"

    def csr(self, name: str) -> bytes:
        """Base64 of a request that asks for ``name``; the hub alone decides the name."""
        der = run("openssl", "req", "-new", "-key", str(self.key), "-subj", f"/CN={name}", "-outform", "DER")
        return run("openssl", "base64", data=der)

    def curl(self, path: str, *options: str, data: bytes | None = None) -> tuple[int, bytes]:
        send = ["-H", "Content-Type: application/pkcs10", "--data-binary", "@-"] if data is not None else []
        out = run(
            "curl",
            "-sS",
            "--cacert",
            str(self.ca),
            "-w",
            "\n%{http_code}",
            *options,
            *send,
            self.est + path,
            data=data,
        )
        body, _, status = out.rpartition(b"\n")
        return int(status), body

    def keep(self, pkcs7: bytes) -> None:
        der = run("openssl", "base64", "-d", data=pkcs7)
        self.certificate.write_bytes(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=der))

    def enrol(self, token: str, *, asks_for: str = "anything") -> int:
        status, body = self.curl("/simpleenroll", "-u", f"{self.device}:{token}", data=self.csr(asks_for))
        if status == 200:
            self.keep(body)
        return status

    def subject(self) -> str:
        return run(
            "openssl", "x509", "-in", str(self.certificate), "-noout", "-subject", "-nameopt", "RFC2253"
        ).decode()

    def serial(self) -> str:
        return run("openssl", "x509", "-in", str(self.certificate), "-noout", "-serial").decode()


@pytest.fixture
def card(town: Any) -> Callable[[str], Card]:
    def make(device: str) -> Card:
        town.post("/devices", {"id": device, "site": "wada"})
        made = Card(town, device)
        assert made.enrol(town.post("/claims", {"device": device})["token"]) == 200
        return made

    return make


class Client:
    """A paho client with somebody's certificate; remembers what it received."""

    def __init__(self, card: Card, client_id: str, *, will: str | None = None) -> None:
        self.received: list[str] = []
        self.connected = threading.Event()
        self.refused = threading.Event()
        self.lost = threading.Event()
        context = ssl.create_default_context(cafile=str(card.ca))
        context.load_cert_chain(card.certificate, card.key)
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False)
        self.mqtt.tls_set_context(context)
        self.mqtt.on_connect = lambda _c, _u, _f, reason, _p: (
            self.refused if reason.is_failure else self.connected
        ).set()
        self.mqtt.on_disconnect = lambda *_: self.lost.set()
        self.mqtt.on_message = lambda _c, _u, message: self.received.append(message.topic)
        if will:
            self.mqtt.will_set(will, b"{}", qos=1)
        self.mqtt.connect("localhost", 8883 + card.town.offset, keepalive=20)
        self.mqtt.loop_start()

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def die(self) -> None:
        """Break the connection without a word, so that the broker publishes the will."""
        self.mqtt.loop_stop()
        sock = self.mqtt.socket()
        if sock is not None:
            sock.close()


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(*arguments: Any, **options: Any) -> Client:
        made.append(Client(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def press_batch() -> str:
    stamp = {"boot": BOOT, "conn": 1, "at": now_utc(), "mono_ms": 1000, "clock": Clock.SYNCED}
    body = Press(press=ulid(), count=1).model_dump(mode="json")
    event = Event(**stamp, id=ulid(), seq=1, kind="callbox.press", peripheral="box1", body=body)
    return EventBatch(id=ulid(), journal=BOOT, low=1, events=[event]).model_dump_json()


def test_the_whole_enrolment_works_with_curl_and_openssl_alone(town: Any) -> None:
    town.post("/devices", {"id": "cam-11", "site": "wada"})
    card = Card(town, "cam-11")
    token = town.post("/claims", {"device": "cam-11"})["token"]

    status, body = card.curl("/cacerts")
    assert status == 200
    assert b"BEGIN CERTIFICATE" in run(
        "openssl", "pkcs7", "-inform", "DER", "-print_certs", data=run("openssl", "base64", "-d", data=body)
    )
    assert card.enrol(token, asks_for="cam-99") == 200
    assert "CN=cam-11" in card.subject()
    assert "O=Pune" in card.subject()

    first = card.serial()
    old = ["--cert", str(card.certificate), "--key", str(card.key)]
    status, body = card.curl("/simplereenroll", *old, data=card.csr("cam-11"))
    assert status == 200, body
    card.keep(body)
    assert card.serial() != first

    status, _ = card.curl("/simplereenroll", data=card.csr("cam-11"))
    assert status == 401


@pytest.mark.parametrize(
    ("device", "spoil"),
    [
        pytest.param("cam-31", lambda token: token[:-3] + "AAA", id="wrong token"),
        pytest.param("cam-32", lambda token: "FLT1-00000000-000000000000000000000000-0", id="unknown token"),
    ],
)
def test_a_token_that_is_not_right_enrols_nobody(town: Any, device: str, spoil: Callable[[str], str]) -> None:
    town.post("/devices", {"id": device, "site": "wada"})
    token = town.post("/claims", {"device": device})["token"]
    assert Card(town, device).enrol(spoil(token)) == 401


def test_a_used_token_and_one_for_another_device_enrol_nobody(town: Any, card: Callable[[str], Card]) -> None:
    town.post("/devices", {"id": "cam-23", "site": "wada"})
    town.post("/devices", {"id": "cam-13", "site": "wada"})
    token = town.post("/claims", {"device": "cam-13"})["token"]
    assert Card(town, "cam-23").enrol(token) == 401
    assert Card(town, "cam-13").enrol(token) == 200
    assert Card(town, "cam-13", "another-card").enrol(token) == 401


def test_a_device_cannot_speak_listen_or_die_as_another(
    town: Any, card: Callable[[str], Card], client: Callable[..., Client], eventually: Callable[..., Any]
) -> None:
    victim = town.box("ecb-14", {"box1": CallboxConfig()})
    thief = card("thief-4")
    attacker = client(thief, "thief-4", will=up("ecb-14", Up.GONE))
    assert attacker.connected.wait(10) or attacker.refused.wait(1)
    honest = client(thief, "thief-4")
    assert honest.connected.wait(10)

    honest.mqtt.publish(up("ecb-14", Up.EVENT), press_batch(), qos=1)
    honest.mqtt.publish(mapped_subject("ecb-14", Up.EVENT).replace(".", "/"), press_batch(), qos=1)
    for topic in (down_filter("ecb-14"), "#", "prahari/#", "prahari/v1/+/down/#", "$SYS/#"):
        honest.mqtt.subscribe(topic)
    time.sleep(1)
    attacker.die()
    victim.press()
    eventually(lambda: town.events("ecb-14", "callbox.press"), "the victim's own press")
    time.sleep(1)
    assert len(town.events("ecb-14", "callbox.press")) == 1
    assert not [topic for topic in honest.received if "ecb-14" in topic]
    assert victim.presence == "online"


def test_a_client_id_of_another_device_is_refused_and_kicks_nobody(
    town: Any, card: Callable[[str], Card], client: Callable[..., Client]
) -> None:
    victim, thief = card("cam-15"), card("thief-5")
    own = client(victim, "cam-15")
    assert own.connected.wait(10)
    wrong = client(thief, "cam-15")
    assert wrong.refused.wait(10) or wrong.lost.wait(1)
    assert not wrong.connected.is_set()
    assert not own.lost.wait(2)


def test_a_revoked_device_is_cut_within_two_seconds_and_stays_out(
    town: Any, card: Callable[[str], Card], client: Callable[..., Client]
) -> None:
    stolen = card("cam-16")
    live = client(stolen, "cam-16")
    assert live.connected.wait(10)
    started = time.monotonic()
    town.post("/devices/cam-16/revoke", {"reason": "stolen from its pole"})
    assert live.lost.wait(2)
    assert time.monotonic() - started < 2
    again = client(stolen, "cam-16")
    assert again.refused.wait(10) or again.lost.wait(1)
    assert not again.connected.is_set()
    status, _ = stolen.curl(
        "/simplereenroll",
        "--cert",
        str(stolen.certificate),
        "--key",
        str(stolen.key),
        data=stolen.csr("cam-16"),
    )
    assert status in (401, 403)


def test_what_a_device_says_in_a_wrong_way_is_counted_and_stored_nowhere(
    town: Any, card: Callable[[str], Card], client: Callable[..., Client], eventually: Callable[..., Any]
) -> None:
    own = client(card("cam-17"), "cam-17")
    assert own.connected.wait(10)
    batch = json.loads(press_batch())
    bad = [
        b"{",
        b"[" * 3000,
        json.dumps({**batch, "v": 2}).encode(),
        json.dumps({**batch, "low": "x"}).encode(),
    ]
    bad.append(press_batch().replace('"low"', '"low":1,"low"').encode())
    for payload in bad:
        own.mqtt.publish(up("cam-17", Up.EVENT), payload)
    own.mqtt.publish(up("cam-17", Up.HEALTH), b'{"v":1,"id":NaN}')
    eventually(
        lambda: sum(town.get("/devices/cam-17")["refused"].values()) == len(bad) + 1,
        "each message to be counted",
    )
    assert not town.events("cam-17", "callbox.press")
