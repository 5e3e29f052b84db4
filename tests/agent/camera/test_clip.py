from __future__ import annotations

from pathlib import Path

import av
import pytest
from prahari_agent.camera.clip import FPS, LENGTH_S, ensure_clip
from prahari_agent.camera.scene import Scene
from prahari_agent.errors import SetupError


def test_the_clip_is_h264_of_the_promised_size_and_length(clip: Path) -> None:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (640, 360)
        assert sum(1 for _ in container.decode(stream)) == FPS * LENGTH_S


def test_the_same_seed_gives_the_same_file(clip: Path, tmp_path: Path) -> None:
    assert ensure_clip(tmp_path / "again.mp4", seed=1).read_bytes() == clip.read_bytes()


def test_another_seed_gives_another_street() -> None:
    assert (Scene(1).frame(0.0) != Scene(2).frame(0.0)).any()


def test_a_clip_that_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"mine")
    assert ensure_clip(path, seed=1).read_bytes() == b"mine"


def test_a_place_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be written"):
        ensure_clip(tmp_path / "file" / "clip.mp4", seed=1)
