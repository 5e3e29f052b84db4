"""``make demo``: start the hub, put three devices into service, say what to try, stop everything on Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx

from prahari_provisioning.demo import people, register, street, tell
from prahari_provisioning.demo.processes import Program, installed
from prahari_provisioning.demo.site import CITY, HEARTBEAT_S, Device, Scenery, devices
from prahari_provisioning.errors import ProvisioningError
from prahari_provisioning.hub import Hub, read_token
from prahari_provisioning.seeds import make_seed, seed_bytes, seed_path
from prahari_provisioning.writing import check_writable, write_verified

READY_S = 180.0
LEAST_FREE_MB = 300
CONSOLE_PORT = 8080
MOST_OFFSET = 50_000
TIMEZONE = "Asia/Kolkata"
HUB_READY = "ready: console"
MODEL = Path("models/street/street.toml")
"""Our own model, in a checkout; it knows drawn streets."""


def port_offset() -> int:
    """What is added to every port of the demo; ProvisioningError unless it is a number that leaves them ports."""
    said = os.environ.get("PRAHARI_PORT_OFFSET", "0")
    if not said.isdecimal() or int(said) > MOST_OFFSET:
        raise ProvisioningError(f"PRAHARI_PORT_OFFSET is {said!r}: give a number from 0 to {MOST_OFFSET}")
    return int(said)


class _AskedToStop(Exception):
    """Ctrl-C while the demo was still starting."""


@dataclass
class Demo:
    """``home`` keeps everything, so that a second start resumes the same state."""

    home: Path
    clip: Path | None = None
    model: Path | None = None
    swarm: int = 0
    programs: list[Program] = field(default_factory=list)
    stopping: bool = False

    @property
    def hub_env(self) -> dict[str, str]:
        return {
            "PRAHARI_HOME": str(self.home / "hub"),
            "PRAHARI_CITY": CITY,
            "PRAHARI_HEARTBEAT_S": str(HEARTBEAT_S),
        }

    @property
    def console(self) -> str:
        return f"http://localhost:{CONSOLE_PORT + port_offset()}"

    @property
    def token_file(self) -> Path:
        return self.home / "token"

    @property
    def watches(self) -> str:
        """What there is to see at the camera."""
        if self.clip is None and self._model() is not None:
            return "Incidents: within two minutes six kinds of them, and a fault of the picture that clears again"
        seen = (
            "by your model"
            if self.model
            else "by motion alone: without a model nothing is called by its name"
        )
        return f"Incidents fill as something moves on the road of pune-cam-01, {seen}"

    def run(self) -> None:
        """Until Ctrl-C, SIGTERM, or until a program of the demo ends by itself."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self.start()
            while not self.stopping:
                self._watch()
                time.sleep(0.3)
        except _AskedToStop:
            pass
        finally:
            self.stop()

    def start(self) -> None:
        """Everything up, devices online, and the table printed."""
        started = time.monotonic()
        self._make_home()
        self._check_port()
        site = self._devices()
        self._start_hub()
        with self.api() as api:
            register.ensure_city(api)
            register.ensure_streets(api)
            passwords = people.ensure(api, self.home / "passwords.json")
            for device in site:
                register.ensure_device(api, device, self.home / "wanted")
                self._start_device(device)
            login = ThreadPoolExecutor(1).submit(
                self.login_link
            )  # meanwhile: a command takes a second or two
            self._wait("every device to come online", lambda: self._online(api, site))
        if self.swarm:
            self._start_swarm()
        tell.ready(self, passwords, login.result(), seconds=time.monotonic() - started)

    def stop(self) -> None:
        """Devices first, so that their last word still reaches the hub."""
        self.stopping = True
        for group in (
            [p for p in self.programs if p.name != "hub"],
            [p for p in self.programs if p.name == "hub"],
        ):
            for program in group:
                program.ask_to_stop()
            for program in group:
                program.wait()
        self.programs.clear()

    def agent_home(self, device: str) -> Path:
        return self.home / "devices" / device

    def api(self) -> httpx.Client:
        token = self.token_file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=f"{self.console}/api/v1", headers=headers, timeout=15)

    def login_link(self) -> str:
        """A link that signs the operator in, once."""
        return self._hub("user", "login-link", people.OPERATOR, "--base", self.console).strip()

    def _make_home(self) -> None:
        try:
            for folder in (self.home, self.home / "logs", self.home / "wanted"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_writable(self.home)
        except OSError as error:
            raise ProvisioningError(
                f"the demo's folder {self.home} cannot be written ({error.strerror}): "
                "give another with --home, or run it where you may write"
            ) from error
        free_mb = shutil.disk_usage(self.home).free // 10**6
        if free_mb < LEAST_FREE_MB:
            raise ProvisioningError(
                f"the disk that holds {self.home} has {free_mb} MB free and the demo needs {LEAST_FREE_MB} MB: "
                "free space, or give a folder on another disk with --home"
            )

    def _check_port(self) -> None:
        """Before anything is made; the hub itself looks at its other ports."""
        port = CONSOLE_PORT + port_offset()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise ProvisioningError(
                    f"port {port} (the console) is taken, perhaps by another demo: end that program, "
                    "or shift all ports of this one, for instance PRAHARI_PORT_OFFSET=1000 make demo"
                )

    def _devices(self) -> tuple[Device, ...]:
        for path, what in ((self.clip, "clip"), (self.model, "model")):
            if path is not None and not path.is_file():
                raise ProvisioningError(
                    f"there is no {what} at {path}: give {what.upper()}= the path of a file"
                )
        clips = self.home / "clips"
        clips.mkdir(exist_ok=True)
        drawn, quiet = clips / f"{street.SCENE}-{street.SEED}.mp4", clips / "passages-2.mp4"
        if self.clip is None:
            self._draw(drawn, street.SCENE, street.SEED)
        self._draw(quiet, "passages", 2)
        model = self._model()
        return devices(
            Scenery(
                clip=(self.clip or drawn).resolve(),
                quiet_clip=quiet.resolve(),
                model=model.resolve() if model else None,
                drawn=self.clip is None,
            )
        )

    def _model(self) -> Path | None:
        """The one that was given; for the drawn street our own, where the demo runs in a checkout."""
        return self.model or (MODEL if self.clip is None and MODEL.is_file() else None)

    def _draw(self, path: Path, scene: str, seed: int) -> None:
        if not path.exists():
            self._do([installed("prahari-agent"), "clip", str(path), "--scene", scene, "--seed", str(seed)])

    def _start_hub(self) -> None:
        if not self.token_file.exists():  # written last, so what came before it may be half done
            self._hub("init")
        hub = self._launch("hub", [installed("prahari-hub"), "serve"], self.hub_env)
        # its own word, because another hub may answer on a port that is taken
        self._wait("the hub to be ready", lambda: self._alive(hub) and hub.said(HUB_READY))
        if not (self.token_file.exists() and self._token_is_good()):
            self._keep_secret(self._hub("token", "create", "demo", "--role", "admin", "--days", "90").strip())

    def _token_is_good(self) -> bool:
        with self.api() as api:
            return api.get("/devices", params={"limit": 1}).status_code == httpx.codes.OK

    def _keep_secret(self, token: str) -> None:
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")

    def _start_device(self, device: Device) -> None:
        home = self.agent_home(device.id)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = home / "identity"
        if not (identity.is_dir() and any(identity.iterdir())):
            with Hub(self.console, read_token(self.token_file)) as hub:
                seed = make_seed(hub.claim(device.id), hub.enrolment(), board="simulated", timezone=TIMEZONE)
            write_verified(seed_path(home), seed_bytes(seed), mode=0o600)
        self._launch(device.id, [installed("prahari-agent"), "run", "--home", str(home)])

    def _start_swarm(self) -> None:
        if not Path("bench/swarm").is_dir():
            raise ProvisioningError("the swarm is a part of the repository: run make demo SWARM=… in it")
        hub = ["--hub", self.console, "--token-file", str(self.token_file)]
        where = ["--home", str(self.home / "swarm"), "--count", str(self.swarm)]
        self._launch("swarm", [sys.executable, "-m", "bench.swarm", *hub, *where])

    def _online(self, api: httpx.Client, site: tuple[Device, ...]) -> bool:
        for program in self.programs:
            self._alive(program)
        found = register.presence(api)
        return all(found.get(device.id) == "online" for device in site)

    def _watch(self) -> None:
        for program in self.programs:
            self._alive(program)

    def _alive(self, program: Program) -> bool:
        if program.ended is not None:
            said = program.tail()
            if len(said.splitlines()) == 1:
                raise ProvisioningError(said)  # a program that cannot start says why in one sentence
            raise ProvisioningError(
                f"{program.name} ended by itself; its log {program.log} closes with:\n{said}"
            )
        return True

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not done():
            if self.stopping:
                raise _AskedToStop
            if time.monotonic() > deadline:
                raise ProvisioningError(
                    f"waited {READY_S:.0f} s for {what}; look into the logs in {self.home / 'logs'}"
                )
            time.sleep(0.1)

    def _launch(self, name: str, command: list[str], env: Mapping[str, str] | None = None) -> Program:
        program = Program(name, command, self.home / "logs" / f"{name}.log", env)
        self.programs.append(program)
        return program

    def _hub(self, *arguments: str) -> str:
        return self._do([installed("prahari-hub"), *arguments], self.hub_env)

    def _do(self, command: list[str], env: Mapping[str, str] | None = None) -> str:
        """Run one command to its end and give what it printed; ProvisioningError with its own words if it fails."""
        done = subprocess.run(
            command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ProvisioningError(f"{Path(command[0]).name} {command[1]} failed: {said}")
        return done.stdout

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
