"""A Unix socket in the home, for commands on the same box: what is the state, press the simulated button.

One JSON object in, one out, each a line. The socket is 0600: whoever may use it is the agent's own user. This file
imports next to nothing, so that a command answers at once.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prahari_agent.errors import AgentError, HubUnreachable, Rejected

SOCKET = "agent.sock"
LONGEST_LINE = 16 * 1024

Handler = Callable[[Mapping[str, Any]], dict[str, Any]]


@contextmanager
def _address(home: Path) -> Iterator[str]:
    """The socket's address through an open folder: a Unix address holds 107 bytes, a home's path may be longer."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


class Control:
    """Serves ``handlers`` by the request's field ``do``."""

    def __init__(self, home: Path, handlers: Mapping[str, Handler]) -> None:
        self._home, self._handlers = home, handlers
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        (home / SOCKET).unlink(missing_ok=True)
        with _address(home) as address:
            self._listener.bind(address)
        (home / SOCKET).chmod(0o600)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        (self._home / SOCKET).unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed by stop()
            threading.Thread(
                target=self._serve, args=(connection,), name="control-request", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(5)
                request = json.loads(_line(connection))
                connection.settimeout(None)
                answer = self._handlers[request["do"]](request)
                connection.sendall(json.dumps({"ok": True, **answer}).encode() + b"\n")
            except AgentError as error:
                _say(connection, str(error))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _say(connection, f"the request is not understood ({error!r})")


def _say(connection: socket.socket, error: str) -> None:
    try:
        connection.sendall(json.dumps({"ok": False, "error": error}).encode() + b"\n")
    except OSError:
        return  # nobody waited for the answer


def _line(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n") and len(found) < LONGEST_LINE:
        chunk = connection.recv(4096)
        if not chunk:
            break
        found += chunk
    return found


def ask(home: Path, do: str, *, timeout_s: float = 10, **fields: Any) -> dict[str, Any]:
    """Ask the agent that runs in ``home``. HubUnreachable if none does, Rejected with its reason if it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with _address(home) as address:
                connection.connect(address)
            connection.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            answer = json.loads(_line_all(connection))
        except (OSError, ValueError):
            raise HubUnreachable(
                f"No agent answers in {home}: start it with prahari-agent run --home {home}."
            ) from None
    if not answer.pop("ok", False):
        raise Rejected(str(answer.get("error", "refused")))
    found: dict[str, Any] = answer
    return found


def _line_all(connection: socket.socket) -> bytes:
    parts = []
    while chunk := connection.recv(65536):
        parts.append(chunk)
    return b"".join(parts)


def press(home: Path, *, hold_s: float = 0.2, pin: int | None = None) -> str:
    """Press the simulated button; what to tell the person."""
    answer = ask(home, "press", timeout_s=hold_s + 10, hold_s=hold_s, **({} if pin is None else {"pin": pin}))
    return f"Pressed the button at pin {answer['pin']} for {hold_s:g} s."


def lamps(home: Path) -> str:
    """What the simulated lamps show: one word where there is one lamp, else a line a pin."""
    shown: dict[str, str] = ask(home, "lamps")["lamps"]
    return "\n".join(state if len(shown) == 1 else f"pin {pin}: {state}" for pin, state in shown.items())
