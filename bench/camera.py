"""A camera process in real time: memory, share of a core, frames a second, milliseconds an inference.

``python -m bench.camera [CLIP [MANIFEST]]`` writes one JSON object; without a clip it looks at the drawn street with motion alone.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
from prahari_agent.camera.camera import Camera
from prahari_agent.hardware.simulated import SimulatedBoard
from prahari_agent.peripheral import Surroundings
from prahari_agent.street.clip import ensure_clip
from prahari_wire.base import Clock
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.envelope import Stamp

SETTLE_S, MEASURE_S = 8.0, 40.0
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
        secret=lambda peripheral: None,
    )


def measure(clip: Path, manifest: str | None, home: Path) -> dict[str, object]:
    region = Region(id="all", name="All", polygon=WHOLE, classes=["person", "motion"])
    camera = Camera("cam1", surroundings(home))
    camera.configure(CameraConfig(source=str(clip), model=manifest, regions=[region]))
    camera.start()
    try:
        time.sleep(SETTLE_S)
        process = psutil.Process(camera.pid)
        before, began_s, most_mb = sum(process.cpu_times()[:2]), time.monotonic(), 0.0
        while time.monotonic() - began_s < MEASURE_S:
            most_mb = max(most_mb, process.memory_info().rss / 2**20)
            time.sleep(0.5)
        share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began_s)
        return {
            "clip": clip.name,
            "machine": platform.platform(),
            "rss_mb": round(most_mb, 1),
            "core_percent": round(share * 100, 1),
            "load_1m": psutil.getloadavg()[0],
            "says": camera.health().note,
        }
    finally:
        camera.stop()


def main(clip: Path | None = None, manifest: str | None = None) -> None:
    """Without arguments: the drawn street with motion alone and, where the media are, a real clip with a real model."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        runs: list[tuple[Path, str | None]] = [(clip or ensure_clip(here / "street.mp4", 1), manifest)]
        real = Path(os.environ.get("PRAHARI_MEDIA", "")) / REAL_CLIP
        if clip is None and real.is_file():
            runs.append((real, str(REAL_MODEL)))
        print(json.dumps([measure(shown, model, here) for shown, model in runs], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, sys.argv[2] if len(sys.argv) > 2 else None)
