"""Many devices in one thread: one TLS connection a device, sockets by epoll, timers in a heap."""

from __future__ import annotations

import errno
import heapq
import os
import resource
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prahari_wire.camera import ContentFault
from prahari_wire.events import CAMERA_FAULT, PRESS, SELF_TEST

from bench.swarm import payloads
from bench.swarm.device import NEVER, Device
from bench.swarm.identities import Identity
from bench.swarm.ledger import Ledger

MOST_CONNECTING = 50
"""Handshakes at once in one thread: beyond it each would only wait longer for this process.
A box that holds a press waits for no other's."""
LONGEST_POLL_S = 0.1
SOURCES = 200
"""Devices take turns at the addresses 127.0.0.2 to 127.0.0.201: each has its own range of ports."""
SPARE_FILES = 200
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT, which Python 3.11 does not name: the port is chosen at connect, by source and target together."""


class Swarm:
    """``identities`` connect to ``host``:``port`` and go on until ``stop`` or ``kill``. The methods may be called from any thread.

    ``connect_over_s`` spreads the first connections. No TLS session is ever resumed, as a real box resumes none.
    """

    def __init__(
        self,
        identities: Sequence[Identity],
        host: str,
        port: int,
        *,
        ca: Path,
        heartbeat_s: float = 30.0,
        connect_over_s: float = 0.0,
        full_heartbeat: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.beats = payloads.Heartbeats(
            full=full_heartbeat, callbox=bool(identities) and identities[0].callbox
        )
        self.heartbeat_s = heartbeat_s
        self._address = (host, port)
        self._started_s = time.monotonic()
        self._ca = ca
        self.devices = {item.device: Device(item, self, heartbeat_s=heartbeat_s) for item in identities}
        self._connect_over_s = connect_over_s
        self._by_fd: dict[int, Device] = {}
        self._timers: list[tuple[float, int, Device]] = []
        self._armed: dict[str, float] = {}
        self._count = 0
        self._waiting: deque[Device] = deque()
        self._connecting = 0
        self._tail, self._tail_at = b"", -1.0
        self._tasks: deque[Callable[[float], None]] = deque()
        self._running = False
        self._polite = True
        self._thread = threading.Thread(target=self._run, name="swarm", daemon=True)
        self.cpu_s = 0.0

    # For whoever runs the swarm

    def start(self) -> Swarm:
        enough_files(len(self.devices))
        self._epoll = select.epoll()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._epoll.register(self._wake_in, select.EPOLLIN)
        self._running = True
        self._thread.start()
        return self

    def stop(self) -> None:
        """Every device says gone."""
        self._end(polite=True)

    def kill(self) -> None:
        """As when the power fails: sockets close, nothing is said."""
        self._end(polite=False)

    def _end(self, *, polite: bool) -> None:
        if not self._running:
            return
        self._polite, self._running = polite, False
        self._poke()
        self._thread.join(60)

    def __enter__(self) -> Swarm:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    @property
    def up(self) -> int:
        """Devices with a connection that the broker accepted."""
        return sum(device.phase == "up" for device in self.devices.values())

    @property
    def welcomed(self) -> int:
        """Devices whose birth on the present connection the hub has acked."""
        return sum(device.welcomed for device in self.devices.values())

    @property
    def held(self) -> int:
        """Events that wait for their ack."""
        return sum(len(device.outbox.held) for device in self.devices.values())

    def wait(self, done: Callable[[], bool], *, within_s: float, what: str = "the swarm") -> float:
        """Seconds until ``done``; TimeoutError names ``what``."""
        begun = time.monotonic()
        while not done():
            if time.monotonic() - begun > within_s:
                raise TimeoutError(
                    f"waited {within_s:.0f} s for {what}: {self.up} up, {self.welcomed} welcomed, {self.held} events held"
                )
            time.sleep(0.02)
        return time.monotonic() - begun

    def wait_welcomed(self, *, within_s: float = 60.0) -> float:
        """Until every device's birth is committed and acked."""
        return self.wait(
            lambda: self.welcomed == len(self.devices), within_s=within_s, what="all births to be acked"
        )

    def wait_acked(self, *, within_s: float = 60.0) -> float:
        """Until no event is held any more."""
        return self.wait(lambda: not self.held, within_s=within_s, what="all events to be acked")

    def emit(self, device: str, kind: str, body: dict[str, Any], peripheral: str | None = None) -> None:
        """An event of this device: held until acked."""

        def act(now_s: float) -> None:
            found = self.devices[device]
            found.emit(kind, body, peripheral, now_s)
            found.tick(now_s)
            self._arm(found)

        self.do(act)

    def press(self, device: str) -> None:
        """Somebody presses the call box of this device."""
        self.emit(device, PRESS, {"press": payloads.quick_ulid(), "count": 1}, payloads.CALLBOX[0])

    def fault(self, device: str, *, active: bool) -> None:
        """The picture of this device's camera freezes, or is back."""
        body = {"fault": ContentFault.FROZEN, "active": active, "since": payloads.stamp_of(time.time())}
        self.emit(device, CAMERA_FAULT, body, payloads.CAMERA[0])

    def selftest(self, device: str) -> None:
        """An event that raises nothing."""
        body = {"passed": True, "lamp": True, "button": True}
        self.emit(device, SELF_TEST, body, payloads.CALLBOX[0])

    def cut(self, device: str) -> None:
        """The device's connection breaks; it comes back by itself."""
        self.do(lambda now_s: self._cut(self.devices[device], now_s))

    def do(self, act: Callable[[float], None]) -> None:
        """Run ``act(now_s)`` in the swarm's thread."""
        self._tasks.append(act)
        self._poke()

    def _poke(self) -> None:
        self._wake_out.send(b"x")

    # What a device asks of its host

    def tail(self, now_s: float) -> bytes:
        """The shared part of heartbeats, new every 20 ms."""
        if now_s - self._tail_at > 0.02:
            self._tail, self._tail_at = self.beats.tail(self.up_s(now_s), time.time()), now_s
        return self._tail

    def up_s(self, now_s: float) -> float:
        return now_s - self._started_s

    def socket_for(self, device: Device) -> socket.socket:
        """A socket that connects without blocking, from an address of its own."""
        raw = socket.socket()
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._address[0].startswith("127."):
                raw.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                raw.bind((f"127.0.0.{2 + device.identity.index % SOURCES}", 0))
            number = raw.connect_ex(self._address)
            if number not in (0, errno.EAGAIN, errno.EINPROGRESS):
                raise OSError(number, os.strerror(number))
        except BaseException:
            raw.close()
            raise
        self._connecting += 1
        return raw

    def secure(self, device: Device, raw: socket.socket) -> ssl.SSLSocket:
        """TLS with this device's certificate. Its context is kept: 33 kB a device, and a third of the swarm's CPU for a return."""
        if device.context is None:
            device.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            device.context.load_verify_locations(self._ca)
            device.context.options |= ssl.OP_NO_TICKET
            device.context.load_cert_chain(device.identity.pem)
        return device.context.wrap_socket(
            raw, server_hostname=self._address[0], do_handshake_on_connect=False
        )

    def watch(self, device: Device, *, write: bool) -> None:
        assert device.sock
        fd = device.sock.fileno()
        flags = select.EPOLLIN | (select.EPOLLOUT if write else 0)
        if fd in self._by_fd:
            self._epoll.modify(fd, flags)
        else:
            self._by_fd[fd] = device
            self._epoll.register(fd, flags)
        device.wants_write = write

    def forget(self, device: Device) -> None:
        assert device.sock
        fd = device.sock.fileno()
        if self._by_fd.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # The loop

    def _run(self) -> None:
        begun_s = time.monotonic()
        for number, device in enumerate(self.devices.values()):
            device.connect_at = begun_s + self._connect_over_s * number / len(self.devices)
            self._arm(device)
        while self._running:
            self._turn()
        now_s = time.monotonic()
        for device in self.devices.values():
            if self._polite:
                device.leave(now_s)
            else:
                device.drop()
        self._epoll.close()
        self._wake_in.close()
        self._wake_out.close()
        self.cpu_s = time.thread_time()

    def _turn(self) -> None:
        now_s = time.monotonic()
        wait_s = LONGEST_POLL_S
        if self._timers:
            wait_s = min(wait_s, max(0.0, self._timers[0][0] - now_s))
        ready = [self._by_fd.get(fd) for fd, _flags in self._epoll.poll(wait_s)]
        ready.sort(key=lambda device: device is not None and not device.outbox.held)
        for found in ready:
            if found is None:
                self._drain()
            elif found.sock is not None:
                self._step(found, found.ready, time.monotonic())
        now_s = time.monotonic()
        while self._tasks:
            self._tasks.popleft()(now_s)
        self._timers_due(now_s)
        self._connect_some(now_s)
        self.cpu_s = time.thread_time()

    def _step(self, device: Device, act: Callable[[float], None], now_s: float) -> None:
        """Let a device act; count those that are connecting; set its timer anew."""
        before = device.phase
        act(now_s)
        if before in _CONNECTING and device.phase not in _CONNECTING:
            self._connecting -= 1
        self._arm(device)

    def _timers_due(self, now_s: float) -> None:
        due: list[Device] = []
        while self._timers and self._timers[0][0] <= now_s:
            at_s, _, device = heapq.heappop(self._timers)
            if self._armed.get(device.id) != at_s:
                continue
            del self._armed[device.id]
            if device.due_s() > now_s:
                self._arm(device)
            elif device.phase == "down":
                put = self._waiting.appendleft if device.outbox.urgent else self._waiting.append
                put(device)
                device.connect_at = NEVER
            else:
                due.append(device)
        for device in due:
            self._step(device, device.tick, now_s)

    def _connect_some(self, now_s: float) -> None:
        while self._waiting and (self._connecting < MOST_CONNECTING or self._waiting[0].outbox.urgent):
            device = self._waiting.popleft()
            if device.phase == "down":
                device.connect(now_s)
                self._arm(device)

    def _arm(self, device: Device) -> None:
        at_s = device.due_s()
        armed = self._armed.get(device.id)
        if at_s == NEVER or (armed is not None and armed <= at_s):
            return
        self._armed[device.id] = at_s
        self._count += 1
        heapq.heappush(self._timers, (at_s, self._count, device))

    def _cut(self, device: Device, now_s: float) -> None:
        self._step(device, lambda at_s: device.lost(at_s, "cut by the swarm"), now_s)

    def _drain(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            return


_CONNECTING = ("connecting", "handshake")
"""Not those that wait for the hub's answer: they cost this process nothing, and a real box waits for no other's."""


def enough_files(count: int) -> None:
    """Raise this process's limit of open files as far as it goes; RuntimeError where that is too little."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < count + SPARE_FILES:
        raise RuntimeError(
            f"{count} connections need {count + SPARE_FILES} open files and this process may have {hard}: "
            "raise the limit (ulimit -Hn) or use more processes"
        )
