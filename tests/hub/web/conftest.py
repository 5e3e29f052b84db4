"""The assembled console on a real store and a real port, with a little city in it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from prahari_hub.access import sessions, tokens, users
from prahari_hub.fleet import blobs, registry
from prahari_hub.fleet.facts import Fact
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.service import open_identity
from prahari_hub.incidents import service
from prahari_hub.live.feed import Feed
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.web.app import Parts, console_app
from prahari_wire.callbox import Press
from prahari_wire.ids import ulid

PASSWORD = "four unrelated words here"
ROOT = system("test")
TRUST = ssl.create_default_context()
"""Of every client: httpx would load the world's authorities for each, 50 ms of a core, for a console that speaks plain HTTP."""


@dataclass
class Console:
    """A running console. ``token`` makes an API token, ``sign_in`` a session."""

    url: str
    store: Store
    home: Path

    def browser(self, **options: Any) -> httpx.Client:
        """A client that nobody has signed in."""
        return httpx.Client(base_url=self.url, verify=TRUST, **options)

    def token(self, role: Role, *scopes: str) -> str:
        made = self.store.write_sync(
            lambda unit: tokens.create(unit, ROOT, "test", role=role, scopes=scopes or tokens.SCOPES)
        )
        return made[1]

    def client(self, role: Role | None = None, *scopes: str) -> httpx.Client:
        headers = {} if role is None else {"authorization": f"Bearer {self.token(role, *scopes)}"}
        return self.browser(headers=headers, timeout=20)

    def sign_in(self, name: str) -> tuple[httpx.Client, str]:
        """A client with the session cookie of ``name``, and its CSRF token."""
        signed_in = self.store.write_sync(lambda unit: sessions.open_session(unit, name))
        return self.browser(cookies={"prahari_session": signed_in.secret}), signed_in.csrf

    def incident(self) -> str:
        """The id of a fresh incident."""
        device = f"box-{ulid().lower()}"
        now = datetime.now(UTC)
        body = Press(press=ulid(), count=1)
        fact = Fact(device, None, "box1", "callbox", "callbox.press", body, now, False, ulid(), now)

        def work(unit: Unit) -> None:
            registry.create_device(unit, ROOT, device)
            service.on_event(unit, fact)

        self.store.write_sync(work)
        with self.client(Role.AUDITOR) as client:
            return client.get("/api/v1/incidents", params={"device": device}).json()["items"][0]["id"]


def fill(unit: Unit) -> None:
    for role in Role:
        users.add(unit, ROOT, f"the-{role}", password=PASSWORD, role=role)
    registry.create_zone(unit, ROOT, "kasba", "Kasba Peth")
    registry.create_site(unit, ROOT, "wada", "Shaniwar Wada", lat=18.52, lon=73.85, zone="kasba")
    registry.create_device(unit, ROOT, "pune-cam-01", name="Wada camera", site="wada")


@pytest.fixture(scope="module")
def console(
    new_database: Callable[[Path], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    home: Path = tmp_path_factory.mktemp("hub")
    with new_database(home) as url:
        yield from serve(home, Store.open(url))


def serve(home: Path, store: Store) -> Iterator[Console]:
    store.write_sync(fill)
    settings = Settings(home=home)
    state = {
        "identity": open_identity(home, store, city="Pune"),
        "feed": Feed(),
        "blobs": blobs.open_blobs(settings),
        "footage": blobs.open_footage(settings),
    }
    app = console_app(Parts(settings, store, state=state))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="off")
    )
    port, thread = started(server)
    yield Console(f"http://127.0.0.1:{port}", store, home)
    server.should_exit = True
    thread.join(10)
    store.close()


def started(server: uvicorn.Server) -> tuple[int, threading.Thread]:
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    return server.servers[0].sockets[0].getsockname()[1], thread


def wait_until(done: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if done():
            return
        pause.wait(0.02)
    raise TimeoutError
