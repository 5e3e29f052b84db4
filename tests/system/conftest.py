"""A small town on this machine: the real hub with its broker, real agents, each a process that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from prahari_provisioning.cli import app as provision
from prahari_provisioning.demo.processes import Program, installed
from prahari_wire.twin import Desired, PeripheralConfig
from typer.testing import CliRunner

T = TypeVar("T")
PATIENCE_S = 120.0
HEARTBEAT_S = 2
MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"


def eventually(found: Callable[[], T], what: str, *, within_s: float = PATIENCE_S) -> T:
    """The first true value of ``found``; fails with ``what`` after ``within_s``. Connection errors count as not yet.

    The longer it has waited the less often it asks: looking costs hub and test more than most of what is waited for.
    """
    begun = time.monotonic()
    while True:
        try:
            value = found()
        except (httpx.TransportError, sqlite3.OperationalError):
            value = None  # type: ignore[assignment]
        if value:
            return value
        waited_s = time.monotonic() - begun
        if waited_s > within_s:
            pytest.fail(f"waited {within_s:.0f} s for {what}")
        time.sleep(min(max(0.1, waited_s / 10), 0.5))


class Box:
    """One agent: its home, its process, what a person does at it."""

    def __init__(self, town: Town, device: str) -> None:
        self.town = town
        self.device = device
        self.home = town.folder / device
        self.program: Program | None = None

    def seed(self) -> None:
        where = [
            "--hub",
            self.town.console,
            "--token-file",
            str(self.town.token_file),
            "--out",
            str(self.home),
        ]
        self.home.mkdir(exist_ok=True)
        # the command's own code in this process: its start is most of what it costs
        done = CliRunner().invoke(provision, ["seed", self.device, "--board", "simulated", *where])
        assert done.exit_code == 0, done.output

    def start(self) -> None:
        log = self.town.folder / f"{self.device}.log"
        self.program = self.town.launch(
            self.device, "prahari-agent", "run", "--home", str(self.home), log=log
        )

    def kill(self) -> None:
        """As when the power fails."""
        assert self.program
        self.program.process.send_signal(signal.SIGKILL)
        self.program.process.wait()

    def stop(self) -> None:
        assert self.program
        self.program.ask_to_stop()
        self.program.wait()

    def press(self) -> None:
        self.town.do("prahari-agent", "press", "--home", str(self.home))

    @property
    def frame(self) -> Path | None:
        return next(self.home.rglob("frame.png"), None)

    @property
    def presence(self) -> str:
        return str(self.town.get(f"/devices/{self.device}")["presence"])


class Town:
    """Settings of the hub can be given by name, as the environment spells them."""

    def __init__(self, folder: Path, offset: int, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.offset = offset
        self.env = {
            **os.environ,
            "PRAHARI_HOME": str(folder / "hub"),
            "PRAHARI_MEDIA": os.environ.get("PRAHARI_MEDIA") or str(MEDIA),
            "PRAHARI_CITY": "Pune",
            "PRAHARI_PORT_OFFSET": str(self.offset),
            "PRAHARI_HEARTBEAT_S": str(HEARTBEAT_S),
            "PRAHARI_FLUSH_S": "0.5",
            **settings,
        }
        self.console = f"http://localhost:{8080 + self.offset}"
        self.token_file = folder / "token"
        self.programs: list[Program] = []
        self.hub: Program | None = None
        self.api = httpx.Client(base_url=f"{self.console}/api/v1", timeout=15)

    def init(self) -> None:
        """The hub's home and an admin's token."""
        self.do("prahari-hub", "init")
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(
            self.do("prahari-hub", "token", "create", "tests", "--role", "admin", "--days", "1")
        )

    def copy(self, template: Path) -> None:
        """As ``init``, from the folder of a town where that was done once."""
        shutil.copytree(template / "hub", self.folder / "hub")
        shutil.copy2(template / "token", self.token_file)

    def build(self, template: Path | None = None) -> None:
        if template is None:
            self.init()
        else:
            self.copy(template)
        self.api.headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        self.start_hub()
        self.post("/zones", {"id": "kasba", "name": "Kasba Peth"})
        self.post(
            "/sites", {"id": "wada", "name": "Shaniwar Wada", "zone": "kasba", "lat": 18.5195, "lon": 73.8553}
        )

    def start_hub(self) -> None:
        self.hub = self.launch("hub", "prahari-hub", "serve", log=self.folder / "hub.log")
        eventually(self._hub_ready, "the hub to be ready", within_s=90)

    def kill_hub(self) -> None:
        assert self.hub
        self.hub.process.send_signal(signal.SIGKILL)
        self.hub.process.wait()

    def stop_hub(self) -> None:
        assert self.hub
        self.hub.ask_to_stop()
        self.hub.wait()

    def box(self, device: str, peripherals: Mapping[str, PeripheralConfig], *, start: bool = True) -> Box:
        """Register, configure, seed and start an agent, and wait until the hub calls it online."""
        self.post("/devices", {"id": device, "site": "wada"})
        desired = Desired(heartbeat_s=HEARTBEAT_S, peripherals=dict(peripherals))
        answer = self.api.put(
            f"/devices/{device}/twin", json=desired.model_dump(mode="json"), headers={"If-Match": '"0"'}
        )
        assert answer.status_code == 200, answer.text
        box = Box(self, device)
        box.seed()
        if start:
            box.start()
            eventually(lambda: self.twin_applied(device), f"{device} to come online with its twin applied")
        return box

    def twin_applied(self, device: str) -> bool:
        twin = self.get(f"/devices/{device}/twin")
        return (
            self.get(f"/devices/{device}")["presence"] == "online"
            and twin["applied_version"] == twin["version"]
        )

    def incidents(self, **query: str) -> list[dict[str, Any]]:
        return list(self.get("/incidents", **query)["items"])

    def events(self, device: str, kind: str) -> list[sqlite3.Row]:
        """Committed events of a device, read from the hub's database by a second reader."""
        with sqlite3.connect(f"file:{self.folder / 'hub' / 'hub.db'}?mode=ro", uri=True) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute(
                "SELECT * FROM events WHERE device_id = ? AND kind = ? ORDER BY id", (device, kind)
            ).fetchall()
        database.close()
        return rows

    def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.api.post(path, json=dict(body))
        assert answer.is_success, answer.text
        return dict(answer.json())

    def do(self, program: str, *arguments: str) -> str:
        """Run one of our commands to its end and give what it printed."""
        done = subprocess.run(
            [installed(program), *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def launch(self, name: str, program: str, *arguments: str, log: Path) -> Program:
        started = Program(name, [installed(program), *arguments], log, self.env)
        self.programs.append(started)
        return started

    def close(self) -> None:
        self.api.close()
        for program in reversed(self.programs):
            program.ask_to_stop()
        for program in reversed(self.programs):
            program.wait()

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log"))
        )

    def _hub_ready(self) -> bool:
        assert self.hub
        if self.hub.ended is not None:
            pytest.fail(f"the hub ended: {self.hub.tail()}")
        return self.api.get(f"{self.console}/readyz", timeout=2).status_code == 200


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., object]:
    return eventually


class Towns:
    """Builds towns and takes them down; their folders are short, because Unix sockets have short names."""

    def __init__(self) -> None:
        self._towns: list[Town] = []

    def build(self, offset: int, template: Path | None = None, **settings: str) -> Town:
        self._towns.append(Town(Path(tempfile.mkdtemp(prefix="prahari-")), offset, settings))
        self._towns[-1].build(template)
        return self._towns[-1]

    def close(self, *, show_logs: bool) -> None:
        for town in self._towns:
            town.close()
            if show_logs:
                print(town.logs())
            shutil.rmtree(town.folder, ignore_errors=True)


def initialise(folder: Path) -> None:
    town = Town(folder, 0, {})
    town.init()
    town.api.close()


@pytest.fixture(scope="session")
def empty_town(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a town that was initialised and never started: a copy of it costs no start of two programs."""
    return made_once("town", initialise)


@pytest.fixture(scope="module")
def town(
    request: pytest.FixtureRequest, empty_town: Path, find_port_offset: Callable[[], int]
) -> Iterator[Town]:
    """One town for all tests of a file that leave its hub alone: each uses devices of its own."""
    yield from _lend(request, find_port_offset(), empty_town)


@pytest.fixture
def own_town(request: pytest.FixtureRequest, empty_town: Path, port_offset: int) -> Iterator[Town]:
    """A town whose hub a test may kill; settings of the hub come by indirect parametrisation."""
    yield from _lend(request, port_offset, empty_town, **getattr(request, "param", {}))


@pytest.fixture
def town_on_postgres(request: pytest.FixtureRequest, postgres: Any, port_offset: int) -> Iterator[Town]:
    """A town whose hub keeps everything in PostgreSQL."""
    database = postgres.create()
    yield from _lend(request, port_offset, None, PRAHARI_DATABASE_URL=database)
    postgres.drop(database)


def _lend(
    request: pytest.FixtureRequest, offset: int, template: Path | None, **settings: str
) -> Iterator[Town]:
    failed_before = request.session.testsfailed
    towns = Towns()
    try:
        yield towns.build(offset, template, **settings)
    finally:
        towns.close(show_logs=request.session.testsfailed > failed_before)
