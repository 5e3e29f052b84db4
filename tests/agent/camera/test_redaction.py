"""A copy with persons hidden: drawn on the box from what was recorded, told with its originals, uploaded."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from prahari_agent.camera.boxes import Box
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.redaction import Drawn, draw, held, work_of
from prahari_agent.errors import Rejected
from prahari_wire.base import Clock
from prahari_wire.camera import CameraConfig
from prahari_wire.envelope import Stamp
from prahari_wire.events import REDACTED
from prahari_wire.ids import ulid
from prahari_wire.owner import Owner
from prahari_wire.recording import RecordingConfig

from tests.agent.camera.recorder.conftest import journal_lines

BLANK = np.zeros((4, 4, 3), np.uint8)
ONE = Box(0.1, 0.1, 0.2, 0.3)


def chequered(path: Path, seconds: float = 2) -> Path:
    """A film of fine squares, in which hiding shows."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out:
        stream: Any = out.add_stream("libx264", rate=10, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 400, 300, "yuv420p"
        stream.codec_context.gop_size = 10
        squares = np.indices((300, 400)).sum(axis=0) // 2 % 2 * 200 + 20
        for _ in range(int(seconds * 10)):
            picture = np.repeat(squares[:, :, None], 3, axis=2).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())
    return path


def contrast(film: Path | bytes) -> list[tuple[float, float]]:
    """Of each frame, (within the person's box, in the lower right corner)."""
    source = io.BytesIO(film) if isinstance(film, bytes) else str(film)
    with av.open(source) as container:
        greys = [image.to_ndarray(format="gray") for image in container.decode(video=0)]
    return [(float(grey[60:130, 110:210].std()), float(grey[230:290, 320:390].std())) for grey in greys]


def order(clip: Path, target: Path, model: Path | None) -> dict[str, Any]:
    return {
        "segments": [[str(clip), 1_000_000], [str(clip), 1_002_000]], "start_ms": 1_000_500, "end_ms": 1_003_500,
        "model": str(model) if model else None, "target": str(target),
    }  # fmt: skip


def test_persons_are_hidden_and_the_rest_is_not_and_the_film_has_the_asked_time(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    target = tmp_path / "film.mp4"
    tally = draw(work_of(order(chequered(tmp_path / "clip.mp4"), target, write_model())))
    assert (tally.frames, tally.whole, tally.hidden, tally.model) == (30, 0, 30, "tiny")
    seen = contrast(target)
    assert len(seen) == 30
    assert all(inside < 25 < 60 < outside for inside, outside in seen)
    with av.open(str(target)) as container:
        assert not container.streams.audio
        assert container.duration == pytest.approx(3_000_000, abs=150_000)


@pytest.mark.parametrize("labels", [None, "???\ntree\ntv\n"], ids=["no-model", "knows-no-persons"])
def test_where_nothing_can_tell_persons_all_of_the_picture_is_hidden(
    tmp_path: Path, write_model: Callable[..., Path], labels: str | None
) -> None:
    target = tmp_path / "film.mp4"
    model = write_model(labels=labels) if labels else None
    tally = draw(work_of(order(chequered(tmp_path / "clip.mp4"), target, model)))
    assert (tally.frames, tally.whole, tally.model) == (30, 30, None)
    assert all(inside < 25 and outside < 25 for inside, outside in contrast(target))


def test_who_is_missed_in_a_frame_is_hidden_by_the_frames_around_it() -> None:
    boxes: list[list[Box] | None] = [[], [ONE], [], [], [], [], [], [], [], [], [], []]
    frames = [Drawn(number * 100, BLANK, found) for number, found in enumerate(boxes)]
    hidden = [bool(found) for _, found in held(iter(frames))]
    assert hidden == [True] * 8 + [False] * 4
    frames[11] = dataclasses.replace(frames[11], boxes=None)
    assert [found is None for _, found in held(iter(frames))] == [False] * 5 + [True] * 7


@pytest.fixture
def recorded(kept: Any, tmp_path: Path) -> Iterator[Callable[..., Camera]]:
    """recorded(**config): a camera that has recorded some seconds, its surroundings taking films."""
    films: list[Camera] = []

    def upload(data: bytes, content_type: str) -> str:
        kept.said.append((content_type, data))
        return hashlib.sha256(data).hexdigest()

    def start(**config: Any) -> Camera:
        around = dataclasses.replace(
            kept.surroundings(), upload=upload, stamp=lambda: Stamp(at=datetime.now(UTC), mono_ms=1, clock=Clock.SYNCED)
        )  # fmt: skip
        camera = Camera("cam1", around)
        recording = RecordingConfig(enabled=True, segment_s=2, max_mb=50)
        clip = chequered(tmp_path / "long.mp4", 4)
        camera.configure(CameraConfig(source=str(clip), fps=1, recording=recording, **config))
        camera.start()
        films.append(camera)
        return camera

    yield start
    for camera in films:
        camera.stop()


def first_segment(folder: Path) -> dict[str, Any] | None:
    lines = journal_lines(folder)
    return next((line["segment"] for line in lines if "segment" in line), None)


def asked(camera: Camera, segment: dict[str, Any], **more: str) -> dict[str, Any]:
    start = datetime.fromtimestamp(segment["start_ms"] / 1000, UTC)
    args = {
        "peripheral": "cam1", "copy_id": ulid(),
        "start": start.isoformat(), "end": (start + timedelta(seconds=1)).isoformat(),
    }  # fmt: skip
    return camera.commands()["recording.redact"](args | more)


def test_a_copy_by_command_is_told_with_its_originals_and_uploaded_after_its_event(
    recorded: Callable[..., Camera],
    kept: Any,
    write_model: Callable[..., Path],
    eventually: Callable[..., Any],
) -> None:
    camera = recorded(model=str(write_model()))
    segment = eventually(lambda: first_segment(kept.home / "footage"), within_s=40)
    assert asked(camera, segment)["segments"] >= 1
    told = eventually(lambda: kept.all(REDACTED), within_s=60)[0]
    film = eventually(lambda: kept.all("video/mp4"), within_s=20)[0]
    assert told.detail is None
    assert told.film.sha256 == hashlib.sha256(film).hexdigest()
    assert told.segments[0] == segment["sha256"]
    assert (told.model, told.whole) == ("tiny", 0)
    assert all(inside < 25 for inside, _ in contrast(film))
    assert kept.said.index((REDACTED, told)) < kept.said.index(("video/mp4", film))
    with pytest.raises(Rejected, match="at most two minutes"):
        asked(camera, segment, end=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with pytest.raises(Rejected, match="no footage of that time"):
        long_ago = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-01T00:01:00Z"}
        asked(camera, segment, **long_ago)
    camera._terms.owner = Owner(name="Joshi Jewellers", contact="020")
    with pytest.raises(Rejected, match="events only"):
        asked(camera, segment)
