"""What the swarm says is what the contract's models accept, byte for byte."""

from __future__ import annotations

import time
import timeit

import pytest
from prahari_wire.base import parse
from prahari_wire.envelope import EventBatch
from prahari_wire.events import PRESS, SELF_TEST, parse_body
from prahari_wire.health import HealthMessage
from prahari_wire.ids import ulid
from prahari_wire.presence import BirthMessage, GoneMessage

from bench.swarm import packets, payloads
from bench.swarm.ledger import Ledger
from bench.swarm.outbox import Outbox

BOOT = payloads.boot_of(77, 3)


@pytest.mark.parametrize("full", [False, True], ids=["four-checks", "eleven-checks"])
def test_a_heartbeat_is_one_of_the_contract_and_fills_its_packet(full: bool) -> None:
    beats = payloads.Heartbeats(full=full, callbox=True)
    stream = bytearray()
    for number in range(3):
        tail = beats.tail(12.5 * number, time.time())
        stream += beats.head("swarm-000077", BOOT, 1)
        stream += tail % (payloads.take(), *beats.values())
    bodies = [packets.message(body) for kind, body in packets.packets(stream) if kind == packets.PUBLISH]
    assert not stream
    said = [parse(HealthMessage, payload, strict_scan=True) for _, payload in bodies]
    assert {topic for topic, _ in bodies} == {"prahari/v1/swarm-000077/up/health"}
    assert len(said[0].body.checks) == (11 if full else 4)
    assert len({message.id for message in said}) == 3
    assert len({message.body.checks[0].value for message in said}) == 3


def test_a_heartbeat_costs_no_more_than_a_few_microseconds() -> None:
    beats = payloads.Heartbeats()
    tail = beats.tail(0, time.time())
    once_s = (
        min(timeit.repeat(lambda: tail % (payloads.take(), *beats.values()), number=2000, repeat=5)) / 2000
    )
    assert once_s < 50e-6


def test_birth_and_last_word_are_those_of_the_contract() -> None:
    body = payloads.birth_body(payloads.boot_of(1, 1), 4, None, callbox=True)
    birth = parse(BirthMessage, payloads.envelope(BOOT, 2, 1.0, body), strict_scan=True)
    assert [item.id for item in birth.body.peripherals] == ["cam1", "box1"]
    gone = parse(GoneMessage, payloads.envelope(BOOT, 2, 1.0, '{"reason":"lost"}'))
    assert gone.conn == 2


def test_identifiers_are_ulids_and_never_the_same_twice() -> None:
    made = [payloads.quick_ulid() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert made == sorted(made)
    assert made[0][:8] == ulid()[:8]


def outbox() -> Outbox:
    found = Outbox("swarm-000001", payloads.boot_of(1, 9), Ledger())
    found.emit(
        BOOT,
        1,
        1.0,
        100.0,
        kind=SELF_TEST,
        peripheral="box1",
        body={"passed": True, "lamp": True, "button": True},
    )
    found.emit(BOOT, 1, 1.0, 100.0, kind=PRESS, peripheral="box1", body={"press": ulid(), "count": 1})
    return found


def test_before_the_welcome_presses_alone_are_sent() -> None:
    held = outbox()
    assert held.due_s(welcomed=False) == 0.0
    first = held.take(100.0, welcomed=False)
    assert first is not None
    batch = parse(EventBatch, first, strict_scan=True)
    assert [(event.seq, event.kind, event.late) for event in batch.events] == [(2, PRESS, False)]
    assert batch.low == 1
    parse_body(PRESS, batch.events[0].body)
    assert held.take(100.0, welcomed=False) is None
    assert held.due_s(welcomed=False) > 102.0


def test_an_event_is_repeated_until_acked_and_is_late_after_half_a_minute() -> None:
    held = outbox()
    held.take(100.0, welcomed=True)
    assert held.take(101.0, welcomed=True) is None
    again = held.take(140.0, welcomed=True)
    assert again is not None
    assert all(event.late for event in parse(EventBatch, again).events)
    held.acked({"journal": held.journal, "upto": 1, "beyond": [], "at": "2026-01-01T00:00:00Z"}, 141.0)
    assert list(held.held) == [2]
    held.acked({"journal": held.journal, "upto": -1, "beyond": [[2, 2]], "at": "2026-01-01T00:00:00Z"}, 141.0)
    assert not held.held
    assert held.ledger.counts["event_repeats"] == 2
    assert held.ledger.open == 0


def test_the_outbox_honours_retry_after_but_for_presses() -> None:
    held = outbox()
    held.acked({"retry_after_s": 30.0}, 100.0)
    batch = held.take(101.0, welcomed=True)
    assert batch is not None
    assert [event.seq for event in parse(EventBatch, batch).events] == [2]
    assert held.due_s(welcomed=True) > 103.0
