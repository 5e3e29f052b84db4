"""What delivery sends, repeats and forgets; the link is an in-memory port, the outbox and the time are real and given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prahari_agent.delivery import FIRST_REPEAT_S, Delivery
from prahari_agent.journal import LIVE_MS
from prahari_agent.outbox import Outbox
from prahari_agent.pulse import Pulses
from prahari_wire.ack import Ack
from prahari_wire.base import MAX_EVENT_BATCH, Clock, parse
from prahari_wire.callbox import Press, SelfTest
from prahari_wire.envelope import EventBatch, Session, Stamp
from prahari_wire.events import PRESS, SELF_TEST, TWIN_REPORT
from prahari_wire.ids import ulid
from prahari_wire.twin import FieldError, TwinOutcome, TwinReport


class Wire:
    """The Sender port in memory."""

    def __init__(self) -> None:
        self.epoch: int | None = 1
        self.welcomed = True
        self.hurried = 0
        self.sent: list[EventBatch] = []
        self.doubts = 0

    def doubt(self) -> None:
        self.doubts += 1
        assert self.epoch is not None
        self.epoch += 1

    def hurry(self) -> None:
        self.hurried += 1

    def publish_events(self, payload: bytes) -> bool:
        if self.epoch is None:
            return False
        self.sent.append(parse(EventBatch, payload, limit=MAX_EVENT_BATCH, strict_scan=True))
        return True


class Rig:
    def __init__(self, folder: Path) -> None:
        self.now_s, self.boot, self.wire = 1000.0, uuid4(), Wire()
        self.outbox = Outbox(folder / "outbox.db", session=self.session, stamp=self.stamp)
        self.progress = 0
        self.delivery = Delivery(
            self.outbox,
            self.wire,
            Pulses(),
            now_s=lambda: self.now_s,
            on_progress=self._progressed,
            rng=random.Random(1),
        )

    def _progressed(self) -> None:
        self.progress += 1

    def session(self) -> Session:
        return Session(boot=self.boot, conn=1)

    def stamp(self) -> Stamp:
        return Stamp(at=datetime.now(UTC), mono_ms=int(self.now_s * 1000), clock=Clock.SYNCED)

    def press(self) -> int:
        return self.outbox.emit(PRESS, Press(press=ulid(), count=1))

    def test(self) -> int:
        return self.outbox.emit(SELF_TEST, SelfTest(passed=True, lamp=True, button=True))

    def big(self) -> int:
        errors = [FieldError(path="a", message="x" * 1000)] * 20
        return self.outbox.emit(
            TWIN_REPORT, TwinReport(version=1, outcome=TwinOutcome.REJECTED, errors=errors)
        )

    def step(self, *acks: Ack) -> list[EventBatch]:
        """Hand over acks, let delivery work once; the batches it sent."""
        before = len(self.wire.sent)
        for ack in acks:
            self.delivery.acked(ack)
        self.delivery.step()
        return self.wire.sent[before:]

    def ack(self, batch: EventBatch, /, **fields: Any) -> Ack:
        given = {
            "batch": batch.id,
            "journal": batch.journal,
            "beyond": [(e.seq, e.seq) for e in batch.events],
            **fields,
        }
        return Ack(id=ulid(), at=datetime.now(UTC), **given)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.outbox.close()


def seqs(batches: list[EventBatch]) -> list[list[int]]:
    return [[event.seq for event in batch.events] for batch in batches]


def test_an_event_is_sent_once_and_forgotten_when_acked(rig: Rig) -> None:
    seq = rig.press()
    [batch] = rig.step()
    assert ([e.seq for e in batch.events], batch.low, batch.events[0].late) == ([seq], seq, False)
    assert rig.step() == []
    assert rig.step(rig.ack(batch)) == []
    assert rig.outbox.held() == 0
    assert rig.progress == 1


def test_without_an_ack_it_is_repeated_with_growing_pauses(rig: Rig) -> None:
    rig.test()
    [first] = rig.step()
    sent_s = []
    for _ in range(400):
        rig.now_s += 0.5
        sent_s += [rig.now_s] * len(rig.step())
    gaps = [b - a for a, b in zip([1000.0, *sent_s], sent_s, strict=False)]
    assert FIRST_REPEAT_S * 0.7 <= gaps[0] <= FIRST_REPEAT_S * 1.5
    assert max(gaps) > 4 * gaps[0]
    assert {batch.id for batch in rig.wire.sent} == {first.id}


def test_a_repeat_says_what_is_true_then_for_the_first_word_may_have_gone_into_a_dead_connection(
    rig: Rig,
) -> None:
    rig.press()
    [first] = rig.step()
    rig.now_s += LIVE_MS / 1000 - 1
    [second] = rig.step()
    rig.now_s += LIVE_MS / 1000
    [third] = rig.step()
    assert [batch.events[0].late for batch in (first, second, third)] == [False, False, True]


def test_what_was_sent_before_a_reboot_is_late_after_it(rig: Rig) -> None:
    rig.press()
    rig.step()
    rig.boot, rig.wire.epoch = uuid4(), 2
    [batch] = rig.step()
    assert batch.events[0].late is True


def test_an_event_older_than_half_a_minute_is_late(rig: Rig) -> None:
    rig.wire.epoch = None
    rig.press()
    rig.step()
    rig.now_s += LIVE_MS / 1000 + 1
    rig.wire.epoch = 2
    [batch] = rig.step()
    assert batch.events[0].late is True


def test_batches_stay_within_the_limit_and_three_places_are_for_all_one_for_presses(rig: Rig) -> None:
    for _ in range(12):
        rig.big()
    sent = rig.step()
    assert len(sent) == 3
    assert all(len(batch.model_dump_json()) <= MAX_EVENT_BATCH for batch in sent)
    assert max(len(batch.events) for batch in sent) >= 2
    press = rig.press()
    assert seqs(rig.step()) == [[press]]
    rig.press()
    assert rig.step() == []


def test_before_the_hub_says_welcome_only_presses_go(rig: Rig) -> None:
    rig.wire.welcomed = False
    rig.test()
    press = rig.press()
    assert seqs(rig.step()) == [[press]]
    rig.wire.welcomed = True
    assert len(rig.step()) == 1


def test_a_pressed_hub_gets_its_pause_but_a_press_goes_through(rig: Rig) -> None:
    rig.test()
    [batch] = rig.step()
    rig.test()
    assert rig.step(rig.ack(batch, retry_after_s=20)) == []
    press = rig.press()
    assert seqs(rig.step()) == [[press]]
    rig.now_s += 21
    assert 2 in [seq for batch in seqs(rig.step()) for seq in batch]


def test_after_a_new_connection_everything_unacked_is_sent_again_in_order(rig: Rig) -> None:
    low = rig.test()
    rig.step()
    press = rig.press()
    rig.wire.epoch = 2
    assert seqs(rig.step()) == [[press, low]]


def test_a_batch_that_the_hub_cannot_read_is_sent_event_by_event_and_the_bad_one_put_aside(rig: Rig) -> None:
    wanted = [rig.press() for _ in range(3)]
    [batch] = rig.step()
    alone = rig.step(rig.ack(batch, beyond=[], problem="not readable"))
    assert seqs(alone) == [[seq] for seq in wanted]
    rig.step(rig.ack(alone[0]), rig.ack(alone[1], beyond=[], problem="still not readable"), rig.ack(alone[2]))
    assert rig.outbox.held() == 0
    assert rig.outbox.refused == 1


def test_the_low_mark_tells_what_was_shed(rig: Rig) -> None:
    first, second = rig.press(), rig.press()
    [batch] = rig.step()
    assert rig.step(rig.ack(batch, beyond=[(first, first)])) == []
    rig.now_s += 10
    [rest] = rig.step()
    assert (rest.low, seqs([rest])) == (second, [[second]])


def test_what_an_ack_leaves_out_is_not_sent_again_at_once(rig: Rig) -> None:
    rig.press()
    [batch] = rig.step()
    assert rig.step(rig.ack(batch, beyond=[])) == []
    rig.now_s += FIRST_REPEAT_S
    assert len(rig.step()) == 1


def test_an_ack_of_another_journal_changes_nothing(rig: Rig) -> None:
    rig.press()
    [batch] = rig.step()
    rig.step(rig.ack(batch, batch=ulid(), journal=UUID(int=7), upto=99))
    assert rig.outbox.held() == 1


def test_the_thread_sends_as_soon_as_something_is_emitted(rig: Rig, eventually: Callable[..., Any]) -> None:
    rig.delivery.start()
    try:
        rig.press()
        eventually(lambda: rig.wire.sent, within_s=5)
    finally:
        rig.delivery.stop()
    assert json.loads(rig.wire.sent[0].model_dump_json())["events"][0]["kind"] == PRESS


def test_a_press_hurries_a_lost_connection_and_nothing_else_does(rig: Rig) -> None:
    rig.wire.epoch = None
    rig.outbox.emit(SELF_TEST, SelfTest(passed=True, lamp=True, button=True))
    rig.delivery.step()
    assert (rig.wire.hurried, rig.outbox.urgent()) == (0, False)
    rig.outbox.emit(PRESS, Press(press=ulid(), count=1))
    rig.delivery.step()
    assert (rig.wire.hurried, rig.outbox.urgent()) == (1, True)


def test_a_press_that_nobody_answers_leaves_its_connection_and_waits_longer_each_time(rig: Rig) -> None:
    rig.press()
    for seconds, doubts in ((9.0, 0), (1.1, 1), (19.0, 1), (1.1, 2), (39.0, 2), (1.1, 3)):
        rig.step()
        rig.now_s += seconds
        rig.step()
        assert rig.wire.doubts == doubts


def test_a_connection_that_answers_anything_is_kept(rig: Rig) -> None:
    rig.press()
    for _ in range(10):
        rig.step(Ack(id=ulid(), at=datetime.now(UTC), birth=ulid()))
        rig.now_s += 6
    assert rig.wire.doubts == 0


def test_events_without_a_press_wait_in_patience(rig: Rig) -> None:
    rig.test()
    for _ in range(20):
        rig.step()
        rig.now_s += 10
    assert rig.wire.doubts == 0
