"""The outbox on real files, real signals and a real full disk."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prahari_agent.journal import LEAP, LIVE_MS, CommandRow
from prahari_agent.outbox import MAX_EVENT, Outbox
from prahari_wire.ack import Ack, Refusal
from prahari_wire.base import Clock, Message, Reason
from prahari_wire.callbox import Press, SelfTest
from prahari_wire.command import CommandReport
from prahari_wire.display import Shown, ShownSource
from prahari_wire.envelope import Event, Session, Stamp
from prahari_wire.events import PRESS, SELF_TEST, SHOWN, TWIN_REPORT
from prahari_wire.ids import ulid
from prahari_wire.twin import FieldError, TwinOutcome, TwinReport


class World:
    """Session and time as the test says."""

    def __init__(self) -> None:
        self.boot, self.mono_ms = uuid4(), 100_000

    def session(self) -> Session:
        return Session(boot=self.boot, conn=1)

    def stamp(self) -> Stamp:
        return Stamp(at=datetime(2026, 11, 21, tzinfo=UTC), mono_ms=self.mono_ms, clock=Clock.SYNCED)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def open_outbox(tmp_path: Path, world: World) -> Iterator[Callable[..., Outbox]]:
    opened: list[Outbox] = []

    def make(**options: Any) -> Outbox:
        folder = options.pop("folder", tmp_path)
        opened.append(Outbox(folder / "outbox.db", session=world.session, stamp=world.stamp, **options))
        return opened[-1]

    yield make
    for outbox in opened:
        outbox.close()


def press(count: int = 1) -> Press:
    return Press(press=ulid(), count=count)


def selftest() -> SelfTest:
    return SelfTest(passed=True, lamp=True, button=True)


def shown() -> Shown:
    return Shown(**{"source": ShownSource.SAFE, "class": 0, "epoch": 0, "frame_sha256": "0" * 64})


def report(text: str = "x") -> TwinReport:
    return TwinReport(version=1, outcome=TwinOutcome.REJECTED, errors=[FieldError(path="a", message=text)])


def ack(journal: UUID, **fields: Any) -> Ack:
    return Ack(id=ulid(), at=datetime.now(UTC), journal=journal, **fields)


def seqs(outbox: Outbox, journal: UUID | None = None, **options: Any) -> list[int]:
    _, entries = outbox.pick(journal or outbox.journal, skip=options.pop("skip", ()), limit=500, **options)
    return [entry.seq for entry in entries]


def test_events_leave_by_class_then_live_before_backlog_then_in_order(
    open_outbox: Callable[..., Outbox], world: World
) -> None:
    outbox = open_outbox()
    old_shown, old_report = outbox.emit(SHOWN, shown()), outbox.emit(TWIN_REPORT, report())
    world.mono_ms += LIVE_MS + 1
    new_shown, new_press, new_report = (
        outbox.emit(SHOWN, shown()),
        outbox.emit(PRESS, press()),
        outbox.emit(TWIN_REPORT, report()),
    )
    assert seqs(outbox) == [new_press, new_report, old_report, new_shown, old_shown]
    assert seqs(outbox, skip={new_press}, classes=range(3)) == [new_report, old_report]


def test_an_event_is_late_after_half_a_minute_or_after_a_reboot(
    open_outbox: Callable[..., Outbox], world: World
) -> None:
    outbox = open_outbox()
    outbox.emit(PRESS, press())
    assert [e.live for e in outbox.pick(outbox.journal, skip=(), limit=9)[1]] == [True]
    world.boot = uuid4()
    assert [e.live for e in outbox.pick(outbox.journal, skip=(), limit=9)[1]] == [False]


def test_what_leaves_is_an_event_of_the_contract(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    seq = outbox.emit(PRESS, press(), peripheral="box1")
    _, [entry] = outbox.pick(outbox.journal, skip=(), limit=9)
    event = Event.model_validate_json(entry.encoded(late=True))
    assert (event.seq, event.late, event.kind, event.peripheral) == (seq, True, PRESS, "box1")
    assert len(entry.encoded(late=False)) <= entry.size


def test_an_ack_removes_what_it_names_and_nothing_else(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    for _ in range(6):
        outbox.emit(PRESS, press())
    assert outbox.acked(ack(uuid4(), upto=6)) == 0
    assert outbox.acked(ack(outbox.journal, upto=2, beyond=[(4, 4), (6, 6)])) == 4
    assert seqs(outbox) == [3, 5]
    assert (outbox.low(), outbox.held()) == (3, 2)


def test_an_ack_before_the_first_event_removes_nothing(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    outbox.emit(PRESS, press())
    assert outbox.acked(ack(outbox.journal, upto=-1)) == 0


def test_a_refused_event_is_quarantined_with_its_reason(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    outbox = open_outbox()
    seq = outbox.emit(PRESS, press())
    outbox.acked(
        ack(outbox.journal, upto=seq, refused=[Refusal(seq=seq, reason=Reason.INVALID, detail="no")])
    )
    assert (seqs(outbox), outbox.refused) == ([], 1)
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        assert database.execute("SELECT seq, reason, detail FROM refused").fetchall() == [
            (seq, "invalid", "no")
        ]
    database.close()


def test_a_sequence_number_is_never_given_twice(open_outbox: Callable[..., Outbox]) -> None:
    first = open_outbox()
    journal = first.journal
    last = [first.emit(PRESS, press()) for _ in range(3)][-1]
    first.acked(ack(journal, upto=last))
    assert first.low() == last + 1
    first.close()
    second = open_outbox()
    assert second.journal == journal
    assert second.low() == last + LEAP + 1
    assert second.emit(PRESS, press()) == last + LEAP + 1


def test_events_that_a_lying_card_lost_give_their_numbers_to_no_others(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    outbox = open_outbox()
    kept = outbox.emit(PRESS, press())
    outbox._durable.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    on_card = (tmp_path / "outbox.db").read_bytes()
    lost = {outbox.emit(PRESS, press()) for _ in range(40)}
    (tmp_path / "after").mkdir()
    (tmp_path / "after" / "outbox.db").write_bytes(on_card)
    again = open_outbox(folder=tmp_path / "after")
    assert again.journal == outbox.journal
    assert not lost & {again.emit(PRESS, press()) for _ in range(40)}
    assert again.low() == kept


def test_an_older_image_of_the_card_begins_a_new_journal_at_the_welcome(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    """The numbers that it would give are taken: the hub would call the new events seen, and they would be lost."""
    outbox = open_outbox()
    outbox.emit(PRESS, press())
    outbox.close()
    image = (tmp_path / "outbox.db").read_bytes()
    later = open_outbox()
    at_hub = [later.emit(PRESS, press()) for _ in range(30)][-1]
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / "outbox.db").write_bytes(image)
    restored = open_outbox(folder=tmp_path / "restored")
    before, fresh = restored.journal, {restored.emit(PRESS, press()) for _ in range(50)}
    assert at_hub in fresh, "the same numbers, given again"
    assert restored.acked(ack(before, birth=ulid(), upto=at_hub)) == 0
    assert restored.journal != before
    assert fresh <= set(seqs(restored))
    assert restored.acked(ack(before, upto=at_hub)) == 0, "the old journal's ack means nothing any more"
    restored.close()
    assert open_outbox(folder=tmp_path / "restored").journal == restored_id(tmp_path / "restored")


def restored_id(folder: Path) -> UUID:
    with sqlite3.connect(folder / "outbox.db") as database:
        [(found,)] = database.execute("SELECT id FROM journal").fetchall()
    database.close()
    return UUID(found)


def test_an_ack_beyond_every_number_that_was_given_begins_a_new_journal(
    open_outbox: Callable[..., Outbox],
) -> None:
    outbox = open_outbox()
    before, last = outbox.journal, [outbox.emit(PRESS, press()) for _ in range(3)][-1]
    assert outbox.acked(ack(before, upto=1, beyond=[(last + 7, last + 9)])) == 0
    assert outbox.journal != before
    assert len(seqs(outbox)) == 3


def test_a_welcome_that_names_what_was_sent_changes_nothing(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    before, last = outbox.journal, outbox.emit(PRESS, press())
    outbox.acked(ack(before, birth=ulid(), upto=last - 1))
    assert seqs(outbox) == [last]
    assert outbox.acked(ack(before, birth=ulid(), upto=last)) == 1
    assert outbox.journal == before


def test_a_full_outbox_sheds_the_lowest_class_first_and_says_so(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(max_events=100)
    presses = [outbox.emit(PRESS, press()) for _ in range(40)]
    for _ in range(40):
        outbox.emit(SELF_TEST, selftest())
    low_class = [outbox.emit(SHOWN, shown()) for _ in range(30)]
    _, entries = outbox.pick(outbox.journal, skip=(), limit=500)
    bodies = [json.loads(e.event) for e in entries]
    told = [b["body"] for b in bodies if b["kind"] == "outbox.shed"]
    assert {t["class"] for t in told} == {3}
    held_low = [e.seq for e in entries if e.cls == 3]
    assert sum(t["count"] for t in told) == len(low_class) - len(held_low)
    assert held_low == low_class[-len(held_low) :], "the oldest go first"
    assert [e.seq for e in entries if e.cls == 0] == presses
    assert outbox.held() <= 101


def test_a_press_is_never_shed(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(max_events=100)
    for _ in range(30):
        outbox.emit(SELF_TEST, selftest())
    presses = [outbox.emit(PRESS, press()) for _ in range(150)]
    assert set(presses) <= set(seqs(outbox))


def test_the_cap_counts_bytes_too(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox(max_bytes=40_000)
    for _ in range(60):
        outbox.emit(TWIN_REPORT, report("x" * 900))
    _, entries = outbox.pick(outbox.journal, skip=(), limit=500)
    assert sum(e.size for e in entries) <= 41_000
    assert any('"outbox.shed"' in e.event for e in entries)


@pytest.mark.parametrize("kind", [PRESS, SHOWN])
def test_a_body_of_another_kind_is_a_mistake_of_ours(open_outbox: Callable[..., Outbox], kind: str) -> None:
    with pytest.raises(TypeError, match="takes a"):
        open_outbox().emit(kind, selftest())


def test_an_event_that_no_batch_can_hold_is_refused_at_once(open_outbox: Callable[..., Outbox]) -> None:
    huge = TwinReport(
        version=1, outcome=TwinOutcome.REJECTED, errors=[FieldError(path="a", message="\x01" * 1000)] * 20
    )
    assert len(huge.model_dump_json()) > MAX_EVENT
    outbox = open_outbox()
    with pytest.raises(ValueError, match="at most"):
        outbox.emit(TWIN_REPORT, huge)
    assert outbox.held() == 0


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from prahari_agent.outbox import Outbox
from prahari_wire.base import Clock
from prahari_wire.callbox import Press
from prahari_wire.envelope import Session, Stamp
from prahari_wire.ids import ulid
stamp = Stamp(at=datetime.now(UTC), mono_ms=1, clock=Clock.SYNCED)
outbox = Outbox(Path(sys.argv[1]), session=lambda: Session(boot=UUID(int=1), conn=1), stamp=lambda: stamp)
for number in range(100000):
    seq = outbox.emit("callbox.press", Press(press=ulid(), count=number + 1))
    sys.stdout.write(f"{seq}\\n"); sys.stdout.flush()
"""


def test_what_emit_returned_survives_kill_9(tmp_path: Path, open_outbox: Callable[..., Outbox]) -> None:
    said: list[int] = []
    for delay_s in (0.15, 0.05, 0.3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "outbox.db")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        said.append(int(process.stdout.readline()))
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")
        said += [int(line) for line in rest[:-1]]
        process.stdout.close()
        process.wait()
    assert len(said) == len(set(said)) > 3
    outbox = open_outbox()
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        stored = {seq for (seq,) in database.execute("SELECT seq FROM events")}
    database.close()
    assert set(said) <= stored
    assert len(stored) - len(said) <= 3, "at most the one whose answer the signal cut off, a kill"
    assert outbox.trouble is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"no database" * 500), id="not-a-database"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000), id="pages-overwritten"
        ),
    ],
)
def test_a_broken_file_is_set_aside_and_said(
    open_outbox: Callable[..., Outbox], tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    outbox = open_outbox()
    journal = outbox.journal
    outbox.emit(PRESS, press())
    outbox.close()
    damage(tmp_path / "outbox.db")
    again = open_outbox()
    assert again.journal != journal
    _, [entry] = again.pick(again.journal, skip=(), limit=9)
    told = json.loads(entry.event)
    assert told["kind"] == "outbox.set_aside"
    assert (tmp_path / told["body"]["file"]).exists()
    assert again.emit(PRESS, press()) > entry.seq


def test_a_file_that_breaks_while_running_is_set_aside_too(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    outbox = open_outbox()
    journal = outbox.journal
    for _ in range(300):
        outbox.emit(TWIN_REPORT, report("y" * 900))
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with (tmp_path / "outbox.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200_000)
    for _ in range(50):
        outbox.emit(PRESS, press())
    assert outbox.journal != journal
    aside = [
        path.name for path in tmp_path.glob("outbox.db.broken-*") if not path.name.endswith(("-wal", "-shm"))
    ]
    _, entries = outbox.pick(outbox.journal, skip=(), limit=500)
    events = [json.loads(entry.event) for entry in entries]
    told = [event["body"] for event in events if event["kind"] == "outbox.set_aside"]
    assert [body["file"] for body in told] == aside
    assert "closed" not in told[0]["detail"]
    assert outbox.trouble is None


def full_disk(tmp_path: Path) -> Path:
    """A file system of 1 MiB, or skip where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = full_disk(tmp_path)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_presses_still_go_out_and_what_was_stored_stays(
    open_outbox: Callable[..., Outbox], small_disk: Path
) -> None:
    outbox = open_outbox(folder=small_disk)
    durable = outbox.journal
    stored = outbox.emit(PRESS, press())
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    for _ in range(600):
        outbox.emit(TWIN_REPORT, report("z" * 900))
    outbox.emit(PRESS, press(2))
    assert outbox.trouble and "free space" in outbox.trouble
    volatile = next(journal for journal in outbox.journals() if journal != durable)
    assert len(seqs(outbox, volatile, classes=[0])) == 1
    assert stored in seqs(outbox, durable)

    (small_disk / "filler").unlink()
    outbox.emit(PRESS, press(3))
    assert outbox.trouble is None
    assert len(seqs(outbox, durable, classes=[0])) == 2
    outbox.acked(ack(volatile, upto=10_000))
    assert outbox.journals() == [durable]


def test_an_outbox_that_cannot_be_opened_still_takes_a_press(
    open_outbox: Callable[..., Outbox], tmp_path: Path
) -> None:
    (tmp_path / "outbox.db").mkdir()
    outbox = open_outbox()
    outbox.emit(PRESS, press())
    assert outbox.trouble
    assert outbox.held() == 1
    assert seqs(outbox) == [1]


def test_a_command_and_its_state_event_are_stored_together(open_outbox: Callable[..., Outbox]) -> None:
    outbox = open_outbox()
    command = ulid()
    body: Message = CommandReport(command=command, state="ACCEPTED")
    outbox.emit_command(command, CommandRow("ACCEPTED", "{}", body.model_dump_json()), body)
    known = outbox.command(command)
    assert known is not None
    assert known.state == "ACCEPTED"
    assert outbox.unfinished_commands() == [known]
    done: Message = CommandReport(command=command, state="SUCCEEDED")
    outbox.emit_command(command, CommandRow("SUCCEEDED", "{}", done.model_dump_json()), done)
    assert outbox.unfinished_commands() == []
    assert len(seqs(outbox)) == 2


def test_only_one_kind_of_durability_is_accepted(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    open_outbox().emit(PRESS, press())
    with sqlite3.connect(tmp_path / "outbox.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
