"""Videos of many kinds, drawn here, and a tape: a recorder that is fed a video on a clock of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.video.frame import VideoFrame
from prahari_agent.camera.recorder.daybook import days_in
from prahari_agent.camera.recorder.journal import JOURNAL, whole_lines
from prahari_agent.camera.recorder.recorder import Recorder
from prahari_wire.base import Clock as Quality
from prahari_wire.evidence import Segment
from prahari_wire.recording import GapCause

NOON_S = 1795348800.0
"""A UTC noon: 2026-11-22 12:00."""


@dataclasses.dataclass
class Video:
    """What ``draw`` makes; ``gop`` in pictures."""

    codec: str = "libx264"
    width: int = 160
    height: int = 96
    fps: int = 10
    seconds: float = 8
    gop: int = 10
    b_frames: int = 0
    audio: bool = False


def draw(path: Path, video: Video) -> Path:
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "threads": "1"}
        if video.codec == "libx265":
            options["x265-params"] = (
                f"log-level=none:pools=1:frame-threads=1:keyint={video.gop}:min-keyint={video.gop}:bframes=0"
            )
        stream: Any = container.add_stream(video.codec, rate=video.fps, options=options)
        stream.width, stream.height = video.width, video.height
        stream.pix_fmt = "yuvj420p" if video.codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = video.gop
        stream.codec_context.max_b_frames = video.b_frames
        sound: Any = container.add_stream("aac", rate=16000, layout="mono") if video.audio else None
        for number in range(int(video.fps * video.seconds)):
            picture = np.full((video.height, video.width, 3), 60, np.uint8)
            x = number * 3 % (video.width - 20)
            picture[20:60, x : x + 20] = (number * 7 % 200, 200, 90)
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="bgr24")))
            if sound is not None:
                silence = AudioFrame.from_ndarray(
                    np.zeros((1, 1600), np.float32), format="fltp", layout="mono"
                )
                silence.sample_rate = 16000
                container.mux(sound.encode(silence))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


@pytest.fixture(name="draw")
def _draw(tmp_path: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """draw(name, **changes of Video) → the file; one like another is drawn once a run."""

    def copied(name: str = "v.mp4", **changes: Any) -> Path:
        video, kind = Video(**changes), Path(name).suffix
        known_by = hashlib.sha256(repr((kind, video)).encode()).hexdigest()[:16]
        drawn = made_once(f"video-{known_by}", lambda folder: draw(folder / f"v{kind}", video))
        return shutil.copyfile(drawn / f"v{kind}", tmp_path / name)

    return copied


def journal_lines(folder: Path) -> list[dict[str, Any]]:
    """What the journals of a camera's footage say, in order; ValueError where one is damaged."""
    return [json.loads(raw) for day in days_in(folder) for raw in whole_lines(folder / day / JOURNAL)[0]]


class Tape:
    """``feed`` plays a video into the recorder; the clock goes as the video does. ``stop`` waits until all is written."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_s: float = 2,
        boot: str = "boot-1",
        at_s: float = NOON_S,
        device: str = "pune-cam-01",
    ) -> None:
        self.folder, self.mono_s = folder, 1000.0
        self.offset_s, self.quality = at_s - self.mono_s, Quality.SYNCED
        self.told: list[dict[str, Any]] = []
        self.recorder = Recorder(
            folder, device=device, camera="cam1", segment_s=segment_s, clock=self, boot=boot,
            tell=self.told.append, mono_s=lambda: self.mono_s,
        )  # fmt: skip
        self.recorder.start()

    def feed(
        self,
        path: Path,
        *,
        change: Callable[[int, Packet[Any]], Packet[Any] | None] = lambda _number, packet: packet,
        each: Callable[[int], None] = lambda _number: None,
    ) -> None:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            self.recorder.opened(stream)
            rate = float(stream.average_rate or 10)
            for number, packet in enumerate(p for p in container.demux(stream) if p.size):
                each(number)
                self.mono_s += 1 / rate
                if (changed := change(number, packet)) is not None:
                    self.recorder.packet(changed)
            self.recorder.lost()

    def stop(self, cause: GapCause = GapCause.MAINTENANCE) -> None:
        self.recorder.stop(cause)
        assert not self.recorder._thread.is_alive()

    # What lies on the disk

    def lines(self) -> list[dict[str, Any]]:
        return journal_lines(self.folder)

    def segments(self) -> list[Segment]:
        return [
            Segment.model_validate_json(json.dumps(line["segment"]))
            for line in self.lines()
            if "segment" in line
        ]

    def marks(self) -> list[str]:
        """begin, the causes of gaps, end:cause, a letter S for each segment."""
        found = []
        for line in self.lines():
            if "segment" in line:
                found.append("S")
            elif "begin" in line:
                found.append("begin")
            else:
                found.append(("end:" if "end" in line else "") + line["cause"])
        return found

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*/[0-9]*.mp4"))


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[Callable[..., Tape]]:
    made: list[Tape] = []

    def make(**how: Any) -> Tape:
        made.append(Tape(tmp_path / "footage", **how))
        return made[-1]

    yield make
    for one in made:
        if one.recorder._thread.is_alive():
            one.recorder.stop(GapCause.MAINTENANCE)


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def shape_of(path: Path) -> tuple[str, int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.width, context.height
