"""A hub on PostgreSQL: its own tools keep the database, the backup keeps the rest, a restore lets the numbers leap."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.errors import SetupError
from prahari_hub.fleet.tables import twins
from prahari_hub.identity.service import open_identity
from prahari_hub.operations import queries, sizes
from prahari_hub.operations import restore as restores
from prahari_hub.operations.backup import backup
from prahari_hub.operations.doctor import examine
from prahari_hub.operations.doctor.findings import Level, Look
from prahari_hub.settings import Settings, load
from prahari_hub.signage.tables import displays
from prahari_hub.store import Store
from prahari_hub.store.migrate import migrate, stands

from .conftest import populate

NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
LATER = NOW + timedelta(hours=6)
pytestmark = pytest.mark.needs("initdb")


@pytest.fixture
def urls(postgres: Any) -> Iterator[tuple[str, str]]:
    """An empty database for the hub and one to restore into."""
    found = postgres.create(), postgres.create()
    yield found
    for url in found:
        postgres.drop(url)


@pytest.fixture
def hub(urls: tuple[str, str], tmp_path: Path) -> Iterator[tuple[Settings, Store]]:
    settings = load(home=tmp_path / "hub", database_url=urls[0])
    store = Store.open(settings.store_url, clock=lambda: NOW)
    migrate(store.engine)
    open_identity(settings.home, store, city=settings.city)
    store.write_sync(populate)
    yield settings, store
    store.close()


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def count(url: str, table: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        found = conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    engine.dispose()
    return int(found)


def test_a_dump_and_a_backup_make_the_hub_anew(
    hub: tuple[Settings, Store], urls: tuple[str, str], tmp_path: Path
) -> None:
    settings, store = hub
    dump = tmp_path / "hub.dump"
    subprocess.run(["pg_dump", "--format=custom", f"--file={dump}", plain(urls[0])], check=True)
    made = backup(settings, tmp_path / "backups", now=NOW, postgresql_revision=store.read_sync(stands))
    assert made.manifest.database == "postgresql" and not (made.folder / "hub.db").exists()

    source = restores.check(made.folder)
    with pytest.raises(SetupError, match="pg_restore"):
        restores.restore(source, load(home=tmp_path / "new"), now=LATER)
    with pytest.raises(SetupError, match="pg_restore"):
        restores.restore(source, load(home=tmp_path / "new", database_url=urls[1]), now=LATER)

    subprocess.run(["pg_restore", "--no-owner", f"--dbname={plain(urls[1])}", dump], check=True)
    done = restores.restore(source, load(home=tmp_path / "new", database_url=urls[1]), now=LATER)
    assert (done.twins, done.displays, done.overrides) == (2, 1, 1)
    for table in ("devices", "users", "certificates", "zones", "overrides"):
        assert count(urls[0], table) == count(urls[1], table)
    step = restores.step_since(NOW, LATER)
    restored = Store.open(urls[1])
    try:
        versions = restored.read_sync(lambda conn: set(conn.scalars(sa.select(twins.c.version))))
        epochs = restored.read_sync(lambda conn: set(conn.scalars(sa.select(displays.c.epoch))))
    finally:
        restored.close()
    assert versions == {1 + step} and epochs == {1 + step}
    key = Path("signing") / "current.key"
    assert (tmp_path / "new" / key).read_bytes() == (settings.home / key).read_bytes()


def test_the_doctor_knows_postgresql(hub: tuple[Settings, Store]) -> None:
    settings, store = hub
    found = examine(Look(settings, NOW, store, True), ["database", "schema", "disk", "clock", "certificates"])
    levels = {finding.subject: finding.level for finding in found}
    assert levels["database"] is Level.OK and levels["schema"] is Level.OK
    assert Level.FAIL not in levels.values()
    store.write_sync(lambda unit: sizes.note(settings, unit))
    assert store.read_sync(lambda conn: sizes.room(settings, conn)).database > 1_000_000
    assert abs(store.read_sync(queries.clock_offset_s)) < 5


def test_a_database_that_does_not_answer_is_said(hub: tuple[Settings, Store]) -> None:
    [finding] = examine(Look(hub[0], NOW, None, True), ["database"])
    assert finding.level is Level.FAIL and "does not answer" in finding.said()
