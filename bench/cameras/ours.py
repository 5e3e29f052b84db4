"""A camera as the agent runs it: the agent's side in this process, the pictures in a process of its own.

python -m bench.cameras.ours CLIP MANIFEST RESULT [record]
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.channel import Channel, Message
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.events import TRACK
from prahari_wire.recording import RecordingConfig
from prahari_wire.rules import LoiteringDetector, ObjectsInside, OccupancyCounter

from bench.camera import WHOLE, surroundings
from bench.cameras.film import FPS, LOOKED_FPS
from bench.cameras.players import peak_mb

START_S = 3.0
LIMIT_S = 300.0


class Watched(Camera):
    """A camera whose process is overheard."""

    def __init__(self, home: Path) -> None:
        super().__init__("cam1", surroundings(home))
        self.facts: list[Message] = []
        self.events: list[tuple[float, Message]] = []
        self.cpu_s: list[float] = []
        self.ended = threading.Event()

    def _heard(self, message: Message, blob: bytes, channel: Channel) -> None:
        now_s = time.time()
        super()._heard(message, blob, channel)
        if message["type"] == "event":
            self.events.append((now_s, message))
        if message["type"] == "facts" and not self.ended.is_set():
            self.facts.append({**message, "heard_s": now_s})
            self.cpu_s.append(self._spent_s())
            if message["ended"]:
                self.peak_mb = peak_mb(str(self.pid))
                self.ended.set()

    def _spent_s(self) -> float:
        """By this process and the camera's."""
        if (pid := self.pid) is None:
            return 0.0
        spent = psutil.Process(pid).cpu_times()
        return time.process_time() + float(spent.user + spent.system)

    @property
    def zero_s(self) -> float:
        """When the clip's first frame was due, by this machine's clock."""
        first = next(one for one in self.facts if one["frames"])
        return datetime.fromisoformat(first["frame_at"]).timestamp() - (int(first["frames"]) - 1) / LOOKED_FPS


def config(clip: Path, manifest: Path, *, record: bool) -> CameraConfig:
    """Persons anywhere; with ``record`` also three rules, and a recorder."""
    rules: list[Any] = [
        ObjectsInside(id="in", name="In", region=WHOLE, dwell_s=3),
        LoiteringDetector(id="stay", name="Stay", region=WHOLE, after_s=15),
        OccupancyCounter(id="crowd", name="Crowd", region=WHOLE, most=3),
    ]
    return CameraConfig(
        source=str(clip),
        model=str(manifest),
        loop=False,
        regions=[Region(id="all", name="All", polygon=WHOLE, classes=["person"])],
        rules=rules if record else [],
        recording=RecordingConfig(enabled=record),
    )


def play(clip: Path, manifest: Path, *, record: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        camera = Watched(Path(folder))
        camera.configure(config(clip, manifest, record=record))
        camera.start()
        try:
            if not camera.ended.wait(LIMIT_S):
                raise TimeoutError(f"the clip did not end: {camera.health().note}")
            time.sleep(1.0)
        finally:
            camera.stop()
    return result(camera)


def result(camera: Watched) -> dict[str, Any]:
    first, last, zero_s = camera.facts[0], camera.facts[-1], camera.zero_s
    warm = max(one["inferences"] for one in camera.facts if one["heard_s"] <= zero_s + START_S)
    return {
        "seconds": last["heard_s"] - first["heard_s"],
        "cpu_s": camera.cpu_s[-1] - camera.cpu_s[0],
        "rss_mb": camera.peak_mb,
        "inferences": last["inferences"] - warm,
        "at_start": warm,
        "detector_ms": last["detector_ms"],
        "frames": last["frames"],
        "dropped": last["dropped"],
        "told": told(camera, zero_s),
        "behind_ms": behind_ms(camera),
    }


def told(camera: Watched, zero_s: float) -> list[tuple[float, float, float]]:
    """Of every track the first and last frame that saw it and the frame at which it was told."""
    bodies = [event["body"] for _, event in camera.events if event["kind"] == TRACK]
    announced = {body["track"]: body["frame_at"] for body in bodies if body["phase"] == "started"}
    return [
        (
            frame(body["started_at"], zero_s),
            frame(body["ended_at"], zero_s),
            frame(announced[body["track"]], zero_s),
        )
        for body in bodies
        if body["phase"] == "ended"
    ]


def behind_ms(camera: Watched) -> list[float]:
    """From the moment of the frame that told a track to the agent's side having heard of it."""
    return [
        1000 * (heard_s - datetime.fromisoformat(event["body"]["frame_at"]).timestamp())
        for heard_s, event in camera.events
        if event["kind"] == TRACK and event["body"]["phase"] == "started"
    ]


def frame(at: str, zero_s: float) -> float:
    return (datetime.fromisoformat(at).timestamp() - zero_s) * FPS


def main() -> None:
    clip, manifest, out = (Path(given) for given in sys.argv[1:4])
    out.write_text(json.dumps(play(clip, manifest, record="record" in sys.argv[4:])))


if __name__ == "__main__":
    main()
