"""Device HTTPS on a real port with a real store, asked with curl and openssl alone."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prahari_hub.access.tables import audit
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.limits import RateLimit
from prahari_hub.identity.claims import Purpose
from prahari_hub.identity.device_http import device_app
from prahari_hub.identity.peer import device_listener
from prahari_hub.identity.service import Identity, open_identity
from prahari_hub.store import Store

TECHNICIAN = Actor("asha", Role.TECHNICIAN)


class Clock:
    """The hub's clock: real time, moved by tests."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


@dataclass
class Answer:
    status: int
    body: bytes

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])

    @property
    def certificates(self) -> list[x509.Certificate]:
        """As openssl reads them."""
        printed = openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=base64.b64decode(self.body))
        return x509.load_pem_x509_certificates(printed)


def openssl(*arguments: str, stdin: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


@cache
def _key(device: str, name: str) -> bytes:
    """The same for each test, whose hubs know nothing of each other: a process of openssl costs more than most of what is tested."""
    return openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")


@cache
def _request(key: bytes, subject: str) -> bytes:
    with NamedTemporaryFile() as file:
        file.write(key)
        file.flush()
        return openssl("req", "-new", "-key", file.name, "-subj", subject, "-outform", "DER")


@dataclass
class Box:
    """A device as openssl makes it: keys and requests in a folder."""

    folder: Path
    name: str

    def key(self, name: str = "key") -> Path:
        file = self.folder / f"{self.name}-{name}.pem"
        if not file.exists():
            file.write_bytes(_key(self.name, name))
        return file

    def request(self, key: str = "key", subject: str | None = None) -> bytes:
        """Base64 of DER."""
        made = _request(self.key(key).read_bytes(), subject or f"/CN={self.name}")
        return base64.encodebytes(made)

    def keep(self, certificate: x509.Certificate, name: str = "certificate") -> Path:
        file = self.folder / f"{self.name}-{name}.crt"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return file


@dataclass
class Desk:
    """The hub's side: the service, its clock, the address of device HTTPS."""

    identity: Identity
    store: Store
    clock: Clock
    port: int
    folder: Path
    kicked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def claim(
        self, device: str, *, purpose: Purpose = Purpose.BENCH, ttl: timedelta | None = None
    ) -> str:
        _, token = await self.store.write(
            lambda unit: self.identity.issue_claim(unit, TECHNICIAN, device, purpose=purpose, ttl=ttl)
        )
        return token

    async def curl(self, path: str, *arguments: str, data: bytes | None = None) -> Answer:
        ca = str(self.identity.authority.ca_file)
        command = ["curl", "-sS", "--cacert", ca, "-w", "\n%{http_code}", *arguments]
        if data is not None:
            command += ["--data-binary", "@-"]
        run = await asyncio.to_thread(
            subprocess.run, [*command, self.url + path], input=data or b"", capture_output=True, timeout=30
        )
        body, _, status = run.stdout.rpartition(b"\n")
        return Answer(int(status or 0), body)

    async def enrol(
        self, box: Box, token: str, *, key: str = "key", user: str | None = None, subject: str | None = None
    ) -> Answer:
        return await self.curl(
            "/.well-known/est/simpleenroll",
            "-u",
            f"{user or box.name}:{token}",
            "-H",
            "Content-Type: application/pkcs10",
            data=box.request(key, subject),
        )

    async def reenrol(
        self, box: Box, certificate: Path, *, old: str = "key", key: str, subject: str | None = None
    ) -> Answer:
        pair = ["--cert", str(certificate), "--key", str(box.key(old))]
        return await self.curl("/.well-known/est/simplereenroll", *pair, data=box.request(key, subject))

    async def serials(self, device: str) -> dict[str, str]:
        return {serial: str(standing) for serial, standing in self.identity.admission.serials(device).items()}

    async def audited(self) -> list[str]:
        return [row.action for row in await self.store.read(lambda conn: conn.execute(audit.select()).all())]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(
    database_url: str, tmp_path: Path, clock: Clock, free_port: Callable[[], int]
) -> AsyncIterator[Desk]:
    home = tmp_path / "home"
    home.mkdir()
    store = Store.open(database_url, clock=clock)
    identity = open_identity(home, store, city="Pune")
    identity.authority.server_certificate(["localhost", "127.0.0.1"], now=clock())
    await identity.load()
    port = free_port()
    found = Desk(identity, store, clock, port, tmp_path)

    async def kick(device: str) -> int:
        found.kicked.append(device)
        return 1

    identity.kick = kick
    app = device_app(identity, limit=RateLimit(burst=200, per_s=0.001))
    server = uvicorn.Server(device_listener(app, identity.authority, host="127.0.0.1", port=port))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield found
    server.should_exit = True
    await serving
    await identity.close()
    store.close()


@pytest.fixture
def box(tmp_path: Path) -> Callable[[str], Box]:
    return lambda name: Box(tmp_path, name)
