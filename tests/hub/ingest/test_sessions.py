"""Births, heartbeats, last words: what ingest makes of them and what it writes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from prahari_hub.fleet import history, vitals
from prahari_hub.fleet.tables import (
    devices,
    health_buckets,
    peripherals,
    refusal_counts,
    refusals,
    transitions,
)
from prahari_hub.store import Unit
from prahari_wire.topics import Up


def presence(hub: Any, device: str = "pune-ecb-01") -> str:
    return str(hub.scalar(sa.select(devices.c.presence).where(devices.c.id == device)))


def moves(hub: Any) -> list[tuple[str, str]]:
    query = sa.select(transitions.c.before, transitions.c.after).order_by(transitions.c.id)
    return [(row.before, row.after) for row in hub.rows(query)]


async def test_a_birth_is_acked_after_its_commit_with_the_hubs_time(hub: Any, box: Any) -> None:
    birth = box.birth()
    (ack,) = await hub.say(box, Up.BIRTH, birth)
    assert ack.birth == birth["id"]
    assert ack.at == hub.time.wall
    assert presence(hub) == "online"
    rows = hub.rows(sa.select(peripherals.c.id, peripherals.c.type).order_by(peripherals.c.id))
    assert rows == [("box1", "callbox"), ("sign1", "display")]
    assert hub.scalar(sa.select(devices.c.service).where(devices.c.id == box.device)) == "active"


async def test_a_repeated_birth_is_acked_again_and_changes_nothing(hub: Any, box: Any) -> None:
    birth = box.birth()
    await hub.say(box, Up.BIRTH, birth)
    await hub.say(box, Up.HEALTH, box.heartbeat(peripherals=[{"id": "box1", "state": "ok"}]))
    await hub.flush()
    (ack,) = await hub.say(box, Up.BIRTH, birth)
    assert ack.birth == birth["id"]
    assert moves(hub) == [("unknown", "online")]
    assert hub.scalar(sa.select(peripherals.c.state).where(peripherals.c.id == "box1")) == "ok"


async def test_the_answer_to_a_birth_says_what_the_hub_has_of_the_journal(hub: Any, box: Any) -> None:
    (ack,) = await hub.say(box, Up.BIRTH, box.birth())
    assert (ack.journal, ack.upto) == (None, None)
    await hub.say(box, Up.EVENT, box.batch(*[box.press() for _ in range(7)]))
    box.conn += 1
    (ack,) = await hub.say(box, Up.BIRTH, box.birth())
    assert (str(ack.journal), ack.upto) == (str(box.journal), 6)


async def test_peripherals_follow_the_newest_birth(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    box.conn += 1
    await hub.say(box, Up.BIRTH, box.birth(peripherals=[{"id": "box1", "type": "callbox"}]))
    assert hub.rows(sa.select(peripherals.c.id)) == [("box1",)]


async def test_a_late_birth_of_an_earlier_connection_is_ignored(hub: Any, box: Any) -> None:
    early = box.birth()
    box.conn += 1
    await hub.say(box, Up.BIRTH, box.birth())
    assert await hub.say(box, Up.BIRTH, early) == []
    assert hub.scalar(sa.select(devices.c.conn).where(devices.c.id == box.device)) == 2


async def test_a_death_of_an_earlier_session_says_nothing(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    will = box.gone()
    box.conn += 1
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.say(box, Up.GONE, will)
    await hub.tick(0)
    assert presence(hub) == "online"


async def test_a_death_makes_suspect_and_silence_makes_offline(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.say(box, Up.GONE, box.gone())
    await hub.tick(1)
    assert presence(hub) == "suspect"
    await hub.tick(90)
    assert presence(hub) == "offline"
    box.conn += 1
    await hub.say(box, Up.BIRTH, box.birth())
    assert presence(hub) == "online"
    assert moves(hub) == [
        ("unknown", "online"), ("online", "suspect"), ("suspect", "offline"), ("offline", "online"),
    ]  # fmt: skip


async def test_a_lost_broker_makes_unknown_and_nothing_goes_offline_within_a_grace(
    hub: Any, box: Any
) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.ingest.on_sight(False)
    await hub.tick(600)
    assert presence(hub) == "unknown"
    await hub.ingest.on_sight(True)
    await hub.tick(89)
    assert presence(hub) == "unknown"
    await hub.say(box, Up.HEALTH, box.heartbeat())
    await hub.tick(1)
    assert presence(hub) == "online"


async def test_a_device_that_stays_silent_after_the_hub_was_blind_goes_offline_after_a_full_grace(
    hub: Any, box: Any
) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.ingest.on_sight(False)
    await hub.tick(600)
    await hub.ingest.on_sight(True)
    await hub.tick(91)
    assert presence(hub) == "offline"


async def test_a_restarted_hub_turns_nothing_offline(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    again = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
    hub.time.pass_s(500)
    await again.ingest.load()
    await again.ingest.on_sight(True)
    assert presence(again) == "unknown"
    await again.tick(60)
    assert presence(again) == "unknown"
    await again.say(box, Up.HEALTH, box.heartbeat())
    await again.tick(1)
    assert presence(again) == "online"
    assert "offline" not in {after for _, after in moves(again)}


async def test_what_was_offline_before_a_restart_is_offline_after_a_grace_and_no_news(
    hub: Any, box: Any
) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.tick(100)
    assert presence(hub) == "offline"
    again = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
    await again.ingest.load()
    await again.ingest.on_sight(True)
    await again.tick(91)
    assert presence(again) == "offline"
    assert moves(again) == [("unknown", "online"), ("online", "suspect"), ("suspect", "offline")]


async def test_what_was_offline_is_no_news_either_after_a_second_restart_before_it_was_judged(
    hub: Any, box: Any
) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.tick(100)
    before = moves(hub)
    for _ in range(2):
        again = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
        await again.ingest.load()
        await again.ingest.on_sight(True)
        await again.tick(30)
        assert presence(again) == "unknown"
    await again.tick(61)
    assert presence(again) == "offline"
    assert moves(again) == before


async def test_a_device_that_never_spoke_is_not_offline(hub: Any) -> None:
    await hub.tick(1000)
    assert presence(hub, "pune-cam-01") == "unknown"
    assert moves(hub) == []


async def test_two_boots_in_turn_raise_one_clone_alarm(hub: Any, box: Any, new_box: Any) -> None:
    clone = new_box(box.device)
    for _ in range(3):
        for one in (box, clone):
            one.conn += 1
            await hub.say(one, Up.BIRTH, one.birth())
    await hub.tick(0)
    query = sa.select(transitions.c.after).where(transitions.c.kind == "clone")
    assert hub.rows(query) == [("clone",)]


async def test_a_heartbeat_is_folded_and_written_by_the_flush(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    checks = [
        {"name": "cpu", "state": "ok", "value": 20.0},
        {"name": "disk", "state": "warn", "value": 91.0, "text": "free some space"},
    ]
    fault = {"id": "box1", "state": "fail", "faults": ["lamp"], "note": "no current"}
    hub.time.pass_s(10)
    await hub.say(box, Up.HEALTH, box.heartbeat(*checks, peripherals=[fault]))
    await hub.flush()
    row = hub.rows(sa.select(devices).where(devices.c.id == box.device))[0]
    assert row.health_state == "fail"
    said = hub.store.read_sync(lambda conn: vitals.of_devices(conn, [box.device]))[box.device]
    assert (said.last_seen, said.clock, said.clock_offset_ms) == (hub.time.wall, "synced", 0)
    assert said.health is not None
    assert said.health["checks"] == checks
    served = hub.rows(sa.select(peripherals).where(peripherals.c.id == "box1"))[0]
    assert (served.state, served.faults, served.note) == ("fail", ["lamp"], "no current")


async def test_heartbeats_become_history_with_gaps(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    start = hub.time.wall
    for value in (10.0, 30.0):
        await hub.say(box, Up.HEALTH, box.heartbeat({"name": "cpu", "state": "ok", "value": value}))
        await hub.tick(20)
    await hub.tick(11 * 60)
    await hub.say(box, Up.HEALTH, box.heartbeat({"name": "cpu", "state": "ok", "value": 50.0}))
    await hub.flush()
    assert hub.scalar(sa.select(sa.func.count()).select_from(health_buckets)) == 2
    found = hub.store.read_sync(
        lambda conn: history.series(conn, box.device, since=start, until=hub.time.wall)
    )
    assert found.checks["cpu"] == {
        "min": [10.0, None, 50.0], "mean": [20.0, None, 50.0], "max": [30.0, None, 50.0],
    }  # fmt: skip


async def test_an_unreadable_heartbeat_is_counted_and_kept_for_repair(hub: Any, box: Any) -> None:
    await hub.say(box, Up.HEALTH, b'{"v":1}')
    await hub.say(box, Up.BIRTH, b"[]")
    await hub.flush()
    assert hub.rows(sa.select(refusal_counts)) == [(box.device, "invalid", 2)]
    assert [row.channel for row in hub.rows(sa.select(refusals))] == ["health", "birth"]
    assert presence(hub) == "unknown"


async def test_a_heartbeat_before_its_birth_counts_as_life(hub: Any, box: Any) -> None:
    await hub.say(box, Up.HEALTH, box.heartbeat())
    await hub.tick(0)
    assert presence(hub) == "online"


async def test_a_slower_device_is_given_more_time(hub: Any, box: Any) -> None:
    hub.store.write_sync(
        lambda unit: unit.conn.execute(
            devices.update().values(heartbeat_s=300).where(devices.c.id == box.device)
        )
    )
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.tick(400)
    assert presence(hub) == "online"
    await hub.tick(100)
    assert presence(hub) == "suspect"


async def test_a_retired_device_is_heard_no_more(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    hub.store.on_changes = hub.ingest.on_changes

    def retire(unit: Unit) -> None:
        unit.conn.execute(devices.update().values(service="retired"))
        unit.tell("devices", id=box.device, service="retired")

    await hub.store.write(retire)
    assert await hub.say(box, Up.EVENT, box.batch(box.press())) == []


async def test_transitions_that_could_not_be_written_are_written_later_and_once(
    hub: Any, box: Any, refuses_writes: Any
) -> None:
    with refuses_writes():
        assert await hub.say(box, Up.BIRTH, box.birth()) == []
    await hub.tick(1)
    await hub.tick(1)
    assert moves(hub) == [("unknown", "online")]
