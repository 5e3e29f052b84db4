"""What stands for the city in tests of the agent: its CA, a real nats-server with MQTT over mutual TLS, the hub's end of
it, device HTTPS."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import pkcs7
from paho.mqtt.enums import CallbackAPIVersion
from prahari_wire import topics
from prahari_wire.ids import ulid
from prahari_wire.signing import SignedMessage, signing_bytes

DEVICE = "test-ecb-01"
TOKEN = "FLT1-00000000-000000000000000000000000-0"


def eventually(check: Callable[[], Any], *, within_s: float = 60, why: str = "") -> Any:
    """Wait until ``check`` gives something true; what it gave."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.02)
    raise AssertionError(why or f"did not come true within {within_s} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pki:
    """Root, issuing CA, server certificate and devices' certificates, all P-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root_key, self.issuing_key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        self.root = self.certificate("root", self.root_key.public_key(), "root", self.root_key, ca=True)
        self.issuing = self.certificate(
            "issuing", self.issuing_key.public_key(), "root", self.root_key, ca=True
        )
        self.server_files = self.leaf("server", server=True)
        (folder / "ca.pem").write_bytes(pem(self.root) + pem(self.issuing))
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pin = hashlib.sha256(
            self.root_key.public_key().public_bytes(serialization.Encoding.DER, public)
        ).hexdigest()

    def certificate(
        self, name: str, public: Any, issuer: str, key: Any, *, ca: bool = False, life: timedelta = timedelta(days=90),
        since: datetime | None = None, server: bool = False,
    ) -> x509.Certificate:  # fmt: skip
        since = since or datetime.now(UTC) - timedelta(hours=1)
        usage = x509.ExtendedKeyUsageOID.SERVER_AUTH if server else x509.ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(since + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            sans = (
                [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
                if server
                else [x509.DNSName(name)]
            )
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(key, hashes.SHA256())

    def leaf(
        self,
        name: str,
        *,
        server: bool = False,
        life: timedelta = timedelta(days=90),
        since: datetime | None = None,
    ) -> tuple[Path, Path]:
        """(certificate with chain, key) files."""
        key = ec.generate_private_key(ec.SECP256R1())
        found = self.certificate(
            name, key.public_key(), "issuing", self.issuing_key, life=life, since=since, server=server
        )
        certificate_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate_file.write_bytes(pem(found) + pem(self.issuing))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


class Signer:
    """The hub's Ed25519 key."""

    def __init__(self, kid: str = "k1") -> None:
        self.kid, self.key = kid, ed25519.Ed25519PrivateKey.generate()

    @property
    def document(self) -> dict[str, Any]:
        return {
            "current": self.kid,
            "keys": {self.kid: base64.b64encode(self.key.public_key().public_bytes_raw()).decode()},
        }

    def signed(self, message: SignedMessage, device: str = DEVICE) -> Any:
        keyed = message.model_copy(update={"key": self.kid})
        signature = (
            base64.urlsafe_b64encode(self.key.sign(signing_bytes(device, keyed))).rstrip(b"=").decode()
        )
        return keyed.model_copy(update={"sig": signature})


class Broker:
    """A nats-server with MQTT over mutual TLS that lets every certificate of the CA do everything."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.folder, self.port = folder, free_port()
        certificate, key = pki.server_files
        (folder / "nats.conf").write_text(
            f"""
            server_name: test
            listen: "127.0.0.1:{free_port()}"
            jetstream {{ store_dir: "{folder}/js", max_mem: 16MB, max_file: 16MB }}
            mqtt {{ listen: "127.0.0.1:{self.port}"
              tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{pki.folder}/ca.pem", verify: true }} }}
            """
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        server = shutil.which(
            "nats-server",
            path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        )
        assert server, "nats-server is not installed: make setup brings it"
        log = (self.folder / "nats.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [server, "-c", str(self.folder / "nats.conf")], stdout=log, stderr=log
            )
        eventually(self._answers, why=(self.folder / "nats.log").read_text())

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


class HubPeer:
    """The hub's end of the link. Acks births and events by itself unless told otherwise; keeps everything it hears."""

    def __init__(self, broker: Broker, pki: Pki) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.ack_births = self.ack_events = True
        self.retry_after_s: float | None = None
        self.window_s: float | None = None
        self.refuse_seqs: set[int] = set()
        self.committed: dict[tuple[str, int], dict[str, Any]] = {}
        certificate, key = pki.leaf("hub")
        context = ssl.create_default_context(cafile=pki.folder / "ca.pem")
        context.load_cert_chain(certificate, key)
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hub")
        self.client.tls_set_context(context)
        self.client.on_connect = lambda client, *_: client.subscribe("prahari/v1/+/up/#")
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _c, _u, message: self._hear(message.topic, message.payload)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._subscribed.wait(10)

    def _hear(self, topic: str, payload: bytes) -> None:
        address, message = topics.parse(topic), json.loads(payload)
        self.heard.append((str(address.channel), message))
        if address.channel is topics.Up.BIRTH and self.ack_births:
            spread = {} if self.window_s is None else {"reconnect_window_s": self.window_s}
            self.say(
                "ack", {"birth": message["id"], **spread, **self._ack(address.device)}, device=address.device
            )
        elif address.channel is topics.Up.EVENT and self.ack_events:
            self.commit(message, device=address.device)

    def commit(self, batch: dict[str, Any], *, device: str = DEVICE) -> None:
        refused = [event["seq"] for event in batch["events"] if event["seq"] in self.refuse_seqs]
        for event in batch["events"]:
            if event["seq"] not in refused:
                self.committed.setdefault((batch["journal"], event["seq"]), event)
        ranges = [[event["seq"], event["seq"]] for event in batch["events"] if event["seq"] not in refused][
            :64
        ]
        refusals = [{"seq": seq, "reason": "invalid", "detail": "refused by the test"} for seq in refused]
        self.say(
            "ack",
            {
                "batch": batch["id"],
                "journal": batch["journal"],
                "upto": -1,
                "beyond": ranges,
                "refused": refusals,
                **self._ack(device),
            },
            device=device,
        )

    def _ack(self, _device: str) -> dict[str, Any]:
        found: dict[str, Any] = {"v": 1, "id": ulid(), "at": datetime.now(UTC).isoformat()}
        return found if self.retry_after_s is None else {**found, "retry_after_s": self.retry_after_s}

    def say(self, channel: str, message: dict[str, Any] | bytes, *, device: str = DEVICE) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.client.publish(topics.down(device, topics.Down(channel)), payload)

    def messages(self, channel: str) -> list[dict[str, Any]]:
        return [message for heard, message in list(self.heard) if heard == channel]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.committed.values()) if event["kind"] == kind]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@dataclass
class Https:
    """Device HTTPS of a hub: EST, keys, blobs, twin documents, over a real TLS socket."""

    pki: Pki
    signer: Signer
    port: int = 0
    token: str = TOKEN
    announced: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    twins: dict[int, bytes] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    device_life: timedelta = timedelta(days=90)
    device_since: datetime | None = None
    fail_with: int | None = None
    more: dict[str, str] = field(default_factory=dict)
    """Headers of every answer."""
    connections: int = 0
    asking: Callable[[], None] = lambda: None
    """Called at each request, before it is answered."""
    evidence: Callable[[str, list[str], Any, bytes], tuple[int, bytes, dict[str, str]]] | None = None
    """Answers what concerns /device/v1/transfers: (method, rest of the path, headers, body) → status, body, headers."""

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def issue(self, body: bytes, device: str = DEVICE) -> bytes:
        request = x509.load_der_x509_csr(base64.b64decode(body))
        assert request.is_signature_valid
        found = self.pki.certificate(
            device,
            request.public_key(),
            "issuing",
            self.pki.issuing_key,
            life=self.device_life,
            since=self.device_since,
        )
        return self.bundle([found])

    def bundle(self, certificates: list[x509.Certificate]) -> bytes:
        return base64.encodebytes(pkcs7.serialize_certificates(certificates, serialization.Encoding.DER))

    def answer(
        self, method: str, path: str, peer: str | None, headers: Any, body: bytes
    ) -> tuple[int, bytes]:
        self.asked.append((method, path, peer))
        if self.fail_with:
            return self.fail_with, b'{"detail": "as the test wants"}'
        match method, path.strip("/").split("/"):
            case "GET", [".well-known", "est", "cacerts"]:
                return 200, self.bundle([self.pki.issuing, self.pki.root])
            case "POST", [".well-known", "est", "simpleenroll"]:
                basic = base64.b64decode(headers["Authorization"].partition(" ")[2]).decode()
                if basic != f"{DEVICE}:{self.token}":
                    return 401, b'{"detail": "the claim is unknown, spent or expired"}'
                return 200, self.issue(body)
            case "POST", [".well-known", "est", "simplereenroll"] if peer:
                return 200, self.issue(body, peer)
            case "GET", ["device", "v1", "enrol", "nonce"]:
                self.nonces.add(nonce := ulid())
                return 200, json.dumps({"nonce": nonce}).encode()
            case "POST", ["device", "v1", "enrol", "recover"]:
                return self.recover(json.loads(body))
            case "GET", ["device", "v1", "keys"] if peer:
                return 200, json.dumps(self.signer.document).encode()
            case "PUT", ["device", "v1", "blobs", sha256] if peer:
                if sha256 not in self.announced:
                    return 404, b'{"detail": "not announced yet"}'
                assert hashlib.sha256(body).hexdigest() == sha256
                self.blobs[sha256] = body
                return 201, b""
            case "GET", ["device", "v1", "blobs", sha256] if peer and sha256 in self.blobs:
                return 200, self.blobs[sha256]
            case "GET", ["device", "v1", "twin", version] if peer and int(version) in self.twins:
                return 200, self.twins[int(version)]
        return (404 if peer else 401), b'{"detail": "no"}'

    def recover(self, asked: dict[str, str]) -> tuple[int, bytes]:
        self.nonces.remove(asked["nonce"])
        old = x509.load_pem_x509_certificate(asked["certificate"].encode())
        der = x509.load_pem_x509_csr(asked["csr"].encode()).public_bytes(serialization.Encoding.DER)
        key = old.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(
            base64.b64decode(asked["signature"]), asked["nonce"].encode() + der, ec.ECDSA(hashes.SHA256())
        )
        return 200, self.issue(base64.b64encode(der), asked["device"])


def handler(https: Https) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = self.connection.getpeercert()  # type: ignore[attr-defined]
            names = dict(part for rdn in found["subject"] for part in rdn) if found else {}
            more = dict(https.more)
            https.asking()
            parts = self.path.strip("/").split("/")
            if parts[:3] == ["device", "v1", "transfers"] and https.evidence is not None and names:
                status, answer, more = https.evidence(self.command, parts[3:], self.headers, body)
            else:
                status, answer = https.answer(
                    self.command, self.path, names.get("commonName"), self.headers, body
                )
            start = 0
            if status == 200 and (wanted := self.headers.get("Range")):
                start, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer) - start))
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer[start:])

        do_GET = do_POST = do_PUT = do_HEAD = _serve

        def log_message(self, *_args: object) -> None:
            pass

    return Handler
