"""A console that runs apart says when nobody hears the devices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from prahari_hub import metrics
from prahari_hub.ending import end
from prahari_hub.roles import heard as module
from prahari_hub.roles.heard import NAMES, Heard
from prahari_hub.store import Store, leases


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    found = Store.open(database_url)
    yield found
    found.close()


async def test_partitions_without_a_worker_are_named_after_the_time_of_a_take_over(store: Store) -> None:
    now_s = 0.0
    heard = Heard(store, mono=lambda: now_s)
    await heard.look()
    assert heard.missing() is None
    now_s = 5.0
    await heard.look()
    assert "partitions all: start a process with the role ingest" in str(heard.missing())
    await store.write(
        lambda unit: leases.claim(unit, "worker", [name for name in NAMES if name != "partition/7"])
    )
    await heard.look()
    assert "of partitions 7:" in str(heard.missing())
    await store.write(lambda unit: leases.claim(unit, "worker", ["partition/7"]))
    await heard.look()
    assert heard.missing() is None


@pytest.mark.parametrize("which_store", ["postgresql"], indirect=True)
async def test_a_look_that_fails_is_counted_and_does_not_end_the_watch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no table is, PostgreSQL does not say that it is away."""
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    now_s = 0.0
    heard = Heard(store, mono=lambda: now_s)
    failures = metrics.WORKER_FAILURES.labels("heard")
    before = failures._value.get()
    await store.write(lambda unit: unit.conn.execute(sa.text("ALTER TABLE leases RENAME TO elsewhere")))
    watching = asyncio.create_task(heard.run())
    async with asyncio.timeout(10):
        while failures._value.get() - before < 2:
            await asyncio.sleep(0.02)
    await store.write(lambda unit: unit.conn.execute(sa.text("ALTER TABLE elsewhere RENAME TO leases")))
    async with asyncio.timeout(10):
        while not heard.missing():
            now_s += 1
            await asyncio.sleep(0.05)
    await end([watching])
