"""Debian's motion on the same clip: it reads the file in real time as a network camera.

python -m bench.cameras.peer_motion CLIP MANIFEST RESULT
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench.cameras.film import FPS, LOOKED_FPS
from bench.cameras.players import peak_mb

PROGRAM = "motion"
EVENT_GAP_S = 2
"""The shortest that ends an event and is still longer than what passes between two steps of who walks."""
CONFIG = """
daemon off
setup_mode off
log_level 6
target_dir {folder}
netcam_url file://{clip}
width 768
height 432
framerate {fps:.0f}
minimum_motion_frames 3
event_gap {gap}
pre_capture 0
post_capture 0
picture_output off
movie_output off
webcontrol_port 0
stream_port 0
on_event_start echo start $(date +%%s.%%N) >> {folder}/events
on_event_end echo end $(date +%%s.%%N) >> {folder}/events
"""
LIMIT_S = 300.0
LOOK_S = 0.1


def play(clip: Path) -> dict[str, Any]:
    """motion holds an event for EVENT_GAP_S after the last motion: that is taken off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = {"folder": folder, "clip": clip, "fps": LOOKED_FPS, "gap": EVENT_GAP_S}
        (folder / "motion.conf").write_text(CONFIG.format(**values))
        log = (folder / "log").open("w")
        command = [PROGRAM, "-n", "-c", str(folder / "motion.conf")]
        with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
            found = watch(process, folder / "log")
        events = folder / "events"
        lines = [line.split() for line in events.read_text().splitlines()] if events.exists() else []
    starts = [(float(at) - found["zero_s"]) * FPS for word, at in lines if word == "start"]
    ends = [(float(at) - found["zero_s"] - EVENT_GAP_S) * FPS for word, at in lines if word == "end"]
    ends += [found["seconds"] * FPS] * (len(starts) - len(ends))
    told = [(start, end, start) for start, end in zip(starts, ends, strict=True)]
    return {**found, "inferences": 0, "told": told}


def watch(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """From its connection to the file's end, seen by its log; it is ended then, for it would begin anew."""
    spent, most_mb, cpu_s, zero_s = psutil.Process(process.pid), 0.0, 0.0, None
    began_s = begun_cpu_s = 0.0
    try:
        while time.monotonic() < (began_s or time.monotonic()) + LIMIT_S and process.poll() is None:
            said = log.read_text()
            if zero_s is None and "connected" in said:
                zero_s, began_s = time.time(), time.monotonic()
                begun_cpu_s = sum(spent.cpu_times())
            if ended(said):
                break
            most_mb = max(most_mb, peak_mb(str(process.pid)))
            cpu_s = sum(spent.cpu_times())
            time.sleep(LOOK_S)
    finally:
        process.terminate()
    if zero_s is None:
        raise RuntimeError(f"motion did not read the clip: {log.read_text()[-200:]}")
    return {
        "zero_s": zero_s,
        "seconds": time.monotonic() - began_s,
        "cpu_s": cpu_s - begun_cpu_s,
        "rss_mb": most_mb,
    }


def ended(said: str) -> bool:
    """The file is at its end, or motion opens it anew."""
    return "Thread exiting" in said or said.count("connected") > 1 or "lost" in said.lower()


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


def main() -> None:
    clip, _, out = (Path(given) for given in sys.argv[1:4])
    out.write_text(json.dumps(play(clip)))


if __name__ == "__main__":
    main()
