"""Roles apart on PostgreSQL and a NATS of its own: a worker is killed under load, its partitions move, the ledger balances."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.apart import Apart

pytestmark = [
    pytest.mark.system,
    pytest.mark.needs("initdb"),
    pytest.mark.xdist_group("apart"),
    pytest.mark.timeout(300),
]
PARTITIONS = {f"partition/{number}" for number in range(16)}


@pytest.fixture(scope="module")
def apart(
    request: pytest.FixtureRequest, postgres: Any, find_port_offset: Callable[[], int]
) -> Iterator[Apart]:
    """A worker with everything to hold and a console; a test leaves one of each at work."""
    folder = Path(tempfile.mkdtemp(prefix="prahari-"))
    database = postgres.create()
    town = Apart(folder, find_port_offset(), database)
    failed_before = request.session.testsfailed
    try:
        town.build()
        town.worker("first", "ingest,scheduler")
        town.start_hub()
        yield town
    finally:
        town.close()
        if request.session.testsfailed > failed_before:
            print(town.logs())
        shutil.rmtree(folder, ignore_errors=True)
        postgres.drop(database)


def test_the_partitions_of_killed_and_hung_workers_move_and_the_ledger_balances(
    apart: Apart, eventually: Callable[..., object]
) -> None:
    eventually(
        lambda: {"scheduler"} | PARTITIONS == set(apart.leases()),
        "one worker to hold everything",
        within_s=60,
    )
    apart.worker("second", "ingest")
    apart.worker("third", "ingest,scheduler")
    eventually(lambda: shares(apart) == [5, 5, 6], "three workers to share", within_s=60)
    apart.light_devices(12)
    eventually(lambda: apart.field.all_welcomed, "every device to be welcomed", within_s=60)
    eventually(lambda: apart.presences() == {"online"}, "every device to be online")
    apart.field.set(events_a_s=3.0)
    time.sleep(2)

    victim = apart.leases()["scheduler"]
    apart.kill("first")
    since = time.monotonic()
    eventually(
        lambda: set(apart.leases()) == {"scheduler"} | PARTITIONS and victim not in apart.leases().values(),
        "partitions and scheduler to pass to the living",
    )
    moved_s = time.monotonic() - since
    print(f"moved in {moved_s:.1f} s")
    assert moved_s < 10

    hung = apart.workers["second"].process
    hung.send_signal(signal.SIGSTOP)
    eventually(
        lambda: shares(apart) == [16], "the partitions of a hung worker to pass to the other", within_s=120
    )
    hung.send_signal(signal.SIGCONT)
    eventually(
        lambda: shares(apart) == [8, 8], "the worker that came back to have a share again", within_s=120
    )
    time.sleep(2)
    apart.field.set(events_a_s=0.0)
    eventually(lambda: apart.field.held == 0, "every event to be acknowledged", within_s=120)
    balance = apart.field.ledger.check(apart.database)
    print(balance)
    assert balance.balanced, str(balance)
    assert balance.stored == balance.made
    eventually(lambda: apart.presences() == {"online"}, "every device to be online again", within_s=120)
    assert apart.rows("SELECT device_id FROM transitions WHERE kind = 'presence' AND after = 'offline'") == []


def test_two_consoles_share_sessions_changes_and_revocations(
    apart: Apart, eventually: Callable[..., object], find_port_offset: Callable[[], int]
) -> None:
    other = apart.second_console(find_port_offset())
    password = apart.folder / "password"
    password.write_text("four unrelated words here")
    apart.do("prahari-hub", "user", "add", "asha", "--role", "operator", "--password-file", str(password))

    with httpx.Client(base_url=apart.console) as browser:
        form = {"name": "asha", "password": "four unrelated words here"}
        answer = browser.post("/login", data=form, headers={"origin": apart.console})
        assert answer.status_code == 303
        cookie = browser.cookies["prahari_session"]
    with httpx.Client(base_url=other, cookies={"prahari_session": cookie}, timeout=20) as elsewhere:
        assert elsewhere.get("/api/v1/me").json()["name"] == "asha"
        with elsewhere.stream("GET", "/live", params={"topics": "devices"}) as feed:
            lines = feed.iter_lines()
            assert any(line.startswith("event: hello") for line in lines)
            apart.light_devices(1)  # made through the first console
            device = apart.field.devices[-1]
            assert any(device.name in line and '"topic":"devices"' in line for line in lines)

    eventually(lambda: device.welcomed, "the device to be welcomed")
    answer = httpx.post(
        f"{other}/api/v1/devices/{device.name}/revoke", json={"reason": "stolen"}, headers=apart.api.headers
    )
    assert answer.is_success, answer.text
    eventually(lambda: not device.welcomed, "the device to be cut, and to stay out", within_s=60)
    time.sleep(2)
    assert not device.welcomed


def shares(apart: Apart) -> list[int]:
    held = [holder for name, holder in apart.leases().items() if name.startswith("partition/")]
    return sorted(held.count(holder) for holder in set(held))
