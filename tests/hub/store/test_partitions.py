"""Partitions of time on PostgreSQL: made ahead, nothing is ever refused for want of one, old ones are dropped whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.fleet import history, retention, transitions
from prahari_hub.fleet.tables import health_hours
from prahari_hub.fleet.tables import transitions as rows
from prahari_hub.store import Store, Unit, partitions

from tests.hub.clock import Clock

NOW = datetime(2026, 12, 30, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def time() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(database_url: str, time: Clock) -> Iterator[Store]:
    found = Store.open(database_url, clock=time)
    yield found
    found.close()


only_postgresql = pytest.mark.parametrize("which_store", ["postgresql"], indirect=True)


def happen(store: Store, *at: datetime) -> None:
    row = {"device_id": "pune-cam-01", "kind": "presence", "before": "online", "after": "offline"}
    store.write_sync(lambda unit: unit.conn.execute(rows.insert(), [row | {"at": moment} for moment in at]))


def measure(store: Store, *hours: datetime) -> None:
    values = [{"start": hour, "cell": 7, "packed": b"x", "rolled": True} for hour in hours]
    store.write_sync(lambda unit: unit.conn.execute(health_hours.insert(), values))


def where(store: Store, table: sa.Table, column: str) -> dict[str, list[datetime]]:
    """{partition: times of its rows}"""
    query = sa.text(f"SELECT tableoid::regclass::text, {column} FROM {table.name} ORDER BY {column}")
    found: dict[str, list[datetime]] = {}
    for name, at in store.read_sync(lambda conn: conn.execute(query).all()):
        found.setdefault(name, []).append(at.astimezone(UTC))
    return found


def of(store: Store, table: str) -> set[str]:
    query = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:t AS regclass)")
    return set(store.read_sync(lambda conn: conn.scalars(query, {"t": table}).all()))


@only_postgresql
def test_partitions_are_made_ahead_once_and_over_the_turn_of_the_year(store: Store, time: Clock) -> None:
    assert store.write_sync(partitions.make_ahead) > 0
    assert store.write_sync(partitions.make_ahead) == 0
    months = {"202612", "202701", "202702", "202703"}
    assert of(store, "transitions") == {f"transitions_{month}" for month in months} | {"transitions_rest"}
    assert {"health_hours_20261230", "health_hours_20270106"} <= of(store, "health_hours")
    time.now += DAY
    assert store.write_sync(partitions.make_ahead) == 1


@only_postgresql
def test_a_row_lies_in_the_partition_of_its_time_and_without_one_in_the_rest(store: Store) -> None:
    store.write_sync(partitions.make_ahead)
    long_ago, ends, begins, far = (
        NOW - 400 * DAY,
        *(datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=s) for s in (-1, 0)),
        NOW + 400 * DAY,
    )
    happen(store, long_ago, ends, begins, far)
    assert where(store, rows, "at") == {
        "transitions_rest": [long_ago, far],
        "transitions_202612": [ends],
        "transitions_202701": [begins],
    }


@only_postgresql
def test_what_was_written_before_its_partition_was_made_moves_into_it(store: Store) -> None:
    happen(store, NOW - 40 * DAY, NOW, NOW + DAY)
    assert set(where(store, rows, "at")) == {"transitions_rest"}
    store.write_sync(partitions.make_ahead)
    assert where(store, rows, "at") == {
        "transitions_rest": [NOW - 40 * DAY],
        "transitions_202612": [NOW, NOW + DAY],
    }


@only_postgresql
def test_old_days_of_history_are_dropped_whole_and_the_rest_is_deleted(store: Store, time: Clock) -> None:
    measure(store, NOW - 30 * DAY)
    store.write_sync(partitions.make_ahead)
    measure(store, NOW, NOW + DAY, NOW + 2 * DAY)
    time.now += 8 * DAY

    def forget(unit: Unit) -> bool:
        return history.forget(unit, minutes_before=NOW + DAY, hours_before=NOW - 700 * DAY)

    while store.write_sync(forget):
        pass
    assert where(store, health_hours, "start") == {
        "health_hours_20261231": [NOW + DAY],
        "health_hours_20270101": [NOW + 2 * DAY],
    }
    assert "health_hours_20261230" not in of(store, "health_hours")


def test_a_transition_that_nobody_has_acted_on_is_not_forgotten(store: Store, time: Clock) -> None:
    store.write_sync(partitions.make_ahead)
    happen(store, NOW, NOW + 2 * DAY)

    def read_one(unit: Unit) -> None:
        transitions.have_read(unit, "test", transitions.unread(unit, "test")[0].id)

    store.write_sync(read_one)
    time.now += 300 * DAY
    store.write_sync(lambda unit: retention.forget_transitions(unit, before=time.now - 30 * DAY))
    left = store.read_sync(lambda conn: conn.scalars(sa.select(rows.c.at)).all())
    assert NOW + 2 * DAY in left

    def read_all(unit: Unit) -> None:
        transitions.have_read(unit, "test", transitions.unread(unit, "test")[-1].id)

    store.write_sync(read_all)
    store.write_sync(lambda unit: retention.forget_transitions(unit, before=time.now - 30 * DAY))
    assert list(store.read_sync(lambda conn: conn.scalars(sa.select(rows.c.at)).all())) == []


def test_transitions_of_service_stay_when_those_of_presence_are_forgotten(store: Store, time: Clock) -> None:
    def serve(unit: Unit) -> None:
        row = {"device_id": "pune-cam-01", "kind": "service", "before": "active", "after": "retired"}
        unit.conn.execute(rows.insert(), [row | {"at": moment} for moment in served])

    def forget(unit: Unit) -> None:
        transitions.have_read(unit, "test", 1000)
        retention.forget_transitions(unit, before=time.now - 30 * DAY)

    served = [NOW - 400 * DAY, NOW, NOW + 2 * DAY]
    store.write_sync(partitions.make_ahead)
    happen(store, NOW - 400 * DAY, NOW, NOW + 2 * DAY)
    store.write_sync(serve)
    for _ in range(2):
        time.now += 300 * DAY
        store.write_sync(partitions.make_ahead)
        store.write_sync(forget)
    left = store.read_sync(lambda conn: conn.execute(sa.select(rows.c.kind, rows.c.at)).all())
    assert sorted(left) == [("service", moment) for moment in served]


@only_postgresql
def test_a_partition_that_others_are_reading_is_left_for_the_next_run(store: Store, time: Clock) -> None:
    store.write_sync(partitions.make_ahead)
    measure(store, NOW)
    time.now += 9 * DAY

    def forget(unit: Unit) -> Any:
        partitions.PATIENCE_S, kept = 0.2, partitions.PATIENCE_S
        try:
            return partitions.forget(unit.conn, health_hours, NOW + 3 * DAY)
        finally:
            partitions.PATIENCE_S = kept

    with store.engine.connect() as reading:
        reading.execute(sa.select(health_hours)).all()
        with pytest.raises(Exception, match="lock timeout"):
            store.write_sync(forget)
    store.write_sync(forget)
    assert where(store, health_hours, "start") == {}
