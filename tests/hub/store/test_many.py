"""Many rows by one statement do what a statement a row does, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.store import Store, Unit
from prahari_hub.store.many import insert_many, update_many

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store.open(database_url, clock=lambda: NOW)
    store.write_sync(build)
    yield store
    store.close()


def build(unit: Unit) -> None:
    rows = [{"id": f"box-{number}", "created_at": NOW, "name": None} for number in range(5)]
    unit.conn.execute(devices.insert(), rows)
    insert_many(
        unit.conn,
        peripherals,
        [
            {"device_id": row["id"], "id": "cam1", "type": "camera", "faults": ["Frozen"], "updated_at": NOW}
            for row in rows
        ],
    )


def one(store: Store, table: Any, **where: str) -> dict[str, Any]:
    query = sa.select(table).where(*[table.c[name] == value for name, value in where.items()])
    return store.read_sync(lambda conn: dict(conn.execute(query).one()._mapping))


def test_inserted_rows_have_what_was_given_and_the_defaults_of_the_rest(store: Store) -> None:
    row = one(store, peripherals, device_id="box-3", id="cam1")
    assert (row["faults"], row["updated_at"], row["state"], row["note"]) == (["Frozen"], NOW, "unknown", None)


def test_each_row_gets_its_own_values_and_the_others_stay(store: Store) -> None:
    words = 'स्थान "x" \\ ?'
    values: list[dict[str, Any]] = [
        {
            "id": "box-1",
            "name": words,
            "presence_since": NOW.astimezone(INDIA),
            "conn": 2**40,
            "clock_offset_ms": -1.5,
        },
        {"id": "box-2", "name": "b", "presence_since": None, "conn": None, "clock_offset_ms": None},
        {"id": "nobody", "name": "c", "presence_since": NOW, "conn": 1, "clock_offset_ms": 0.0},
    ]
    store.write_sync(lambda unit: update_many(unit.conn, devices, values, keys=("id",)))
    for value in values[:2]:
        assert {name: one(store, devices, id=value["id"])[name] for name in value} == value
    assert one(store, devices, id="box-3")["name"] is None


def test_what_it_writes_is_found_as_if_each_row_had_been_written_alone(store: Store) -> None:
    def work(unit: Unit) -> list[str]:
        update_many(unit.conn, devices, [{"id": "box-1", "presence_since": NOW}], keys=("id",))
        unit.conn.execute(devices.update().where(devices.c.id == "box-2").values(presence_since=NOW))
        same = sa.select(devices.c.id).where(devices.c.presence_since == NOW).order_by(devices.c.id)
        return list(unit.conn.scalars(same))

    assert store.write_sync(work) == ["box-1", "box-2"]


def test_two_keys_and_a_condition_choose_the_rows(store: Store) -> None:
    given = [
        {"device_id": f"box-{number}", "id": "cam1", "faults": [], "note": f"n{number}"}
        for number in range(3)
    ]
    where = peripherals.c.device_id != "box-1"
    store.write_sync(
        lambda unit: update_many(unit.conn, peripherals, given, keys=("device_id", "id"), where=where)
    )
    found = [one(store, peripherals, device_id=f"box-{number}")["note"] for number in range(4)]
    assert found == ["n0", None, "n2", None]
    assert one(store, peripherals, device_id="box-0")["faults"] == []


def test_no_rows_are_nothing_to_do(store: Store) -> None:
    store.write_sync(lambda unit: update_many(unit.conn, devices, [], keys=("id",)))
    store.write_sync(lambda unit: insert_many(unit.conn, devices, []))
