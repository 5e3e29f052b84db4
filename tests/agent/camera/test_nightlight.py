"""How bright it is by night: a median that moves slowly, and nothing where nobody can tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from av import VideoFrame
from prahari_agent.camera.content import Content
from prahari_agent.camera.nightlight import EVERY_S, LEAST_LOOKS, LONGEST_S, OVER_S, NightLight
from prahari_agent.camera.source import Frame

DUSK = datetime(2026, 1, 1, 13, tzinfo=UTC)


def watch(light: NightLight, begin_s: float, lasts_s: float, *levels: float) -> datetime:
    """Looks by night, taking these levels in turn; when it was over."""
    for number in range(int(lasts_s / EVERY_S)):
        time_s = begin_s + number * EVERY_S
        light.look(DUSK + timedelta(seconds=time_s), time_s, levels[number % len(levels)])
    return DUSK + timedelta(seconds=begin_s + lasts_s)


def test_head_lights_do_not_make_a_dark_street_bright() -> None:
    light = NightLight()
    assert light.value(watch(light, 0, 3 * 3600, 14.2, 14.4, 13.9, 120.0)) == 14


def test_a_thunderstorm_is_no_night() -> None:
    light = NightLight()
    assert light.value(watch(light, 0, (LEAST_LOOKS - 1) * EVERY_S, 20.0)) is None


def test_by_day_the_last_night_is_told_until_it_is_too_long_ago() -> None:
    light = NightLight()
    dawn = watch(light, 0, 10 * 3600, 20.0)
    assert light.value(dawn + timedelta(hours=12)) == 20
    assert light.value(dawn + timedelta(hours=37)) is None


def test_the_next_night_begins_anew_and_is_told_after_half_an_hour() -> None:
    light = NightLight()
    watch(light, 0, 10 * 3600, 20.0)
    evening_s = 10 * 3600 + OVER_S + 1
    assert light.value(watch(light, evening_s, 600, 40.0)) == 20
    assert light.value(watch(light, evening_s + 600, 3600, 40.0)) == 40


def test_what_is_dark_for_longer_than_a_night_is_a_covered_lens_or_indoors() -> None:
    light = NightLight()
    assert light.value(watch(light, 0, LONGEST_S + 60, 3.0)) is None


def test_the_last_night_outlives_a_restart_and_belongs_to_its_source(tmp_path: Path) -> None:
    path = tmp_path / "night.json"
    light = NightLight(path, "rtsp://10.0.0.5/sub")
    dawn = watch(light, 0, 3600, 20.0)
    light.save()
    assert NightLight(path, "rtsp://10.0.0.5/sub").value(dawn) == 20
    assert NightLight(path, "rtsp://10.0.0.6/sub").value(dawn) is None


@pytest.mark.parametrize(
    "kept",
    [b"", b"{}", b"[1]", b'{"source": "", "level": 20, "at": 7}', b'{"source": "", "level": 900, "at": "x"}'],
    ids=["empty", "nothing", "list", "no-time", "beyond"],
)
def test_a_broken_file_is_measured_anew(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "night.json"
    path.write_bytes(kept)
    assert NightLight(path).value(DUSK) is None


@cache
def street(level: float) -> np.ndarray:
    """A view whose parts are between nothing and four times as bright as their mean, ``level``."""
    drawn = np.zeros((180, 320), np.float32)
    drawn[:90, :160] = 2 * level
    drawn[90:, 160:] = 2 * level
    return np.clip(cv2.GaussianBlur(drawn, (0, 0), 1), 0, 255).astype(np.uint8)


def night_of(level: float, *, begins: float = 40.0, grey: bool = False) -> float | None:
    """What a camera says that sees dusk and then half an hour of night; every frame differs a little."""
    content = Content(frozen_after_s=1e6, signal_loss_after_s=60)
    time_s = 0.0
    for number in range(LEAST_LOOKS + 20):
        time_s = number * EVERY_S
        seen = street(begins if number < 10 else level)
        content.frame(DUSK + timedelta(seconds=time_s), time_s, seen, same=False, grey=lambda: grey)
    return content.night_light(DUSK + timedelta(seconds=time_s))


def test_a_camera_tells_how_bright_its_nights_are_and_a_street_without_a_lamp_counts() -> None:
    lit, dim, black = night_of(36), night_of(20), night_of(6)
    assert lit is not None and dim is not None and black is not None
    assert 30 <= lit <= 40 and 16 <= dim <= 24 and black < 12


def test_a_day_a_lens_covered_by_day_and_a_view_lit_by_infrared_say_nothing_of_the_night() -> None:
    assert night_of(120, begins=120) is None
    assert night_of(2, begins=120) is None
    assert night_of(36, grey=True) is None


def test_a_picture_without_colour_is_known_from_one_with_little() -> None:
    def frame(colour: tuple[int, int, int]) -> Frame:
        pixels = np.full((360, 640, 3), 30, np.uint8)
        pixels[100:200, 100:300] = 90
        pixels[220:260, 400:480] = colour
        return Frame(DUSK, 0.0, VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p"))

    assert frame((120, 120, 120)).is_grey()
    assert not frame((120, 90, 60)).is_grey()
