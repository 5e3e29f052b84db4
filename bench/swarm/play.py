"""A swarm in a process of its own, for the bench: ``python -m bench.swarm.play SPEC.json``.

It writes a line of JSON every quarter of a second to ``status`` and, at its end (SIGTERM, or after ``duration_s``), its ledger and its
result. SIGUSR1 presses ten call boxes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.swarm.identities import Identity
from bench.swarm.multiplex import Multiplex
from bench.swarm.swarm import Swarm

STATUS_S = 0.25
PRESSES = 10
POLITE = 5


@dataclass(frozen=True)
class Spec:
    """``identities`` are [device, index, file]; ``numbers`` [first, count] of a multiplexed swarm, which ``epoch`` belongs to."""

    mode: str
    host: str
    port: int
    ca: str
    folder: str
    name: str
    identities: list[tuple[str, int, str]]
    heartbeat_s: float
    numbers: tuple[int, int] = (0, 0)
    epoch: int = 0
    events_per_s: float = 0.0
    births: bool = False
    full_heartbeat: bool = False
    connect_over_s: float = 0.0
    duration_s: float = 3600.0

    @property
    def status(self) -> Path:
        return Path(self.folder) / f"{self.name}.status"

    @property
    def ledger(self) -> Path:
        return Path(self.folder) / f"{self.name}.ledger"


def build(spec: Spec) -> Swarm | Multiplex:
    identities = [Identity(device, index, Path(file)) for device, index, file in spec.identities]
    if spec.mode == "tls":
        return Swarm(
            identities,
            spec.host,
            spec.port,
            ca=Path(spec.ca),
            heartbeat_s=spec.heartbeat_s,
            connect_over_s=spec.connect_over_s,
            full_heartbeat=spec.full_heartbeat,
        )
    first, count = spec.numbers
    return Multiplex(
        identities,
        range(first, first + count),
        spec.host,
        spec.port,
        ca=Path(spec.ca),
        epoch=spec.epoch,
        heartbeat_s=spec.heartbeat_s,
        events_per_s=spec.events_per_s,
        births=spec.births,
        full_heartbeat=spec.full_heartbeat,
    )


def press_some(swarm: Swarm | Multiplex) -> None:
    if isinstance(swarm, Multiplex):
        swarm.press_some(PRESSES)
        return
    for device in random.sample(list(swarm.devices), PRESSES):
        swarm.press(device)


def status_of(swarm: Swarm | Multiplex) -> dict[str, Any]:
    counts = swarm.ledger.counts
    return {
        "at": time.time(),
        "up": swarm.up,
        "welcomed": swarm.welcomed,
        "held": swarm.held,
        "cpu_s": time.process_time(),
        **{name: counts[name] for name in sorted(counts)},
        "trouble": getattr(swarm, "trouble", ""),
    }


def step_back() -> None:
    """Let the hub and its broker go first: real devices take nothing from the hub's processors."""
    os.nice(POLITE)
    with contextlib.suppress(OSError):  # a kernel that does not group processes by session
        Path("/proc/self/autogroup").write_text(str(POLITE))


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    spec = Spec(**given)
    ended: list[int] = []
    presses: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ended.append(number))
    signal.signal(signal.SIGINT, lambda number, _frame: ended.append(number))
    signal.signal(signal.SIGUSR1, lambda number, _frame: presses.append(number))
    if spec.mode == "tls":
        step_back()
    swarm = build(spec)
    until_s = time.monotonic() + spec.duration_s
    swarm.start()
    with spec.status.open("w", buffering=1) as out:
        while not ended and time.monotonic() < until_s:
            if presses:
                presses.pop()
                press_some(swarm)
            out.write(json.dumps(status_of(swarm)) + "\n")
            if not swarm.alive:
                sys.exit("the swarm's thread has died, see above")
            time.sleep(STATUS_S)
        out.write(json.dumps(status_of(swarm)) + "\n")
    swarm.stop()
    swarm.ledger.save(spec.ledger)


if __name__ == "__main__":
    main()
