"""A store with a call box, whose clock stands still, and somebody who is told of its incidents."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prahari_hub.fleet.tables import devices
from prahari_hub.scheduler.escalation import Escalation
from prahari_hub.settings import Settings
from prahari_hub.store import Store

from tests.hub.clock import Clock
from tests.hub.scheduler.told import SECRET, Receiver


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 20, 6, 0, tzinfo=UTC))


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(database_url, clock=clock)
    opened.write_sync(
        lambda unit: unit.conn.execute(
            devices.insert().values(id="pune-ecb-01", service="active", created_at=clock.now)
        )
    )
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hook(store: Store, receiver: Receiver, tmp_path: Path) -> Escalation:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    return Escalation(store, Settings(home=tmp_path, webhook_url=receiver.url, webhook_secret_file=secret))
