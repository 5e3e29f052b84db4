"""A camera process in real time: memory, share of a core, frames a second, milliseconds an inference.

    python -m bench.camera [CLIP [MANIFEST]] [--short]

Without a clip: the drawn street with motion alone and, where PRAHARI_MEDIA has them, a real clip with a real model.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
from prahari_agent.camera.camera import Camera
from prahari_agent.hardware.simulated import SimulatedBoard
from prahari_agent.peripheral import Surroundings
from prahari_agent.street.clip import ensure_clip
from prahari_wire.base import Clock
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.envelope import Stamp

from bench.results import Results

SETTLE_S, MEASURE_S, SHORT_S = 6.0, 15.0, 6.0
MOST_MB = 130
REAL_CLIP = "one-by-one-person-detection.mp4"
REAL_MODEL = Path(__file__).parent.parent / "tests" / "data" / "models" / "ssd_mobilenet_v1_coco.toml"
WHOLE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


def surroundings(home: Path) -> Surroundings:
    return Surroundings(
        device="bench",
        home=home,
        board=SimulatedBoard(),
        emit=lambda kind, body, *, peripheral=None, stamp=None: 0,
        upload=lambda data, content_type: "0" * 64,
        fetch=lambda sha256, size: home / sha256,
        stamp=lambda: Stamp(at=datetime.now(UTC), mono_ms=time.monotonic_ns() // 10**6, clock=Clock.SYNCED),
        undisputed=lambda: True,
        secret=lambda peripheral: None,
    )


def measure(results: Results, clip: Path, manifest: str | None, home: Path, seconds: float) -> None:
    region = Region(id="all", name="All", polygon=WHOLE, classes=["person", "motion"])
    camera = Camera("cam1", surroundings(home))
    camera.configure(CameraConfig(source=str(clip), model=manifest, regions=[region]))
    camera.start()
    try:
        time.sleep(SETTLE_S)
        process = psutil.Process(camera.pid)
        before, began_s, most_mb = sum(process.cpu_times()[:2]), time.monotonic(), 0.0
        while time.monotonic() - began_s < seconds:
            most_mb = max(most_mb, process.memory_info().rss / 1e6)
            time.sleep(0.5)
        share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began_s)
        says = camera.health().note
    finally:
        camera.stop()
    what = f"camera process, {clip.name}, {Path(manifest).stem if manifest else 'motion alone'}, for {seconds:.0f} s"
    measured = f"{most_mb:.0f} MB (resident), {share * 100:.1f} % of a core; it says: {says}"
    results.row(what, measured, aim=f"≤ {MOST_MB} MB", met=most_mb <= MOST_MB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("manifest", nargs="?")
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    seconds = SHORT_S if given.short else MEASURE_S
    results = Results("camera")
    try:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            runs = [(given.clip or ensure_clip(here / "street.mp4", 1), given.manifest)]
            real = Path(os.environ.get("PRAHARI_MEDIA", "")) / REAL_CLIP
            if given.clip is None and real.is_file():
                runs.append((real, str(REAL_MODEL)))
            for clip, manifest in runs:
                results.take(clip.name, partial(measure, results, clip, manifest, here, seconds))
    finally:
        results.print()


if __name__ == "__main__":
    main()
