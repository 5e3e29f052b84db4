"""What one heartbeat costs the hub: CPU by stage, in process, with a real store. bench.state measures it through a real broker.

    python -m bench.ingest [--short] [--devices 400000] [--seconds 20] [--home FOLDER]

CPU is that of this process (all threads), so that what the store's writer does is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import tempfile
import time
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from nats.aio.client import Client
from prahari_hub.broker.batches import BatchParser, Sink
from prahari_hub.fleet.presence import Limits
from prahari_hub.fleet.tables import devices
from prahari_hub.ingest.heartbeat import read
from prahari_hub.ingest.role import Ingest
from prahari_hub.settings import load
from prahari_hub.store import Store
from prahari_wire.topics import Up, mapped_subject

from bench import known
from bench.results import Results, in_loops
from bench.swarm import name_of
from bench.swarm.payloads import boot_of

DEVICES, SHORT_DEVICES, SECONDS, SHORT_SECONDS = 400_000, 20_000, 15, 5
HEARTBEAT_S = 30
CHUNK = 70
"""Messages that one read of nats-py's socket (32 KiB) brings."""


class Clock:
    """The hub's clocks, moved by the benchmark."""

    def __init__(self) -> None:
        self.mono_s = 1000.0
        self.wall = datetime.now(UTC)

    def now(self) -> datetime:
        return self.wall

    def mono(self) -> float:
        return self.mono_s

    def pass_s(self, seconds: float) -> None:
        self.mono_s += seconds
        self.wall += timedelta(seconds=seconds)


def heartbeat(number: int, epoch: int, at: str, uptime_s: int, draw: random.Random) -> bytes:
    """As the agent's model_dump_json spells it: four checks and one camera."""
    values = (("cpu", 8, 30), ("memory", 30, 45), ("disk", 41, 42), ("temperature", 44, 58))
    checks = ",".join(
        f'{{"name":"{check}","state":"ok","value":{round(draw.uniform(low, high), 1)},"text":null}}'
        for check, low, high in values
    )
    return (
        f'{{"at":"{at}","mono_ms":{uptime_s * 1000},"clock":"synced","boot":"{boot_of(number, epoch)}","conn":1,"v":1,'
        f'"id":"01JNQ{number:021d}","body":{{"uptime_s":{uptime_s},"checks":[{checks}],'
        f'"peripherals":[{{"id":"cam1","state":"ok","faults":[],"note":null}}]}}}}'
    ).encode()


async def silent(*_: object) -> None:
    return


class Stages:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    def add(self, stage: str, cpu_s: float) -> None:
        self.cpu_s[stage] = self.cpu_s.get(stage, 0.0) + cpu_s

    async def timed(self, stage: str, work: Awaitable[object]) -> None:
        start = time.process_time()
        await work
        self.add(stage, time.process_time() - start)


def slices(messages: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    for start in range(0, len(messages), CHUNK):
        yield messages[start : start + CHUNK]


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def in_process(store: Store, clock: Clock, count: int, seconds: int, epoch: int) -> dict[str, Any]:
    """Simulated seconds of a fleet's heartbeats, with the sweeps and writes that fall into them."""
    gc.collect()
    before_mb = rss_mb()
    ingest = Ingest(store, silent, handlers={}, limits=Limits(45, 90), mono=clock.mono, flush_s=5)
    start, cpu = time.perf_counter(), time.process_time()
    await ingest.load()
    load = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    loaded_mb = rss_mb()
    await ingest.on_sight(True)
    subjects = [mapped_subject(name_of(n), Up.HEALTH).encode() for n in range(count)]
    draw = random.Random(5)
    stages = Stages()
    parser = BatchParser(Client())
    parser.sinks[b"1"] = Sink(ingest.receive)
    beats = 0
    measured = Stages()
    for second in range(seconds + HEARTBEAT_S):
        stages = measured if second >= HEARTBEAT_S else Stages()
        clock.pass_s(1)
        at = clock.wall.isoformat().replace("+00:00", "Z")
        mine = range(second % HEARTBEAT_S, count, HEARTBEAT_S)
        messages = [(subjects[n], heartbeat(n, epoch, at, 1000 + second, draw)) for n in mine]
        for part in slices(messages):
            wire = b"".join(b"MSG %s 1 %d\r\n%s\r\n" % (s, len(p), p) for s, p in part)
            cpu_s = time.process_time()
            await parser.parse(wire)
            stages.add("receive", time.process_time() - cpu_s)
        if second >= HEARTBEAT_S:
            beats += len(messages)
        await stages.timed("fold", ingest.settle())
        await stages.timed("sweep", ingest.flusher.sweep())
        await stages.timed("write", ingest.flusher.write_due())
    cpu_s = time.process_time()
    for _, payload in messages:
        read(payload, None)
    parse_us = (time.process_time() - cpu_s) / len(messages) * 1e6
    start = time.perf_counter()
    await ingest.flusher.flush()
    return {
        "devices": count,
        "heartbeats": beats,
        "bytes": len(messages[0][1]),
        "us_a_heartbeat": {
            **{stage: round(cpu / beats * 1e6, 2) for stage, cpu in measured.cpu_s.items()},
            "all": round(sum(measured.cpu_s.values()) / beats * 1e6, 2),
        },
        "of_fold_parse_us": round(parse_us, 2),
        "load": {key: round(value, 2) for key, value in load.items()},
        "flush_all_s": round(time.perf_counter() - start, 2),
        "rss_mb": {
            "before": round(before_mb),
            "loaded": round(loaded_mb),
            "after": round(rss_mb()),
            "most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        },
        "columns_bytes_a_device": round(ingest.memory.columns.size() / max(1, count)),
        "presence": presences(store),
    }


def presences(store: Store) -> dict[str, int]:
    """What the store says at the end: everybody is online, or the benchmark measured something else."""
    query = sa.select(devices.c.presence, sa.func.count()).group_by(devices.c.presence)
    return store.read_sync(lambda conn: {row[0]: row[1] for row in conn.execute(query)})


def epoch_of(store: Store) -> int:
    """Of the state that a home knows already."""
    boot = store.read_sync(
        lambda conn: conn.scalar(sa.select(devices.c.boot).where(devices.c.id == name_of(0)))
    )
    if boot is None:
        raise SystemExit(f"{store.engine.url} knows no {name_of(0)}: give --home an empty folder")
    return int(str(boot).partition("-")[0], 16)


def measure(results: Results, home: Path, count: int, seconds: int) -> None:
    settings = load(home=home)
    if not (home / known.FILE).exists():
        known.fill(settings, count)
    clock = Clock()
    store = Store.open(settings.store_url, clock=clock.now)
    try:
        found = asyncio.run(in_process(store, clock, count, seconds, epoch_of(store)))
    finally:
        store.close()
    results.details |= found
    us, rss = found["us_a_heartbeat"], found["rss_mb"]
    stages = ", ".join(f"{stage} {each}" for stage, each in us.items() if stage != "all")
    results.row(
        f"in one process without a broker, {count:,} devices, {found['heartbeats']:,} heartbeats: CPU each",
        f"{in_loops(us['all'])} ({stages}; of folding, parsing {found['of_fold_parse_us']})",
    )
    results.row(
        "the same process: memory before, with the devices loaded, at the most; columns a device",
        f"{rss['before']}, {rss['loaded']}, {rss['most']} MB; {found['columns_bytes_a_device']} bytes",
    )
    results.row(
        "taking the devices up from the store; writing everything at the end",
        f"{found['load']['wall_s']} s ({found['load']['cpu_s']} s of CPU); {found['flush_all_s']} s",
    )
    results.row("presence in the store afterwards", f"{found['presence']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    count = given.devices or (SHORT_DEVICES if given.short else DEVICES)
    seconds = given.seconds or (SHORT_SECONDS if given.short else SECONDS)
    results = Results("ingest")
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = given.home or Path(folder)
            results.take("ingest in process", lambda: measure(results, home, count, seconds))
    finally:
        results.print()


if __name__ == "__main__":
    main()
