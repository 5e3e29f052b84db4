"""What others cost on this machine, in the same hour: CPU of the consumer a message, 359 bytes of JSON from 100,000 device ids.

    python -m bench.peers [--short]

The broker is a bare nats-server with MQTT, no TLS, no callout. Each consumer is a process of its own that takes every message; CPU is
counted from its first message to its last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from prahari_provisioning.demo.processes import Program

from bench.place import Waited, until
from bench.results import Results, percentiles
from bench.swarm import packets

SIZE, IDS = 359, 100_000
FILTER = "bench/+/health"
INFLUX_URL = "PRAHARI_BENCH_INFLUX"
IDLE_S = 3.0
"""A consumer that has heard nothing for so long after its first message has heard all."""


def payload(number: int) -> bytes:
    """A heartbeat as others would send it."""
    body: dict[str, Any] = {
        "id": f"{number:026d}",
        "device": f"dev-{number % IDS:06d}",
        "at": "2026-01-01T00:00:00.000Z",
        "uptime_s": 1_000_000 + number % 1000,
        "checks": [
            {"name": name, "state": "ok", "value": 40.5} for name in ("cpu", "memory", "disk", "temp")
        ],
        "pad": "",
    }
    body["pad"] = "x" * (SIZE - len(json.dumps(body, separators=(",", ":"))))
    return json.dumps(body, separators=(",", ":")).encode()


# The consumers, each run as a process: ``python -m bench.peers consume KIND PORT MQTT_PORT FILE``


class Tally:
    """Counts messages; CPU and time between the first and the last go to the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.count = 0
        self.first_s = self.last_s = self.cpu_s = self.begun_cpu_s = 0.0

    def one(self) -> None:
        if not self.count:
            self.first_s, self.begun_cpu_s = time.monotonic(), time.process_time()
        self.count += 1
        self.last_s = time.monotonic()

    def done(self) -> bool:
        return bool(self.count) and time.monotonic() - self.last_s > IDLE_S

    def write(self) -> None:
        seconds, cpu_s = self.last_s - self.first_s, time.process_time() - self.begun_cpu_s
        whole = self.file.with_suffix(".new")
        whole.write_text(json.dumps({"count": self.count, "seconds": seconds, "cpu_s": cpu_s}))
        whole.rename(self.file)


def nats_loop(tally: Tally, port: int, _mqtt: int) -> None:
    async def run() -> None:
        import nats

        client = await nats.connect(f"nats://127.0.0.1:{port}")

        async def take(_message: Any) -> None:
            tally.one()

        await client.subscribe("bench.*.health", cb=take)
        tally.file.with_suffix(".ready").touch()
        while not tally.done():
            await asyncio.sleep(0.2)
        await client.close()

    asyncio.run(run())


def paho(tally: Tally, mqtt_port: int, take: Callable[[bytes], None]) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        tally.one()
        take(message.payload)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="consumer")
    client.on_connect = lambda *_: client.subscribe(FILTER)
    client.on_subscribe = lambda *_: tally.file.with_suffix(".ready").touch()
    client.on_message = on_message
    client.connect("127.0.0.1", mqtt_port)
    while not tally.done():
        client.loop(0.2)
    client.disconnect()


def paho_loop(tally: Tally, _port: int, mqtt_port: int) -> None:
    paho(tally, mqtt_port, lambda payload: None)


def paho_sqlite(tally: Tally, mqtt_port: int, rows: int) -> None:
    import sqlite_utils
    from pydantic import BaseModel

    class Check(BaseModel):
        name: str
        state: str
        value: float

    class Heartbeat(BaseModel):
        id: str
        device: str
        at: str
        uptime_s: int
        checks: list[Check]
        pad: str

    database = sqlite_utils.Database(tally.file.with_suffix(".db"))
    database.enable_wal()
    held: list[dict[str, Any]] = []

    def take(raw: bytes) -> None:
        found = Heartbeat.model_validate_json(raw)
        held.append(
            {"device": found.device, "at": found.at, "uptime_s": found.uptime_s, "cpu": found.checks[0].value}
        )
        if len(held) >= rows:
            database["heartbeats"].insert_all(held)
            held.clear()

    paho(tally, mqtt_port, take)


def thousand_a_commit(tally: Tally, _port: int, mqtt_port: int) -> None:
    paho_sqlite(tally, mqtt_port, 1000)


def one_a_commit(tally: Tally, _port: int, mqtt_port: int) -> None:
    paho_sqlite(tally, mqtt_port, 1)


def influx(tally: Tally, _port: int, mqtt_port: int) -> None:
    """To the server that one_peer has started, a thousand points a request."""
    import httpx

    client = httpx.Client(base_url=os.environ[INFLUX_URL])
    client.post("/query", params={"q": "CREATE DATABASE bench"}).raise_for_status()
    held: list[str] = []

    def take(raw: bytes) -> None:
        found = json.loads(raw)
        cpu = found["checks"][0]["value"]
        held.append(f"heartbeats,device={found['device']} uptime_s={found['uptime_s']}i,cpu={cpu}")
        if len(held) >= 1000:
            client.post("/write", params={"db": "bench"}, content="\n".join(held)).raise_for_status()
            held.clear()

    paho(tally, mqtt_port, take)


KINDS: dict[str, tuple[str, Callable[[Tally, int, int], None], int, int]] = {
    "nats": ("bare nats-py loop", nats_loop, 100_000, 15_000),
    "paho": ("bare paho loop", paho_loop, 60_000, 10_000),
    "thousand": (
        "paho + pydantic + sqlite-utils, 1,000 rows a commit", thousand_a_commit, 40_000, 6_000,
    ),
    "influx": ("paho to InfluxDB 1.x, 1,000 points a request", influx, 30_000, 5_000),
    "one": ("paho + pydantic + sqlite-utils, a commit a message", one_a_commit, 4_000, 400),
}  # fmt: skip
"""Name, consumer, messages, messages a second: below what it can take, so that none waits in the broker."""


def consume(kind: str, port: int, mqtt_port: int, file: Path) -> None:
    tally = Tally(file)
    KINDS[kind][1](tally, port, mqtt_port)
    tally.write()


# The bench


@contextmanager
def influxd(folder: Path) -> Iterator[psutil.Process]:
    """Debian's server with its data in ``folder``."""
    program, port, backup_port = shutil.which("influxd"), free_port(), free_port()
    if program is None:
        raise Waited("not installed here: apt install influxdb")
    (folder / "influx.conf").write_text(
        f"""bind-address = "127.0.0.1:{backup_port}"
        [meta]
        dir = "{folder}/meta"
        [data]
        dir = "{folder}/data"
        wal-dir = "{folder}/wal"
        max-values-per-tag = 0
        [monitor]
        store-enabled = false
        [http]
        bind-address = "127.0.0.1:{port}"
        log-enabled = false"""
    )
    os.environ[INFLUX_URL] = f"http://127.0.0.1:{port}"
    server = Program("influxd", [program, "-config", str(folder / "influx.conf")], folder / "influxd.log")
    try:
        until(lambda: answers(port), "influxd", within_s=30)
        yield psutil.Process(server.process.pid)
    finally:
        server.ask_to_stop()
        server.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """A bare nats-server."""

    def __init__(self, folder: Path) -> None:
        self.port, self.mqtt_port = free_port(), free_port()
        (folder / "nats.conf").write_text(
            f"""server_name: peers
            listen: "127.0.0.1:{self.port}"
            jetstream {{ store_dir: "{folder}/js", max_mem: 16MB, max_file: 16MB }}
            mqtt {{ listen: "127.0.0.1:{self.mqtt_port}" }}"""
        )
        server = Path(sys.executable).parent / "nats-server"
        self.program = Program("nats", [str(server), "-c", str(folder / "nats.conf")], folder / "nats.log")
        until(lambda: answers(self.mqtt_port), "nats-server", within_s=15)

    def close(self) -> None:
        self.program.ask_to_stop()
        self.program.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def publish(mqtt_port: int, count: int, rate: int) -> None:
    """Every twentieth of a second a bundle of messages."""
    with socket.create_connection(("127.0.0.1", mqtt_port)) as sock:
        sock.sendall(packets.connect("publisher", keepalive_s=60))
        sock.recv(4)
        bundle = max(1, rate // 20)
        begun_s = time.monotonic()
        for start in range(0, count, bundle):
            numbers = range(start, min(count, start + bundle))
            sock.sendall(
                b"".join(
                    packets.publish(f"bench/dev-{number % IDS:06d}/health".encode(), payload(number))
                    for number in numbers
                )
            )
            time.sleep(max(0.0, begun_s + (start + bundle) / rate - time.monotonic()))
        sock.sendall(packets.DISCONNECT)


def one_peer(results: Results, folder: Path, kind: str, share: float) -> None:
    words, _, most, rate = KINDS[kind]
    count = int(most * share)
    broker = Broker(folder)
    file = folder / f"{kind}.json"
    ports = [str(broker.port), str(broker.mqtt_port)]
    program = Program(
        kind,
        [sys.executable, "-m", "bench.peers", "consume", kind, *ports, str(file)],
        folder / f"{kind}.log",
    )
    try:
        until(lambda: file.with_suffix(".ready").exists(), f"{words} to subscribe", within_s=30)
        publish(broker.mqtt_port, count, rate)
        until(file.exists, f"{words} to have heard all", within_s=120, every_s=0.2)
        said = json.loads(file.read_text())
    finally:
        program.ask_to_stop()
        program.wait()
        broker.close()
    us = said["cpu_s"] / max(1, said["count"]) * 1e6
    results.details[kind] = {**said, "sent": count, "us": round(us, 1)}
    results.row(
        words,
        f"{us:.1f} µs of CPU a message ({in_units(results, us)}{said['count']:,} of {count:,} heard; one core would do {1e6 / us:,.0f}/s)",
    )


def in_units(results: Results, us: float) -> str:
    """Of the bare nats-py loop, which is measured first."""
    loop_us = results.details.get("nats", {}).get("us")
    return f"{us / loop_us:.1f} bare nats-py loops; " if loop_us else ""


def influx_peer(results: Results, folder: Path, share: float) -> None:
    """The consumer's row, and what the server used beside it."""
    with influxd(folder) as server:
        before = server.cpu_times()
        one_peer(results, folder, "influx", share)
        after = server.cpu_times()
        us = (
            (after.user + after.system - before.user - before.system)
            / results.details["influx"]["count"]
            * 1e6
        )
    results.row("the same, influxd beside it", f"{us:.1f} µs of CPU a message")


def mosquitto(results: Results, folder: Path, share: float) -> None:
    program = shutil.which("mosquitto_sub")
    if program is None:
        results.row("mosquitto_sub to nowhere", "not installed here: apt install mosquitto-clients")
        return
    broker = Broker(folder)
    count, rate = int(200_000 * share), 20_000
    command = [program, "-p", str(broker.mqtt_port), "-t", FILTER, "-C", str(count)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(2)
        looked = psutil.Process(process.pid)
        before = looked.cpu_times()
        publish(broker.mqtt_port, count - 100, rate)
        time.sleep(1)
        times = looked.cpu_times()
        us = (times.user + times.system - before.user - before.system) / (count - 100) * 1e6
        heard = f"{us:.1f} µs of CPU a message ({in_units(results, us)}{count - 100:,} sent)"
        results.row("mosquitto_sub to nowhere", heard)
    finally:
        process.terminate()
        process.wait()
        broker.close()


def sleep_jitter(results: Results) -> None:
    """How late a sleeping process wakes here: what a figure in milliseconds can mean on this machine."""
    late = []
    for _ in range(200):
        begun_s = time.monotonic()
        time.sleep(0.01)
        late.append(time.monotonic() - begun_s - 0.01)
    results.details["wake_late"] = percentiles(late)


def main() -> None:
    if sys.argv[1:2] == ["consume"]:
        consume(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    share = 0.2 if parser.parse_args().short else 1.0
    results = Results("peers")
    try:
        sleep_jitter(results)
        for kind in KINDS:
            with tempfile.TemporaryDirectory(prefix="prahari-peers-") as folder:
                work = influx_peer if kind == "influx" else partial(one_peer, kind=kind)
                results.take(f"peer {kind}", partial(work, results, Path(folder), share=share))
        with tempfile.TemporaryDirectory(prefix="prahari-peers-") as folder:
            results.take("peer mosquitto_sub", lambda: mosquitto(results, Path(folder), share))
        results.row("Node-RED, Home Assistant, ThingsBoard", "not installed here, not measured")
    finally:
        results.print()


if __name__ == "__main__":
    main()
