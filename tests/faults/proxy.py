"""A TCP proxy between a box and its hub that misbehaves as networks do: it cuts, swallows, delays, throttles, resets."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

CHUNK = 16 * 1024


@dataclass
class Weather:
    """What happens to each chunk; may be changed at any moment. ``open`` False refuses new connections, ``dead`` lets nothing
    through in either way, as a pulled cable: what was under way arrives when it is plugged in again.
    """

    open: bool = True
    dead: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_a_s: float | None = None


class Proxy:
    """Listens on 127.0.0.1 in a thread of its own and passes everything on to ``target``."""

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self.weather = Weather()
        self.connections = 0
        self._target, self._dice = target, random.Random(seed)
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._holes: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.port = 0

    @property
    def address(self) -> tuple[str, int]:
        return "localhost", self.port

    def start(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        self._call(self._end_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """End every connection in good order (FIN)."""
        self._call(self._end_all)

    def reset(self) -> None:
        """Tear every connection (RST), as a reloading firewall does."""
        self._call(lambda: self._end_all(reset=True))

    def forget(self) -> None:
        """Swallow all that the present connections carry from now on, and tell nobody: a router has lost its table."""
        self._call(lambda: self._holes.update(end for pair in self._pairs for end in pair))

    def _call(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def _end_all(self, *, reset: bool = False) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                if reset and (sock := writer.get_extra_info("socket")) is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort() if reset else writer.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.weather.open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        pair = (writer, far_writer)
        self._pairs.add(pair)
        ways = (
            asyncio.create_task(self._pass(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        )
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._pairs.discard(pair)
        self._holes.difference_update(pair)
        for end in pair:
            end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                weather = self.weather
                while weather.dead:
                    await asyncio.sleep(0.02)
                if writer in self._holes:
                    continue
                if weather.delay_s or weather.jitter_s:
                    await asyncio.sleep(weather.delay_s + self._dice.uniform(0, weather.jitter_s))
                if weather.bytes_a_s:
                    await asyncio.sleep(len(chunk) / weather.bytes_a_s)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
