"""What recording adds to the reading of a stream: share of a core, by packets that come as fast as the recorder takes them.

    python -m bench.recording [CLIP…] [--short]

Without a clip: the real clip where PRAHARI_MEDIA has it, else the drawn street. Reading alone and reading with recording take turns; the
figure is the difference of their medians over the length of the video.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import av
from prahari_agent.camera.recorder.recorder import Recorder
from prahari_agent.street.clip import ensure_clip
from prahari_wire.base import Clock as Quality
from prahari_wire.recording import GapCause

from bench.results import Results

ROUNDS, SHORT_ROUNDS = 7, 3
VIDEO_S = 600.0
"""Each reading plays a clip so often that start and end weigh little."""
BREATH = 200
"""So many packets at a time, then a moment for the recorder's thread: its queue is bounded by bytes."""
MOST_PERCENT = 0.05
REAL_CLIP = "one-by-one-person-detection.mp4"


class StreamClock:
    """Goes as the video does."""

    offset_s, quality = 1_795_348_800.0, Quality.SYNCED

    def __init__(self) -> None:
        self.mono_s = 0.0


def cpu_percent(clip: Path, folder: Path | None) -> float:
    """Processor time as a share of the video's length; recorded to ``folder`` where there is one."""
    clock, video_s, recorder = StreamClock(), 0.0, None
    began_s = time.process_time()
    if folder is not None:
        recorder = Recorder(
            folder, device="bench", camera="cam1", segment_s=10, clock=clock, boot="bench",
            tell=lambda _message: None, mono_s=lambda: clock.mono_s,
        )  # fmt: skip
        recorder.start()
    while video_s < VIDEO_S:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            step_s = 1 / float(stream.average_rate or 25)
            if recorder is not None:
                recorder.opened(stream)
            for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
                video_s += step_s
                clock.mono_s += step_s
                if recorder is not None:
                    recorder.packet(packet)
                    if number % BREATH == 0:
                        time.sleep(0.02)
            if recorder is not None:
                recorder.lost()
    if recorder is not None:
        recorder.stop(GapCause.MAINTENANCE)
    return 100 * (time.process_time() - began_s) / video_s


def measure(results: Results, clip: Path, rounds: int) -> None:
    alone, with_recording = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            alone.append(cpu_percent(clip, None))
            with_recording.append(cpu_percent(clip, Path(folder) / str(number)))
    added = statistics.median(with_recording) - statistics.median(alone)
    spread = f"{min(with_recording):.3f} to {max(with_recording):.3f}"
    measured = f"{added:.3f} % of a core (reading alone {statistics.median(alone):.3f}, with recording {spread}, {rounds} rounds each)"
    results.row(f"recording, {clip.name}", measured, aim=f"≤ {MOST_PERCENT} %", met=added <= MOST_PERCENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    results = Results("recording")
    try:
        with tempfile.TemporaryDirectory() as folder:
            real = Path(os.environ.get("PRAHARI_MEDIA", "")) / REAL_CLIP
            default = real if real.is_file() else ensure_clip(Path(folder) / "street.mp4", seed=1)
            rounds = SHORT_ROUNDS if given.short else ROUNDS
            for clip in given.clips or [default]:
                results.take(clip.name, partial(measure, results, clip, rounds))
    finally:
        results.print()


if __name__ == "__main__":
    main()
