"""A small city with a recorder in it: a real store, device HTTPS on a real port, boxes that chain, sign and send what they recorded."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prahari_hub.access import sessions, users
from prahari_hub.evidence import coverage, device_api, progress, requests
from prahari_hub.evidence.parts import Parts as TransferParts
from prahari_hub.evidence.places import AtSite
from prahari_hub.evidence.progress import Pace
from prahari_hub.evidence.requests import Wanted
from prahari_hub.evidence.sealing import Sealer, item_of, package
from prahari_hub.evidence.tables import request_cameras, transfers
from prahari_hub.fleet import blobs, registry
from prahari_hub.fleet import commands as fleet_commands
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.served import Serves, serve
from prahari_hub.fleet.tables import commands, devices
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.limits import RateLimit
from prahari_hub.identity import certificates
from prahari_hub.identity.ca import pem, serial_text
from prahari_hub.identity.device_http import device_app
from prahari_hub.identity.peer import device_listener
from prahari_hub.identity.service import Identity, open_identity
from prahari_hub.live.feed import Feed
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.web.app import Parts, console_app
from prahari_wire.base import Clock, Message
from prahari_wire.command import CommandName, CommandReport
from prahari_wire.evidence import ChainHead, ChainProof, Segment, genesis, head_bytes, link
from prahari_wire.ids import ulid
from prahari_wire.recording import Coverage, GapCause, SentDay, TransferManifest

from tests.hub.conftest import Database

T = TypeVar("T")
OPERATOR = Actor("asha", Role.OPERATOR)
CHIEF = Actor("vikram", Role.ADMIN)
ROOT = Actor("root", Role.ADMIN)
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Yesterday: certificates are made by the machine's clock."""
NOON = DAY + timedelta(hours=12)
STEP_MS = 10_000


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


class Camera:
    """One camera of a box and what it has recorded today: ten seconds a segment, its bytes made up and unlike any other's."""

    def __init__(self, box: Box, name: str) -> None:
        self.box, self.name = box, name
        self.segments: list[Segment] = []
        self.content: dict[int, bytes] = {}
        self.version = 0

    def record(self, start: datetime, seconds: int, content: Callable[[int], bytes] | None = None) -> None:
        for at in range(ms(start), ms(start) + seconds * 1000, STEP_MS):
            position = len(self.segments) + 1
            text = f"{self.box.name} {self.name} {at} ".encode() * 40
            data = content(position) if content else text
            self.content[position] = data
            self.segments.append(
                Segment(
                    position=position,
                    start_ms=at,
                    duration_ms=STEP_MS,
                    size=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                    codec="h264",
                    width=640,
                    height=360,
                    clock=Clock.SYNCED,
                )
            )

    def proof(self, wanted: Iterable[int]) -> ChainProof:
        first = min(wanted)
        hash_ = before = genesis(self.box.name, self.name, f"{DAY:%Y-%m-%d}")
        for segment in self.segments:
            if segment.position == first:
                before = hash_
            hash_ = link(hash_, segment)
        head = ChainHead(
            device=self.box.name, camera=self.name, day=f"{DAY:%Y-%m-%d}", position=len(self.segments), hash=hash_,
            signed_at=self.box.city.now, key=self.box.serial,
        )  # fmt: skip
        head = head.model_copy(update={"sig": self.box.sign(head_bytes(head))})
        return ChainProof(
            before_position=first - 1, before=before, segments=self.segments[first - 1 :], head=head
        )

    def manifest(self, transfer: str, start: datetime, end: datetime) -> TransferManifest:
        sent = [one.position for one in self.segments if one.end_ms > ms(start) and one.start_ms < ms(end)]
        days = [SentDay(proof=self.proof(sent), sent=sent)] if sent else []
        return TransferManifest(
            transfer=transfer, camera=self.name, days=days, certificate=self.box.certificate
        )

    def tell(self, *, growing: bool = False, gaps: Iterable[tuple[int, int, str]] = ()) -> None:
        """recording.coverage"""
        self.version += 1
        spans = [(one.start_ms - ms(DAY), one.end_ms - ms(DAY)) for one in self.segments]
        body = Coverage(
            day=f"{DAY:%Y-%m-%d}", version=self.version, spans=spans, growing=growing,
            gaps=[(start, end, GapCause(cause)) for start, end, cause in gaps], until_ms=spans[-1][1] if spans else 0,
            head=self.proof([1]).head if spans else None,
        )  # fmt: skip
        self.box.say("recording.coverage", body, self.name)


class Box:
    """A device with a key and a certificate of the city's authority."""

    def __init__(self, city: City, name: str, cameras: Iterable[str]) -> None:
        self.city, self.name = city, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cameras = {camera: Camera(self, camera) for camera in cameras}
        self.serial = self.certificate = ""
        self.accounts: dict[str, TransferManifest] = {}

    def sign(self, data: bytes) -> str:
        return base64.urlsafe_b64encode(self.key.sign(data, ec.ECDSA(hashes.SHA256()))).decode().rstrip("=")

    async def enrol(self) -> None:
        city = self.city
        made = await city.store.write(
            lambda unit: certificates.issue(unit, city.identity.authority, self.name, self.key.public_key())
        )
        self.serial, self.certificate = (
            serial_text(made),
            pem([made, *city.identity.authority.issuing]).decode(),
        )
        await city.identity.load()
        folder = city.folder / self.name
        folder.mkdir(exist_ok=True)
        (folder / "key.pem").write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        (folder / "crt.pem").write_bytes(pem([made, *city.identity.authority.issuing]))

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.city.identity.authority.ca_file)
        context.load_cert_chain(
            self.city.folder / self.name / "crt.pem", self.city.folder / self.name / "key.pem"
        )
        return context

    def client(self) -> httpx.AsyncClient:
        address = f"https://localhost:{self.city.port}/device/v1"
        return httpx.AsyncClient(verify=self.tls(), base_url=address, timeout=30)

    def say(self, kind: str, body: Message, camera: str | None = None) -> None:
        now = self.city.now
        fact = Fact(self.name, None, camera, "camera", kind, body, now, False, ulid(), now)
        handle = coverage.noted if isinstance(body, Coverage) else fleet_commands.reported
        self.city.store.write_sync(lambda unit: handle(unit, fact))

    def asked(self, name: CommandName) -> list[Any]:
        """Commands of that name that the box has not answered."""
        open_ = commands.c.state.in_(["QUEUED", "SENT", "ACCEPTED", "RUNNING"])
        query = commands.select().where(
            commands.c.device_id == self.name, commands.c.name == str(name), open_
        )
        return self.city.store.read_sync(lambda conn: list(conn.execute(query.order_by(commands.c.id))))

    def answer(self, command: str, state: str = "SUCCEEDED", **more: Any) -> None:
        self.say("command.state", CommandReport(command=command, state=state, **more))

    def hold(self) -> None:
        """Answer every hold with what there is."""
        for row in self.asked(CommandName.HOLD):
            camera = self.cameras[row.args["peripheral"]]
            start, end = (ms(datetime.fromisoformat(row.args[name])) for name in ("start", "end"))
            there = [one for one in camera.segments if one.end_ms > start and one.start_ms < end]
            spans = [[one.start_ms, one.end_ms] for one in there]
            self.answer(row.id, result={"spans": spans, "segments": len(there), "size": 0})

    async def send(self, *, upto: int | None = None) -> None:
        """Carry out what the hub asks to send; ``upto`` segments alone, as when the power fails."""
        for row in self.asked(CommandName.SEND):
            camera, transfer = self.cameras[row.args["peripheral"]], row.args["transfer"]
            start, end = (datetime.fromisoformat(row.args[name]) for name in ("start", "end"))
            if transfer not in self.accounts:
                self.accounts[transfer] = camera.manifest(transfer, start, end)
            manifest = self.accounts[transfer]
            async with self.client() as client:
                told = await client.put(f"/transfers/{transfer}", content=manifest.model_dump_json())
                assert told.status_code in (200, 201), told.text
                for day in manifest.days:
                    for position in day.sent[:upto]:
                        segment = camera.segments[position - 1]
                        path = f"/transfers/{transfer}/segments/{segment.sha256}"
                        put = await client.put(path, content=camera.content[position])
                        assert put.status_code in (200, 201), put.text
            if upto is None:
                self.answer(row.id, result={"segments": 1, "size": 1})


@dataclass
class City:
    """The hub's side."""

    store: Store
    identity: Identity
    folder: Path
    port: int
    blobs: blobs.Blobs
    now: datetime = NOON
    boxes: dict[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sealer = Sealer("Pune", pem(self.identity.authority.chain), self.identity.signer)

    def pass_time(self, **units: float) -> None:
        self.now += timedelta(**units)

    async def box(self, name: str, *cameras: str, site: str | None = "wada", presence: str = "online") -> Box:
        def build(unit: Unit) -> None:
            registry.create_device(unit, ROOT, name, site=site)
            serve(unit, name, Serves(dict.fromkeys(cameras, "camera"), {}))
            here = devices.c.id == name
            unit.conn.execute(devices.update().where(here).values(presence=presence, born_at=unit.now))

        await self.store.write(build)
        made = self.boxes[name] = Box(self, name, cameras)
        await made.enrol()
        return made

    def wanted(self, start: datetime, minutes: float, **more: Any) -> Wanted:
        values: dict[str, Any] = {
            "authority": "Faraskhana police station", "case_number": "FIR 112/2026", "purpose": "a chain was snatched",
            "place": AtSite(site="wada"), "starts_at": start, "ends_at": start + timedelta(minutes=minutes),
        }  # fmt: skip
        return Wanted(**(values | more))

    def submit(self, start: datetime, minutes: float, **more: Any) -> str:
        wanted = self.wanted(start, minutes, **more)
        return self.store.write_sync(lambda unit: requests.submit(unit, OPERATOR, wanted))

    def approve(self, request: str) -> None:
        self.store.write_sync(lambda unit: requests.approve(unit, CHIEF, request))

    def advance(self) -> None:
        self.store.write_sync(lambda unit: progress.advance(unit, Pace(2000), self.sealer.seal))

    async def carry_out(self, request: str, *boxes: Box) -> None:
        """From approval to the end: every box holds and sends at once."""
        self.approve(request)
        for _ in range(12):
            self.advance()
            for box in boxes or self.boxes.values():
                box.hold()
            self.advance()
            for box in boxes or self.boxes.values():
                await box.send()
            if self.request(request).outcome is not None:
                return
        raise AssertionError("the request did not end")

    def request(self, request: str) -> Any:
        return self.store.read_sync(lambda conn: requests.get(conn, request))

    def cameras(self, request: str) -> dict[str, Any]:
        query = request_cameras.select().where(request_cameras.c.request_id == request)
        return self.store.read_sync(lambda conn: {row.camera: row for row in conn.execute(query)})

    def transfers(self, request: str) -> list[Any]:
        query = transfers.select().where(transfers.c.request_id == request)
        return self.store.read_sync(lambda conn: list(conn.execute(query.order_by(transfers.c.id))))

    async def package(self, request: str) -> Path:
        """The sealed package as a file."""
        item = await self.store.read(lambda conn: item_of(conn, request))
        file = self.folder / f"{item.id}.zip"
        with file.open("wb") as target:
            async for piece in package(item, self.blobs.get):
                target.write(piece)
        return file


@asynccontextmanager
async def living(database_url: str, folder: Path, port: int) -> AsyncIterator[City]:
    """The city for as long as the block lasts."""
    home = folder / "home"
    home.mkdir()
    store = Store.open(database_url)
    store.clock = lambda: NOON  # the root is older than what boxes sign, at whatever hour tests run
    identity = open_identity(home, store, city="Pune")
    identity.authority.server_certificate(["localhost", "127.0.0.1"], now=datetime.now(UTC))
    files = blobs.Blobs(blobs.local(home / blobs.FOOTAGE))
    found = City(store, identity, folder, port, files)
    store.clock = lambda: found.now

    def build(unit: Unit) -> None:
        registry.create_zone(unit, ROOT, "kasba", "Kasba Peth")
        registry.create_site(unit, ROOT, "wada", "Shaniwar Wada", lat=18.5195, lon=73.8553, zone="kasba")

    await store.write(build)
    app = device_app(
        identity,
        device_api.router,
        limit=RateLimit(burst=200, per_s=1),
        footage=files,
        parts=TransferParts(home / "transfers"),
    )
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
async def city(database_url: str, tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[City]:
    async with living(database_url, tmp_path, free_port()) as found:
        yield found


@contextmanager
def left(
    new_database: Database, folder: Path, port: int, work: Callable[[City], Awaitable[T]]
) -> Iterator[tuple[City, T]]:
    """The city as ``work`` left it, and what that gave, for many tests that look at it alone: its database is open, its server ended."""
    with new_database(folder) as url:

        async def live() -> tuple[City, T]:
            async with living(url, folder, port) as found:
                return found, await work(found)

        found, result = asyncio.run(live())
        found.store = Store.open(url, clock=lambda: found.now)
        yield found, result
        found.store.close()


@pytest.fixture
async def console(city: City) -> AsyncIterator[Callable[[Role], Any]]:
    """await console(role) gives a browser's client and the CSRF token of its session; the account is named for its role."""
    settings = Settings(home=city.folder / "home")
    state = {"footage": city.blobs, "identity": city.identity, "feed": Feed()}
    app = console_app(Parts(settings, city.store, state=state))
    made: list[httpx.AsyncClient] = []

    async def sign_in(role: Role) -> tuple[httpx.AsyncClient, str]:
        def work(unit: Unit) -> sessions.SignedIn:
            if not any(user.name == f"the-{role}" for user in users.listed(unit.conn)):
                users.add(unit, ROOT, f"the-{role}", password="four unrelated words here", role=role)
            return sessions.open_session(unit, f"the-{role}")

        signed = await city.store.write(work)
        made.append(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost",
                cookies={"prahari_session": signed.secret}, follow_redirects=True,
            )
        )  # fmt: skip
        return made[-1], signed.csrf

    yield sign_in
    for each in made:
        await each.aclose()
