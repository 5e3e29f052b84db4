"""Sockets and servers: a port that is taken is named in one sentence, and servers stop when the hub does."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from uvicorn import Config, Server

from prahari_hub.errors import SetupError

BACKLOG = 1024


def bind(host: str, port: int, purpose: str) -> socket.socket:
    """A listening socket; SetupError names the port, what it is for and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"port {port} ({purpose}) is taken by another program: end it, or set PRAHARI_PORT_OFFSET to shift all ports of the hub"
            ) from error
        raise SetupError(f"port {port} ({purpose}) cannot be opened on {host}: {error.strerror}") from error
    found.listen(BACKLOG)
    found.setblocking(False)
    return found


class HostedServer(Server):
    """A uvicorn server that leaves signals to the hub, because several servers share one process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One server on one socket. ``stop`` lets requests that run come to their end."""

    def __init__(self, config: Config, sock: socket.socket, name: str) -> None:
        self._server = HostedServer(config)
        self._socket = sock
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve([self._socket]), name=f"hub.{self._name}")
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise SetupError(f"the {self._name} server ended while starting; its log says why")
            await asyncio.sleep(0.01)

    def renew(self) -> None:
        """Show the certificate that lies in its file now to whoever connects from now on."""
        config = self._server.config
        if config.ssl is not None:
            config.ssl.load_cert_chain(str(config.ssl_certfile), config.ssl_keyfile)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
