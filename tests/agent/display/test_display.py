"""A display as the agent's core sees it; the test takes the follower's turns one by one, on the bench's clock."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from prahari_agent.display.renderer import render
from prahari_agent.errors import ConfigRefused, Rejected
from prahari_wire.base import Clock
from prahari_wire.callbox import CallboxConfig
from prahari_wire.display import OverrideOutcome, ShownSource, TextContent
from prahari_wire.health import State

SHOWN, STATE, FAULT = "display.shown", "override.state", "display.fault"


def wait_for(condition: Callable[[], Any], timeout_s: float = 10) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


def frame_of(line: str) -> bytes:
    return render(TextContent(text=line), 192, 96, lambda sha256, size: pytest.fail("no file")).png


@pytest.fixture
def display(bench: Any) -> Any:
    display = bench.display()
    display.configure(bench.playlist("One", "Two"))
    display.follower.turn()
    yield display
    display.stop()


def test_a_display_shows_its_playlist_by_the_time_of_day(bench: Any, display: Any) -> None:
    assert bench.frame() == frame_of("One")
    assert display.follower.turn() <= 10
    bench.pass_s(10)
    display.follower.turn()
    assert bench.frame() == frame_of("Two")
    bench.pass_s(10)
    display.follower.turn()
    assert bench.frame() == frame_of("One")


def test_without_a_playlist_it_shows_safe_content(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist(safe=TextContent(text="PMC")))
    display.follower.turn()
    assert bench.frame() == frame_of("PMC")
    assert bench.of(SHOWN)[0].source is ShownSource.SAFE
    display.stop()


def test_what_shows_is_reported_with_the_hash_of_the_frame_on_the_glass(bench: Any, display: Any) -> None:
    shown = bench.of(SHOWN)[0]
    assert shown.frame_sha256 == hashlib.sha256(bench.frame()).hexdigest()
    assert (shown.source, shown.item, shown.text) == (ShownSource.PLAYLIST, "item1", "One")
    assert bench.uploads == [bench.frame()]
    assert bench.steps[:2] == [SHOWN, "upload"]


def test_a_rotating_playlist_reports_each_item_once_and_uploads_it_once(bench: Any, display: Any) -> None:
    for _ in range(9):
        bench.pass_s(10)
        display.follower.turn()
    assert [shown.item for shown in bench.of(SHOWN)] == ["item1", "item2"]
    assert bench.uploads == [frame_of("One"), frame_of("Two")]


def test_an_override_shows_is_reported_and_ends_with_the_playlist(bench: Any, display: Any) -> None:
    one = bench.override("Halt", lease_s=30)
    display.override(bench.override_set(1, one))
    display.follower.turn()
    assert bench.frame() == frame_of("Halt")
    state = bench.of(STATE)[-1]
    assert (state.epoch, state.outcome, state.active) == (1, OverrideOutcome.APPLIED, [one.id])
    shown = bench.of(SHOWN)[-1]
    assert (shown.source, shown.item, shown.cls, shown.epoch) == (ShownSource.OVERRIDE, one.id, 6, 1)
    display.override(bench.override_set(2))
    display.follower.turn()
    assert bench.frame() == frame_of("One")
    assert bench.of(STATE)[-1].active == []
    assert bench.of(SHOWN)[-1].source is ShownSource.PLAYLIST


def test_the_set_is_on_disk_before_it_shows(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist("One"))
    display.follower.turn()
    seen: list[bool] = []
    player = display._player
    show = player.show
    player.show = lambda frame: (
        seen.append(b"Halt" in (bench.home / "overrides.json").read_bytes()),
        show(frame),
    )[1]
    display.override(bench.override_set(1, bench.override("Halt")))
    display.follower.turn()
    assert seen == [True]
    display.stop()


def test_the_highest_class_shows_then_priority_then_the_newest(bench: Any, display: Any) -> None:
    traffic = bench.override("Traffic", cls=5, priority=4)
    old = bench.override("Old", priority=2)
    bench.pass_s(1)
    new = bench.override("New", priority=2)
    display.override(bench.override_set(1, new, traffic, old))
    display.follower.turn()
    assert bench.frame() == frame_of("New")
    assert set(bench.of(STATE)[-1].active) == {traffic.id, old.id, new.id}


def test_an_override_ends_at_its_lease_without_the_hub(bench: Any, display: Any) -> None:
    one = bench.override("Halt", lease_s=30)
    display.override(bench.override_set(1, one))
    assert display.follower.turn() <= 30
    bench.pass_s(30)
    display.follower.turn()
    assert bench.frame() == frame_of("Two")
    state = bench.of(STATE)[-1]
    assert (state.outcome, state.active) == (OverrideOutcome.ENDED, [])
    assert "lease" in state.detail


def test_a_lower_epoch_changes_nothing_and_is_answered_with_the_present_state(
    bench: Any, display: Any
) -> None:
    kept = bench.override("Kept")
    display.override(bench.override_set(5, kept))
    display.follower.turn()
    display.override(bench.override_set(4, bench.override("Late")))
    display.follower.turn()
    assert bench.frame() == frame_of("Kept")
    first, answer = bench.of(STATE)
    assert (answer.epoch, answer.active) == (first.epoch, first.active) == (5, [kept.id])
    assert "not higher" in answer.detail


def test_an_illegible_override_is_refused_with_the_reason_and_the_rest_goes_on(
    bench: Any, display: Any
) -> None:
    good = bench.override("Halt", cls=5)
    long = bench.override("word " * 90)
    emoji = bench.override("Fire 🔥")
    display.override(bench.override_set(1, long, good, emoji))
    display.follower.turn()
    assert bench.frame() == frame_of("Halt")
    state = bench.of(STATE)[-1]
    assert (state.outcome, state.active) == (OverrideOutcome.REFUSED, [good.id])
    assert "lines do not fit" in state.refused[long.id]
    assert "U+1F525" in state.refused[emoji.id]


def test_what_had_expired_before_it_came_is_refused(bench: Any, display: Any) -> None:
    one = bench.override("Halt", expires_s=60)
    bench.pass_s(60)
    display.override(bench.override_set(1, one))
    display.follower.turn()
    assert "expired" in bench.of(STATE)[-1].refused[one.id]
    assert bench.of(SHOWN)[-1].source is ShownSource.PLAYLIST


def test_a_renewal_is_answered_but_shows_nothing_new(bench: Any, display: Any) -> None:
    one = bench.override("Halt")
    display.override(bench.override_set(1, one))
    display.follower.turn()
    display.override(bench.override_set(2, one))
    display.follower.turn()
    assert [state.epoch for state in bench.of(STATE)] == [1, 2]
    assert len(bench.of(SHOWN)) == 2


def test_an_override_survives_a_restart_of_the_agent(bench: Any, display: Any) -> None:
    one = bench.override("Halt", lease_s=60)
    display.override(bench.override_set(1, one))
    display.follower.turn()
    display.stop()
    bench.pass_s(30)
    again = bench.display()
    again.configure(bench.playlist("One"))
    again.follower.turn()
    assert bench.frame() == frame_of("Halt")
    bench.pass_s(30)
    again.follower.turn()
    assert bench.frame() == frame_of("One")
    again.stop()


def test_after_a_power_cut_an_override_waits_for_a_synced_clock_behind_the_playlist(
    bench: Any, display: Any
) -> None:
    display.override(bench.override_set(1, bench.override("Halt", lease_s=600)))
    display.follower.turn()
    display.stop()
    bench.mono_ms, bench.clock = 5_000, Clock.FLOOR
    again = bench.display(boot="boot-2")
    again.configure(bench.playlist("One"))
    assert again.follower.turn() <= 5
    assert bench.frame() == frame_of("One")
    bench.clock = Clock.SYNCED
    again.follower.turn()
    assert bench.frame() == frame_of("Halt")
    again.stop()


def test_a_set_that_comes_before_the_configuration_is_not_lost(bench: Any) -> None:
    display = bench.display()
    one = bench.override("Halt")
    display.override(bench.override_set(1, one))
    display.follower.turn()
    display.configure(bench.playlist("One"))
    display.follower.turn()
    assert bench.frame() == frame_of("Halt")
    assert bench.of(STATE)[-1].active == [one.id]
    display.stop()


def test_a_configuration_with_an_illegible_text_is_refused_by_its_path(bench: Any, display: Any) -> None:
    with pytest.raises(ConfigRefused) as refused:
        display.configure(bench.playlist("Fine", "word " * 90, safe=TextContent(text="🔥")))
    assert [path for path, _ in refused.value.errors] == ["safe.text", "playlist.1.content.text"]
    display.follower.turn()
    assert bench.frame() == frame_of("One")


def test_a_configuration_of_another_type_is_refused(display: Any) -> None:
    with pytest.raises(ConfigRefused, match="type display"):
        display.configure(CallboxConfig(type="callbox"))


def test_a_new_configuration_shows_at_the_next_turn(bench: Any, display: Any) -> None:
    display.configure(bench.playlist("Three", width=96, height=48))
    display.follower.turn()
    assert bench.frame() != frame_of("Three")
    assert display.info.model == "frame 96x48"
    assert bench.of(SHOWN)[-1].text == "Three"


def test_a_picture_shows_when_it_has_come(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist(bench.picture(Image.new("RGB", (10, 10), "red"), fit="cover")))
    display.follower.turn()
    assert bench.of(SHOWN)[-1].source is ShownSource.SAFE
    wait_for(lambda: display.follower.turn() and bench.of(SHOWN)[-1].source is ShownSource.PLAYLIST)
    assert not raised(bench)
    display.stop()


def raised(bench: Any) -> list[Any]:
    return [fault for fault in bench.of(FAULT) if fault.active]


def test_a_sign_that_shows_clears_once_what_an_agent_before_may_have_left_open(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist("One"))
    for _ in range(3):
        display.follower.turn()
    told = sorted((fault.fault, fault.active) for fault in bench.of(FAULT))
    assert told == [("content", False), ("illegible", False), ("player", False)]
    display.stop()


def test_a_broken_picture_raises_a_fault_that_a_good_configuration_clears(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist("One", bench.file(b"no picture")))
    display.follower.turn()
    bench.pass_s(10)
    wait_for(lambda: display.follower.turn() and raised(bench))
    fault = raised(bench)[-1]
    assert (fault.fault, fault.active) == ("content", True)
    assert "not a PNG or JPEG" in fault.detail
    assert bench.of(SHOWN)[-1].source is ShownSource.SAFE
    assert display.health().state is State.WARN
    display.configure(bench.playlist("One"))
    display.follower.turn()
    assert bench.of(FAULT)[-1].active is False
    assert display.health().state is State.OK
    display.stop()


def test_a_picture_of_an_override_is_neither_active_nor_refused_until_it_has_come(
    bench: Any, display: Any
) -> None:
    one = bench.override(bench.picture(Image.new("RGB", (10, 10), "red")))
    display.override(bench.override_set(1, one))
    display.follower.turn()
    first = bench.of(STATE)[0]
    wait_for(lambda: display.follower.turn() and bench.of(STATE)[-1].active == [one.id])
    assert (first.active, first.refused) == ([], {}) and "on their way" in first.detail
    assert bench.of(SHOWN)[-1].item == one.id


def test_a_picture_that_cannot_be_fetched_is_refused_and_tried_again(
    bench: Any, display: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prahari_agent.display.frames.FETCH_AGAIN_S", 0.05)
    bench.reachable = False
    one = bench.override(bench.picture(Image.new("RGB", (10, 10), "red")))
    display.override(bench.override_set(1, one))
    wait_for(lambda: display.follower.turn() and bench.of(STATE)[-1].refused)
    assert "the hub does not answer" in bench.of(STATE)[-1].refused[one.id]
    assert bench.frame() == frame_of("One")
    bench.reachable = True
    wait_for(lambda: display.follower.turn() and bench.of(STATE)[-1].active == [one.id])
    assert bench.of(STATE)[-1].outcome is OverrideOutcome.APPLIED


def test_a_frame_that_cannot_be_written_is_a_fault_until_it_can(bench: Any, display: Any) -> None:
    bench.home.rename(bench.home.with_name("away"))
    bench.pass_s(10)
    assert display.follower.turn() <= 1
    assert (bench.of(FAULT)[-1].fault, bench.of(FAULT)[-1].active) == ("player", True)
    assert display.health().state is State.FAIL
    bench.home.with_name("away").rename(bench.home)
    display.follower.turn()
    assert bench.frame() == frame_of("Two")
    assert bench.of(FAULT)[-1].active is False


def test_a_set_that_cannot_be_stored_is_refused_and_not_shown(bench: Any, display: Any) -> None:
    (bench.home / "overrides.json").mkdir()
    one = bench.override("Halt")
    display.override(bench.override_set(1, one))
    display.follower.turn()
    assert bench.frame() == frame_of("One")
    state = bench.of(STATE)[-1]
    assert "cannot store" in state.refused[one.id]
    assert (state.epoch, state.outcome) == (0, OverrideOutcome.REFUSED), "the hub says it again"


def test_a_cancelled_override_goes_although_the_disk_takes_nothing_and_the_hub_hears_the_old_epoch(
    bench: Any, display: Any
) -> None:
    one, two = bench.override("Halt"), bench.override("Accident")
    display.override(bench.override_set(1, one))
    display.follower.turn()
    assert bench.frame() == frame_of("Halt")
    away = bench.home / "away.json"
    (bench.home / "overrides.json").rename(away)
    (bench.home / "overrides.json").mkdir()
    display.override(bench.override_set(2, two))
    display.follower.turn()
    assert bench.frame() == frame_of("One")
    state = bench.of(STATE)[-1]
    assert (state.epoch, state.active, list(state.refused)) == (1, [], [two.id])
    (bench.home / "overrides.json").rmdir()
    display.override(bench.override_set(2, two))
    display.follower.turn()
    assert bench.frame() == frame_of("Accident")
    state = bench.of(STATE)[-1]
    assert (state.epoch, state.active, state.refused) == (2, [two.id], {})


def test_a_preview_is_drawn_and_uploaded_but_not_shown(bench: Any, display: Any) -> None:
    preview = display.commands()["display.preview"]
    result = preview({"peripheral": "sign1", "content": {"type": "text", "text": "आगे दुर्घटना"}})
    png = frame_of("आगे दुर्घटना")
    assert result == {
        "frame": {"sha256": hashlib.sha256(png).hexdigest(), "size": len(png)}, "width": 192, "height": 96,
    }  # fmt: skip
    assert bench.uploads[-1] == png
    assert bench.frame() == frame_of("One")


def test_a_preview_does_not_wait_for_a_slow_download(
    bench: Any, display: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prahari_agent.display.display.PREVIEW_WAIT_S", 0.2)
    here = threading.Event()
    picture = bench.picture(Image.new("RGB", (10, 10), "red"))
    fetch, bench.fetch = bench.fetch, lambda sha256, size: here.wait(20) and fetch(sha256, size)
    slow = bench.display()
    slow.configure(bench.playlist("One"))
    preview = slow.commands()["display.preview"]
    args = {"peripheral": "sign1", "content": picture.model_dump(mode="json")}
    with pytest.raises(Rejected, match="still being fetched"):
        preview(args)
    here.set()
    monkeypatch.setattr("prahari_agent.display.display.PREVIEW_WAIT_S", 20)
    assert preview(args)["width"] == 192
    slow.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param({"type": "text", "text": "word " * 90}, "lines do not fit", id="too long"),
        pytest.param({"type": "text"}, "arguments of the preview are wrong", id="no text"),
    ],
)
def test_a_preview_that_cannot_be_drawn_is_rejected(
    display: Any, content: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        display.commands()["display.preview"]({"peripheral": "sign1", "content": content})


def test_a_running_display_takes_over_at_once_and_stops(bench: Any) -> None:
    display = bench.display()
    display.configure(bench.playlist("One"))
    assert display.health().state is State.UNKNOWN
    display.start()
    wait_for(lambda: bench.of(SHOWN))
    display.override(bench.override_set(1, bench.override("Halt")))
    wait_for(lambda: bench.of(STATE))
    assert bench.frame() == frame_of("Halt")
    assert display.health().note.startswith("shows override")
    display.stop()
    assert display.follower.failures == 0
