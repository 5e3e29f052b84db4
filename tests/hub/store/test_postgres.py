"""PostgreSQL as it is in the field: it goes away, undoes one of two transactions, is slow; the hub says so and carries on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.errors import SetupError, Unavailable
from prahari_hub.fleet.tables import zones
from prahari_hub.store import FencedStore, Store, Unit, leases
from prahari_hub.store import postgres as pg
from prahari_hub.store.engine import MAY_LOSE
from prahari_hub.store.migrate import migrate


@pytest.fixture(scope="module")
def which_store() -> str:
    return "postgresql"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url)
    yield found
    found.close()


def add_zone(name: str) -> Any:
    return lambda unit: unit.conn.execute(zones.insert().values(id=name, name=name))


def another(store: Store) -> closing[Store]:
    """The same database, as another process has it."""
    return closing(Store.open(store.engine.url.render_as_string(hide_password=False)))


def beside(store: Store) -> FencedStore:
    return FencedStore(store, lambda: lambda unit: None, beside=True)


def names(store: Store) -> list[str]:
    return list(store.read_sync(lambda conn: conn.scalars(sa.select(zones.c.id).order_by(zones.c.id)).all()))


def cut(postgres: Any, store: Store) -> None:
    """The server ends every connection to the database, as a restart does."""
    postgres.do(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{store.engine.url.database}' AND pid <> pg_backend_pid()"
    )


def test_a_server_that_may_lose_what_it_committed_is_refused(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.read_sync(lambda conn: conn.exec_driver_sql("SHOW fsync").scalar()) == "on":
        pytest.skip("the server that PRAHARI_TEST_POSTGRES names loses nothing")
    monkeypatch.delenv(MAY_LOSE)
    with pytest.raises(SetupError, match="PostgreSQL runs with fsync=off, so what the hub acknowledged"):
        Store.open(database_url)


def test_connections_that_a_restart_cut_are_opened_again(postgres: Any, store: Store) -> None:
    store.write_sync(add_zone("kasba"))
    cut(postgres, store)
    assert names(store) == ["kasba"]
    cut(postgres, store)
    store.write_sync(add_zone("kothrud"))
    assert names(store) == ["kasba", "kothrud"]


def test_a_connection_lost_within_a_transaction_is_unavailable_and_leaves_nothing(
    postgres: Any, store: Store
) -> None:
    def work(unit: Unit) -> None:
        add_zone("kasba")(unit)
        cut(postgres, store)
        with unit.conn.begin_nested():
            add_zone("kothrud")(unit)

    with pytest.raises(Unavailable, match="does not take writes now"):
        store.write_sync(work)
    assert names(store) == []
    store.write_sync(add_zone("aundh"))
    assert names(store) == ["aundh"]


def test_a_connection_lost_while_reading_is_unavailable(postgres: Any, store: Store) -> None:
    def read(conn: sa.Connection) -> None:
        cut(postgres, store)
        conn.execute(sa.select(zones))

    with pytest.raises(Unavailable, match="does not answer now"):
        store.read_sync(read)
    assert names(store) == []


def test_while_the_database_takes_no_connections_everything_is_unavailable(
    postgres: Any, store: Store
) -> None:
    name = store.engine.url.database
    postgres.do(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    cut(postgres, store)
    try:
        with pytest.raises(Unavailable, match="is not currently accepting connections"):
            names(store)
        with pytest.raises(Unavailable, match="is not currently accepting connections"):
            store.write_sync(add_zone("kasba"))
    finally:
        postgres.do(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    store.write_sync(add_zone("kasba"))
    assert names(store) == ["kasba"]


def test_a_standby_that_only_reads_is_unavailable_for_writes(store: Store) -> None:
    def work(unit: Unit) -> None:
        unit.conn.exec_driver_sql("SET TRANSACTION READ ONLY")
        add_zone("kasba")(unit)

    with pytest.raises(Unavailable, match="read-only"):
        store.write_sync(work)


def test_of_two_transactions_that_wait_for_each_other_both_are_done(store: Store) -> None:
    store.write_sync(lambda unit: (add_zone("kasba")(unit), add_zone("kothrud")(unit)))
    both_hold_one = threading.Barrier(2)
    runs = {"first": 0, "second": 0}

    def touch(who: str, *order: str) -> Any:
        def work(unit: Unit) -> None:
            runs[who] += 1
            for number, zone in enumerate(order):
                if number and runs[who] == 1:
                    both_hold_one.wait(20)
                unit.conn.execute(zones.update().where(zones.c.id == zone).values(name=zones.c.name + who))
            unit.tell("zones", by=who)

        return work

    told: list[Any] = []
    with another(store) as other:
        store.on_changes = other.on_changes = told.extend
        second = beside(other)
        thread = threading.Thread(target=lambda: second.write_sync(touch("second", "kothrud", "kasba")))
        thread.start()
        beside(store).write_sync(touch("first", "kasba", "kothrud"))
        thread.join(30)
    assert sorted(runs.values()) == [1, 2]
    assert sorted(change.data["by"] for change in told) == ["first", "second"]
    found = store.read_sync(lambda conn: conn.scalars(sa.select(zones.c.name)).all())
    assert all(name.count("first") == name.count("second") == 1 for name in found)


def test_a_statement_that_takes_too_long_is_ended(database_url: str) -> None:
    store = Store.open(database_url, timeout_s=0.3)
    try:
        with pytest.raises(Unavailable, match="statement timeout"):
            store.read_sync(lambda conn: conn.exec_driver_sql("SELECT pg_sleep(20)"))
        assert names(store) == []
    finally:
        store.close()


def test_what_a_process_locked_that_hangs_in_the_middle_of_many_rows_is_free_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg sends many rows as a pipeline: to PostgreSQL that is one statement at work, and none of its own limits counts."""
    monkeypatch.setattr(pg, "STALLED_S", 0.5)
    monkeypatch.setattr(pg, "IDLE_MS", 500)
    store.write_sync(add_zone("kasba"))
    with another(store) as hanging, hanging.engine.connect() as conn:
        conn.execute(zones.update().values(name="locked"))
        hanging_at = conn.connection.dbapi_connection.pgconn
        hanging_at.enter_pipeline_mode()
        hanging_at.send_query_params(b"SELECT 1", [])
        hanging_at.send_flush_request()
        hanging_at.flush()
        waits = threading.Thread(
            target=lambda: store.write_sync(
                lambda unit: unit.conn.execute(zones.update().values(name="mine"))
            )
        )
        waits.start()
        waits.join(2)
        assert waits.is_alive(), "no limit of PostgreSQL's ends it"
        with closing(store.aside()) as aside:
            aside.write_sync(lambda unit: leases.keep(unit, "ingest", "another worker", [], {}))
        waits.join(20)
        assert not waits.is_alive(), "the next round of a worker that lives ends it"
        conn.invalidate()
    assert store.read_sync(lambda conn: conn.scalars(sa.select(zones.c.name)).all()) == ["mine"]


def test_a_read_sees_one_state_of_the_database(store: Store) -> None:
    """As on SQLite: what is committed between two queries of one page is not half on it."""

    def read(conn: sa.Connection) -> tuple[int, int]:
        count = sa.select(sa.func.count()).select_from(zones)
        before = conn.scalar(count)
        store.write_sync(add_zone("kasba"))
        return before, conn.scalar(count)

    assert store.read_sync(read) == (0, 0)
    assert names(store) == ["kasba"]


def test_processes_that_start_together_migrate_one_after_the_other(postgres: Any) -> None:
    url = postgres.create()
    stores = [Store.open(url) for _ in range(3)]
    failed: list[Exception] = []

    def start(store: Store) -> None:
        try:
            migrate(store.engine)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    postgres.drop(url)
    assert failed == []


async def test_units_of_ingest_run_beside_each_other_and_none_beside_a_unit_that_is_alone(
    store: Store,
) -> None:
    """So what reads numbered rows alone never misses one that commits late."""
    together, inside, hold = threading.Barrier(2), threading.Event(), threading.Event()

    def slow(name: str) -> Any:
        def work(unit: Unit) -> None:
            add_zone(name)(unit)
            together.wait(20)
            inside.set()
            hold.wait(20)

        return work

    with another(store) as other, another(store) as third:
        writing = [
            asyncio.create_task(beside(each).write(slow(name))) for each, name in ((store, "a"), (other, "b"))
        ]
        await asyncio.to_thread(inside.wait, 20)
        found = sa.select(zones.c.id).order_by(zones.c.id)
        alone = asyncio.create_task(third.write(lambda unit: list(unit.conn.scalars(found))))
        await asyncio.sleep(0.3)
        assert not alone.done()
        hold.set()
        await asyncio.gather(*writing)
        assert await alone == ["a", "b"]


async def test_work_that_finds_nothing_waits_for_nobodys_turn(store: Store) -> None:
    holding, ending = threading.Event(), threading.Event()

    def hold(_unit: Unit) -> None:
        holding.set()
        ending.wait(20)

    with another(store) as other:
        keeping = asyncio.create_task(other.write(hold))
        await asyncio.to_thread(holding.wait, 20)
        try:
            looking = store.write_if_any(lambda unit: unit.conn.scalar(sa.text("SELECT 7")))
            assert await asyncio.wait_for(looking, 10) == 7
        finally:
            ending.set()
            await keeping


async def test_work_that_writes_or_tells_something_is_a_unit_like_any_other(store: Store) -> None:
    told: list[Any] = []
    store.on_changes = told.extend

    await store.write_if_any(add_zone("pune"))
    assert names(store) == ["pune"]
    await store.write_if_any(lambda unit: unit.tell("looked", id=1))
    assert [change.topic for change in told] == ["looked"]
