"""The same state on PostgreSQL with two ingest workers, all on this machine.

    python -m bench.postgres [--short] [--devices N] [--seconds S]

The server is Debian's, started here with its own settings (fsync on) in a temporary folder; PRAHARI_BENCH_POSTGRES names another one,
whose database must be empty.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from bench.place import Place, Waited, until
from bench.results import Results
from bench.state import (
    DEVICES,
    EVENTS_PER_S,
    HEARTBEAT_S,
    SHORT_DEVICES,
    all_there,
    highest,
    quiet,
    with_events,
)

SECONDS = 45.0
STEPS = (15_000, 20_000, 25_000, 30_000, 35_000, 40_000)
WORKERS = 2
METRICS_PORT = 9464
ON = "PostgreSQL, two ingest workers: "


@contextmanager
def server() -> Iterator[tuple[str, int | None]]:
    """(URL of an empty database, the server's process id where it is ours)."""
    if named := os.environ.get("PRAHARI_BENCH_POSTGRES"):
        yield named, None
        return
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if not found:
        raise Waited(
            "PostgreSQL is not installed: apt install postgresql, or name a server in PRAHARI_BENCH_POSTGRES"
        )
    folder = Path(tempfile.mkdtemp(prefix="prahari-bench-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    try:
        make = [
            found[0],
            "--pgdata",
            folder / "data",
            "--username",
            "prahari",
            "--auth",
            "trust",
            "--encoding=UTF8",
        ]
        subprocess.run([*make, "--locale=C.UTF-8"], check=True, capture_output=True, cwd=folder, **user)
        port = free_port()
        command = [found[0].with_name("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder]
        command += [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "shared_buffers=1GB",
            "-c",
            "max_connections=100",
        ]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **user) as process:
            try:
                url = f"postgresql+psycopg://prahari@127.0.0.1:{port}/postgres"
                until(lambda: answers(url), "PostgreSQL to answer", within_s=60)
                yield url, process.pid
            finally:
                process.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    engine = sa.create_engine(url)
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Apart(Place):
    """A front with broker, console and scheduler, and ingest workers beside it."""

    def __init__(self, database: str, postgres_pid: int | None) -> None:
        super().__init__(heartbeat_s=HEARTBEAT_S, database_url=database, roles="broker,web,scheduler")
        self._postgres_pid = postgres_pid

    def start_all(self) -> float:
        took_s = self.start()
        for number in range(WORKERS):
            self.worker(
                f"ingest-{number}",
                roles="ingest",
                nats_url=f"nats://127.0.0.1:{self.settings.nats_port}",
                nats_seed_file=str(self.settings.home / "broker" / "keys.json"),
                metrics_port=METRICS_PORT + number,
            )
        for address in self.status[1:]:
            self._ready(self.workers[f"ingest-{self.status.index(address) - 1}"], address, 120)
        return took_s

    def processes(self) -> dict[str, list[int]]:
        found = super().processes()
        if self._postgres_pid is not None:
            children = psutil.Process(self._postgres_pid).children(recursive=True)
            found["postgres"] = [self._postgres_pid, *(child.pid for child in children)]
        return found


def measure(place: Apart, results: Results, devices: int, seconds: float, scale: float) -> None:
    took_s, lanes = place.state(devices)
    place.people()
    results.row(f"{ON}{devices:,} devices registered", f"{took_s:.0f} s")
    place.start_all()
    player = place.play("warm", "multiplex", lanes, numbers=(0, devices), heartbeat_s=float(HEARTBEAT_S))
    begun_s = time.monotonic()
    until(lambda: all_there(place, devices), "every device to be online", within_s=400, every_s=5.0)
    results.row(
        f"{ON}every device online and its health written, for the first time",
        f"{time.monotonic() - begun_s:.0f} s after the start of the workers",
    )
    player.end()
    place.swarms.remove(player)
    results.take(
        f"{ON}{EVENTS_PER_S:.0f} events/s",
        lambda: with_events(place, results, lanes, devices, seconds, on=ON),
    )
    quiet(place)
    results.take(
        f"{ON}highest rate", lambda: highest(place, results, lanes, devices, scale, on=ON, steps=STEPS)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    devices = options.devices or (SHORT_DEVICES if options.short else DEVICES)
    seconds = options.seconds or (20.0 if options.short else SECONDS)
    results = Results("postgres")

    def run() -> None:
        with server() as (url, pid), Apart(url, pid) as place:
            measure(place, results, devices, seconds, 0.1 if options.short else 1.0)

    try:
        results.take("PostgreSQL with two ingest workers", run)
    finally:
        results.print()


if __name__ == "__main__":
    main()
