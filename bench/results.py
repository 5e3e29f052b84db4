"""What a bench hands on: one JSON object with its ``rows`` for the table, kept also when a later figure fails.

``make bench`` names a file in PRAHARI_BENCH_RESULT: it holds every row from the moment it was measured, whatever happens to the process.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RESULT = "PRAHARI_BENCH_RESULT"
LOOP_US = "PRAHARI_BENCH_LOOP_US"
"""What the bare nats-py loop cost a message on this machine in this run, in microseconds of CPU."""


class Results:
    """``rows`` make the table, ``details`` what stands behind them."""

    def __init__(self, name: str) -> None:
        signal.signal(
            signal.SIGTERM, lambda *_: sys.exit(1)
        )  # so that what was started is ended and the rows are printed
        self.name = name
        self.rows: list[Row] = []
        self.details: dict[str, Any] = {}
        self.begun_s = time.monotonic()

    def row(self, what: str, measured: str, *, aim: str = "", met: bool | None = None) -> None:
        """One line of the table; ``met`` None where there is no aim."""
        self.rows.append({"what": what, "aim": aim, "measured": measured, "met": met})
        mark = {True: "met", False: "MISSED", None: ""}[met]
        say(f"{what}: {measured} {f'(aim {aim}: {mark})' if aim else ''}")
        self._keep()

    def take(self, what: str, measure: Callable[[], None]) -> bool:
        """Run one measurement; what fails is a row that says so, and the others go on."""
        say(f"... {what}")
        try:
            measure()
        except Exception as error:
            traceback.print_exc()
            words = (str(error).splitlines() or [type(error).__name__])[0]
            self.row(what, f"not measured: {words[:160]}", met=False)
            return False
        finally:
            self._keep()
        return True

    def _keep(self) -> None:
        if file := os.environ.get(RESULT):
            Path(file).write_text(json.dumps(self.document()))

    def print(self) -> None:
        print(json.dumps(self.document(), indent=1))

    def document(self) -> dict[str, Any]:
        took_s = round(time.monotonic() - self.begun_s)
        return {"name": self.name, "took_s": took_s, **machine(), "rows": self.rows, "details": self.details}


def in_loops(us: float) -> str:
    """Microseconds, and how many turns of the bare nats-py loop that is on this machine, where this run has measured one."""
    loop_us = float(os.environ.get(LOOP_US) or 0)
    return f"{us} µs" + (f" = {us / loop_us:.1f} bare nats-py loops of {loop_us:.1f} µs" if loop_us else "")


def spread(found: dict[str, Any]) -> str:
    """Percentiles in words."""
    names = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
    parts = [f"{name.removesuffix('_ms')} {found[name]} ms" for name in names if name in found]
    return f"{', '.join(parts) or 'nothing'} (n = {found.get('n', 0)})"


def machine() -> dict[str, Any]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "",
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {model}, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds of a list of seconds."""
    if not seconds:
        return {"n": 0}
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] * 1000, 1)

    return {
        "n": len(ordered),
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p95_ms": at(0.95),
        "p99_ms": at(0.99),
        "max_ms": round(ordered[-1] * 1000, 1),
    }


def say(text: str) -> None:
    """Progress, beside the result on standard output."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:  # noqa: PTH123 - a file of the kernel
            return file.read().splitlines()
    except OSError:
        return []
