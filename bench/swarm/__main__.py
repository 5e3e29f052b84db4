"""Run a swarm against a hub: ``python -m bench.swarm --hub http://localhost:8080 --token-file FILE --home DIR --count 500``."""

from __future__ import annotations

import argparse
import random
import select
import signal
import ssl
import time
from pathlib import Path

from bench.swarm.device import LightDevice
from bench.swarm.enrol import Registry, enrol, est_client, root_of

TICK_S = 0.2
CONNECTS_A_TICK = 10
RECONNECT_S = 5.0


class Swarm:
    """All devices on one thread: sockets by poll, timers by tick."""

    def __init__(self, devices: list[LightDevice], mqtt: str) -> None:
        host, _, port = mqtt.rpartition(":")
        self.host, self.port = host, int(port)
        self.waiting = {device.id: 0.0 for device in devices}
        self.devices = {device.id: device for device in devices}
        self.running = True

    def run(self) -> None:
        while self.running:
            self._connect_some()
            self._serve_sockets()
            now = time.monotonic()
            for device in self.devices.values():
                if device.client.socket() is not None:
                    device.tick(now)
                elif device.id not in self.waiting:
                    self.waiting[device.id] = now + random.uniform(0, RECONNECT_S)
        for device in self.devices.values():
            if device.client.socket() is not None:
                device.leave()

    def _connect_some(self) -> None:
        now = time.monotonic()
        due = [name for name, at in self.waiting.items() if at <= now][:CONNECTS_A_TICK]
        for name in due:
            try:
                self.devices[name].connect(self.host, self.port)
                del self.waiting[name]
            except (OSError, ssl.SSLError):
                self.waiting[name] = now + random.uniform(1, RECONNECT_S)

    def _serve_sockets(self) -> None:
        poll = select.poll()
        by_fd = {}
        for device in self.devices.values():
            sock = device.client.socket()
            if sock is not None:
                by_fd[sock.fileno()] = device
                poll.register(sock, select.POLLIN | (select.POLLOUT if device.client.want_write() else 0))
        for fd, flags in poll.poll(TICK_S * 1000):
            device = by_fd[fd]
            if flags & ~select.POLLOUT:
                device.client.loop_read()
            if flags & select.POLLOUT:
                device.client.loop_write()
        # a TLS record may hold more packets than one read took
        for device in by_fd.values():
            sock = device.client.socket()
            while isinstance(sock, ssl.SSLSocket) and sock.pending() and device.client.socket() is sock:
                device.client.loop_read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hub", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--heartbeat-s", type=float, default=10)
    parser.add_argument("--fault-share", type=float, default=0.005)
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True, mode=0o700)

    registry = Registry.connect(options.hub, options.token_file.read_text().strip())
    root_pem = root_of(registry)
    sites = registry.ensure_sites()
    names = [f"swarm-{number:05d}" for number in range(options.count)]
    with est_client(registry, root_pem) as est:
        for number, name in enumerate(names):
            if not (options.home / f"{name}.pem").exists():
                registry.ensure_device(name, sites[number % len(sites)])
                enrol(registry, name, options.home, est)
    devices = [
        LightDevice(
            name, options.home, root_pem, heartbeat_s=options.heartbeat_s, fault_share=options.fault_share
        )
        for name in names
    ]
    swarm = Swarm(devices, registry.enrolment["mqtt"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(swarm, "running", False))
    swarm.run()


if __name__ == "__main__":
    main()
