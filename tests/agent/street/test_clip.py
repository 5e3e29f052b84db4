from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from prahari_agent.errors import SetupError
from prahari_agent.street.clip import ensure_clip
from prahari_agent.street.scenes import SCENES
from prahari_agent.street.traffic import passages
from prahari_agent.street.truth import read
from prahari_agent.street.writer import truth_path


@pytest.fixture
def clip(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The one that tests of the camera look at."""
    return made_once("clip", lambda folder: ensure_clip(folder / "street.mp4", seed=1)) / "street.mp4"


def test_the_clip_is_h264_of_the_promised_size_and_length(clip: Path) -> None:
    scenario = passages(1)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (scenario.view.width, scenario.view.height)
        assert sum(1 for _ in container.decode(stream)) == scenario.frames


def test_the_truth_lies_beside_the_clip_a_line_a_frame(clip: Path) -> None:
    truths = list(read(truth_path(clip)))
    assert [truth.number for truth in truths] == list(range(passages(1).frames))
    assert {one.id for truth in truths for one in truth.seen} == set(range(1, 8))


def test_the_same_seed_gives_the_same_file(clip: Path, tmp_path: Path) -> None:
    again = ensure_clip(tmp_path / "again.mp4", seed=1)
    assert again.read_bytes() == clip.read_bytes()
    assert truth_path(again).read_bytes() == truth_path(clip).read_bytes()


def test_a_clip_that_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"mine")
    assert ensure_clip(path, seed=1).read_bytes() == b"mine"


def test_a_place_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SetupError, match="cannot be written"):
        ensure_clip(tmp_path / "file" / "clip.mp4", seed=1)


def test_every_scene_is_long_enough_to_happen_and_its_ids_are_its_own() -> None:
    for name, make in SCENES.items():
        scenario = make(1)
        ids = [actor.id for actor in scenario.actors]
        assert len(set(ids)) == len(ids), name
        assert scenario.length_s >= 36
        assert all(fault.to_s <= scenario.length_s for fault in scenario.faults)
