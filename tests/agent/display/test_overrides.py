"""Lease, expiry, epoch and what survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prahari_agent.display.overrides import OverrideBook
from prahari_wire.base import Clock


@pytest.fixture
def path(bench: Any) -> Path:
    return bench.home / "overrides.json"


def ids(book: OverrideBook, bench: Any) -> list[str]:
    return [override.id for override in book.judged(bench.stamp()).in_force]


def test_a_set_holds_until_its_lease_ends_on_the_monotonic_clock(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    one = bench.override("Halt", lease_s=30)
    assert book.accept(bench.override_set(1, one), bench.stamp())
    bench.mono_ms += 29_000
    assert ids(book, bench) == [one.id]
    assert book.judged(bench.stamp()).left_s == pytest.approx(1)
    bench.mono_ms += 1_000
    judged = book.judged(bench.stamp())
    assert judged.in_force == []
    assert "lease" in judged.ended[one.id]


def test_a_wall_clock_that_jumps_does_not_lengthen_a_lease(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    book.accept(bench.override_set(1, bench.override("Halt", lease_s=30)), bench.stamp())
    bench.mono_ms += 31_000
    bench.at = bench.at.replace(year=2020)
    assert ids(book, bench) == []


def test_expiry_counts_only_by_a_synced_clock(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    one = bench.override("Halt", lease_s=600, expires_s=60)
    book.accept(bench.override_set(1, one), bench.stamp())
    bench.pass_s(100)
    bench.clock = Clock.FLOOR
    assert ids(book, bench) == [one.id]
    bench.clock = Clock.SYNCED
    assert ids(book, bench) == []
    assert "expired" in book.judged(bench.stamp()).ended[one.id]


def test_what_has_ended_stays_ended_when_the_clock_goes_back(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    book.accept(bench.override_set(1, bench.override("Halt", lease_s=600, expires_s=60)), bench.stamp())
    bench.pass_s(61)
    assert ids(book, bench) == []
    bench.pass_s(-61)
    assert ids(book, bench) == []
    assert ids(OverrideBook(path, "boot-1"), bench) == []


@pytest.mark.parametrize("epoch", [4, 5], ids=["lower", "equal"])
def test_an_epoch_that_is_not_higher_is_ignored(bench: Any, path: Path, epoch: int) -> None:
    book = OverrideBook(path, "boot-1")
    kept = bench.override("Kept")
    assert book.accept(bench.override_set(5, kept), bench.stamp())
    assert not book.accept(bench.override_set(epoch, bench.override("Late")), bench.stamp())
    assert ids(book, bench) == [kept.id]


def test_a_renewal_starts_the_lease_anew(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    one = bench.override("Halt", lease_s=30)
    book.accept(bench.override_set(1, one), bench.stamp())
    bench.pass_s(20)
    book.accept(bench.override_set(2, one), bench.stamp())
    bench.pass_s(20)
    assert ids(book, bench) == [one.id]


def test_the_set_is_on_disk_when_accept_returns(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    one = bench.override("Halt")
    book.accept(bench.override_set(7, one), bench.stamp())
    again = OverrideBook(path, "boot-1")
    assert again.epoch == 7
    assert ids(again, bench) == [one.id]


def test_a_restarted_agent_goes_on_with_the_lease_that_is_left(bench: Any, path: Path) -> None:
    one = bench.override("Halt", lease_s=30)
    OverrideBook(path, "boot-1").accept(bench.override_set(1, one), bench.stamp())
    bench.clock = Clock.UNSYNCED
    bench.mono_ms += 20_000
    assert ids(OverrideBook(path, "boot-1"), bench) == [one.id]
    bench.mono_ms += 11_000
    assert ids(OverrideBook(path, "boot-1"), bench) == []


class TestAfterAPowerCut:
    """The monotonic clock begins anew with the boot."""

    @pytest.fixture
    def one(self, bench: Any, path: Path) -> Any:
        one = bench.override("Halt", lease_s=120, expires_s=3600)
        OverrideBook(path, "boot-1").accept(bench.override_set(1, one), bench.stamp())
        bench.mono_ms = 5_000
        return one

    def test_it_comes_back_within_lease_and_expiry_by_a_synced_clock(
        self, bench: Any, path: Path, one: Any
    ) -> None:
        bench.pass_s(100)
        assert ids(OverrideBook(path, "boot-2"), bench) == [one.id]

    def test_it_waits_until_the_clock_is_synced(self, bench: Any, path: Path, one: Any) -> None:
        book = OverrideBook(path, "boot-2")
        bench.clock = Clock.FLOOR
        assert ids(book, bench) == []
        assert book.judged(bench.stamp()).left_s is not None
        bench.clock = Clock.SYNCED
        assert ids(book, bench) == [one.id]

    def test_it_stays_away_when_the_lease_ended_in_the_dark(self, bench: Any, path: Path, one: Any) -> None:
        bench.pass_s(121)
        assert ids(OverrideBook(path, "boot-2"), bench) == []

    def test_it_stays_away_when_it_came_with_an_unsynced_clock(self, bench: Any, path: Path) -> None:
        bench.clock = Clock.UNSYNCED
        OverrideBook(path, "boot-1").accept(bench.override_set(2, bench.override("Halt")), bench.stamp())
        bench.clock = Clock.SYNCED
        judged = OverrideBook(path, "boot-2").judged(bench.stamp())
        assert judged.in_force == []
        assert "not synced" in next(iter(judged.ended.values()))


def test_a_broken_file_is_set_aside(bench: Any, path: Path) -> None:
    path.write_bytes(b'{"set": ')
    book = OverrideBook(path, "boot-1")
    assert book.epoch is None
    assert path.with_suffix(".broken").read_bytes() == b'{"set": '
    assert book.accept(bench.override_set(1, bench.override("Halt")), bench.stamp())


def test_nothing_changes_when_the_disk_refuses_the_set(bench: Any, path: Path) -> None:
    book = OverrideBook(path, "boot-1")
    kept = bench.override("Kept")
    book.accept(bench.override_set(1, kept), bench.stamp())
    gone = OverrideBook(path.parent / "missing" / "overrides.json", "boot-1")
    with pytest.raises(OSError, match="No such file"):
        gone.accept(bench.override_set(2, bench.override("New")), bench.stamp())
    assert gone.epoch is None
    assert ids(book, bench) == [kept.id]
