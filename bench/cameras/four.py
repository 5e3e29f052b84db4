"""Four cameras at once: the agent's camera processes on one machine, each on a drawn street of its own in real time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.cameras.ours import Watched, config
from bench.results import Results

CAMERAS, SECONDS, SHORT_S = 4, 60.0, 15.0


def take(results: Results, clips: Sequence[Path], manifest: Path, folder: Path, seconds: float) -> None:
    """Frames that were dropped at the queue, from the first that each looked at; and what the four take of the memory together."""
    cameras = []
    try:
        for number in range(CAMERAS):
            camera = Watched(folder / f"home{number}")
            wanted = config(clips[number % len(clips)], manifest, record=True)
            camera.configure(wanted.model_copy(update={"loop": True}))
            camera.start()
            cameras.append(camera)
        time.sleep(seconds)
        spent = sum(sum(psutil.Process(camera.pid).cpu_times()[:2]) for camera in cameras if camera.pid)
        memory = [proportional_mb(camera.pid) for camera in cameras if camera.pid]
        last = [camera.facts[-1] for camera in cameras if camera.facts]
    finally:
        for camera in cameras:
            camera.stop()
    frames, dropped = sum(one["frames"] for one in last), sum(one["dropped"] for one in last)
    fps = ", ".join(str(one["fps"]) for one in last)
    what = f"{CAMERAS} cameras with recorder and rules on {psutil.cpu_count()} cores, {seconds:.0f} s, {manifest.stem}"
    measured = f"{dropped} of {frames + dropped} frames dropped; {fps} frames a second; {spent:.1f} s of CPU, starts included"
    results.row(what, measured, aim="no frame dropped at 5 fps", met=dropped == 0 and len(last) == CAMERAS)
    shares = ", ".join(f"{mb:.0f}" for mb in memory)
    results.row(
        "memory of the four together, what they share counted once", f"{sum(memory):.0f} MB ({shares})"
    )


def proportional_mb(pid: int) -> float:
    """Its own pages, and of those that it shares with others its part (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:"))
