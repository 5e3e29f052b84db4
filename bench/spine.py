"""The spine's figures: ready, press to incident, override to frame, memory.

Runs the demo's own site on shifted ports in a temporary folder and writes one JSON object to stdout.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from prahari_provisioning.demo.processes import installed
from prahari_provisioning.demo.run import Demo

PRESSES = 40
OVERRIDES = 60
BETWEEN_PRESSES_S = 3.1
"""A call box tells presses that follow each other within three seconds together."""
POLL_S = 0.001
SETTLE_S = 15


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: p50, p99 and the largest."""
    ordered = sorted(seconds)
    at99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {
        "n": len(ordered),
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p99_ms": round(at99 * 1000, 1),
        "max_ms": round(ordered[-1] * 1000, 1),
    }


def until(done: Callable[[], bool], timeout_s: float = 15) -> float:
    """Seconds until ``done``; RuntimeError after ``timeout_s``."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > timeout_s:
            raise RuntimeError("waited too long: the figure cannot be measured")
        time.sleep(POLL_S)
    return time.monotonic() - started


def press_to_incident(demo: Demo) -> list[float]:
    """From the moment at which the box stamped the press to the incident's commit, seen by a second reader of the database.

    Box and hub share this machine's clock here. Each incident is resolved again, so that the next press opens one.
    """
    database = sqlite3.connect(f"file:{demo.home / 'hub' / 'hub.db'}?mode=ro", uri=True, isolation_level=None)
    found = []
    with demo.api() as api:
        for _ in range(PRESSES):
            count = incident_count(database)
            pressing = subprocess.Popen(
                [installed("prahari-agent"), "press", "--home", str(demo.agent_home("pune-ecb-01"))],
                stdout=subprocess.DEVNULL,
            )
            until(lambda count=count: incident_count(database) > count)
            committed = time.time()
            pressing.wait()
            found.append(committed - pressed_at(database))
            resolve_all(api)
            time.sleep(BETWEEN_PRESSES_S + random.uniform(0.05, 0.3))
    database.close()
    return found


def incident_count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM incidents WHERE kind = 'callbox.press'").fetchone()[0])


def pressed_at(database: sqlite3.Connection) -> float:
    """Unix time of the newest press by the box's stamp."""
    row = database.execute(
        "SELECT (julianday(at) - 2440587.5) * 86400 FROM events WHERE kind = 'callbox.press' ORDER BY id DESC LIMIT 1"
    )
    return float(row.fetchone()[0])


def resolve_all(api: httpx.Client) -> None:
    for incident in api.get("/incidents", params={"state": "open"}).json()["items"]:
        if incident["kind"] == "callbox.press":
            answer = api.post(f"/incidents/{incident['id']}/resolve", json={"comment": "measured"})
            answer.raise_for_status()


def override_to_frame(demo: Demo) -> list[float]:
    """From the API call to the new frame on the display's disk."""
    frame = next((demo.agent_home("pune-vms-01")).rglob("frame.png"))
    found = []
    with demo.api() as api:
        for number in range(OVERRIDES):
            before = frame.stat().st_mtime_ns
            body = {
                "display": "pune-vms-01:sign1",
                "class": 6,
                "reason": "bench",
                "minutes": 5,
                "content": {"type": "text", "text": f"ROAD CLOSED {number}"},
            }
            started = time.monotonic()
            made = api.post("/overrides", json=body)
            made.raise_for_status()
            until(lambda before=before: frame.stat().st_mtime_ns > before)
            found.append(time.monotonic() - started)
            shown = frame.stat().st_mtime_ns
            api.delete(f"/overrides/{made.json()['id']}").raise_for_status()
            until(lambda shown=shown: frame.stat().st_mtime_ns > shown)
    return found


def memory(demo: Demo) -> dict[str, float]:
    """Resident memory in MB of each program, and of the processes that it started."""
    found = {}
    for program in demo.programs:
        parent = psutil.Process(program.process.pid)
        found[program.name] = megabytes(parent)
        for child in parent.children(recursive=True):
            found[f"{program.name} > {label(child)}"] = megabytes(child)
    return found


def label(process: psutil.Process) -> str:
    words = process.cmdline()
    return "camera" if "prahari_agent.camera" in " ".join(words) else process.name()


def megabytes(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 1e6, 1)


def ready_s(demo: Demo) -> float:
    started = time.monotonic()
    demo.start()
    return round(time.monotonic() - started, 1)


def measure(home: Path, results: dict[str, Any]) -> None:
    """Fill ``results`` one figure after the other, so that what was measured is kept when a later one fails."""
    demo = Demo(home)
    try:
        results["first_start_s"] = ready_s(demo)
        demo.stop()
        demo.stopping = False
        results["ready_s"] = ready_s(demo)
        time.sleep(SETTLE_S)
        results["memory_mb"] = memory(demo)
        results["press_to_incident"] = percentiles(press_to_incident(demo))
        results["override_to_frame"] = percentiles(override_to_frame(demo))
        results["memory_after_mb"] = memory(demo)
    finally:
        demo.stop()


def main() -> None:
    os.environ.setdefault("PRAHARI_PORT_OFFSET", str(random.randint(11_000, 22_000)))
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stop the demo and print what there is
    try:
        with tempfile.TemporaryDirectory(prefix="prahari-bench-") as folder:
            measure(Path(folder), results)
    finally:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
