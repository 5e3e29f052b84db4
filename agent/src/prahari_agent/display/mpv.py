"""The player on a screen: one resident mpv, told over JSON IPC what to show.

mpv runs as a process of its own, so that a crash in a decoder or driver does not end the agent; it is started again
with back-off and shows the last frame again. The socket is one end of a pair that mpv inherits: mpv ends when
the agent does.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

from prahari_agent.display.player import FRAME_FILE, write_frame
from prahari_agent.display.renderer import Frame
from prahari_agent.errors import SourceError
from prahari_agent.log import get_logger

log = get_logger("display")

SHOW_TIMEOUT_S = 5.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0
HEALTHY_AFTER_S = 60.0
"""An mpv that lived this long was no failed start: the next back-off begins at the shortest."""
OPTIONS = (
    "--no-config", "--no-terminal", "--idle=yes", "--force-window=yes", "--fullscreen", "--keep-open=yes",
    "--image-display-duration=inf", "--audio=no", "--osc=no", "--osd-level=0", "--no-input-default-bindings",
    "--load-scripts=no", "--ytdl=no", "--cursor-autohide=always", "--stop-screensaver=yes", "--hwdec=auto-safe",
    )  # fmt: skip


class MpvPlayer:
    """``changed`` is called from another thread when mpv has come up or has died."""

    def __init__(
        self, home: Path, changed: Callable[[], None], *, program: str = "mpv", vo: str | None = None
    ) -> None:
        self._path = home / FRAME_FILE
        self._changed = changed
        self._command = [program, *OPTIONS, *([f"--vo={vo}"] if vo else [])]
        self._stopping = Event()
        self._state = Condition()
        self._ipc: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded = self._failed = 0
        self._fault: str | None = None
        self._said = ""
        self._thread = Thread(target=self._supervise, name="display-mpv", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def show(self, frame: Frame) -> None:
        try:
            write_frame(self._path, frame)
        except OSError as error:
            raise SourceError(
                f"The frame cannot be written ({error.strerror}): free space on the disk."
            ) from error
        with self._state:
            if self._ipc is None:
                raise SourceError(self._fault or "mpv is starting, the display follows in a moment.")
            loaded, failed = self._loaded, self._failed
            self._send(self._ipc, "loadfile", str(self._path), "replace")
            self._state.wait_for(
                lambda: self._loaded > loaded or self._failed > failed or self._ipc is None, SHOW_TIMEOUT_S
            )
            if self._loaded > loaded:
                self._fault, self._said = None, ""
                return
            self._fault = f"mpv does not show the frame: check the screen{self._said}."
            if self._failed == failed and self._process is not None:
                self._process.kill()  # it hangs: a new one may not
        raise SourceError(self._fault)

    def fault(self) -> str | None:
        return self._fault

    def close(self) -> None:
        self._stopping.set()
        with self._state:
            if self._ipc is not None:
                self._send(self._ipc, "quit")
        self._thread.join(timeout=SHOW_TIMEOUT_S)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _supervise(self) -> None:
        wait_s = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                why = self._run()
            except (OSError, ValueError) as error:
                why = str(error)
            if self._stopping.is_set():
                return
            wait_s = BACKOFF_FIRST_S if time.monotonic() - started > HEALTHY_AFTER_S else wait_s
            self._fault = f"mpv ended ({why}) and is started again: check the screen{self._said}."
            log.error("mpv ended", why=why, again_in_s=wait_s)
            self._changed()
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, BACKOFF_MOST_S)

    def _run(self) -> str:
        """One life of mpv; gives how it ended."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [*self._command, f"--input-ipc-client=fd://{theirs.fileno()}"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
            theirs.close()
            try:
                self._listen(ours)
            finally:
                with self._state:
                    self._ipc = None
                    self._state.notify_all()
        return f"status {self._end(self._process)}"

    def _listen(self, ipc: socket.socket) -> None:
        """Follow mpv's events until it closes the line."""
        with ipc.makefile("rb") as lines:
            self._send(ipc, "request_log_messages", "error")
            self._send(ipc, "get_property", "pid")
            for line in lines:
                self._heard(ipc, json.loads(line))

    def _heard(self, ipc: socket.socket, message: dict[str, Any]) -> None:
        with self._state:
            match message:
                case {"event": "playback-restart"}:
                    self._loaded += 1
                case {"event": "end-file", "reason": "error"}:
                    self._failed += 1
                case {"event": "log-message", "prefix": prefix, "text": text}:
                    self._hear_complaint(prefix, text.strip())
                    return
                case {"request_id": 0, "error": "success"} if self._ipc is None:
                    self._ipc = ipc
                    self._changed()
                case _:
                    return
            self._state.notify_all()

    def _hear_complaint(self, prefix: str, text: str) -> None:
        """Keep it for the fault's sentence; what the video output says tells more than what follows from it."""
        log.debug("mpv complains", prefix=prefix, text=text)
        if prefix.startswith("vo/") or not self._said:
            self._said = f" ({text.rstrip('.!')})"

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(timeout=SHOW_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    @staticmethod
    def _send(ipc: socket.socket, *command: str) -> None:
        try:
            ipc.sendall(json.dumps({"command": command}).encode() + b"\n")
        except OSError as error:
            log.debug("mpv does not listen", error=str(error))
