"""The store: one writer, durable commits, nothing told before the commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from prahari_hub.access.audit import record
from prahari_hub.access.tables import audit
from prahari_hub.errors import SetupError
from prahari_hub.fleet.tables import zones
from prahari_hub.http.actor import system
from prahari_hub.store import Change, Store, Unit


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url)
    yield found
    found.close()


def add_zone(unit: Unit) -> None:
    unit.conn.execute(zones.insert().values(id="kothrud", name="कोथरूड"))


@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
def test_a_commit_is_on_disk_when_it_returns(store: Store) -> None:
    with store.engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_nothing_is_told_when_the_transaction_fails(store: Store) -> None:
    told: list[Change] = []
    called: list[str] = []
    store.on_changes = told.extend

    def work(unit: Unit) -> None:
        add_zone(unit)
        unit.tell("zones", id="kothrud")
        unit.after(lambda: called.append("after"))
        raise ValueError("poison")

    with pytest.raises(ValueError, match="poison"):
        store.write_sync(work)
    assert (told, called) == ([], [])
    assert store.read_sync(lambda conn: conn.execute(sa.select(zones)).all()) == []


async def test_changes_and_callbacks_run_after_the_commit_in_the_callers_thread(store: Store) -> None:
    seen: list[tuple[str, int]] = []

    def committed() -> int:
        return store.read_sync(lambda conn: len(conn.execute(sa.select(zones)).all()))

    store.on_changes = lambda changes: seen.append((changes[0].topic, committed()))

    def work(unit: Unit) -> None:
        add_zone(unit)
        unit.tell("zones", id="kothrud")
        unit.after(lambda: seen.append((threading.current_thread().name, committed())))

    await store.write(work)
    assert seen == [("zones", 1), ("MainThread", 1)]


async def test_writers_do_not_fail_each_other(store: Store) -> None:
    """On SQLite a unit that reads first and then writes holds the write lock from its beginning."""

    def bump(unit: Unit) -> None:
        count = unit.conn.execute(sa.select(sa.func.count()).select_from(zones)).scalar_one()
        unit.conn.execute(zones.insert().values(id=f"zone-{count}", name="z"))

    other = Store.open(store.engine.url.render_as_string(hide_password=False))
    threads = [
        threading.Thread(target=lambda s=s: [s.write_sync(bump) for _ in range(20)]) for s in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert (
        store.read_sync(lambda conn: conn.execute(sa.select(sa.func.count()).select_from(zones)).scalar())
        == 40
    )


def test_times_come_back_aware_and_in_utc(store: Store) -> None:
    store.write_sync(lambda unit: record(unit, system("test"), "zone.create", "zone:kothrud"))
    at = store.read_sync(lambda conn: conn.execute(sa.select(audit.c.at)).scalar_one())
    assert isinstance(at, datetime)
    assert at.tzinfo is UTC


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"])
def test_the_audit_log_cannot_be_rewritten(store: Store, statement: str) -> None:
    store.write_sync(lambda unit: record(unit, system("test"), "zone.create", "zone:kothrud"))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        store.write_sync(lambda unit: unit.conn.exec_driver_sql(statement))


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be opened"):
        Store.open(f"sqlite:///{tmp_path / 'missing' / 'hub.db'}")
