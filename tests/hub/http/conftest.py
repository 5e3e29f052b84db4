from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from prahari_hub.access import tokens
from prahari_hub.http.actor import Role, system
from prahari_hub.settings import Settings
from prahari_hub.store import Store
from prahari_hub.web.app import Parts, console_app

PASSWORD = "four unrelated words here"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url)
    yield opened
    opened.close()


@pytest.fixture
def admin_token(store: Store) -> str:
    return token(store, Role.ADMIN)


def token(store: Store, role: Role, *scopes: str) -> str:
    _, text = store.write_sync(
        lambda unit: tokens.create(
            unit, system("test"), "test", role=role, scopes=scopes or ("read", "write")
        )  # type: ignore[arg-type]
    )
    return text


@pytest.fixture
async def client(store: Store, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = console_app(Parts(Settings(home=tmp_path), store))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as opened:
        yield opened


@pytest.fixture(scope="module")
def which_store() -> str:
    """What every page and route needs does not depend on it."""
    return "sqlite"
