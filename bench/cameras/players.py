"""The peers that are written here, each a process that plays a clip in real time and says what it cost and saw.

python -m bench.cameras.players KIND CLIP MANIFEST RESULT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from prahari_agent.camera.boxes import Detection
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import load_model
from prahari_agent.camera.tracker import Tracker

from bench.cameras.film import FPS, LOOKED_FPS

STEP = round(FPS / LOOKED_FPS)
CONTINUE = 0.6
INVOCATIONS = 150
_GATE_ROWS, _MOTION_ROWS = 100, 180
_LEVEL, _LEAST_SHARE = 25, 0.0012

Picture = NDArray[np.uint8]


class Playing:
    """The clip's pictures when they are due, every second one; CPU and time are counted from the first on."""

    def __init__(self, clip: Path, *, key_frames: bool = False) -> None:
        self._clip, self._key_frames = clip, key_frames
        self.began_s = self.began_cpu_s = 0.0

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        with av.open(str(self._clip)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            first_s: float | None = None
            for packet in container.demux(stream):
                if self._key_frames and packet.size and not packet.is_keyframe:
                    continue
                for image in packet.decode():
                    stamp_s = float(image.time or 0.0)
                    if first_s is None:
                        first_s, self.began_s, self.began_cpu_s = (
                            stamp_s,
                            time.monotonic(),
                            time.process_time(),
                        )
                    time.sleep(max(0.0, self.began_s + stamp_s - first_s - time.monotonic()))
                    number = round((stamp_s - first_s) * FPS)
                    if number % STEP == 0:
                        yield number, image

    def cost(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began_s
        return {"seconds": seconds, "cpu_s": time.process_time() - self.began_cpu_s, "rss_mb": peak_mb()}


def peak_mb(process: str = "self") -> float:
    """The most memory that a process has held."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


class Shrunk:
    """Pictures as brightness at a given height."""

    def __init__(self, rows: int) -> None:
        self._rows, self._by = rows, VideoReformatter()

    def __call__(self, image: VideoFrame) -> Picture:
        columns = round(self._rows * image.width / image.height / 2) * 2
        return cast("Picture", self._by.reformat(image, columns, self._rows, "gray").to_ndarray())


class Average:
    """The least motion gate there is: the picture differs from its moving average."""

    def __init__(self) -> None:
        self._shrink = Shrunk(_GATE_ROWS)
        self._average: NDArray[np.float32] | None = None

    def __call__(self, image: VideoFrame) -> bool:
        luma = cast("Picture", cv2.GaussianBlur(self._shrink(image), (5, 5), 0))
        if self._average is None:
            self._average = luma.astype(np.float32)
        changed = cv2.absdiff(luma, cv2.convertScaleAbs(self._average)) > _LEVEL
        cv2.accumulateWeighted(luma, self._average, 0.02)
        return bool(np.count_nonzero(changed) >= _LEAST_SHARE * changed.size)


class Mixture:
    """OpenCV's MOG2 with its defaults, its specks removed."""

    def __init__(self) -> None:
        self._shrink = Shrunk(_MOTION_ROWS)
        self._mog = cv2.createBackgroundSubtractorMOG2()

    def __call__(self, image: VideoFrame) -> bool:
        mask = self._mog.apply(self._shrink(image))
        sure = cv2.medianBlur(cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1], 3)
        return bool(cv2.countNonZero(sure) >= _LEAST_SHARE * sure.size)


class Looker:
    """The model on a whole frame, and the agent's tracker behind it."""

    def __init__(self, detector: Detector) -> None:
        self._detector, self._colour = detector, VideoReformatter()
        self._tracker = Tracker(threshold=detector.manifest.threshold)
        self._told: dict[str, tuple[float, float, float]] = {}
        self.scores: dict[int, float] = {}

    def look(self, number: int, image: VideoFrame) -> None:
        width, height = self._detector.width, self._detector.height
        scaled = self._colour.reformat(image, width, height, "rgb24", interpolation=Interpolation.AREA)
        found = self._detector.detect(cast("Picture", scaled.to_ndarray()))
        persons = [one for one in found if one.label == "person"]
        self.scores[number] = max((one.score for one in persons), default=0.0)
        least = CONTINUE * self._detector.manifest.threshold("person")
        self._follow(number, [one for one in persons if one.score >= least])

    def skip(self, number: int) -> None:
        """A frame that the gate closed: to the tracker it is empty."""
        self._follow(number, [])

    def _follow(self, number: int, found: list[Detection]) -> None:
        self._tracker.update(found, datetime.fromtimestamp(number / FPS, UTC), number / FPS)
        for track in self._tracker.live:
            if track.confirmed:
                announced = self._told[track.id][2] if track.id in self._told else number
                self._told[track.id] = track.started_at.timestamp() * FPS, track.seen_s * FPS, announced

    def result(self) -> dict[str, Any]:
        return {"told": list(self._told.values()), "inferences": len(self.scores), "scores": self.scores}


def decode(clip: Path, _manifest: Path, *, key_frames: bool = False) -> dict[str, Any]:
    playing = Playing(clip, key_frames=key_frames)
    for _ in playing.frames():
        pass
    return playing.cost()


def gate(clip: Path, _manifest: Path) -> dict[str, Any]:
    playing, motion = Playing(clip), Average()
    opened = sum(motion(image) for _, image in playing.frames())
    return {**playing.cost(), "opened": opened}


def each(clip: Path, manifest: Path) -> dict[str, Any]:
    playing, looker = Playing(clip), Looker(Detector(load_model(manifest)))
    for number, image in playing.frames():
        looker.look(number, image)
    return {**playing.cost(), **looker.result()}


def mog2(clip: Path, manifest: Path) -> dict[str, Any]:
    playing, motion, looker = Playing(clip), Mixture(), Looker(Detector(load_model(manifest)))
    for number, image in playing.frames():
        if motion(image):
            looker.look(number, image)
        else:
            looker.skip(number)
    return {**playing.cost(), **looker.result()}


def infer(_clip: Path, manifest: Path) -> dict[str, Any]:
    """The model alone, as fast as it goes, on grey noise."""
    detector = Detector(load_model(manifest))
    noise = np.random.default_rng(1).integers(0, 255, (detector.height, detector.width, 3), np.uint8)
    began_s = time.process_time()
    for _ in range(INVOCATIONS):
        detector.detect(noise)
    return {"ms": 1000 * (time.process_time() - began_s) / INVOCATIONS, "n": INVOCATIONS, "rss_mb": peak_mb()}


KINDS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "each": each,
    "mog2": mog2,
    "decode": decode,
    "gate": gate,
    "keys": lambda clip, manifest: decode(clip, manifest, key_frames=True),
    "infer": infer,
}


def main() -> None:
    kind, clip, manifest, result = sys.argv[1:]
    cv2.setNumThreads(1)
    Path(result).write_text(json.dumps(KINDS[kind](Path(clip), Path(manifest))))


if __name__ == "__main__":
    main()
