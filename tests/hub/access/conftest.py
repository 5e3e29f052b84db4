from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prahari_hub.store import Store

from tests.hub.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 20, 6, 0, tzinfo=UTC))


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    yield opened
    opened.close()
