"""A console that runs apart says when nobody hears the devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
