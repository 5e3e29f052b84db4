"""Runs a camera's process, hands on what it says, and starts it again when it dies. Imports nothing heavy.

A process that died inside the model, or the decoder, is started without it; it is tried again after a rest that doubles each time.
"""

from __future__ import annotations

import mmap
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from prahari_wire.recording import GapCause

from prahari_agent.camera.channel import IN_DECODER, IN_MODEL, MARKS, Channel, Message
from prahari_agent.errors import AgentError
from prahari_agent.log import get_logger

log = get_logger("camera")

SILENT_S = 45.0
"""A process that says nothing for this long hangs and is killed; opening a source and an inference take less."""
STOP_S = 5.0
SETTLED_S = 30.0
"""A process that ran this long counts as healthy: the next crash is the first again."""
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_REST_S, _LONGEST_REST_S = 60.0, 3600.0
_TICK_S = 0.5
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
}


def pause_s(crashes: int, jitter: float) -> float:
    """How long to wait after the n-th crash in a row; ``jitter`` from 0 to 1."""
    return float(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** min(crashes - 1, 10)) * (0.75 + jitter / 2))


def rest_s(crashes: int) -> float:
    """How long the model rests after it crashed its process for the n-th time."""
    return float(min(_LONGEST_REST_S, _REST_S * 2 ** min(crashes - 1, 10)))


@dataclass(frozen=True)
class Crash:
    """How a process ended that nobody stopped; ``in_model``, ``in_decoder``: while that ran, which then rests for ``rest_s``.
    ``again_s``: when it starts again.
    """

    how: str
    in_model: bool
    in_decoder: bool
    again_s: float
    rest_s: float


class Allowed(NamedTuple):
    """What may run in a camera's process: whatever crashed it rests."""

    model: bool = True
    decoder: bool = True


class _Part:
    """A part that may crash its process."""

    def __init__(self) -> None:
        self._crashes, self.rests_until_s = 0, 0.0

    def crashed(self) -> float:
        """How long it rests now."""
        self._crashes += 1
        rest = rest_s(self._crashes)
        self.rests_until_s = time.monotonic() + rest
        return rest

    @property
    def rested(self) -> bool:
        return time.monotonic() >= self.rests_until_s


class Supervisor:
    """``start_message(allowed)`` gives a new process its first message; it may raise AgentError, and is then asked again later.

    ``heard(message, blob)`` and ``crashed(crash)`` are called from the supervisor's thread, as is ``may_run``: while it says no
    there is no process, and ``rested`` is called once each time that begins.
    """

    def __init__(
        self,
        name: str,
        *,
        start_message: Callable[[Allowed], Message],
        heard: Callable[[Message, bytes], None],
        crashed: Callable[[Crash], None],
        may_run: Callable[[], bool] = lambda: True,
        rested: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._may_run, self._tell_rested = may_run, rested
        self._start_message = start_message
        self._heard = heard
        self._crashed = crashed
        self._stopping = threading.Event()
        self._renew = threading.Event()
        self._wake = threading.Event()
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = mmap.mmap(-1, MARKS)
        self._crashes = 0
        self._model, self._decoder = _Part(), _Part()
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def renew(self) -> None:
        """Stop the process kindly and start it with a new first message."""
        self._model.rests_until_s = self._decoder.rests_until_s = 0.0
        self._renew.set()
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2 * STOP_S)

    def send(self, message: Message) -> bool:
        """Say something to the running process; False if there is none, or no more."""
        channel = self._channel
        if channel is None:
            return False
        try:
            channel.send(message)
        except OSError:
            return False
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self._renew.clear()
            try:
                self._rest_while_forbidden()
                if not self._stopping.is_set():
                    self._one_life()
            except AgentError as error:
                log.error("the camera cannot start", camera=self._name, error=str(error))
                self._wake.wait(_LONGEST_PAUSE_S)
            except Exception as error:
                log.exception("the camera's supervisor failed once and carries on", camera=self._name)
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """No process lives, and not because one died: it could not be started, or what it said could not be taken."""
        self._crashes += 1
        again_s = pause_s(self._crashes, random.random())  # noqa: S311 - jitter
        crash = Crash(
            f"the agent failed: {error}", in_model=False, in_decoder=False, again_s=again_s, rest_s=0.0
        )
        try:
            self._crashed(crash)
        except Exception:
            log.exception("what became of the camera could not be told", camera=self._name)
        self._wake.wait(crash.again_s)

    def _rest_while_forbidden(self) -> None:
        if self._may_run():
            return
        self._tell_rested()
        while not self._stopping.is_set() and not self._may_run():
            self._wake.wait(_TICK_S)
            self._wake.clear()

    def _one_life(self) -> None:
        """One process from start to end, and the pause after a crash."""
        allowed = Allowed(self._model.rested, self._decoder.rested)
        first = self._start_message(allowed)
        began_s = time.monotonic()
        with self._spawned() as process:
            try:
                how = self._accompany(process, first, allowed)
            except BaseException:
                process.kill()  # nobody listens to it any more
                raise
        self._process = None
        if how is None:
            self._crashes = 0
            return
        lived_s = time.monotonic() - began_s
        self._crashes = 1 if lived_s >= SETTLED_S else self._crashes + 1
        crash = self._judge(how)
        log.error(
            "the camera's process died",
            camera=self._name,
            how=how,
            in_model=crash.in_model,
            in_decoder=crash.in_decoder,
            again_s=crash.again_s,
        )
        self._crashed(crash)
        self._wake.wait(crash.again_s)

    def _judge(self, how: str) -> Crash:
        in_model = self._mark[IN_MODEL] == 1
        in_decoder = not in_model and self._mark[IN_DECODER] == 1
        rest = self._model.crashed() if in_model else self._decoder.crashed() if in_decoder else 0.0
        return Crash(how, in_model, in_decoder, pause_s(self._crashes, random.random()), rest)  # noqa: S311

    def _spawned(self) -> subprocess.Popen[bytes]:
        """A new process, connected to us by a socket pair and by shared bytes that say what runs."""
        ours, theirs = socket.socketpair()
        mark = os.memfd_create("prahari-camera")
        os.ftruncate(mark, mmap.PAGESIZE)
        self._mark.close()
        self._mark = mmap.mmap(mark, MARKS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prahari_agent.camera", str(theirs.fileno()), str(mark)],
                pass_fds=(theirs.fileno(), mark),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
            )
        finally:
            theirs.close()
            os.close(mark)
        self._channel = Channel(ours)
        return self._process

    def _accompany(self, process: subprocess.Popen[bytes], first: Message, allowed: Allowed) -> str | None:
        """Listen until the process ends; None if we ended it, else how it died."""
        channel = self._channel
        assert channel is not None
        try:
            if not self.send(first):
                return self._reaped(process)
            silent_since_s = time.monotonic()
            while (
                not (self._stopping.is_set() or self._renew.is_set() or self._rested(allowed))
                and self._may_run()
            ):
                if not select.select([channel], [], [], _TICK_S)[0]:
                    if time.monotonic() - silent_since_s > SILENT_S:
                        process.kill()
                        process.wait()
                        return f"it hung for {SILENT_S:.0f} s"
                    continue
                received = channel.receive()
                if received is None:
                    return self._reaped(process)
                silent_since_s = time.monotonic()
                self._heard(*received)
            self._end(process, channel)
            return None
        finally:
            self._channel = None
            channel.close()

    def _rested(self, allowed: Allowed) -> bool:
        """Whether a part that was left out may be tried again."""
        return (not allowed.model and self._model.rested) or (not allowed.decoder and self._decoder.rested)

    def _end(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        """Ask it to stop, hear its last words, make sure."""
        self.send({"type": "stop", "cause": str(GapCause.MAINTENANCE if self._may_run() else GapCause.OFF)})
        deadline_s = time.monotonic() + STOP_S
        while time.monotonic() < deadline_s:
            if select.select([channel], [], [], _TICK_S)[0]:
                received = channel.receive()
                if received is None:
                    break
                self._heard(*received)
        try:
            process.wait(timeout=max(0.1, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()

    def _reaped(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return "it closed its connection and hung"
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with status {code}"
