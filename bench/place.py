"""A hub on this machine for a bench: real processes in a temporary home, on shifted ports, ended by their id."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
from prahari_hub.settings import Settings, load
from prahari_provisioning.demo.processes import Program, installed

from bench import known
from bench.swarm import identities
from bench.swarm.identities import Identity
from bench.swarm.play import Spec

READY_S = 120.0
LANES = 4


class Waited(Exception):
    """Something did not happen in time: the figure cannot be measured."""


def until(done: Callable[[], Any], what: str, *, within_s: float, every_s: float = 0.05) -> float:
    """Seconds until ``done``; Waited names ``what``. A refused connection counts as not yet."""
    begun_s = time.monotonic()
    while True:
        try:
            if done():
                return time.monotonic() - begun_s
        except (httpx.TransportError, FileNotFoundError, ProcessLookupError):
            pass
        if time.monotonic() - begun_s > within_s:
            raise Waited(f"waited {within_s:.0f} s for {what}")
        time.sleep(every_s)


class Place:
    """``settings`` by name, as hub.toml spells them. Use it as a context: it ends what it started and removes its folder."""

    def __init__(self, **settings: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="prahari-bench-"))
        self.given = {"port_offset": random.randint(11_000, 22_000), "bench": True, **settings}
        self.settings: Settings = load(home=self.folder / "hub", **self.given)
        self.env = {
            **os.environ,
            "PRAHARI_HOME": str(self.settings.home),
            "PRAHARI_LOG_FORMAT": "json",
            **{f"PRAHARI_{name.upper()}": _text(value) for name, value in self.given.items()},
        }
        self.hub: Program | None = None
        self.workers: dict[str, Program] = {}
        self.swarms: list[Player] = []
        self.epoch = 0
        self._cookies: dict[str, str] | None = None
        self.console = f"http://127.0.0.1:{self.settings.console_port}"
        self.status = [self.console]
        """Where each process of the hub says what it counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        for program in [*(swarm.program for swarm in self.swarms), *self.workers.values(), self.hub]:
            if program is not None:
                program.ask_to_stop()
        for program in [*(swarm.program for swarm in self.swarms), *self.workers.values(), self.hub]:
            if program is not None:
                program.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Before the start

    def state(self, count: int) -> tuple[float, list[Identity]]:
        """Know so many devices as after their births, in a store that is still empty; what registering took, and the lanes' identities."""
        self.epoch, took_s = known.fill(self.settings, count)
        names = [f"bench-multiplex-{number}" for number in range(LANES)]
        return took_s, identities.issue_named(self.settings, names, folder=self.folder / "swarm")

    def people(self) -> None:
        """An account and a token, for what the pages and the API cost meanwhile."""
        self.do("prahari-hub", "init")
        self.do("prahari-hub", "user", "add", "bench", "--role", "admin", "--no-password")
        link = self.do("prahari-hub", "user", "login-link", "bench").split()[-1]
        self._login = parse_qs(urlsplit(link).query)["token"][0]
        self.token = self.do(
            "prahari-hub", "token", "create", "bench", "--role", "admin", "--days", "1"
        ).strip()

    # Processes

    def start(self, *, within_s: float = READY_S) -> float:
        """Start the hub; seconds until it is ready."""
        begun_s = time.monotonic()
        self.hub = Program("hub", [installed("prahari-hub"), "serve"], self.folder / "hub.log", self.env)
        self._ready(self.hub, self.console, within_s)
        return time.monotonic() - begun_s

    def worker(self, name: str, **settings: Any) -> Program:
        """One more process of the hub with settings of its own."""
        env = {**self.env, **{f"PRAHARI_{key.upper()}": _text(value) for key, value in settings.items()}}
        program = Program(name, [installed("prahari-hub"), "serve"], self.folder / f"{name}.log", env)
        self.workers[name] = program
        if "metrics_port" in settings:
            port = settings["metrics_port"] + self.settings.port_offset
            self.status.append(f"http://127.0.0.1:{port}")
        return program

    def _ready(self, program: Program, console: str, within_s: float) -> None:
        def ready() -> bool:
            if program.ended is not None:
                raise Waited(f"the hub ended: {program.tail()}")
            return httpx.get(f"{console}/readyz", timeout=5).status_code == 200

        until(ready, "the hub to be ready", within_s=within_s)

    def stop_hub(self) -> None:
        assert self.hub
        self.hub.ask_to_stop()
        self.hub.wait()

    def kill_hub(self) -> None:
        assert self.hub
        self.hub.process.send_signal(signal.SIGKILL)
        self.hub.process.wait()

    @property
    def broker_pid(self) -> int:
        return int((self.settings.home / "broker" / "nats.pid").read_text())

    def processes(self) -> dict[str, list[int]]:
        """Process ids by part: hub (all its processes), broker, swarm."""
        hubs = [program.process.pid for program in [self.hub, *self.workers.values()] if program]
        swarms = [swarm.program.process.pid for swarm in self.swarms]
        return {"hub": hubs, "broker": [self.broker_pid], "swarm": swarms}

    def do(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [installed(program), *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def play(self, name: str, mode: str, who: Sequence[Identity], **spec: Any) -> Player:
        """Start a swarm in a process of its own."""
        given = Spec(
            mode=mode,
            host="127.0.0.1",
            port=self.settings.mqtt_port,
            ca=str(self.settings.home / "pki" / "ca.pem"),
            folder=str(self.folder),
            name=name,
            identities=[(item.device, item.index, str(item.pem)) for item in who],
            heartbeat_s=spec.pop("heartbeat_s", float(self.settings.heartbeat_s)),
            epoch=self.epoch,
            **spec,
        )
        player = Player(given, self.folder, self.env)
        self.swarms.append(player)
        return player

    # What people see

    def api(self) -> httpx.Client:
        """The JSON API with the bench's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"{self.console}/api/v1", headers=headers, timeout=30)

    def signed_in(self) -> httpx.Client:
        """The console, signed in by the one-time link that ``people`` made."""
        client = httpx.Client(base_url=self.console, timeout=30, headers={"Origin": self.console})
        if self._cookies is None:
            client.post("/login/link", data={"token": self._login})
            self._cookies = dict(client.cookies)
            if not self._cookies:
                raise Waited("the console does not sign the bench in")
        client.cookies.update(self._cookies)
        return client


class Player:
    """A swarm's process and what it says of itself."""

    def __init__(self, spec: Spec, folder: Path, env: Mapping[str, str]) -> None:
        self.spec = spec
        file = folder / f"{spec.name}.json"
        file.write_text(json.dumps(asdict(spec)))
        self._log = folder / f"{spec.name}.log"
        self.program = Program(
            spec.name, [sys.executable, "-m", "bench.swarm.play", str(file)], self._log, env
        )

    def status(self) -> dict[str, Any]:
        """Its last line; empty before the first."""
        if self.program.ended not in (None, 0):
            raise Waited(f"the swarm ended: {self.program.tail()}")
        try:
            lines = self.spec.status.read_text().splitlines()
        except FileNotFoundError:
            return {}
        whole = [line for line in lines[-2:] if line.endswith("}")]
        return dict(json.loads(whole[-1])) if whole else {}

    def lines(self) -> list[dict[str, Any]]:
        """Every line so far, four a second."""
        return [json.loads(line) for line in self.spec.status.read_text().splitlines() if line.endswith("}")]

    def press_some(self) -> None:
        self.program.process.send_signal(signal.SIGUSR1)

    def end(self) -> None:
        """Ask it to stop and wait for its ledger."""
        self.program.ask_to_stop()
        self.program.wait()
        if not self.spec.ledger.exists():
            raise Waited(f"the swarm left no ledger: {self.program.tail()}")


class Meter:
    """CPU seconds and memory of processes by part, between two looks."""

    def __init__(self, pids: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self._pids = pids
        self._gone: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        self._at_s, self._cpu = time.monotonic(), self._now()

    def _now(self) -> dict[int, float]:
        found = {}
        for pids in self._pids().values():
            for pid in pids:
                try:
                    times = psutil.Process(pid).cpu_times()
                    found[pid] = float(times.user + times.system)
                except psutil.NoSuchProcess:
                    continue
        return found

    def since(self) -> dict[str, float]:
        """CPU seconds of each part since the last ``restart``; ``wall`` is the time that passed. A new process counts from its start."""
        now = self._now()
        parts = {
            name: sum(now.get(pid, 0.0) - self._cpu.get(pid, 0.0) for pid in pids)
            for name, pids in self._pids().items()
        }
        return {**parts, "wall": time.monotonic() - self._at_s}

    def rss_mb(self) -> dict[str, float]:
        return {
            name: round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6, 1)
            for name, pids in self._pids().items()
        }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)
