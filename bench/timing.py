"""How long work takes, by the clock and in CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import datetime

from prahari_hub.store import Store, Unit

ASKED = 30


def timed(work: Callable[[], object], times: int = ASKED) -> dict[str, float]:
    """Milliseconds of the first, the median and the worst run, and of CPU on average."""
    found = []
    cpu_s = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return {
        "n": times,
        "first_ms": round(found[0], 1),
        "p50_ms": round(statistics.median(found), 1),
        "max_ms": round(max(found), 1),
        "cpu_ms": round((time.process_time() - cpu_s) * 1000 / times, 1),
    }


def times(took: dict[str, float]) -> str:
    return (
        f"median {took['p50_ms']} ms, first {took['first_ms']} ms, max {took['max_ms']} ms (n = {took['n']}); "
        f"{took['cpu_ms']} ms of CPU"
    )


def compact(store: Store, now: datetime, step: Callable[[Unit], bool], took: list[float]) -> None:
    """Run a job of the scheduler's until it finds nothing; ``took`` gets each step's seconds of CPU."""
    store.clock = lambda: now
    more = True
    while more:
        began = time.process_time()
        more = store.write_sync(step)
        if more:
            took.append(time.process_time() - began)
