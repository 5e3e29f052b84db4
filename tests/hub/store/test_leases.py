"""Leases whose clock steps back: PostgreSQL's own, after power returned and a time server was heard again.

Leases whose end is put hours ahead stand for a clock that was put hours back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from prahari_hub.operations import overview
from prahari_hub.store import Store, Unit
from prahari_hub.store import leases as statements
from prahari_hub.store.leases import Held, LeaseLost, Standing
from prahari_hub.store.tables import leases

NAMES = [f"partition/{number}" for number in range(16)]
STEP = timedelta(hours=2)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url)
    yield found
    found.close()


def keep(store: Store, holder: str, held: Held) -> Standing:
    return store.write_sync(lambda unit: statements.keep(unit, "ingest", holder, NAMES, held))


def claim(store: Store, holder: str) -> Held:
    return store.write_sync(lambda unit: statements.claim(unit, holder, NAMES))


def unheld(store: Store) -> set[str]:
    return store.read_sync(lambda conn: statements.unheld(conn, NAMES, store.clock()))


def step_back(store: Store) -> None:
    def put_ahead(unit: Unit) -> None:
        for row in unit.conn.execute(sa.select(leases)).all():
            unit.conn.execute(leases.update().where(leases.c.name == row.name).values(until=row.until + STEP))

    store.write_sync(put_ahead)


def test_what_the_dead_held_is_free_one_lease_after_a_step_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "LEASE", timedelta(seconds=0.5))
    keep(store, "dead", {})
    held = claim(store, "dead")
    step_back(store)
    standing = keep(store, "new", {})
    assert standing.next_end_s is not None and standing.next_end_s <= 0.5
    time.sleep(0.6)
    standing = keep(store, "new", {})
    assert standing.free == set(NAMES)
    assert standing.workers == {"new": 0}
    assert set(claim(store, "new")) == set(NAMES)
    with pytest.raises(LeaseLost):
        store.write_sync(lambda unit: statements.fence(unit, "dead", held))


def test_leases_that_nobody_renews_after_a_step_back_are_told_as_unheld_at_once(store: Store) -> None:
    keep(store, "dead", {})
    claim(store, "dead")
    assert unheld(store) == set()
    step_back(store)
    assert unheld(store) == set(NAMES)


def test_a_worker_that_lives_keeps_what_it_holds_through_a_step_back(store: Store) -> None:
    keep(store, "living", {})
    held = claim(store, "living")
    keep(store, "other", {})
    step_back(store)
    standing = keep(store, "other", {})
    assert standing.free == set()
    assert standing.workers == {"living": 16, "other": 0}
    assert claim(store, "other") == {}
    store.write_sync(lambda unit: statements.fence(unit, "living", held))
    assert keep(store, "living", held).held == held
    assert unheld(store) == set()


@pytest.mark.parametrize("which_store", ["postgresql"], indirect=True)
def test_who_is_just_writing_holds_nobody_up_at_a_step_back(database_url: str, store: Store) -> None:
    aside = store.aside()
    keep(store, "living", {})
    held = claim(store, "living")
    step_back(store)

    def write(unit: Unit) -> None:
        statements.fence(unit, "living", held)
        begun = time.monotonic()
        assert keep(aside, "other", {}).free == set()
        assert time.monotonic() - begun < 5

    store.write_sync(write)
    aside.close()


def test_the_hubs_page_counts_no_worker_whose_lease_ends_too_late(store: Store) -> None:
    claim(store, "dead")
    step_back(store)
    assert store.read_sync(lambda conn: overview._processes(conn, store.clock())) == []


@pytest.mark.parametrize("which_store", ["postgresql"], indirect=True)
def test_the_hubs_page_knows_the_workers_on_a_machine_whose_own_clock_is_wrong(store: Store) -> None:
    claim(store, "living")
    (found,) = store.read_sync(lambda conn: overview._processes(conn, store.clock() + STEP))
    assert (found.id, found.partitions) == ("living", 16)
