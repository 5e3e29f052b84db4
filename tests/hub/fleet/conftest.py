"""A store, a clock moved by hand, and a small town in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prahari_hub.access import tokens
from prahari_hub.fleet import blobs, intake, registry
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import devices
from prahari_hub.http.actor import Actor, Role
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.web.app import Parts, console_app
from prahari_wire.base import Clock, Message
from prahari_wire.ids import ulid
from prahari_wire.presence import Birth, BirthMessage, Peripheral, PeripheralType, Versions

ASHA = Actor("asha", Role.ADMIN)


class Time:
    """The hub's time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


def build_town(unit: Unit) -> None:
    registry.create_zone(unit, ASHA, "pune", "Pune")
    registry.create_zone(unit, ASHA, "kasba", "Kasba Peth", parent="pune")
    registry.create_site(unit, ASHA, "wada", "Shaniwar Wada", lat=18.5195, lon=73.8553, zone="kasba")
    for device in ("pune-cam-01", "pune-ecb-01", "pune-vms-01"):
        registry.create_device(unit, ASHA, device, site="wada")


@pytest.fixture
def store(database_url: str, time: Time) -> Iterator[Store]:
    found = Store.open(database_url, clock=time)
    found.write_sync(build_town)
    yield found
    found.close()


@pytest.fixture
def asha() -> Actor:
    return ASHA


@pytest.fixture
def born(store: Store, time: Time) -> Callable[..., None]:
    """born(device, twin_version=…) lets a device begin a session and be online."""

    def begin(device: str, *, twin_version: int | None = None, serves: dict[str, str] | None = None) -> None:
        served = [Peripheral(id=name, type=PeripheralType(kind)) for name, kind in (serves or {}).items()]
        versions = Versions(agent="0.1.0", python="3.11", os="Debian", board="simulated")
        body = Birth(peripherals=served, versions=versions, journal=uuid4(), low=0, twin_version=twin_version)
        message = BirthMessage(
            id=ulid(), boot=uuid4(), conn=1, at=time.now, mono_ms=1, clock=Clock.SYNCED, body=body
        )

        def work(unit: Unit) -> None:
            intake.born(unit, device, message, time.now)
            unit.conn.execute(devices.update().where(devices.c.id == device).values(presence="online"))

        store.write_sync(work)

    return begin


@pytest.fixture
def fact(time: Time) -> Callable[..., Fact]:
    """fact(device, kind, body) is one committed event."""

    def make(
        device: str, kind: str, body: Message, *, peripheral: str | None = None, late: bool = False
    ) -> Fact:
        return Fact(device, "wada", peripheral, None, kind, body, time.now, late, ulid(), time.now)

    return make


@pytest.fixture
async def api(store: Store, tmp_path: Path) -> AsyncIterator[Callable[[Role], httpx.AsyncClient]]:
    """api(role) is a client of the assembled console with a token of that role."""
    settings = Settings(home=tmp_path)
    app = console_app(Parts(settings, store, state={"blobs": blobs.open_blobs(settings)}))
    made: list[httpx.AsyncClient] = []

    def client(role: Role = Role.ADMIN) -> httpx.AsyncClient:
        _, secret = store.write_sync(
            lambda unit: tokens.create(unit, ASHA, "test", role=role, scopes=tokens.SCOPES)
        )
        made.append(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://localhost/api/v1",
                headers={"Authorization": f"Bearer {secret}"},
            )
        )
        return made[-1]

    yield client
    for each in made:
        await each.aclose()
