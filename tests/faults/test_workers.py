"""Every worker of a hub with roles apart is killed: nobody hears the devices, the console says so, and nobody is called offline for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.place import LONG, eventually
from tests.system.apart import Apart

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(600),
    pytest.mark.needs("initdb"),
    pytest.mark.skipif(not LONG, reason="the long form alone: leases and a grace have to run out"),
]
GRACE_S = 6
"""``Apart``'s."""


@pytest.fixture
def apart(postgres: Any, find_port_offset: Callable[[], int], tmp_path: Path) -> Iterator[Apart]:
    database = postgres.create()
    town = Apart(tmp_path, find_port_offset(), database)
    try:
        town.build()
        yield town
    finally:
        town.close()
        print(town.logs())
        postgres.drop(database)


def missing(apart: Apart) -> dict[str, str]:
    return dict(apart.api.get(f"{apart.console}/readyz", timeout=10).json()["missing"])


def test_without_any_worker_the_hub_says_that_it_hears_nobody_and_calls_nobody_offline(
    apart: Apart, seed: int
) -> None:
    apart.worker("first", "ingest,scheduler")
    apart.start_hub()
    apart.worker("second", "ingest")
    apart.light_devices(6)
    eventually(lambda: apart.field.all_welcomed, "every device to be welcomed")
    eventually(lambda: apart.presences() == {"online"}, "every device to be online")
    apart.field.set(events_a_s=2.0)
    time.sleep(2)
    apart.kill("first")
    apart.kill("second")
    eventually(
        lambda: "nobody hears" in missing(apart).get("ingest", ""), "the console to say so", within_s=30
    )
    time.sleep(2 * GRACE_S)
    findings = {found["subject"]: found for found in apart.get("/hub")["findings"]}
    assert findings["processes"]["level"] == "fail" and "not heard" in str(findings["processes"])
    assert apart.presences() <= {"online", "unknown"}, (
        "as it was when somebody still heard, or had just taken over"
    )
    apart.worker("third", "ingest,scheduler")
    eventually(lambda: missing(apart) == {}, "the console to be content")
    eventually(lambda: apart.presences() == {"online"}, "every device to be online again")
    apart.field.set(events_a_s=0.0)
    eventually(lambda: apart.field.held == 0, "every event to be acknowledged")
    balance = apart.field.ledger.check(apart.database)
    assert balance.balanced and balance.stored == balance.made, str(balance)
    assert apart.rows("SELECT device_id FROM transitions WHERE kind = 'presence' AND after = 'offline'") == []
