"""A hub's home with a little of everything in it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prahari_hub.access import chain, links, sessions, users
from prahari_hub.fleet import registry, twins, uploads
from prahari_hub.fleet.blobs import write_durably
from prahari_hub.fleet.tables import peripherals
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.service import open_identity
from prahari_hub.settings import Settings, load
from prahari_hub.signage import overrides
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate
from prahari_wire.display import DisplayClass, TextContent
from prahari_wire.twin import Desired

ROOT = system("test")
NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


@dataclass
class City:
    """``store`` is open; ``blobs`` are the hashes of the pictures."""

    settings: Settings
    store: Store
    blobs: list[str]

    def picture(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        write_durably(self.settings.home / "blobs" / sha256[:2] / sha256, content)
        self.store.write_sync(lambda unit: uploads.bring(unit, sha256, len(content), by="test"))
        self.blobs.append(sha256)
        return sha256


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> City:
    """Made once, closed: each test has a copy of it."""
    settings = load(home=tmp_path_factory.mktemp("city") / "hub")
    store = Store.open(settings.store_url, clock=lambda: NOW)
    migrate(store.engine)
    open_identity(settings.home, store, city=settings.city)
    found = City(settings, store, [])
    store.write_sync(populate)
    for content in (b"\xff\xd8\xff one", b"\xff\xd8\xff two", b"\x89PNG\r\n\x1a\n three"):
        found.picture(content)
    (settings.home / "map-layers").mkdir()
    layer = b'{"type": "FeatureCollection", "features": []}'
    (settings.home / "map-layers" / hashlib.sha256(layer).hexdigest()).write_bytes(layer)
    (settings.home / "hub.toml").write_text('city = "Pune"\n')
    store.close()
    return found


@pytest.fixture
def city(built: City, tmp_path: Path) -> Iterator[City]:
    shutil.copytree(built.settings.home, tmp_path / "hub")
    settings = load(home=tmp_path / "hub")
    store = Store.open(settings.store_url, clock=lambda: NOW)
    yield City(settings, store, list(built.blobs))
    store.close()


def populate(unit: Unit) -> None:
    users.add(unit, ROOT, "asha", password="four unrelated words here", role=Role.ADMIN)
    sessions.open_session(unit, "asha")
    links.make_login_link(unit, "asha")
    registry.create_zone(unit, ROOT, "kasba", "Kasba Peth")
    registry.create_site(unit, ROOT, "wada", "Shaniwar Wada", lat=18.5, lon=73.8, zone="kasba")
    for device in ("pune-cam-01", "pune-sign-01"):
        registry.create_device(unit, ROOT, device, site="wada")
        twins.put(unit, ROOT, device, Desired(heartbeat_s=30), if_version=0)
    display(unit, "pune-sign-01", "sign1")
    chain.seal(unit)


def display(unit: Unit, device: str, peripheral: str) -> str:
    """A display with an override in force; its id."""
    unit.conn.execute(
        peripherals.insert().values(
            device_id=device, id=peripheral, type="display", faults=[], updated_at=unit.now
        )
    )
    wanted = overrides.Wanted(
        DisplayClass.EMERGENCY,
        1,
        TextContent(text="Road closed"),
        "flood",
        unit.now + timedelta(hours=8),
    )
    return overrides.create(unit, ROOT, (device, peripheral), wanted)
