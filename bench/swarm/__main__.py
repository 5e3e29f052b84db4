"""Run a swarm against a hub that is up: ``python -m bench.swarm --hub http://localhost:8080 --token-file FILE --home DIR --count 500``.

Devices are put into service as a technician would: registered, claimed, enrolled by EST. Now and then a picture freezes or comes back.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from pathlib import Path

from bench.swarm.enrol import Registry, enrol, est_client, root_of
from bench.swarm.identities import Identity
from bench.swarm.swarm import Swarm

CONNECTS_A_SECOND = 50


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
    identities = enrolled(registry, options.home, options.count)
    host, _, port = registry.enrolment["mqtt"].rpartition(":")
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _frame: stopped.append(given))
    swarm = Swarm(
        identities,
        host,
        int(port),
        ca=options.home / "root.pem",
        heartbeat_s=options.heartbeat_s,
        connect_over_s=options.count / CONNECTS_A_SECOND,
    )
    with swarm:
        frozen: set[str] = set()
        while not stopped:
            change_some(swarm, frozen, options.fault_share / options.heartbeat_s)
            time.sleep(1)


def enrolled(registry: Registry, home: Path, count: int) -> list[Identity]:
    """Devices with a certificate each; what an earlier run enrolled is used again."""
    root_pem = root_of(registry)
    (home / "root.pem").write_text(root_pem)
    sites = registry.ensure_sites()
    found = []
    with est_client(registry, root_pem) as est:
        for number in range(count):
            name = f"swarm-{number:05d}"
            if not (home / f"{name}.pem").exists():
                registry.ensure_device(name, sites[number % len(sites)])
                enrol(registry, name, home, est)
            found.append(Identity(name, number, home / f"{name}.pem", callbox=False))
    return found


def change_some(swarm: Swarm, frozen: set[str], share: float) -> None:
    """``share`` of the cameras freeze, or come back."""
    for device in swarm.devices:
        if random.random() < share:
            swarm.fault(device, active=device not in frozen)
            frozen ^= {device}


if __name__ == "__main__":
    main()
