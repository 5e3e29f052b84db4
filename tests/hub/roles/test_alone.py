"""Which processes may serve, and what the settings say of roles and partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prahari_hub import settings
from prahari_hub.errors import SetupError
from prahari_hub.roles.alone import alone
from prahari_hub.settings import ROLES, Settings
from prahari_hub.store import Store
from prahari_hub.web.listen import Listener, bind
from prahari_hub.web.status import status_app
from uvicorn import Config


def test_a_second_hub_on_one_sqlite_database_is_refused_and_the_way_out_is_named(tmp_path: Path) -> None:
    found = Settings(home=tmp_path)
    with (
        alone(found),
        pytest.raises(SetupError, match=r"another hub \(process \d+\).*PostgreSQL"),
        alone(found),
    ):
        pass
    with alone(found):  # the first has ended
        pass


def test_roles_apart_on_sqlite_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(SetupError, match="with SQLite one process has all roles: set PRAHARI_DATABASE_URL"),
        alone(Settings(home=tmp_path, roles="web,broker")),
    ):
        pass


def test_postgresql_takes_many_processes(tmp_path: Path) -> None:
    found = Settings(home=tmp_path, roles="web", database_url="postgresql+psycopg://prahari@db/prahari")
    with alone(found), alone(found):
        assert list(tmp_path.iterdir()) == []


def test_roles_are_all_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(home=tmp_path).roles == ROLES
    monkeypatch.setenv("PRAHARI_ROLES", "scheduler, ingest")
    assert Settings(home=tmp_path).roles == ("ingest", "scheduler")
    (tmp_path / "hub.toml").write_text('roles = ["web"]')
    monkeypatch.delenv("PRAHARI_ROLES")
    assert Settings(home=tmp_path).roles == ("web",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("3", {3}), ("0-3", {0, 1, 2, 3}), ("0-1,15", {0, 1, 15})],
    ids=["one", "range", "several"],
)
def test_partitions_are_numbers_and_ranges(tmp_path: Path, given: str, expected: set[int]) -> None:
    assert Settings(home=tmp_path, partitions=given).own_partitions == expected


@pytest.mark.parametrize(
    "given", [{"partitions": "0-16"}, {"partitions": "a"}, {"roles": "king"}, {"roles": ""}], ids=str
)
def test_what_is_no_role_or_partition_is_refused(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(SetupError, match=next(iter(given))):
        settings.load(home=tmp_path, **given)


def test_several_nodes_of_nats_are_named_with_commas(tmp_path: Path) -> None:
    found = Settings(home=tmp_path, nats_url="tls://a:4222, tls://b:4222")
    assert found.nats_urls == ["tls://a:4222", "tls://b:4222"]
    assert Settings(home=tmp_path).nats_urls == []


async def test_a_process_without_a_console_serves_its_health_and_metrics(
    database_url: str, free_port: Callable[[], int]
) -> None:
    store, port = Store.open(database_url), free_port()
    missing: list[str] = ["the broker is not reachable"]
    app = status_app(store, {"broker": lambda: missing[0] if missing else None}, {}, [])
    listener = Listener(
        Config(app, log_config=None, lifespan="off"), bind("127.0.0.1", port, "status"), "status"
    )
    await listener.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503 and answer.json()["missing"] == {"broker": missing[0]}
        missing.clear()
        assert (await client.get("/readyz")).status_code == 200
        assert "prahari_" in (await client.get("/metrics")).text
    await listener.stop()
    await asyncio.to_thread(store.close)
