"""The columns: rows are used again, the fleet's sweep is the machine's, and vitals survive a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import cell_of, cells_of, cells_of_all
from prahari_hub.fleet.intake import Known
from prahari_hub.fleet.map.dark import Night, nights
from prahari_hub.fleet.presence import Limits, Presence
from prahari_hub.fleet.tables import blind_spells, devices, transitions
from prahari_hub.ingest import flush
from prahari_hub.ingest.columns import CHECKS, CODE, NO_STATE
from prahari_hub.ingest.memory import Memory
from prahari_wire.topics import Up, mapped_subject, partition

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIGHTS = [("cam1", 14.0), ("cam2", 80.0)]
IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{2,31}", fullmatch=True)


def memory(*ids: str) -> Memory:
    made = Memory(Limits(45, 90), refuse=lambda *_: None)
    made.load(Known(device, "unknown", False, None, None, None) for device in ids)
    return made


@settings(deadline=None)
@given(st.lists(IDS, max_size=20, unique=True))
def test_cells_of_many_are_the_cells_of_each(ids: list[str]) -> None:
    assert cells_of_all(ids).tolist() == [cell_of(device) for device in ids]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([f"dev-{n}" for n in range(6)])), max_size=40))
def test_rows_are_used_again_and_never_shared(words: list[tuple[bool, str]]) -> None:
    held, known = memory(), set()
    for come, device in words:
        if come:
            held.load([Known(device, "online", True, "boot", 1, None)])
            known.add(device)
        else:
            held.drop(device)
            known.discard(device)
        rows = {device: held.columns.row(device) for device in known}
        assert len(set(rows.values())) == len(known) == len(held)
        assert all(held.columns.ids[row] == device for device, row in rows.items() if row is not None)
    assert len(held.columns.ids) <= 6


@settings(deadline=None)
@given(st.sets(IDS, max_size=40), st.sets(IDS, max_size=20))
def test_many_are_found_where_each_stands(known: set[str], strangers: set[str]) -> None:
    held = memory(*sorted(known))
    asked = sorted(known | strangers)
    assert held.columns.find(asked) == [held.columns.row(device) for device in asked]


def test_a_partition_that_is_given_up_is_forgotten_and_the_others_stay() -> None:
    every = [f"dev-{number:03d}" for number in range(200)]
    held = memory(*every)
    given = partition(every[0])
    gone = [device for device in every if partition(device) == given]
    stay = [device for device in every if partition(device) != given]
    rows = [held.columns.row(device) for device in stay]
    held.columns.dirty[:] = True
    held.changed.update(range(len(every)))
    held.give_up(given)
    assert [held.columns.row(device) for device in every if device in gone] == [None] * len(gone)
    assert [held.columns.row(device) for device in stay] == rows
    assert held.changed == set(rows)
    assert not held.columns.dirty[cells_of(given)].any()
    held.load([Known(device, "unknown", False, None, None, None) for device in gone])
    assert sorted(held.columns.find(every)) == list(range(len(every)))  # type: ignore[type-var]


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CODE.values())),
    st.sampled_from([float("nan"), float("-inf"), 0.0, 100.0]),
    st.none() | st.sampled_from([0.0, 50.0]),
    st.sampled_from([0.0, 44.0, 45.0, 90.0, 145.0, 500.0]),
)
def test_the_sweep_of_the_fleet_moves_what_the_machine_moves(
    state: int, heard_s: float, sighted_s: float | None, now_s: float
) -> None:
    alone, fleet = memory("dev-1"), memory("dev-1")
    for one in (alone, fleet):
        one.sighted_s[partition("dev-1")] = sighted_s
        one.columns.state[0], one.columns.heard_s[0] = state, heard_s
        one.columns.before[0] = NO_STATE
    list(fleet.sweep(now_s, NOW))
    alone._judge(0, now_s, NOW)
    assert fleet.link(0) == alone.link(0)
    assert [told.step for told in fleet.pending] == [told.step for told in alone.pending]


@given(st.sampled_from(sorted(CODE)))
def test_a_fleet_goes_blind_as_one_device_does(presence: str) -> None:
    held = memory("dev-1")
    held.columns.state[0] = CODE[presence]
    link = held.link(0)
    link.blinded()
    held.sees(False, 0.0)
    assert held.link(0) == link
    assert held.pending == []


async def test_a_restart_finds_everything_as_it_was(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    hub.time.pass_s(7)
    many = [{"name": f"check-{n}", "state": "ok", "value": n + 0.125} for n in range(30)]
    beat = box.heartbeat(*many, {"name": "fan", "state": "warn", "text": "slow"}, uptime_s=77)
    beat["clock"] = "floor"
    await hub.say(box, Up.HEALTH, beat)
    await hub.flush()
    before = hub.store.read_sync(lambda conn: vitals.of_devices(conn, [box.device]))[box.device]
    again = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
    await again.ingest.load()
    old, new = hub.ingest.memory, again.ingest.memory
    here, there = old.columns.row(box.device), new.columns.row(box.device)
    for name in ("seen_at", "beat_at", "uptime_s", "offset_ms", "rank", "conn"):
        assert getattr(old.columns, name)[here] == getattr(new.columns, name)[there], name
    assert old.columns.shapes[here].said == new.columns.shapes[there].said
    assert new.columns.clocks == {there: "floor"}
    new.columns.dirty[:] = True
    hub.time.pass_s(60)
    await again.flush()
    after = hub.store.read_sync(lambda conn: vitals.of_devices(conn, [box.device]))[box.device]
    assert after == before
    assert after.health["checks"] == [*many, {"name": "fan", "state": "warn", "text": "slow"}]


async def test_checks_beyond_the_columns_are_shown_all_the_same(hub: Any, box: Any, new_box: Any) -> None:
    other = new_box("pune-cam-01")
    for first in range(0, CHECKS, 32):
        hub.time.pass_s(30)
        checks = [{"name": f"check-{n}", "state": "ok", "value": 1.0} for n in range(first, first + 32)]
        await hub.say(other, Up.HEALTH, other.heartbeat(*checks))
    strange = [{"name": "strange", "state": "ok", "value": 2.5}]
    await hub.say(box, Up.HEALTH, box.heartbeat(*strange))
    await hub.flush()
    said = hub.store.read_sync(lambda conn: vitals.of_devices(conn, [box.device]))[box.device]
    assert said.health["checks"] == strange


async def test_the_hubs_blindness_is_a_spell_and_no_transition_of_any_device(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.tick(1)
    since = hub.time.wall
    await hub.ingest.on_sight(False)
    await hub.tick(20)
    await hub.ingest.on_sight(True)
    await hub.tick(5)
    assert hub.scalar(sa.select(devices.c.presence).where(devices.c.id == box.device)) == "unknown"
    await hub.say(box, Up.HEALTH, box.heartbeat())
    await hub.tick(1)
    spells = hub.rows(sa.select(blind_spells.c.partition, blind_spells.c.since, blind_spells.c.until))
    assert spells == [(partition(box.device), since, hub.time.wall)]
    assert hub.scalar(sa.select(devices.c.presence).where(devices.c.id == box.device)) == Presence.ONLINE
    assert hub.scalar(sa.select(sa.func.count()).select_from(transitions)) == 1


async def test_a_large_fleet_is_written_as_unknown_only_where_it_is_not_heard_again(
    hub: Any, box: Any, new_box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "SMALL_FLEET", 0)
    silent = new_box("pune-cam-01")
    said = sa.select(devices.c.presence, devices.c.presence_since).order_by(devices.c.id)
    for each in (box, silent):
        await hub.say(each, Up.BIRTH, each.birth())
    await hub.tick(1)
    before = hub.rows(said.where(devices.c.id == box.device))
    again = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
    await again.ingest.on_sight(True)
    await again.ingest.take(range(16))
    await again.tick(5)
    assert [presence for presence, _ in hub.rows(said)].count("online") == 2
    await again.say(box, Up.HEALTH, box.heartbeat())
    await again.tick(30)
    await again.say(box, Up.HEALTH, box.heartbeat())
    await again.tick(20)
    assert hub.rows(said.where(devices.c.id == box.device)) == before
    assert hub.scalar(sa.select(devices.c.presence).where(devices.c.id == silent.device)) == "unknown"


async def test_a_partition_goes_from_one_worker_to_another_with_all_that_is_known(hub: Any, box: Any) -> None:
    number = partition(box.device)
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.say(box, Up.HEALTH, box.heartbeat({"name": "cpu", "state": "fail", "value": 99.0}))
    other = type(hub)(hub.store, hub.time, hub.ingest.memory.limits)
    await other.ingest.on_sight(True)
    assert other.ingest.owned == set()
    await hub.ingest.give_up({number})
    assert hub.ingest.memory.columns.row(box.device) is None
    await other.ingest.take({number})
    assert (number in hub.ingest.owned, number in other.ingest.owned) == (False, True)
    row = other.ingest.memory.columns.row(box.device)
    column = other.ingest.memory.columns.checks["cpu"]
    assert other.ingest.memory.columns.values[row, column] == 99.0
    await other.say(box, Up.HEALTH, box.heartbeat())
    await other.tick(1)
    assert hub.scalar(sa.select(devices.c.presence).where(devices.c.id == box.device)) == "online"
    assert hub.scalar(sa.select(sa.func.count()).select_from(transitions)) == 1


async def test_a_cell_is_written_no_more_often_than_the_flush_says(hub: Any, box: Any) -> None:
    written = sa.select(vitals.vitals.c.at)
    for _ in range(4):
        await hub.say(box, Up.HEALTH, box.heartbeat())
        await hub.tick(1)
    first = hub.scalar(written)
    await hub.tick(5)
    assert (hub.scalar(written) - first).total_seconds() >= 4


def test_a_value_that_is_not_there_spoils_no_sum() -> None:
    held = memory("dev-1")
    bucket = held.bucket
    bucket.fit(4, 2)
    rows, columns = np.array([0]), np.array([0, 1])
    for values in ([1.0, np.nan], [3.0, 1e300], [np.nan, 5.0]):
        bucket.fold(rows, columns, np.array([values]))
    found = bucket.rollup(0, [0], ["dev-1"], ["a", "b"])
    assert found is not None
    assert (found.count.tolist(), found.least.tolist()) == ([[2, 1]], [[1.0, 5.0]])
    assert (found.mean.tolist(), found.most.tolist()) == ([[2.0, 5.0]], [[3.0, 5.0]])
    assert bucket.rollup(0, [0], ["dev-1"], ["a", "b"]) is None


async def test_a_full_lane_drops_heartbeats_and_no_event_and_nobodys_silence_counts(
    hub: Any, box: Any, new_box: Any
) -> None:
    other = new_box("pune-cam-01")
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.say(other, Up.BIRTH, other.birth())
    hub.ingest.beats._messages = 1
    health = mapped_subject(other.device, Up.HEALTH).encode()
    event = mapped_subject(box.device, Up.EVENT).encode()
    for _ in range(100):
        hub.time.pass_s(1)
        hub.ingest.receive([(health, b"{}"), (health, b"{}"), (event, json.dumps(box.batch()).encode())])
        await hub.ingest.flusher.sweep()
    assert hub.ingest.beats.dropped == 200
    assert len(hub.ingest.queue) == 100
    assert hub.ingest.memory.columns.state[hub.ingest.memory.columns.row(other.device)] == CODE["online"]


async def test_the_map_reads_the_light_of_a_cameras_night_from_its_heartbeat(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    hub.time.pass_s(7)
    lights = [{"name": f"peripheral:{name}", "state": "ok", "value": level} for name, level in LIGHTS]
    silent = {"name": "peripheral:box1", "state": "ok"}
    await hub.say(
        box, Up.HEALTH, box.heartbeat({"name": "cpu", "state": "ok", "value": 7.0}, silent, *lights)
    )
    await hub.flush()
    heard = hub.store.read_sync(lambda conn: list(nights(conn, hub.time.now() - timedelta(hours=1))))
    assert sorted(heard) == [Night(box.device, name, level) for name, level in LIGHTS]
    later = hub.time.now() + timedelta(hours=1)
    assert hub.store.read_sync(lambda conn: list(nights(conn, later))) == []
