"""``make bench``: every figure of docs/performance.md that a command can take.

    python -m bench [NAME ...] [--short] [--no-docs]

Each name is a module here, run as a process of its own that prints JSON; what it measured is kept in .prahari/bench/NAME.json also when
a later one fails, and a full run writes the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.results import machine, say

KEPT = Path(".prahari/bench")
STOP_S = 60.0


@dataclass(frozen=True)
class Part:
    """``short`` are the arguments of a trial run; a part that takes longer than ``most_s`` is stopped and keeps what it has."""

    name: str
    most_s: float
    short: tuple[str, ...] = ("--short",)
    full: tuple[str, ...] = ()


PARTS = (
    Part("spine", 420, short=()),
    Part("camera", 180, short=()),
    Part("peers", 240),
    Part("storm", 600),
    Part("state", 1800),
    Part("postgres", 900),
    Part("history", 900, short=("page",)),
    Part("ingest", 300, short=("--devices", "20000", "--seconds", "5"), full=("--devices", "400000")),
    Part("map", 600),
)


def run(part: Part, *, short: bool) -> dict[str, Any]:
    """Run one part to its end, or stop it; what it printed."""
    command = [sys.executable, "-m", f"bench.{part.name}", *(part.short if short else part.full)]
    say(f"=== {part.name}")
    begun_s, load = time.monotonic(), os.getloadavg()[0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            said, _ = process.communicate(timeout=part.most_s)
        except subprocess.TimeoutExpired:
            say(f"{part.name} takes longer than {part.most_s:.0f} s and is stopped")
            said = _stop(process)
        except BaseException:
            _stop(process)
            raise
    return {
        "name": part.name,
        "short": short,
        "ended": process.returncode,
        "took_s": round(time.monotonic() - begun_s),
        **machine(),
        "load": round(load, 1),
        "said": _json(said),
    }


def _stop(process: subprocess.Popen[str]) -> str:
    """Ask it, as Ctrl-C does, so that it ends what it started and prints what it has; its own group alone."""
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    return said


def _json(text: str) -> Any:
    """The JSON that ends the output; None if there is none."""
    for mark in ("{", "["):
        at = text.find(mark)
        if at < 0:
            continue
        with contextlib.suppress(ValueError):
            return json.loads(text[at:])
    return None


def main() -> None:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if left out")
    parser.add_argument("--short", action="store_true", help="small and quick, to try it")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    chosen = [part for part in PARTS if not options.names or part.name in options.names]
    KEPT.mkdir(parents=True, exist_ok=True)
    for part in chosen:
        found = run(part, short=options.short)
        file = KEPT / (f"{part.name}.short.json" if options.short else f"{part.name}.json")
        file.write_text(json.dumps(found, indent=1))
    kept = [
        json.loads(file.read_text())
        for name in names
        if (file := KEPT / (f"{name}.short.json" if options.short else f"{name}.json")).exists()
    ]
    print(report.table(kept))
    if not options.short and not options.no_docs:
        report.write(Path("docs/performance.md"), kept)


if __name__ == "__main__":
    main()
