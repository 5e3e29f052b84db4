"""The spine's figures: ready, press to incident, override to frame, memory.

    python -m bench.spine [--short]

Runs the demo's own site on shifted ports in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from prahari_provisioning.demo.processes import installed
from prahari_provisioning.demo.run import Demo

from bench import place
from bench.results import Results, percentiles, spread

PRESSES, OVERRIDES = 18, 40
SHORT_PRESSES, SHORT_OVERRIDES = 5, 8
BETWEEN_PRESSES_S = 3.1
"""A call box tells presses that follow each other within three seconds together."""
POLL_S = 0.001
SETTLE_S = 10


def until(done: Callable[[], bool]) -> float:
    return place.until(done, "a press or an override to arrive", within_s=15, every_s=POLL_S)


def press_to_incident(demo: Demo, presses: int) -> list[float]:
    """From the moment at which the box stamped the press to the incident's commit, seen by a second reader of the database.

    Box and hub share this machine's clock here. Each incident is resolved again, so that the next press opens one.
    """
    database = sqlite3.connect(f"file:{demo.home / 'hub' / 'hub.db'}?mode=ro", uri=True, isolation_level=None)
    found = []
    with demo.api() as api:
        for _ in range(presses):
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


def override_to_frame(demo: Demo, overrides: int) -> list[float]:
    """From the API call to the new frame on the display's disk."""
    frame = next((demo.agent_home("pune-vms-01")).rglob("frame.png"))
    found = []
    with demo.api() as api:
        for number in range(overrides):
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


def most_mb(program: str) -> float | None:
    """How much memory this program may take."""
    if program.endswith("> camera"):
        return 130.0
    return None if ">" in program else 160.0 if program == "hub" else 75.0


def measure(home: Path, results: Results, presses: int, overrides: int) -> None:
    demo = Demo(home)
    try:
        results.row("demo ready, first start, which also draws its clip", f"{ready_s(demo)} s (n = 1)")
        demo.stop()
        demo.stopping = False
        again_s = ready_s(demo)
        results.row("demo ready, second start", f"{again_s} s (n = 1)", aim="≤ 15 s", met=again_s <= 15)
        time.sleep(SETTLE_S)
        for name, used_mb in memory(demo).items():
            most = most_mb(name)
            aim, met = ("", None) if most is None else (f"≤ {most:.0f} MB", used_mb <= most)
            results.row(f"memory (resident) of {name}", f"{used_mb} MB", aim=aim, met=met)
        results.take("presses", lambda: pressed(demo, results, presses))
        results.take("overrides", lambda: overridden(demo, results, overrides))
    finally:
        demo.stop()


def pressed(demo: Demo, results: Results, presses: int) -> None:
    took = percentiles(press_to_incident(demo, presses))
    what = "press stamped by the box → incident committed, as a second reader of the database sees it"
    results.row(what, spread(took), aim="p99 ≤ 100 ms", met=took["p99_ms"] <= 100)


def overridden(demo: Demo, results: Results, overrides: int) -> None:
    took = percentiles(override_to_frame(demo, overrides))
    what = "override by the API → frame on the display's disk"
    results.row(what, spread(took), aim="p99 ≤ 300 ms", met=took["p99_ms"] <= 300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    presses, overrides = (SHORT_PRESSES, SHORT_OVERRIDES) if short else (PRESSES, OVERRIDES)
    os.environ.setdefault("PRAHARI_PORT_OFFSET", str(random.randint(11_000, 22_000)))
    results = Results("spine")
    try:
        with tempfile.TemporaryDirectory(prefix="prahari-bench-") as folder:
            results.take("the demo", lambda: measure(Path(folder), results, presses, overrides))
    finally:
        results.print()


if __name__ == "__main__":
    main()
