"""What breaks on a bad evening: power, hub, link. Nothing acknowledged is lost or doubled, no false alarm is raised."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent

pytestmark = pytest.mark.system
EVENTS = 200


@pytest.fixture
def town(town: Any) -> Iterator[Any]:
    """The town of this file, whose hub a test may kill: afterwards its boxes rest and its hub runs."""
    yield town
    for program in town.programs:
        if program is not town.hub:
            program.ask_to_stop()
            program.wait()
    if town.hub.ended is not None:
        town.start_hub()


LEDGER = """
CREATE TABLE IF NOT EXISTS ledger (journal TEXT, seq INTEGER, PRIMARY KEY (journal, seq));
CREATE TRIGGER IF NOT EXISTS kept AFTER INSERT ON events
BEGIN INSERT OR IGNORE INTO ledger SELECT id, new.seq FROM journal; END;
"""
"""Notes every event in the transaction that makes it durable: what the hub must have in the end, once each."""


def keep_ledger(box: Any) -> None:
    with closing(sqlite3.connect(box.home / "outbox.db", timeout=10)) as database:
        database.executescript(LEDGER)


def outbox(box: Any, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{box.home / 'outbox.db'}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def arrived(town: Any, device: str) -> Counter[tuple[str, int]]:
    with closing(sqlite3.connect(f"file:{town.folder / 'hub' / 'hub.db'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT journal, seq FROM events WHERE device_id = ?", (device,)).fetchall()
    return Counter((str(journal), int(seq)) for journal, seq in rows)


@pytest.mark.timeout(300)
def test_200_events_arrive_once_each_through_kills_of_agent_and_hub(
    town: Any, eventually: Callable[..., Any]
) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    dice = random.Random(seed)
    # eight boxes that test themselves each second write about eight events a second
    boxes = {
        f"box{number}": CallboxConfig(button_pin=number, lamp_pin=number + 10, selftest_s=1)
        for number in range(2, 10)
    }
    box = town.box("ecb-01", boxes)
    keep_ledger(box)
    hub_down_at = sorted(dice.sample(range(30, EVENTS - 60), 2))
    while (written := len(outbox(box, "SELECT seq FROM ledger"))) < EVENTS:
        wanted = written + dice.randint(5, 30)
        eventually(
            lambda wanted=wanted: len(outbox(box, "SELECT seq FROM ledger")) >= wanted, "events to be written"
        )
        time.sleep(dice.uniform(0, 0.5))
        if hub_down_at and wanted >= hub_down_at[0]:
            hub_down_at.pop(0)
            town.kill_hub()
            time.sleep(dice.uniform(0, 3))
            box.kill()
            town.start_hub()
        else:
            box.kill()
        box.start()
    assert not hub_down_at
    eventually(
        lambda: not outbox(box, "SELECT 1 FROM events WHERE cls < 4 LIMIT 1"),
        "the outbox to run empty",
        within_s=90,
    )
    box.stop()
    ledger = {(str(journal), int(seq)) for journal, seq in outbox(box, "SELECT journal, seq FROM ledger")}
    held = {int(seq) for (seq,) in outbox(box, "SELECT seq FROM events")}
    found = arrived(town, "ecb-01")
    assert len(ledger) >= EVENTS
    assert not {entry for entry in ledger if entry not in found and entry[1] not in held}
    assert not [entry for entry, count in found.items() if count != 1]


@pytest.mark.parametrize(
    "own_town", [{"PRAHARI_OFFLINE_AFTER_S": "30"}], indirect=True, ids=["grace of 30 s"]
)
def test_a_hub_restart_turns_nothing_offline(own_town: Any, eventually: Callable[..., Any]) -> None:
    town = own_town
    town.box("ecb-01", {"box1": CallboxConfig()})
    town.kill_hub()
    with closing(sqlite3.connect(town.folder / "hub" / "hub.db")) as database, database:
        # as if the hub had been down for a year: it was blind, the box was not gone
        database.execute("UPDATE devices SET last_seen = '2025-11-21 22:00:00.000000'")
    time.sleep(4)
    town.start_hub()
    seen = set()

    def back() -> bool:
        seen.add(town.get("/devices/ecb-01")["presence"])
        return town.get("/devices/ecb-01")["presence"] == "online"

    eventually(back, "the box to be online again")
    assert "offline" not in seen
    assert not [i for i in town.incidents(state="all") if i["kind"] == "device.offline"]


def test_a_device_without_power_becomes_offline_and_an_incident_that_clears(
    town: Any, eventually: Callable[..., Any]
) -> None:
    box = town.box("ecb-02", {"box1": CallboxConfig()})
    box.kill()
    eventually(lambda: box.presence == "offline", "the box to be called offline")
    eventually(
        lambda: town.incidents(state="open", kind="device.offline", device="ecb-02"),
        "an incident to be opened",
    )
    box.start()
    eventually(lambda: box.presence == "online", "the box to be back")
    eventually(
        lambda: all(
            i["cleared_at"] for i in town.incidents(state="all", kind="device.offline", device="ecb-02")
        ),
        "the incident to be cleared",
    )


def test_an_override_with_a_dead_hub_ends_at_its_lease(town: Any, eventually: Callable[..., Any]) -> None:
    sign = DisplayConfig(
        playlist=[PlaylistItem(id="only", duration_s=60, content=TextContent(text="DRIVE SAFELY"))]
    )
    box = town.box("vms-01", {"sign1": sign})
    eventually(lambda: box.frame, "the sign to show its playlist")
    plain = box.frame.read_bytes()
    body = {
        "display": "vms-01:sign1",
        "class": 6,
        "content": {"type": "text", "text": "STOP"},
        "reason": "test",
        "minutes": 60,
        "lease_s": 6,
    }
    town.post("/overrides", body)
    eventually(lambda: box.frame.read_bytes() != plain, "the sign to show the override")
    time.sleep(8)  # the hub renews the lease while it lives
    assert box.frame.read_bytes() != plain
    town.kill_hub()
    eventually(lambda: box.frame.read_bytes() == plain, "the override to end with its lease", within_s=60)


def test_a_late_event_enters_history_and_raises_no_fresh_alarm(
    town: Any, eventually: Callable[..., Any]
) -> None:
    box = town.box("ecb-03", {"box1": CallboxConfig()})
    town.kill_hub()
    box.press()
    box.kill()
    box.start()  # another process sends the press, so it was not live
    time.sleep(35)
    town.start_hub()
    eventually(lambda: town.events("ecb-03", "callbox.press"), "the late press to enter history")
    assert town.events("ecb-03", "callbox.press")[0]["late"]
    time.sleep(2)
    assert not town.incidents(state="all", kind="callbox.press", device="ecb-03")
