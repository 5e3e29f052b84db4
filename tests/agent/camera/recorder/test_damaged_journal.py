"""A journal that is damaged in its middle: what comes before and behind is found and proved, the damage is said, nothing is overwritten."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prahari_agent.camera.recorder.daybook import Daybook, open_path, segment_path
from prahari_agent.camera.recorder.index import Found, Interval
from prahari_agent.camera.recorder.journal import JOURNAL
from prahari_agent.camera.recorder.runs import Run
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_wire.base import Clock
from prahari_wire.evidence import ChainHead, ChainProof, Segment, first_broken
from prahari_wire.recording import GapCause

from tests.agent.camera.recorder.conftest import NOON_S

DAY, NOON_MS, LONG_MS, MANY = "2026-11-22", int(NOON_S * 1000), 10_000, 20
ALL = Interval(NOON_MS, NOON_MS + MANY * LONG_MS)
Damage = Callable[[bytes], bytes]


def book_of(folder: Path) -> Daybook:
    return Daybook(folder, device="pune-cam-01", camera="cam1")


def shelf_of(folder: Path) -> Shelf:
    shelf = Shelf(folder, device="pune-cam-01", camera="cam1", retention_days=15, max_bytes=10**9)
    shelf.refresh()
    return shelf


def record(book: Daybook, folder: Path, number: int) -> None:
    """Ten seconds of footage, the ``number``-th since noon."""
    position, data = book.next_position(DAY), b"footage %d " % number * 9
    open_path(folder, DAY, position).write_bytes(data)
    book.closed(
        DAY,
        Segment(
            position=position, start_ms=NOON_MS + number * LONG_MS, duration_ms=LONG_MS, size=len(data),
            sha256=hashlib.sha256(data).hexdigest(), codec="h264", width=640, height=360, clock=Clock.SYNCED,
        ),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The footage of a camera: twenty segments without a gap."""
    found = tmp_path / "pune-cam-01" / "cam1"
    found.parent.mkdir()
    book = book_of(found)
    book.begin(NOON_MS, "boot-1")
    for number in range(MANY):
        record(book, found, number)
    return found


def line_at(journal: bytes, position: int) -> int:
    """Where the line of a segment begins."""
    return journal.index(b'{"segment":{"position":%d,' % position)


def changed(journal: bytes, at: int, by: int) -> bytes:
    return journal[:at] + bytes([journal[at] ^ by]) + journal[at + 1 :]


def in_a_time(journal: bytes, by: int = 5) -> bytes:
    return changed(journal, journal.index(b'"start_ms":', line_at(journal, 8)) + 16, by)


def in_a_name(journal: bytes, by: int = 5) -> bytes:
    return changed(journal, journal.index(b'"codec"', line_at(journal, 8)) + 2, by)


def in_a_hash(journal: bytes, by: int = 5) -> bytes:
    return changed(journal, line_at(journal, 9) - 10, by)


def in_a_line_end(journal: bytes, by: int = 5) -> bytes:
    return changed(journal, line_at(journal, 9) - 1, by)


def in_a_brace(journal: bytes, by: int = 5) -> bytes:
    return changed(journal, line_at(journal, 8), by)


def zeros(journal: bytes) -> bytes:
    at = line_at(journal, 8) + 40
    return journal[:at] + bytes(512) + journal[at + 512 :]


def lost_page(journal: bytes) -> bytes:
    at = line_at(journal, 7) + 100
    return journal[:at] + journal[at + 1024 :]


def cut_out_cleanly(journal: bytes) -> bytes:
    return journal[: line_at(journal, 8)] + journal[line_at(journal, 10) :]


DAMAGES = [
    pytest.param(in_a_time, (8, 8), id="a byte of a time"),
    pytest.param(in_a_name, (8, 9), id="a byte of a name"),
    pytest.param(in_a_hash, (8, 9), id="a byte of a hash"),
    pytest.param(in_a_line_end, (8, 10), id="a line's end"),
    pytest.param(zeros, (8, 10), id="512 zeros"),
    pytest.param(lost_page, (7, 11), id="a page that is lost"),
    pytest.param(cut_out_cleanly, (8, 10), id="two lines cut out"),
]


def damaged(folder: Path, damage: Damage) -> None:
    path = folder / DAY / JOURNAL
    path.write_bytes(damage(path.read_bytes()))


def proofs(found: list[Found]) -> list[ChainProof]:
    """As the keeper makes them, with a signature that everyone believes."""
    return [
        ChainProof(
            before_position=one.before.position, before=one.before.hash, segments=one.segments,
            head=ChainHead(
                device="pune-cam-01", camera="cam1", day=DAY, position=one.head.position, hash=one.head.hash,
                signed_at=datetime(2026, 11, 22, 13, tzinfo=UTC),
            ),
        )
        for one in found
    ]  # fmt: skip


def digests(folder: Path, one: Found) -> dict[int, str]:
    return {
        position: hashlib.sha256(segment_path(folder, DAY, position).read_bytes()).hexdigest()
        for position in one.wanted
    }


def check_proved(folder: Path, found: list[Found]) -> None:
    for one, proof in zip(found, proofs(found), strict=True):
        assert first_broken(proof, digests(folder, one), lambda *_: True) is None


@pytest.mark.parametrize(("damage", "lost"), DAMAGES)
def test_footage_before_and_behind_the_damage_is_found_and_proved(
    folder: Path, damage: Damage, lost: tuple[int, int]
):
    damaged(folder, damage)
    before, behind = shelf_of(folder).find(ALL)
    first, last = lost
    assert before.wanted == list(range(1, first))
    assert behind.wanted == list(range(last + 1, MANY + 1))
    assert (before.head.position, behind.before.position) == (first - 1, last)
    check_proved(folder, [before, behind])


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("where", [in_a_time, in_a_name, in_a_hash, in_a_line_end, in_a_brace])
def test_one_flipped_bit_is_flipped_back_because_the_chain_proves_which(
    folder: Path, where: Callable[[bytes, int], bytes], bit: int
):
    damaged(folder, lambda journal: where(journal, 1 << bit))
    shelf = shelf_of(folder)
    (one,) = shelf.find(ALL)
    assert one.wanted == list(range(1, MANY + 1))
    check_proved(folder, [one])
    assert shelf.runs()[0] == [Run(*ALL, None)]
    assert book_of(folder).next_position(DAY) == MANY + 1


@pytest.mark.parametrize(("damage", "lost"), DAMAGES)
def test_the_damage_is_a_gap_that_says_so(folder: Path, damage: Damage, lost: tuple[int, int]):
    damaged(folder, damage)
    begin_ms, end_ms = NOON_MS + (lost[0] - 1) * LONG_MS, NOON_MS + lost[1] * LONG_MS
    assert shelf_of(folder).runs()[0] == [
        Run(NOON_MS, begin_ms, None),
        Run(begin_ms, end_ms, GapCause.RECORD),
        Run(end_ms, ALL.end_ms, None),
    ]


@pytest.mark.parametrize(("damage", "lost"), DAMAGES)
def test_a_recorder_that_starts_after_the_damage_goes_on_behind_what_there_is(
    folder: Path, damage: Damage, lost: tuple[int, int]
):
    damaged(folder, damage)
    files = {path.name: path.read_bytes() for path in (folder / DAY).glob("*.mp4")}
    book = book_of(folder)
    assert book.recover() == []
    for number in range(MANY, MANY + 3):
        record(book, folder, number)
    assert {name: (folder / DAY / name).read_bytes() for name in files} == files
    found = shelf_of(folder).find(Interval(NOON_MS, NOON_MS + 23 * LONG_MS))
    assert [one.wanted[-1] for one in found] == [lost[0] - 1, MANY + 3]
    check_proved(folder, found)


def test_damage_since_the_journal_was_read_is_found_when_footage_is_asked_for(folder: Path):
    shelf = shelf_of(folder)
    damaged(folder, zeros)
    assert [one.wanted[-1] for one in shelf.find(ALL)] == [7, MANY]
    assert shelf.refresh(), "it is told"
    assert [run.cause for run in shelf.runs()[0]] == [None, GapCause.RECORD, None]


def test_a_request_for_nothing_but_the_damaged_time_finds_nothing(folder: Path):
    damaged(folder, zeros)
    assert shelf_of(folder).find(Interval(NOON_MS + 7 * LONG_MS, NOON_MS + 10 * LONG_MS)) == []


def test_footage_behind_the_damage_alone_is_one_whole_stretch(folder: Path):
    damaged(folder, zeros)
    (one,) = shelf_of(folder).find(Interval(NOON_MS + 15 * LONG_MS, NOON_MS + 16 * LONG_MS))
    assert one.wanted == [16]
    check_proved(folder, [one])


def test_whoever_asks_for_footage_before_the_damage_alone_is_told_of_it_by_the_stretch_behind(folder: Path):
    damaged(folder, zeros)
    before, behind = shelf_of(folder).find(Interval(NOON_MS, NOON_MS + LONG_MS))
    assert (before.wanted, behind.wanted) == ([1], [])
    assert behind.head.position == MANY


@pytest.mark.parametrize("begin", [8, 10], ids=["within it", "at its end"])
def test_damage_at_the_begin_of_what_is_asked_for_is_told_by_the_segment_before_it(folder: Path, begin: int):
    """The hub, which is told of gaps, asks from a gap's end on."""
    damaged(folder, zeros)
    before, behind = shelf_of(folder).find(Interval(NOON_MS + begin * LONG_MS, NOON_MS + 12 * LONG_MS))
    assert (before.wanted, before.head.position) == ([], 7)
    assert behind.wanted == [11, 12]
    check_proved(folder, [before, behind])


def test_of_two_damages_each_is_told_to_whom_it_concerns(folder: Path):
    damaged(folder, lambda journal: journal.replace(b'"position":4,', b'"position":x,'))
    damaged(folder, lambda journal: journal.replace(b'"position":14,', b'"position":xy,'))
    shelf = shelf_of(folder)
    assert [one.wanted for one in shelf.find(ALL)] == [[1, 2, 3], [*range(6, 14)], [*range(16, MANY + 1)]]
    assert [one.wanted for one in shelf.find(Interval(NOON_MS + 60_000, NOON_MS + 70_000))] == [[7], []]
    assert [one.wanted for one in shelf.find(Interval(NOON_MS + 145_000, NOON_MS + 165_000))] == [
        [],
        [16, 17],
    ]


@pytest.mark.parametrize("torn", [40, 700, 1500])
def test_lines_at_the_end_that_a_disk_had_not_written_cost_no_footage_that_lies_there(
    folder: Path, torn: int
):
    """The card said that it had written them; the files stand."""
    damaged(folder, lambda journal: journal[:-torn] + bytes(torn))
    files = {path.name: path.read_bytes() for path in (folder / DAY).glob("*.mp4")}
    book = book_of(folder)
    book.recover()
    book.begin(NOON_MS + 300_000, "boot-2")
    for number in range(40, 43):
        record(book, folder, number)
    assert {name: (folder / DAY / name).read_bytes() for name in files} == files
    shelf = shelf_of(folder)
    before, behind = shelf.find(Interval(NOON_MS, NOON_MS + 430_000))
    assert behind.wanted == [MANY + 1, MANY + 2, MANY + 3]
    assert before.wanted[-1] == MANY - 1 - torn // 300
    check_proved(folder, [before, behind])
    assert [run.cause for run in shelf.runs()[0]] == [None, GapCause.RECORD, None]
    assert book_of(folder).next_position(DAY) == MANY + 4


def test_a_mark_that_is_damaged_costs_no_footage(folder: Path):
    damaged(folder, lambda journal: changed(journal, 3, 5))
    (one,) = shelf_of(folder).find(ALL)
    assert one.wanted == list(range(1, MANY + 1))


def test_the_owner_who_withdraws_takes_what_nothing_proves_as_well(folder: Path):
    damaged(folder, zeros)
    shelf_of(folder).clear(writing=False)
    assert list((folder / DAY).glob("*.mp4")) == []
