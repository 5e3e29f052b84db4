"""Durable events: committed before they are acked, once each, and none spoils another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prahari_hub.fleet import journal
from prahari_hub.fleet.tables import devices, events, journals, refusal_counts, refusals
from prahari_hub.fleet.watermark import MOST_RANGES, Watermark
from prahari_wire.topics import Up, mapped_subject, partition

from tests.form import examples

COUNT = sa.select(sa.func.count()).select_from(events)


async def test_a_press_is_committed_and_then_acked(hub: Any, box: Any) -> None:
    batch = box.batch(box.press())
    (ack,) = await hub.say(box, Up.EVENT, batch)
    assert (ack.batch, str(ack.journal), ack.upto, ack.beyond) == (batch["id"], box.journal, 0, [])
    (fact,) = hub.facts
    assert (fact.device, fact.peripheral, fact.kind, fact.late) == (
        box.device,
        "box1",
        "callbox.press",
        False,
    )
    assert hub.scalar(COUNT) == 1


async def test_a_repeated_batch_is_acked_again_and_handled_once(hub: Any, box: Any) -> None:
    batch = box.batch(box.press(), box.press())
    first = await hub.say(box, Up.EVENT, batch)
    again = await hub.say(box, Up.EVENT, batch)
    assert [ack.upto for ack in first + again] == [1, 1]
    assert len(hub.facts) == 2
    assert hub.scalar(COUNT) == 2


async def test_the_same_event_twice_in_one_transaction_is_handled_once(hub: Any, box: Any) -> None:
    press = box.press()
    acks = await hub.say(box, Up.EVENT, box.batch(press), box.batch(press, box.press()))
    assert [ack.upto for ack in acks] == [1, 1]
    assert len(hub.facts) == 2


async def test_a_fact_knows_where_its_device_stands_and_what_the_peripheral_is(hub: Any, box: Any) -> None:
    await hub.say(box, Up.BIRTH, box.birth())
    await hub.say(box, Up.EVENT, box.batch(box.press()))
    assert hub.facts[0].peripheral_type == "callbox"


async def test_what_came_out_of_order_is_acked_beyond_the_floor(hub: Any, box: Any) -> None:
    held = [box.press() for _ in range(6)]
    (ack,) = await hub.say(box, Up.EVENT, box.batch(held[2], held[5]))
    assert (ack.upto, ack.beyond) == (-1, [(2, 2), (5, 5)])
    (ack,) = await hub.say(box, Up.EVENT, box.batch(held[0], held[1], held[3]))
    assert (ack.upto, ack.beyond) == (3, [(5, 5)])


async def test_what_the_outbox_shed_does_not_stop_the_floor(hub: Any, box: Any) -> None:
    box.seq = 9
    (ack,) = await hub.say(box, Up.EVENT, box.batch(box.press(), low=10))
    assert (ack.upto, ack.beyond) == (10, [])


async def test_a_low_above_the_batch_itself_loses_nothing(hub: Any, box: Any) -> None:
    held = [box.press() for _ in range(3)]
    (ack,) = await hub.say(box, Up.EVENT, box.batch(held[0], low=3))
    assert ack.upto == 0
    await hub.say(box, Up.EVENT, box.batch(held[1], held[2], low=1))
    assert len(hub.facts) == 3


async def test_a_device_cannot_make_the_hub_keep_gaps_without_end(hub: Any, box: Any) -> None:
    mark = Watermark()
    for seq in range(1, 2 * MOST_RANGES, 2):
        mark.add(seq)
    hub.store.write_sync(lambda unit: journal.save_watermarks(unit, {(box.device, box.journal): mark}))
    box.seq = 50_000
    (ack,) = await hub.say(box, Up.EVENT, box.batch(box.press()))
    assert all(first < 50_000 for first, _ in ack.beyond), "kept by the device until the gaps are filled"
    box.seq = -1
    (ack,) = await hub.say(box, Up.EVENT, box.batch(box.press()))
    assert ack.upto == 1


async def test_a_new_journal_counts_from_its_own_beginning(hub: Any, box: Any, new_box: Any) -> None:
    await hub.say(box, Up.EVENT, box.batch(box.press(), box.press()))
    fresh = new_box(box.device)
    fresh.boot, fresh.conn = box.boot, box.conn
    (ack,) = await hub.say(fresh, Up.EVENT, fresh.batch(fresh.press()))
    assert ack.upto == 0
    assert hub.scalar(COUNT) == 3


async def test_many_ranges_are_acked_with_those_of_the_batch_first(hub: Any, box: Any) -> None:
    held = [box.press() for _ in range(400)]
    for start in (0, 200):
        await hub.say(box, Up.EVENT, box.batch(*held[1 + start : start + 200 : 2]))
    (ack,) = await hub.say(box, Up.EVENT, box.batch(held[399], held[397]))
    assert len(ack.beyond) == 64
    assert {(397, 397), (399, 399)} <= set(ack.beyond)
    assert hub.scalar(COUNT) == 200


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        pytest.param("callbox.dance", {}, "unknown-kind", id="unknown kind"),
        pytest.param("callbox.press", {"press": "no", "count": 1}, "invalid", id="wrong value"),
        pytest.param("callbox.stuck", {"active": True, "held_s": "5"}, "invalid", id="wrong type"),
        pytest.param("agent.fault", {"part": "a\0b", "active": True}, "invalid", id="NUL"),
    ],
)
async def test_a_bad_event_is_refused_and_its_neighbours_are_kept(
    hub: Any, box: Any, kind: str, body: dict[str, Any], reason: str
) -> None:
    batch = box.batch(box.press(), box.event(kind, body), box.press())
    (ack,) = await hub.say(box, Up.EVENT, batch)
    assert ack.upto == 2
    assert [(refusal.seq, refusal.reason) for refusal in ack.refused] == [(1, reason)]
    assert hub.scalar(COUNT) == 2
    (row,) = hub.rows(sa.select(refusals))
    assert (row.device_id, row.seq, row.reason, row.journal) == (box.device, 1, reason, box.journal)
    assert json.loads(row.payload)["kind"] == kind
    await hub.flush()
    assert hub.rows(sa.select(refusal_counts)) == [(box.device, reason, 1)]


async def test_a_handler_that_fails_loses_only_its_own_event_and_leaves_nothing_half_done(
    hub: Any, box: Any
) -> None:
    poison = box.press()
    hub.fail.add(poison["id"])
    told: list[str] = []
    hub.store.on_changes = lambda changes: told.extend(change.topic for change in changes)
    (ack,) = await hub.say(box, Up.EVENT, box.batch(box.press(), poison, box.press()))
    assert ack.upto == 2
    assert [refusal.seq for refusal in ack.refused] == [poison["seq"]]
    assert hub.failures == 3, "tried with its batch, with care, and once alone"
    assert len({fact.ulid for fact in hub.facts}) == 2
    assert "incidents" not in told
    assert hub.scalar(sa.select(devices.c.name).where(devices.c.id == box.device)) is None
    assert "kept in quarantine" in hub.scalar(sa.select(refusals.c.detail))


async def test_what_the_hub_could_not_handle_is_kept_whole_however_much_of_the_device_was_refused(
    hub: Any, box: Any
) -> None:
    row = {
        "device_id": box.device,
        "at": hub.time.wall,
        "channel": "event",
        "reason": "invalid",
        "detail": "x",
    }
    hub.store.write_sync(lambda unit: unit.conn.execute(refusals.insert(), [row | {"payload": b"x"}] * 200))
    poison = box.press()
    hub.fail.add(poison["id"])
    (ack,) = await hub.say(box, Up.EVENT, box.batch(poison))
    assert [refusal.seq for refusal in ack.refused] == [poison["seq"]]
    kept = hub.rows(sa.select(refusals.c.payload).where(refusals.c.ulid == poison["id"]))
    assert [json.loads(row.payload)["id"] for row in kept] == [poison["id"]]


async def test_a_handler_that_fails_once_is_tried_again_alone(hub: Any, box: Any) -> None:
    poison = box.press()
    hub.fail.add(poison["id"])
    incident = hub.incident

    def once(unit: Any, fact: Any) -> None:
        try:
            incident(unit, fact)
        finally:
            hub.fail.clear()

    hub.ingest.lane._handlers = {**hub.ingest.lane._handlers, "callbox.press": (once,)}
    (ack,) = await hub.say(box, Up.EVENT, box.batch(poison))
    assert (ack.upto, ack.refused) == (0, [])
    assert len(hub.facts) == 1


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        pytest.param(b"{", "not-json", id="not JSON"),
        pytest.param(b'{"v":2}', "version", id="unknown version"),
        pytest.param(b'{"a":' * 20 + b"1" + b"}" * 20, "depth", id="too deep"),
        pytest.param(b'{"v":1,"v":1}', "duplicate-key", id="key twice"),
        pytest.param(b'{"v":NaN}', "invalid", id="NaN"),
        pytest.param(b"x" * 65537, "oversize", id="too large"),
        pytest.param(b"\xff\xfe", "not-json", id="not UTF-8"),
    ],
)
async def test_an_unreadable_batch_is_counted_and_answered(
    hub: Any, box: Any, payload: bytes, problem: str
) -> None:
    (ack,) = await hub.say(box, Up.EVENT, payload)
    assert ack.problem is not None and ack.problem.startswith(problem)
    assert ack.upto is None
    await hub.flush()
    assert hub.rows(sa.select(refusal_counts)) == [(box.device, problem, 1)]
    assert hub.scalar(sa.select(sa.func.count()).select_from(journals)) == 0


async def test_an_unreadable_batch_is_named_where_its_id_can_be_found(hub: Any, box: Any) -> None:
    batch = box.batch(box.press())
    batch["surprise"] = 1
    (ack,) = await hub.say(box, Up.EVENT, batch)
    assert ack.batch == batch["id"]
    assert ack.problem == "invalid: surprise: Extra inputs are not permitted"


async def test_a_batch_that_cannot_be_read_does_not_keep_others_from_being_committed(
    hub: Any, box: Any
) -> None:
    acks = await hub.say(box, Up.EVENT, b"{", box.batch(box.press()))
    assert [ack.problem is None for ack in acks] == [False, True]
    assert hub.scalar(COUNT) == 1


async def test_a_device_that_is_not_registered_is_refused_and_counted(hub: Any, new_box: Any) -> None:
    stranger = new_box("not-ours-01")
    assert await hub.say(stranger, Up.EVENT, stranger.batch(stranger.press())) == []
    assert hub.scalar(COUNT) == 0
    await hub.flush()
    assert hub.rows(sa.select(refusal_counts)) == [("", "unknown-device", 1)]


async def test_a_device_registered_later_is_heard_without_a_restart(
    hub: Any, new_box: Any, time: Any
) -> None:
    late = new_box("pune-new-01")
    assert await hub.say(late, Up.EVENT, late.batch(late.press())) == []
    hub.store.write_sync(
        lambda unit: unit.conn.execute(devices.insert().values(id=late.device, created_at=unit.now))
    )
    time.pass_s(6)
    assert len(await hub.say(late, Up.EVENT, late.batch(late.press()))) == 1


async def test_a_message_on_a_foreign_partition_is_refused(hub: Any, box: Any) -> None:
    own = partition(box.device)
    payload = json.dumps(box.batch(box.press())).encode()
    hub.ingest.receive([(f"prahari.in.{(own + 1) % 16}.{box.device}.event".encode(), payload)])
    assert len(hub.ingest.queue) == 0
    assert hub.ingest.refusals.counts["", "subject"] == 1


async def test_while_the_database_takes_no_writes_nothing_is_acked_and_nothing_is_lost(
    hub: Any, box: Any, refuses_writes: Any
) -> None:
    batch = box.batch(box.press())
    with refuses_writes():
        assert await hub.say(box, Up.EVENT, batch) == []
    (ack,) = await hub.say(box, Up.EVENT, batch)
    assert ack.upto == 0
    assert hub.scalar(COUNT) == 1


async def test_a_flood_is_held_back_and_loses_no_other_device_its_turn(
    hub: Any, box: Any, new_box: Any
) -> None:
    subject = mapped_subject(box.device, Up.EVENT)
    payload = json.dumps(box.batch(box.press())).encode()
    for _ in range(500):
        hub.ingest.receive([(subject.encode(), payload)])
    await asyncio.sleep(0)
    assert len(hub.ingest.queue) == 100
    assert [ack.retry_after_s for _, ack in hub.acks] == [1.0]
    other = new_box("pune-cam-01")
    message = json.dumps(other.batch(other.press())).encode()
    hub.ingest.receive([(mapped_subject(other.device, Up.EVENT).encode(), message)])
    assert len(hub.ingest.queue) == 101


async def test_too_many_heartbeats_are_dropped_and_counted(hub: Any, box: Any) -> None:
    before = hub.ingest.memory.shed
    await hub.say(box, Up.HEALTH, *(box.heartbeat() for _ in range(50)))
    assert hub.ingest.memory.shed - before == 40


async def test_a_last_will_of_another_partition_is_left_to_its_own_process(hub: Any, box: Any) -> None:
    await hub.ingest.give_up({partition(box.device)})
    await hub.say(box, Up.GONE, box.gone())
    assert hub.ingest.refusals.counts.total() == 0


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_nothing_that_a_device_can_say_breaks_ingest_or_is_half_written(
    hub: Any, box: Any, data: st.DataObject
) -> None:
    """Spoil a good message at any place, or send noise; the next press still goes all the way."""
    channel = data.draw(st.sampled_from([Up.EVENT, Up.BIRTH, Up.HEALTH, Up.GONE]))
    good = {
        Up.EVENT: box.batch(box.press(), box.press()),
        Up.BIRTH: box.birth(),
        Up.HEALTH: box.heartbeat({"name": "cpu", "state": "ok", "value": 1.0}),
        Up.GONE: box.gone(),
    }[channel]
    spoiled = data.draw(st.one_of(st.binary(max_size=200), spoilt(good)))
    payload = spoiled if isinstance(spoiled, bytes) else json.dumps(spoiled).encode()
    hub.time.pass_s(10)
    await hub.say(box, channel, payload)
    acks = await hub.say(box, Up.EVENT, box.batch(box.press()))
    assert any(ack.batch and not ack.problem for ack in acks)
    await hub.flush()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def spoilt(good: Any) -> st.SearchStrategy[Any]:
    """``good`` with one value somewhere replaced, or one key added."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [path]
        if isinstance(value, dict):
            for key, inner in value.items():
                found += places(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                found += places(inner, (*path, index))
        return found

    def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
        if not path:
            return new
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[path[0]] = put(copy[path[0]], path[1:], new)
        return copy

    return st.tuples(st.sampled_from(places(good)), JSON).map(lambda at: put(good, *at))
