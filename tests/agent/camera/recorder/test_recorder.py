"""The recorder lays down whatever a camera sends, packet by packet, and says in words of its journal what it could not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet
from prahari_wire.base import Clock as Quality
from prahari_wire.evidence import genesis, link
from prahari_wire.recording import GapCause

from tests.agent.camera.recorder.conftest import NOON_S, Tape, frames_in, shape_of

MakeTape = Callable[..., Tape]
Draw = Callable[..., Path]


def total(tape: Tape) -> int:
    return sum(frames_in(path) for path in tape.files())


@pytest.mark.parametrize(
    ("video", "pictures"),
    [
        pytest.param({}, 80, id="h264"),
        pytest.param({"codec": "libx265"}, 80, id="h265"),
        pytest.param({"b_frames": 3}, 80, id="b-frames"),
        pytest.param({"fps": 1, "gop": 2, "seconds": 20}, 20, id="1-fps"),
        pytest.param({"fps": 60, "gop": 60, "seconds": 5}, 300, id="60-fps"),
        pytest.param({"audio": True}, 80, id="with-sound"),
        pytest.param({"codec": "mjpeg"}, 80, id="mjpeg"),
    ],
)
def test_every_picture_of_every_kind_of_stream_is_in_the_segments(
    tape: MakeTape, draw: Draw, video: dict[str, Any], pictures: int
):
    one = tape()
    one.feed(draw("v.mkv" if video.get("codec") == "mjpeg" else "v.mp4", **video))
    one.stop()
    assert total(one) == pictures
    assert len(one.files()) >= 2
    assert [segment.position for segment in one.segments()] == list(range(1, len(one.files()) + 1))


def held_up(one: Tape, first: int, last: int) -> Callable[[int], None]:
    """Pictures ``first`` to ``last`` come together, when the last of them is due; ten a second."""

    def each(number: int) -> None:
        if number == first:
            one.mono_s += (last - first) / 10
        elif first < number <= last:
            one.mono_s -= 0.1

    return each


def test_pictures_that_a_camera_sends_at_once_when_it_is_connected_begin_when_the_first_was_taken(
    tape: MakeTape, draw: Draw
):
    """It keeps the last key frame and what came since, two seconds here."""
    one = tape()
    one.feed(draw(), each=held_up(one, 0, 19))
    one.stop()
    assert one.segments()[0].start_ms == pytest.approx((NOON_S + 0.1) * 1000, abs=1)


def test_pictures_that_a_network_held_up_do_not_begin_late(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw(), each=held_up(one, 40, 58))
    one.stop()
    segments = one.segments()
    assert [segment.duration_ms for segment in segments] == [2000, 2000, 2000, 2000]
    assert [after.start_ms - before.end_ms for before, after in pairwise(segments)] == [0, 0, 0]


def test_jitter_moves_no_begin(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw(), each=held_up(one, 0, 1))
    one.stop()
    assert one.segments()[0].start_ms == pytest.approx((NOON_S + 0.2) * 1000, abs=1)


def test_segments_follow_each_other_without_holes_from_the_time_of_the_first_packet(
    tape: MakeTape, draw: Draw
):
    one = tape()
    one.feed(draw())
    one.stop()
    segments = one.segments()
    assert segments[0].start_ms == pytest.approx((NOON_S + 0.1) * 1000, abs=1)
    assert [segment.duration_ms for segment in segments] == [2000, 2000, 2000, 2000]
    assert [after.start_ms - before.end_ms for before, after in pairwise(segments)] == [0, 0, 0]
    assert {(one.codec, one.width, one.height, one.clock) for one in segments} == {
        ("h264", 160, 96, Quality.SYNCED)
    }
    assert one.marks() == ["begin", "S", "S", "S", "S", "end:maintenance"]


def test_hashes_and_chain_are_those_of_the_bytes_on_the_disk(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw())
    one.stop()
    found = genesis("pune-cam-01", "cam1", "2026-11-22")
    for line, segment, path in zip(
        [line for line in one.lines() if "segment" in line], one.segments(), one.files(), strict=True
    ):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == segment.sha256
        assert path.stat().st_size == segment.size
        found = link(found, segment)
        assert line["hash"] == found


def test_sound_is_not_recorded(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw(audio=True))
    one.stop()
    for path in one.files():
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_a_second_start_goes_on_in_the_same_chain(tape: MakeTape, draw: Draw):
    video = draw()
    first = tape()
    first.feed(video)
    first.stop()
    second = tape(at_s=NOON_S + 60)
    second.feed(video)
    second.stop()
    assert [segment.position for segment in second.segments()] == list(range(1, 9))
    found = genesis("pune-cam-01", "cam1", "2026-11-22")
    for segment in second.segments():
        found = link(found, segment)
    assert [line["hash"] for line in second.lines() if "segment" in line][-1] == found


def test_pictures_without_stamps_are_placed_by_their_order(tape: MakeTape, draw: Draw):
    def without(number: int, packet: Packet[Any]) -> Packet[Any]:
        if number % 3:
            packet.pts = packet.dts = None
        return packet

    one = tape()
    one.feed(draw(), change=without)
    one.stop()
    assert total(one) == 80
    assert sum(segment.duration_ms for segment in one.segments()) == pytest.approx(8000, abs=500)


def test_stamps_that_jump_back_or_far_ahead_begin_a_new_segment_and_lose_no_key_frame(
    tape: MakeTape, draw: Draw
):
    def leap(number: int, packet: Packet[Any]) -> Packet[Any]:
        if number >= 50:
            shift = int(-300 / packet.time_base) if number < 65 else int(10_000 / packet.time_base)
            packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or 0) + shift
        return packet

    one = tape()
    one.feed(draw(), change=leap)
    one.stop()
    assert total(one) == 75, "five pictures between a leap and the next key frame belong to nothing"
    assert all(segment.duration_ms <= 3000 for segment in one.segments())


def test_a_stream_that_begins_between_key_frames_is_recorded_from_the_first_key_frame(
    tape: MakeTape, draw: Draw
):
    one = tape()
    one.feed(draw(), change=lambda number, packet: packet if number >= 4 else None)
    one.stop()
    assert total(one) == 70


def test_a_change_of_resolution_begins_a_segment_that_says_so(tape: MakeTape, draw: Draw):
    one = tape(segment_s=60)
    one.feed(draw("small.h264", seconds=3))
    one.feed(draw("large.h264", seconds=3, width=320, height=192))
    one.stop()
    assert [shape_of(path) for path in one.files()] == [("h264", 160, 96), ("h264", 320, 192)]
    assert [(one.width, one.height) for one in one.segments()] == [(160, 96), (320, 192)]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_change_of_resolution_within_one_stream_is_seen_in_its_key_frames(
    tape: MakeTape, draw: Draw, tmp_path: Path, codec: str
):
    ending = {"libx264": "h264", "libx265": "hevc"}[codec]
    small = draw(f"small.{ending}", codec=codec, seconds=3)
    large = draw(f"large.{ending}", codec=codec, seconds=3, width=320, height=192)
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    one = tape(segment_s=60)
    one.feed(joined)
    one.stop()
    assert [shape_of(path)[1:] for path in one.files()] == [(160, 96), (320, 192)]
    assert [(one.width, one.height) for one in one.segments()] == [(160, 96), (320, 192)]
    assert total(one) == 60


def test_the_day_ends_at_midnight_and_a_new_chain_begins(tape: MakeTape, draw: Draw):
    one = tape(segment_s=60, at_s=NOON_S + 43200 - 4)
    one.feed(draw())
    one.stop()
    assert [path.parent.name for path in one.files()] == ["2026-11-22", "2026-11-23"]
    assert [segment.position for segment in one.segments()] == [1, 1]
    assert total(one) == 80


@pytest.mark.parametrize(("step_s", "marks"), [(3600, ["S", "clock", "S"]), (-3600, ["S", "S"])])
def test_a_clock_that_is_set_ends_the_segment_and_leaves_its_mark(
    tape: MakeTape, draw: Draw, step_s: int, marks: list[str]
):
    one = tape(segment_s=60)

    def at(number: int) -> None:
        if number == 35:
            one.offset_s += step_s
            one.quality = Quality.UNSYNCED

    one.feed(draw(), each=at)
    one.stop()
    assert one.marks() == ["begin", *marks, "end:maintenance"]
    before, after = one.segments()
    assert after.start_ms - before.end_ms == pytest.approx(step_s * 1000, abs=1100)
    assert (before.clock, after.clock) == (Quality.SYNCED, Quality.UNSYNCED)


def test_silence_of_the_camera_is_a_gap_of_the_signal_from_the_last_footage_on(
    tape: MakeTape, draw: Draw, eventually: Callable[..., Any]
):
    video = draw()
    one = tape()
    one.feed(video)
    eventually(lambda: len(one.segments()) == 4)
    one.mono_s += 30
    eventually(lambda: "signal" in one.marks())
    one.feed(video)
    one.stop()
    assert one.marks() == ["begin", *"SSSS", "signal", *"SSSS", "end:maintenance"]
    gap = next(line for line in one.lines() if "gap" in line)
    assert gap["gap"] == one.segments()[3].end_ms


def test_a_codec_that_mp4_does_not_take_is_said(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw("v.avi", codec="rawvideo"))
    one.stop()
    assert one.files() == []
    assert "H.264 or H.265" in one.recorder.facts()["problem"]


def test_corrupt_packets_are_recorded_as_they_came(tape: MakeTape, draw: Draw):
    def corrupt(number: int, packet: Packet[Any]) -> Packet[Any]:
        if number not in (13, 44):
            return packet
        data = bytearray(bytes(packet))
        data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
        changed: Packet[Any] = Packet(bytes(data))
        changed.stream, changed.time_base = packet.stream, packet.time_base
        changed.pts, changed.dts, changed.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
        return changed

    one = tape()
    one.feed(draw(), change=corrupt)
    one.stop()
    assert len(one.segments()) == 4


def test_what_the_disk_cannot_take_in_time_is_dropped_up_to_the_next_key_frame_and_said(
    tape: MakeTape, draw: Draw, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("prahari_agent.camera.recorder.recorder.MOST_PENDING", 0)
    one = tape()
    one.feed(draw())
    one.stop()
    assert one.files() == []
    assert one.recorder.facts()["dropped"] == 80


def test_a_stop_for_whatever_cause_is_written(tape: MakeTape, draw: Draw):
    one = tape()
    one.feed(draw())
    one.stop(GapCause.FAULT)
    assert one.marks()[-1] == "end:fault"
