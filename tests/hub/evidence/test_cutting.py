"""An exact cut: a film that decodes to the pictures of the interval, and to no other."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

av = pytest.importorskip("av")

import numpy as np  # noqa: E402
from prahari_hub.errors import Invalid, NotFound  # noqa: E402
from prahari_hub.evidence.cutting import Film  # noqa: E402
from prahari_hub.http.actor import Role  # noqa: E402

from .conftest import NOON, City  # noqa: E402

FPS = 10
START = NOON - timedelta(minutes=30)


def segment(first: int, count: int, *, size: tuple[int, int] = (64, 48), gop: int = 10) -> bytes:
    """Pictures ``first`` to ``first + count - 1``, each of a grey of its own, as the recorder writes them."""
    target = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(target, "w", format="mp4", options=options) as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": str(gop), "bf": "0", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(first, first + count):
            grey = np.full((size[1], size[0], 3), grey_of(number), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = number - first, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return target.getvalue()


def grey_of(number: int) -> int:
    return 20 + number % 60 * 3


def shown(path: Path) -> list[int]:
    """The pictures that a player shows, by their grey."""
    with av.open(str(path)) as film:
        greys = [float(frame.to_ndarray(format="gray").mean()) for frame in film.decode(video=0)]
    return [round((grey - 20) / 3) for grey in greys]


def cut(path: Path, start_ms: int, end_ms: int) -> list[int]:
    """Of six seconds in three segments."""
    film = Film(path, start_ms, end_ms)
    for number in range(3):
        film.add(number * 2000, segment(number * 20, 20))
    film.close()
    return shown(path)


@pytest.mark.parametrize(
    ("start_ms", "end_ms"),
    [(0, 6000), (1000, 5000), (550, 3250), (2000, 4000), (1900, 2100), (5500, 9000)],
    ids=["all", "key-frames", "between-key-frames", "one-segment", "over-a-seam", "beyond-the-end"],
)
def test_a_film_shows_the_pictures_of_the_interval_and_no_other(
    tmp_path: Path, start_ms: int, end_ms: int
) -> None:
    first, last = -(-start_ms * FPS // 1000), min(-(-end_ms * FPS // 1000), 60)
    assert cut(tmp_path / "film.mp4", start_ms, end_ms) == list(range(first, last))


def test_a_picture_that_changes_its_size_is_said(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4", 0, 4000)
    film.add(0, segment(0, 20))
    with pytest.raises(Invalid, match="changes its size"):
        film.add(2000, segment(20, 20, size=(32, 24)))


def test_an_interval_with_nothing_in_it_gives_no_film(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4", -5000, -1000)
    film.add(0, segment(0, 20))
    with pytest.raises(NotFound):
        film.close()


@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
async def test_the_film_of_a_sealed_request_is_fetched_and_noted(
    city: City, console: Callable[[Role], Any], tmp_path: Path
) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 60, content=lambda number: segment((number - 1) * 10, 100, gop=50))
    request = city.submit(START + timedelta(seconds=3), 0.1)
    await city.carry_out(request)
    operator, _ = await console(Role.OPERATOR)
    answer = await operator.get(f"/evidence/{request}/films/pune-cam-01/front")
    assert answer.status_code == 200
    (tmp_path / "film.mp4").write_bytes(answer.content)
    assert len(shown(tmp_path / "film.mp4")) == 60
    assert "film cut and downloaded" in (await operator.get(f"/evidence/{request}")).text
    assert (await operator.get(f"/evidence/{request}/films/pune-cam-01/rear")).status_code == 404
