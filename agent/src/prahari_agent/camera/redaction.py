"""Draws a copy of footage in which persons are hidden. A process of its own: one JSON object in, one out.

    in    {"segments": [[path, start_ms]…], "start_ms", "end_ms", "model": manifest or null, "target": path of the film}
    out   {"frames", "whole", "hidden", "model"} or {"problem": one sentence}

A person is hidden where the model sees one, however weakly, in this frame or in any within HOLD_S before and after it: a detector
blinks, and one clear frame shows a face. Where nothing can tell persons, all of the picture is.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
from av.video.frame import VideoFrame

from prahari_agent.camera.boxes import Box
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import ModelRefused, load_model
from prahari_agent.camera.pipeline import HIDE_SCORE, PERSON
from prahari_agent.camera.redact import Pixels, hide_in

HOLD_S = 0.6
MOST_ROWS = 540
FILM_BITS = 88_000_000
"""Of a whole film, so that it fits into one upload."""
MOST_BIT_RATE = 1_500_000
BASE = Fraction(1, 1000)


@dataclass
class Drawn:
    """A frame that waits until those after it have been looked at. ``boxes`` None: nothing could tell persons."""

    at_ms: int
    pixels: Pixels
    boxes: list[Box] | None


@dataclass
class Tally:
    frames: int = 0
    whole: int = 0
    hidden: int = 0
    model: str | None = None


@dataclass
class Work:
    segments: list[tuple[Path, int]]
    start_ms: int
    end_ms: int
    target: Path
    detector: Detector | None
    tally: Tally = field(default_factory=Tally)


def work_of(order: Mapping[str, Any]) -> Work:
    try:
        detector = Detector(load_model(Path(order["model"]))) if order["model"] else None
    except ModelRefused:
        detector = None
    if detector is not None and PERSON not in detector.model.labels:
        detector = None
    segments = [(Path(path), int(start_ms)) for path, start_ms in order["segments"]]
    work = Work(segments, int(order["start_ms"]), int(order["end_ms"]), Path(order["target"]), detector)
    work.tally.model = detector.manifest.name if detector else None
    return work


def draw(work: Work) -> Tally:
    """Write the film; ValueError where no picture lies in the interval."""
    seconds = (work.end_ms - work.start_ms) / 1000
    with av.open(str(work.target), "w", format="mp4", options={"movflags": "+faststart"}) as out:
        stream: Any = None
        for drawn, boxes in held(looked_at(work)):
            picture = finished(drawn, boxes, work.tally)
            if stream is None:
                stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "threads": "1"})
                stream.height, stream.width = picture.shape[0], picture.shape[1]
                stream.pix_fmt, stream.time_base = "yuv420p", BASE
                stream.codec_context.time_base = BASE
                stream.bit_rate = int(min(MOST_BIT_RATE, FILM_BITS / max(1.0, seconds)))
            if picture.shape[:2] != (stream.height, stream.width):
                picture = cv2.resize(picture, (stream.width, stream.height))  # type: ignore[assignment]
            frame = VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = drawn.at_ms - work.start_ms, BASE
            out.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("no picture of the footage lies in that time")
        out.mux(stream.encode())
    return work.tally


def looked_at(work: Work) -> Iterator[Drawn]:
    """Each frame of the interval with what the model sees in it; times only grow."""
    last_ms = -1
    for at_ms, image in frames(work):
        if not work.start_ms <= at_ms < work.end_ms or at_ms <= last_ms:
            continue
        last_ms = at_ms
        yield Drawn(at_ms, scaled(image), persons(image, work.detector))


def frames(work: Work) -> Iterator[tuple[int, VideoFrame]]:
    """(Unix milliseconds, picture) of every segment."""
    for path, start_ms in work.segments:
        with av.open(str(path)) as container:
            first: float | None = None
            for image in container.decode(video=0):
                stamp_s = float(image.time or 0)
                first = stamp_s if first is None else first
                yield start_ms + round((stamp_s - first) * 1000), image


def scaled(image: VideoFrame) -> Pixels:
    rows = min(MOST_ROWS, image.height) // 2 * 2
    columns = max(2, round(rows * image.width / image.height / 2) * 2)
    return cast("Pixels", image.reformat(columns, rows, "bgr24").to_ndarray())


def persons(image: VideoFrame, detector: Detector | None) -> list[Box] | None:
    """Where the model sees persons; None without one, and where there may be more things than it can name."""
    if detector is None:
        return None
    found = detector.detect(
        cast("Pixels", image.reformat(detector.width, detector.height, "rgb24").to_ndarray())
    )
    if sum(one.score >= HIDE_SCORE for one in found) >= detector.most_detections:
        return None
    return [one.box for one in found if one.label == PERSON and one.score >= HIDE_SCORE]


def held(looked: Iterator[Drawn]) -> Iterator[tuple[Drawn, list[Box] | None]]:
    """Each frame with the boxes of all frames within HOLD_S of it; None where one of them hides everything."""
    window: deque[Drawn] = deque()
    place = 0
    hold_ms = HOLD_S * 1000
    for drawn in looked:
        window.append(drawn)
        while place < len(window) and window[place].at_ms + hold_ms < drawn.at_ms:
            yield window[place], _union(window, window[place].at_ms, hold_ms)
            place += 1
            while window[0].at_ms < window[place].at_ms - hold_ms:
                window.popleft()
                place -= 1
    for index in range(place, len(window)):
        yield window[index], _union(window, window[index].at_ms, hold_ms)


def _union(window: deque[Drawn], at_ms: int, hold_ms: float) -> list[Box] | None:
    near = [one.boxes for one in window if abs(one.at_ms - at_ms) <= hold_ms]
    if any(boxes is None for boxes in near):
        return None
    return [box for boxes in near if boxes for box in boxes]


def finished(drawn: Drawn, boxes: list[Box] | None, tally: Tally) -> Pixels:
    tally.frames += 1
    tally.whole += boxes is None
    tally.hidden += len(drawn.boxes or []) if boxes is not None else 0
    hide_in(drawn.pixels, boxes or [], whole=boxes is None)
    return drawn.pixels


def main() -> None:
    cv2.setNumThreads(1)
    order = json.loads(sys.stdin.read())
    try:
        said: dict[str, Any] = vars(draw(work_of(order)))
    except (ValueError, OSError, av.error.FFmpegError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        said = {"problem": f"the copy cannot be drawn: {problem}"}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
