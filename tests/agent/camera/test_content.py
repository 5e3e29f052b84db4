from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prahari_agent.camera.content import GOOD_FRAMES, Content
from prahari_wire.camera import CameraFault, ContentFault

START = datetime(2026, 1, 1, tzinfo=UTC)


def make(*active: CameraFault) -> Content:
    return Content(frozen_after_s=10, signal_loss_after_s=5, active=active)


def frames(content: Content, same: list[bool], begin_s: float = 0.0) -> list[CameraFault]:
    changes = []
    for number, is_same in enumerate(same):
        time_s = begin_s + number * 0.2
        changes += content.frame(START + timedelta(seconds=time_s), time_s, same=is_same)
    return changes


def test_single_duplicates_as_in_good_video_are_no_fault() -> None:
    assert not frames(make(), [number % 9 == 0 for number in range(500)])


def test_the_same_picture_for_long_is_frozen_once_since_it_began() -> None:
    (fault,) = frames(make(), [False] * 5 + [True] * 100)
    assert (fault.fault, fault.active) == (ContentFault.FROZEN, True)
    assert fault.since == START + timedelta(seconds=0.8)


def test_a_living_picture_clears_frozen_with_its_beginning() -> None:
    content = make()
    raised, cleared = frames(content, [True] * 60 + [False] * 5)
    assert (cleared.fault, cleared.active, cleared.since) == (ContentFault.FROZEN, False, raised.since)
    assert not content.active


def test_silence_is_signal_loss_once_and_says_what_the_source_says() -> None:
    content = make()
    assert not content.silence(START, 4.9, "refused")
    (fault,) = content.silence(START, 5.1, "refused")
    assert (fault.fault, fault.active, fault.detail) == (ContentFault.SIGNAL_LOSS, True, "refused")
    assert fault.since == START - timedelta(seconds=5.1)
    assert not content.silence(START, 60, "refused")


def test_a_few_frames_clear_signal_loss() -> None:
    content = make()
    content.silence(START, 6, None)
    changes = frames(content, [False] * GOOD_FRAMES)
    assert [(change.fault, change.active) for change in changes] == [(ContentFault.SIGNAL_LOSS, False)]


def test_one_frame_between_silences_does_not_flap() -> None:
    content = make()
    content.silence(START, 6, None)
    assert not frames(content, [False])
    assert not content.silence(START, 6, None)
    assert not frames(content, [False] * (GOOD_FRAMES - 1))


def test_a_fault_told_before_a_restart_is_not_told_again_but_cleared() -> None:
    told = CameraFault(fault=ContentFault.SIGNAL_LOSS, active=True, since=START)
    content = make(told)
    assert not content.silence(START, 60, None)
    (cleared,) = frames(content, [False] * GOOD_FRAMES)
    assert (cleared.active, cleared.since) == (False, START)
