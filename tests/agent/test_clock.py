"""Time and its doubt; session and boot; pulses. All pure: the test is the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prahari_agent.clock import (
    EARLIEST,
    FLOOR_MARGIN,
    HUB_SPEAKS_WITHIN_MS,
    Clock,
    kernel_synced,
    saved_floor,
)
from prahari_agent.pulse import Pulses
from prahari_agent.session import Sessions, boot_id, watchdog_reset
from prahari_agent.state import State
from prahari_wire.base import Clock as Quality
from prahari_wire.presence import BootReason

TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Hands:
    """The hands of the clock."""

    def __init__(self, at: datetime = TODAY) -> None:
        self.at, self.mono_ms, self.ntp = at, 5_000, False

    def clock(self, floor: datetime = EARLIEST) -> Clock:
        return Clock(floor, wall=lambda: self.at, mono_ms=lambda: self.mono_ms, os_synced=lambda: self.ntp)

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.mono_ms += int(seconds * 1000)


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_the_time_is_undisputed_while_the_hub_says_the_same_and_not_while_it_says_another(
    hands: Hands,
) -> None:
    clock = hands.clock()
    hub_says(clock, hands, hands.at)
    assert clock.undisputed()
    hands.ntp = True
    hands.at += timedelta(days=365)
    assert clock.quality() is Quality.SYNCED
    assert not clock.undisputed(), "a time server may be wrong"


def test_a_time_server_alone_is_undisputed_once_the_hub_has_had_its_time_to_speak(hands: Hands) -> None:
    """A box that starts while its time server is a year ahead must not act on that before the hub can be heard."""
    clock = hands.clock()
    hands.ntp = True
    assert not clock.undisputed()
    hands.passes(HUB_SPEAKS_WITHIN_MS / 1000)
    assert clock.undisputed()
    hands.ntp = False
    assert not clock.undisputed()


def test_a_hub_that_is_not_reached_disputes_by_the_dates_of_its_certificate(hands: Hands) -> None:
    clock = hands.clock()
    hands.ntp = True
    hands.passes(HUB_SPEAKS_WITHIN_MS / 1000)
    clock.contradicted()
    assert clock.dates_count()
    assert not clock.undisputed()
    hub_says(clock, hands, hands.at)
    assert clock.undisputed()


def test_a_box_that_wakes_in_1970_stamps_with_its_floor_and_says_so(hands: Hands) -> None:
    hands.at = datetime(1970, 1, 1, tzinfo=UTC)
    clock = hands.clock(floor=TODAY)
    hands.passes(60)
    stamp = clock.stamp()
    assert (stamp.at, stamp.clock, stamp.mono_ms) == (TODAY + timedelta(seconds=60), Quality.FLOOR, 65_000)
    assert not clock.plausible()


def test_a_plausible_clock_without_ntp_or_hub_is_unsynced(hands: Hands) -> None:
    assert hands.clock().quality() is Quality.UNSYNCED


def test_ntp_makes_it_synced(hands: Hands) -> None:
    hands.ntp = True
    assert hands.clock().quality() is Quality.SYNCED


@pytest.mark.parametrize(
    ("off_s", "quality"),
    [
        pytest.param(0.5, Quality.SYNCED, id="half-a-second"),
        pytest.param(-1.5, Quality.SYNCED, id="slow"),
        pytest.param(3.0, Quality.UNSYNCED, id="three-seconds"),
        pytest.param(-7200.0, Quality.UNSYNCED, id="wrong-zone"),
    ],
)
def test_the_hub_is_a_measure_of_the_clock(hands: Hands, off_s: float, quality: Quality) -> None:
    clock = hands.clock()
    clock.hub_said(hands.at - timedelta(seconds=off_s), sent_mono_ms=5_000, received_mono_ms=5_000)
    assert clock.quality() is quality
    assert clock.offset_ms() == pytest.approx(off_s * 1000)


def test_a_hub_with_a_wrong_clock_does_not_make_a_city_distrust_its_time_servers(hands: Hands) -> None:
    hands.ntp = True
    clock = hands.clock()
    clock.hub_said(hands.at - timedelta(hours=1), sent_mono_ms=5_000, received_mono_ms=5_000)
    assert clock.quality() is Quality.SYNCED
    assert clock.agrees_with_hub() is False


def test_half_of_the_round_trip_counts(hands: Hands) -> None:
    clock = hands.clock()
    hands.passes(1)
    clock.hub_said(hands.at - timedelta(seconds=0.5), sent_mono_ms=5_000, received_mono_ms=6_000)
    assert clock.offset_ms() == pytest.approx(0)


def test_a_jump_of_the_wall_clock_shows_although_the_hub_was_asked_before(hands: Hands) -> None:
    clock = hands.clock()
    clock.hub_said(hands.at, sent_mono_ms=5_000, received_mono_ms=5_000)
    hands.passes(60)
    hands.at += timedelta(days=365)
    assert clock.quality() is Quality.UNSYNCED


def test_the_floor_rises_with_trusted_time_and_never_with_a_clock_in_2099(
    hands: Hands, tmp_path: Path
) -> None:
    state, clock = State(tmp_path), hands.clock()
    hands.at = datetime(2099, 1, 1, tzinfo=UTC)
    clock.save_floor(state)
    assert saved_floor(State(tmp_path)) == EARLIEST
    hands.at, hands.ntp = TODAY, True
    clock.save_floor(state)
    assert saved_floor(State(tmp_path)) == TODAY - FLOOR_MARGIN


def hub_says(clock: Clock, hands: Hands, at: datetime) -> None:
    clock.hub_said(at, sent_mono_ms=hands.mono_ms, received_mono_ms=hands.mono_ms)


def test_a_time_server_that_the_hub_denies_does_not_raise_the_floor(hands: Hands, tmp_path: Path) -> None:
    hands.ntp = True
    clock = hands.clock()
    hub_says(clock, hands, TODAY)
    hands.at += timedelta(days=365)
    clock.save_floor(State(tmp_path))
    assert clock.quality() is Quality.SYNCED, "its stamps are its own"
    assert saved_floor(State(tmp_path)) == EARLIEST


def test_a_floor_from_a_wrong_time_server_falls_once_wall_clock_and_hub_agree(
    hands: Hands, tmp_path: Path
) -> None:
    clock = hands.clock(floor=TODAY + timedelta(days=365))
    assert not clock.plausible()
    hub_says(clock, hands, TODAY)
    assert clock.plausible()
    assert clock.stamp().at == TODAY
    assert clock.quality() is Quality.SYNCED
    clock.save_floor(State(tmp_path))
    assert saved_floor(State(tmp_path)) == TODAY - FLOOR_MARGIN
    assert hands.clock(saved_floor(State(tmp_path))).plausible()


def test_a_wall_clock_in_1970_stays_below_the_floor_whoever_agrees(hands: Hands) -> None:
    hands.at = datetime(1970, 1, 1, tzinfo=UTC)
    clock = hands.clock()
    hub_says(clock, hands, hands.at)
    assert not clock.plausible()


def test_a_small_step_back_by_ntp_is_no_reason_for_doubt(hands: Hands, tmp_path: Path) -> None:
    hands.ntp = True
    clock = hands.clock()
    clock.save_floor(State(tmp_path))
    hands.at -= timedelta(seconds=20)
    assert clock.quality() is Quality.SYNCED


def test_floor_time_goes_on_over_reboots_without_a_clock(hands: Hands, tmp_path: Path) -> None:
    hands.at = datetime(1970, 1, 1, tzinfo=UTC)
    clock = hands.clock(floor=TODAY)
    hands.passes(3600)
    clock.save_floor(State(tmp_path))
    assert saved_floor(State(tmp_path)) == TODAY + timedelta(hours=1)


@pytest.mark.parametrize("kept", [None, 5, "yesterday"])
def test_a_floor_that_cannot_be_read_is_the_earliest(tmp_path: Path, kept: object) -> None:
    state = State(tmp_path)
    state.put(clock_floor=kept)
    assert saved_floor(state) == EARLIEST


def test_the_kernel_can_be_asked() -> None:
    assert kernel_synced() in (True, False)


def test_a_broken_state_file_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(b"{")
    state = State(tmp_path)
    assert state.get("conn", 0) == 0
    state.put(conn=3)
    assert State(tmp_path).get("conn") == 3


def test_agents_that_share_a_machine_have_boots_of_their_own_that_outlast_a_restart(tmp_path: Path) -> None:
    source = tmp_path / "boot_id"
    source.write_text("11111111-1111-1111-1111-111111111111\n")
    first, second = boot_id(tmp_path / "a", source=source), boot_id(tmp_path / "b", source=source)
    assert first != second
    assert boot_id(tmp_path / "a", source=source) == first
    source.write_text("22222222-2222-2222-2222-222222222222\n")
    assert boot_id(tmp_path / "a", source=source) != first


def sessions(home: Path, boot: int, *, watchdog: bool = False, uptime_s: int = 0) -> Sessions:
    return Sessions(State(home), UUID(int=boot), by_watchdog=lambda: watchdog, uptime_s=lambda: uptime_s)


def test_connections_count_on_over_restarts_and_begin_anew_with_a_boot(tmp_path: Path) -> None:
    first = sessions(tmp_path, 1)
    assert [first.next().conn, first.next().conn] == [1, 2]
    assert sessions(tmp_path, 1).next().conn == 3
    assert sessions(tmp_path, 2).next().conn == 1


def test_connections_rise_within_a_boot_also_where_the_state_was_lost(tmp_path: Path) -> None:
    before = sessions(tmp_path, 1, uptime_s=40)
    assert [before.next().conn, before.next().conn] == [41, 42]
    (tmp_path / "state.json").unlink()
    assert sessions(tmp_path, 1, uptime_s=50).next().conn == 51


@pytest.mark.parametrize("kept", [None, "many"])
def test_a_count_of_connections_that_cannot_be_read_counts_as_none(tmp_path: Path, kept: object) -> None:
    State(tmp_path).put(boot=str(UUID(int=1)), conn=kept)
    assert sessions(tmp_path, 1).next().conn == 1


def test_the_boot_reason_follows_from_how_the_last_run_ended(tmp_path: Path) -> None:
    first = sessions(tmp_path, 1)
    assert first.boot_reason is BootReason.POWER_ON
    assert sessions(tmp_path, 1).boot_reason is BootReason.AGENT_CRASH
    stopped = sessions(tmp_path, 1)
    stopped.stopped_clean()
    restarted = sessions(tmp_path, 1)
    assert restarted.boot_reason is BootReason.AGENT_RESTART
    restarted.stopped_clean()
    assert sessions(tmp_path, 2).boot_reason is BootReason.REBOOT
    assert sessions(tmp_path, 3).boot_reason is BootReason.POWER_ON
    assert sessions(tmp_path, 4, watchdog=True).boot_reason is BootReason.WATCHDOG


@pytest.mark.parametrize(
    ("text", "found"), [("32\n", True), ("0x20", True), ("0", False), ("nonsense", False)]
)
def test_the_watchdog_bit_is_read(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "bootstatus").write_text(text)
    assert watchdog_reset(source=tmp_path / "bootstatus") is found


def test_a_loop_that_hangs_is_named() -> None:
    now_s = [0.0]
    pulses = Pulses(now_s=lambda: now_s[0])
    pulses.beat("link", limit_s=10)
    pulses.beat("health", limit_s=100)
    now_s[0] = 11
    assert pulses.silent() == ["link"]
    pulses.end("link")
    assert pulses.silent() == []


def test_a_clock_that_the_hubs_certificate_denies_judges_no_dates_until_somebody_vouches_for_it(
    hands: Hands,
) -> None:
    clock = hands.clock()
    assert clock.dates_count()
    clock.contradicted()
    assert not clock.dates_count()
    clock.hub_said(hands.at, sent_mono_ms=5_000, received_mono_ms=5_000)
    assert clock.dates_count(), "the hub's time is the same"


def test_a_time_server_is_believed_more_than_the_dates_of_a_certificate(hands: Hands) -> None:
    hands.ntp = True
    clock = hands.clock()
    clock.contradicted()
    assert clock.dates_count()
