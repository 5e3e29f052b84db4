"""``make bench``: every figure of docs/performance.md that a command can take, in about fifty minutes on a quiet machine.

    python -m bench [NAME ...] [--short] [--no-docs] [--within-min MINUTES]

Each name is a module here, run as a process of its own that hands on rows for a table. What a part has measured is kept in
.prahari/bench/NAME.json also when it fails or is stopped; the others go on. A full run writes the tables into docs/performance.md
after each part, so that a run that is broken off leaves what it has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench import known, report
from bench.results import LOOP_US, RESULT, machine, say

KEPT = Path(".prahari/bench")
PAGE = Path("docs/performance.md")
STOP_S = 60.0
LOOK_S = 3.0
WITHIN_MIN = 60.0


@dataclass(frozen=True)
class Part:
    """A part that takes longer than ``most_s`` is stopped and keeps what it has; ``usual_s`` is what it takes on a quiet machine.
    ``alone``: it runs only when it is named, and writes a section of its own.
    """

    name: str
    usual_s: float
    most_s: float
    alone: bool = False


PARTS = (
    Part("peers", 75, 180),
    Part("state", 1500, 2100),
    Part("storm", 270, 480),
    Part("postgres", 400, 720),
    Part("map", 60, 240),
    Part("history", 120, 300),
    Part("spine", 140, 300),
    Part("ingest", 40, 150),
    Part("camera", 60, 120),
    Part("recording", 20, 90),
    Part("cameras", 780, 1800, alone=True),
    Part("coverage", 240, 900, alone=True),
)
"""In the order in which they run: what the others are compared with, then what matters most."""


def run(part: Part, *, short: bool, most_s: float, env: dict[str, str]) -> dict[str, Any]:
    """Run one part to its end, or stop it; what it measured."""
    file = KEPT / f"{part.name}.rows.json"
    file.unlink(missing_ok=True)
    others, load = psutil.cpu_percent(interval=LOOK_S), os.getloadavg()[0]
    say(
        f"=== {part.name}: usually {part.usual_s:.0f} s, at most {most_s:.0f} s; others use {others:.0f} % of the machine"
    )
    slow_ms = turn_ms()
    begun_s, before = time.monotonic(), psutil.cpu_times()
    command = [sys.executable, "-m", f"bench.{part.name}", *(["--short"] if short else [])]
    env = {**os.environ, **env, RESULT: str(file.absolute())}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, env=env) as process:
        try:
            process.wait(most_s)
        except subprocess.TimeoutExpired:
            say(f"{part.name} takes longer than {most_s:.0f} s and is stopped")
            stop(process)
        except BaseException:
            stop(process)
            raise
    took_s = time.monotonic() - begun_s
    say(f"=== {part.name} took {took_s:.0f} s, status {process.returncode}")
    said = json.loads(file.read_text()) if file.exists() else None
    file.unlink(missing_ok=True)
    return {
        "name": part.name,
        "short": short,
        "ended": process.returncode,
        "late": took_s >= most_s,
        "took_s": round(took_s),
        **machine(),
        "load": round(load, 1),
        "others_percent": round(others),
        "stolen_percent": round(stolen_percent(before), 1),
        "turn_ms": [round(slow_ms), round(turn_ms())],
        "said": said,
    }


def turn_ms() -> float:
    """The CPU time of a fixed piece of Python, the least of three: a shared machine is not equally fast at all times."""
    took_s = []
    for _ in range(3):
        begun_s, total = time.process_time(), 0
        for number in range(1_000_000):
            total += number * number % 7
        took_s.append(time.process_time() - begun_s)
    return min(took_s) * 1000


def stolen_percent(before: Any) -> float:
    """The share of this machine's time that its host gave to others since ``before``."""
    now = psutil.cpu_times()
    passed = sum(now[:8]) - sum(before[:8])
    return 100 * (now.steal - before.steal) / passed if passed > 0 else 0.0


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it, as Ctrl-C does, so that it ends what it started; then its own group alone is ended."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def loop_us(found: dict[str, Any]) -> str:
    """What the bare nats-py loop cost a message in this run's peers; empty where that was not measured."""
    us = ((found["said"] or {}).get("details", {}).get("nats") or {}).get("us")
    return str(us) if us else ""


def file_of(name: str, *, short: bool) -> Path:
    return KEPT / f"{name}{'.short' if short else ''}.json"


def kept(*, short: bool) -> list[dict[str, Any]]:
    files = [file_of(part.name, short=short) for part in PARTS if not part.alone]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def run_all(chosen: list[Part], *, short: bool, within_s: float, docs: bool) -> None:
    """One after the other; what remains of ``within_s`` is the last parts' limit."""
    begun_s, env = time.monotonic(), {}
    if peers := [found for found in kept(short=short) if found["name"] == "peers"]:
        env[LOOP_US] = loop_us(peers[0])
    with tempfile.TemporaryDirectory(prefix="prahari-bench-known-") as folder:
        env[known.FOLDER] = folder
        for part in chosen:
            left_s = within_s - (time.monotonic() - begun_s)
            if left_s < part.usual_s / 2:
                say(f"=== {part.name} is left out: {left_s:.0f} s are left of {within_s:.0f} s")
                file_of(part.name, short=short).unlink(missing_ok=True)
                continue
            found = run(part, short=short, most_s=min(part.most_s, left_s), env=env)
            file_of(part.name, short=short).write_text(json.dumps(found, indent=1))
            if part.name == "peers":
                env[LOOP_US] = loop_us(found)
            if docs:
                report.write(PAGE, kept(short=short))
    say(f"=== all of it took {(time.monotonic() - begun_s) / 60:.1f} minutes")


def main() -> None:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if left out")
    parser.add_argument("--short", action="store_true", help="small and quick, to try it")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument(
        "--within-min", type=float, default=WITHIN_MIN, help="what is not begun by then is left out"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    chosen = [part for part in PARTS if part.name in given.names or not (given.names or part.alone)]
    KEPT.mkdir(parents=True, exist_ok=True)
    if not given.names:
        for part in PARTS:
            file_of(part.name, short=given.short).unlink(missing_ok=True)
    say(f"{datetime.now(UTC):%Y-%m-%d}: {', '.join(part.name for part in chosen)}, {machine()['machine']}")
    run_all(
        chosen, short=given.short, within_s=given.within_min * 60, docs=not (given.short or given.no_docs)
    )
    print(report.table(kept(short=given.short)))


if __name__ == "__main__":
    main()
