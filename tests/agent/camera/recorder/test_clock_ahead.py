"""A clock that is or was far ahead: it deletes nothing that the hub denies, and what was recorded by it hides nothing of today."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.camera.recorder.daybook import Daybook, day_of, open_path
from prahari_agent.camera.recorder.keeper import TELL_S, Keeper
from prahari_agent.camera.recorder.shelf import KEPT, NEWEST_KEPT, Shelf
from prahari_agent.camera.terms import Terms
from prahari_agent.clock import HUB_SPEAKS_WITHIN_MS, Clock
from prahari_agent.peripheral import Surroundings
from prahari_wire.base import Clock as Quality
from prahari_wire.evidence import Segment
from prahari_wire.owner import Consent, Owner
from prahari_wire.recording import Coverage, GapCause

START = datetime(2026, 11, 22, 18, tzinfo=UTC)
"""Hours before midnight, UTC."""
YEAR, RETENTION = timedelta(days=365), timedelta(days=15)
LENGTH = timedelta(seconds=10)
SIZE = 100


class Box:
    """A box with a real clock, whose hands the test moves; its recorder's footage, and the keeper of it.

    ``ahead``: how far the wall clock is wrong. The hub's clock is always right.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.right, self.ahead, self.ntp = home, START, timedelta(0), True
        self.recording = True
        self.told: list[Coverage] = []
        self.book = Daybook(home / "footage", device="box-01", camera="cam1")
        self.started()
        self.book.begin(self.wall_ms(), "boot-1")

    def started(self, *, max_bytes: int = 10**9) -> Keeper:
        """The agent starts: nothing was heard of the hub yet."""
        self.clock = Clock(
            wall=lambda: self.right + self.ahead, mono_ms=self.mono_ms, os_synced=lambda: self.ntp
        )
        around = Surroundings(
            device="box-01", home=self.home, board=None, emit=self._emit, upload=lambda _data, _kind: "",  # type: ignore[arg-type]
            fetch=lambda _sha, _size: self.home, secret=lambda _name: None,
            stamp=self.clock.stamp, undisputed=self.clock.undisputed,
        )  # fmt: skip
        self.shelf = Shelf(
            self.home / "footage", device="box-01", camera="cam1", retention_days=RETENTION.days, max_bytes=max_bytes
        )  # fmt: skip
        self.terms = Terms(around.stamp, around.undisputed)
        self.keeper = Keeper("cam1", self.shelf, around, recording=lambda: self.recording, terms=self.terms)
        return self.keeper

    def _emit(self, _kind: str, body: Any, **_more: Any) -> int:
        self.told.append(body)
        return len(self.told)

    def mono_ms(self) -> int:
        return round((self.right - START) / timedelta(milliseconds=1)) + 5_000

    def wall_ms(self) -> int:
        return round((self.right + self.ahead).timestamp() * 1000)

    def hub_speaks(self) -> None:
        self.clock.hub_said(self.right, sent_mono_ms=self.mono_ms(), received_mono_ms=self.mono_ms())

    def records(self, segments: int) -> None:
        """So many segments, by the wall clock."""
        for _ in range(segments):
            start_ms = self.wall_ms()
            day = day_of(start_ms)
            position = self.book.next_position(day)
            open_path(self.home / "footage", day, position).write_bytes(b"x" * SIZE)
            digest = hashlib.sha256(str(start_ms).encode()).hexdigest()
            segment = Segment(
                position=position, start_ms=start_ms, duration_ms=10_000, size=SIZE, sha256=digest, codec="h264", width=640,
                height=360, clock=Quality.SYNCED,
            )  # fmt: skip
            self.book.closed(day, segment)
            self.right += LENGTH

    def steps(self, *, after_s: float = TELL_S) -> list[Coverage]:
        """What the keeper tells as it makes its step."""
        self.told.clear()
        self._mono_s = getattr(self, "_mono_s", 0.0) + after_s
        self.keeper.step(self._mono_s)
        return self.told

    def was_ahead(self, by: timedelta = YEAR) -> None:
        """Five minutes of footage, one by a clock that is ahead, and another by one that is right again."""
        self.records(30)
        self.book.gap(self.wall_ms(), GapCause.CLOCK)
        self.ahead = by
        self.records(6)
        self.ahead = timedelta(0)
        self.records(6)

    def files(self) -> int:
        return len(list((self.home / "footage").glob("*/*.mp4")))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_time_server_a_year_ahead_deletes_no_footage_that_the_hub_knows_to_be_young(box: Box) -> None:
    box.hub_speaks()
    box.records(6)
    box.ahead = YEAR
    assert box.clock.quality() is Quality.SYNCED, "its time server vouches"
    box.steps()
    assert box.files() == 6
    box.ahead = timedelta(0)
    box.right += RETENTION + timedelta(minutes=2)
    box.steps()
    assert box.files() == NEWEST_KEPT, "age counts again"


def test_a_box_that_starts_with_a_time_server_a_year_ahead_deletes_nothing_before_the_hub_is_heard(
    box: Box,
) -> None:
    box.records(6)
    box.ahead = YEAR
    box.started()
    box.steps()
    assert box.files() == 6
    box.hub_speaks()
    box.right += timedelta(milliseconds=HUB_SPEAKS_WITHIN_MS)
    box.steps()
    assert box.files() == 6


def test_footage_goes_by_age_also_where_the_hub_is_away_for_long(box: Box) -> None:
    box.records(6)
    box.right += RETENTION + timedelta(minutes=2)
    box.steps()
    assert box.files() == NEWEST_KEPT


def test_an_owners_consent_ends_by_no_clock_that_the_hub_denies(box: Box) -> None:
    box.hub_speaks()
    box.records(6)
    box.terms.owner = Owner(
        name="Joshi Jewellers",
        contact="+91 20 5550 1234",
        consent=Consent.FOOTAGE,
        until=START + timedelta(days=90),
    )
    box.ahead = YEAR
    box.steps()
    assert box.files() == 6
    box.ahead, box.right = timedelta(0), START + timedelta(days=91)
    box.steps()
    assert box.files() == 0


@pytest.mark.parametrize("by", [timedelta(hours=2), YEAR], ids=["two hours", "a year"])
def test_today_is_told_as_it_is_although_a_clock_was_ahead(box: Box, by: timedelta) -> None:
    box.was_ahead(by)
    box.hub_speaks()
    (today,) = box.steps()
    start_ms = 18 * 3_600_000
    assert (today.day, today.closed, today.growing) == ("2026-11-22", False, True)
    assert today.spans == [(start_ms, start_ms + 300_000), (start_ms + 360_000, start_ms + 420_000)]
    assert today.gaps == [(start_ms + 300_000, start_ms + 360_000, GapCause.CLOCK)]
    assert today.until_ms == start_ms + 420_000


def test_a_leap_that_the_hub_denies_is_not_told_as_a_year_of_days(box: Box) -> None:
    box.records(30)
    box.hub_speaks()
    box.book.gap(box.wall_ms(), GapCause.CLOCK)
    box.ahead = YEAR
    box.records(6)
    assert [(one.day, one.closed) for one in box.steps()] == [("2026-11-22", True), ("2027-11-22", False)]
    box.ahead = timedelta(0)
    box.records(6)
    (today,) = box.steps()
    assert (today.day, today.version, today.closed) == ("2026-11-22", 2, False)


@pytest.mark.parametrize("by", [timedelta(hours=2), YEAR], ids=["two hours", "a year"])
def test_a_recorder_that_dies_is_seen_although_a_clock_was_ahead(box: Box, by: timedelta) -> None:
    box.was_ahead(by)
    box.hub_speaks()
    box.steps()
    box.recording, box.right = False, box.right + timedelta(hours=1)
    assert box.keeper.age_s() == 3600
    (today,) = box.steps()
    assert today.gaps[-1] == (
        18 * 3_600_000 + 420_000,
        19 * 3_600_000 + 420_000,
        GapCause.FAULT,
    )


def test_what_was_found_out_holds_after_a_restart_before_the_hub_is_heard(box: Box) -> None:
    box.was_ahead()
    box.hub_speaks()
    box.steps()
    box.started()
    box.right += timedelta(hours=1)
    box.ntp = False
    assert box.clock.quality() is Quality.UNSYNCED
    assert [one.day for one in box.steps()] == ["2026-11-22"]
    assert box.keeper.age_s() == 3600


def test_what_is_dated_ahead_is_set_aside_also_where_the_disk_takes_no_note_of_it(box: Box) -> None:
    box.was_ahead()
    box.hub_speaks()
    (box.home / "footage" / KEPT).mkdir()
    with pytest.raises(OSError, match="directory"):
        box.steps()
    box.right += timedelta(hours=1)
    assert box.keeper.age_s() == 3600


def test_footage_dated_ahead_goes_when_it_has_been_known_for_the_days_that_footage_is_kept(box: Box) -> None:
    box.was_ahead()
    box.hub_speaks()
    box.steps()
    box.right += RETENTION - timedelta(minutes=10)
    box.records(3)
    box.hub_speaks()
    box.steps()
    assert box.files() == 42 + 3
    box.right += timedelta(minutes=20)
    box.started()
    box.hub_speaks()
    box.steps()
    assert box.files() == 3
    assert len(list((box.home / "footage" / day_of(box.wall_ms())).glob("*.mp4"))) == 3


def test_the_ring_takes_footage_dated_ahead_before_the_newest(box: Box) -> None:
    box.was_ahead()
    box.hub_speaks()
    box.steps()
    box.started(max_bytes=NEWEST_KEPT * SIZE)
    box.steps()
    left = sorted(path.name for path in (box.home / "footage" / "2026-11-22").glob("*.mp4"))
    assert left == ["00035.mp4", "00036.mp4"]
    assert box.files() == NEWEST_KEPT


def test_a_day_that_begins_counts_although_a_clock_had_been_there_before(box: Box) -> None:
    box.was_ahead(timedelta(days=1))
    box.hub_speaks()
    box.steps()
    box.right += timedelta(days=1)
    box.book.begin(box.wall_ms(), "boot-2")
    box.records(6)
    box.hub_speaks()
    assert [one.day for one in box.steps()] == ["2026-11-22", "2026-11-23"]
    assert box.keeper.age_s() == 0
