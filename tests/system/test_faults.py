"""What breaks on a bad evening: power, hub, link. Nothing acknowledged is lost or doubled, no false alarm is raised."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent

pytestmark = pytest.mark.system
EVENTS = 200


@pytest.fixture
def town(own_town: Any) -> Any:
    """These tests kill the hub, so each has a town of its own."""
    return own_town


def allotted(box: Any) -> dict[str, int]:
    """Highest seq by journal that the box's outbox ever gave to an event."""
    with sqlite3.connect(f"file:{box.home / 'outbox.db'}?mode=ro", uri=True) as database:
        journal = database.execute("SELECT id FROM journal").fetchone()[0]
        highest = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    database.close()
    return {journal: highest[0] if highest else 0}


@pytest.mark.timeout(300)
def test_200_events_arrive_once_each_through_kills_of_agent_and_hub(
    town: Any, eventually: Callable[..., Any]
) -> None:
    dice = random.Random(20261121)
    box = town.box("ecb-01", {"box1": CallboxConfig(debounce_ms=0)})
    kills = {dice.randrange(20, EVENTS - 20) for _ in range(5)}
    hub_kills = dict(zip(sorted(dice.sample(range(30, EVENTS - 40), 2)), ("kill", "kill"), strict=True))
    pressed = 0
    for number in range(EVENTS):
        if number in hub_kills:
            town.kill_hub()
        if number in kills:
            box.kill()
            time.sleep(dice.uniform(0, 0.5))
            box.start()
        pressed += press_when_up(box, eventually)
        if number - 10 in hub_kills:
            town.start_hub()
    eventually(lambda: town.twin_applied("ecb-01"), "the box to be back")

    expected = allotted(box)
    eventually(lambda: held(box) == 0, "the outbox to run empty", within_s=90)
    for journal, highest in expected.items():
        seqs = Counter(seq for (seq,) in seqs_of(town, "ecb-01", journal))
        missing = set(range(1, highest + 1)) - set(seqs)
        assert not missing
        assert max(seqs.values()) == 1
    presses = [row["body"] for row in town.events("ecb-01", "callbox.press")]
    assert len(presses) >= pressed


def press_when_up(box: Any, eventually: Callable[..., Any]) -> int:
    """Press once; the box may be starting, then try again."""

    def attempt() -> bool:
        try:
            box.press()
        except AssertionError:
            return False
        return True

    eventually(attempt, "the box to take a press")
    return 1


def held(box: Any) -> int:
    with sqlite3.connect(f"file:{box.home / 'outbox.db'}?mode=ro", uri=True) as database:
        count = int(database.execute("SELECT count(*) FROM events").fetchone()[0])
    database.close()
    return count


def seqs_of(town: Any, device: str, journal: str) -> list[tuple[int]]:
    with sqlite3.connect(f"file:{town.folder / 'hub' / 'hub.db'}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT seq FROM events WHERE device_id = ? AND journal = ?", (device, journal)
        ).fetchall()
    database.close()
    return rows


def test_a_hub_restart_turns_nothing_offline(town: Any, eventually: Callable[..., Any]) -> None:
    town.box("ecb-01", {"box1": CallboxConfig()})
    town.kill_hub()
    time.sleep(8)  # longer than the grace: the hub was blind, the box was not gone
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
    box = town.box("ecb-01", {"box1": CallboxConfig()})
    box.kill()
    eventually(lambda: box.presence == "offline", "the box to be called offline")
    eventually(lambda: town.incidents(state="open", kind="device.offline"), "an incident to be opened")
    box.start()
    eventually(lambda: box.presence == "online", "the box to be back")
    eventually(
        lambda: all(i["cleared_at"] for i in town.incidents(state="all", kind="device.offline")),
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
    eventually(lambda: box.frame.read_bytes() == plain, "the override to end with its lease", within_s=20)


def test_a_late_event_enters_history_and_raises_no_fresh_alarm(
    town: Any, eventually: Callable[..., Any]
) -> None:
    box = town.box("ecb-01", {"box1": CallboxConfig()})
    town.kill_hub()
    box.press()
    box.kill()
    box.start()  # another process sends the press, so it was not live
    time.sleep(35)
    town.start_hub()
    eventually(lambda: town.events("ecb-01", "callbox.press"), "the late press to enter history")
    assert town.events("ecb-01", "callbox.press")[0]["late"]
    time.sleep(2)
    assert not town.incidents(state="all", kind="callbox.press")
