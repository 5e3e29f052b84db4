"""What is left undecoded does not spoil what is decoded later."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from prahari_agent.camera.decoding import Decoding
from prahari_agent.camera.drowse import KEYS
from prahari_agent.camera.source import Address, Source

FPS, GOP, SECONDS = 10, 10, 14


@pytest.fixture(scope="module", params=[0, 2], ids=["no B-frames", "B-frames"])
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quiet picture with grain, a key frame each second."""
    path = tmp_path_factory.mktemp("video") / "quiet.mp4"
    grain = np.random.default_rng(1)
    wall = grain.integers(60, 190, (12, 20, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "bf": str(request.param), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 200, 120, "yuv420p"
        stream.codec_context.gop_size = GOP
        for _ in range(FPS * SECONDS):
            noisy = np.clip(wall + grain.normal(0, 2, wall.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(VideoFrame.from_ndarray(noisy, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def pictures(video: Path, idle: Callable[[float], bool]) -> dict[int, bytes]:
    """Each decoded picture by its stamp; ``idle`` is asked at each packet's second."""
    at = 0.0
    found = {}
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        decoding = Decoding(stream, idle=lambda: idle(at), mark=lambda _on: None)
        for number, packet in enumerate(container.demux(stream)):
            at = number / FPS
            found |= {
                int(image.pts or 0): image.to_ndarray().tobytes() for image in decoding.pictures(packet)
            }
    return found


@pytest.mark.parametrize("wakes_s", [9.0, 9.3, 9.9])
def test_after_a_rest_every_picture_is_what_it_would_have_been(video: Path, wakes_s: float) -> None:
    every = pictures(video, lambda at_s: False)
    some = pictures(video, lambda at_s: at_s < wakes_s)
    assert len(every) == FPS * SECONDS
    assert some.items() <= every.items()
    stamps = sorted(every)
    late = set(stamps[round(wakes_s * FPS) + 3 :])
    assert late <= some.keys()
    assert len(some) <= len(every) - 2 * GOP


def test_an_idle_source_gives_a_picture_a_second_and_says_that_it_rested(video: Path) -> None:
    """With B-frames a decoder holds a key frame back until another packet comes."""
    source = Source(Address.of(str(video)), fps=5, loop=False, realtime=False, idle=lambda: True)
    shown = list(source.frames())
    begin_s = shown[0].time_s
    resting = [frame for frame in shown if frame.rested]
    assert resting
    assert all(frame.time_s - begin_s >= KEYS for frame in resting)
    gaps = [b.time_s - a.time_s for a, b in pairwise(shown)]
    assert max(gaps) <= 2.1
    assert len(shown) < 0.8 * 5 * SECONDS
