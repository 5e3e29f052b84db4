"""A city that tests of the agent hold in their hands, and a box that belongs to it."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prahari_agent.clock import Clock
from prahari_agent.enrolment import prepare
from prahari_agent.identity import Identity
from prahari_agent.settings import Settings
from prahari_agent.transfer import Hub
from prahari_wire.seed import SEED_FILE

from tests.agent.city import DEVICE, Broker, Https, HubPeer, Pki, Signer, eventually, handler

# as the camera process has it: more threads spin while they wait
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A file system of 1 MiB at a folder, or anew with other options; skips where none can be mounted."""
    folders: list[Path] = []

    def mount(folder: Path, options: str = "size=1m") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        if "remount" not in options:
            folders.append(folder)

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def broker(tmp_path: Path, pki: Pki) -> Iterator[Broker]:
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker", pki)
    yield broker
    broker.stop()


@pytest.fixture
def hub_peer(broker: Broker, pki: Pki) -> Iterator[HubPeer]:
    peer = HubPeer(broker, pki)
    yield peer
    peer.close()


@pytest.fixture
def https(pki: Pki, signer: Signer) -> Iterator[Https]:
    found = Https(pki, signer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.server_files)
    context.load_verify_locations(pki.folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            try:
                with context.wrap_socket(request, server_side=True) as secured:
                    found.connections += 1
                    super().finish_request(secured, client_address)
            except (ssl.SSLError, OSError):
                pass  # the client's own failure is what the test asserts

    server = Server(("127.0.0.1", 0), handler(found))
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def seed(https: Https, pki: Pki) -> Callable[..., bytes]:
    """A seed file's bytes."""

    def make(**changes: Any) -> bytes:
        found = {
            "v": 1, "device": DEVICE, "hub": https.address, "mqtt": "127.0.0.1:1", "ca_spki_sha256": pki.pin,
            "token": https.token, "city": "test", "board": "simulated",
        }  # fmt: skip
        return json.dumps({**found, **changes}).encode()

    return make


class Enrolled(NamedTuple):
    """A box's home after its first start."""

    home: Path
    hub: Hub
    identity: Identity


@pytest.fixture
def enrolled(tmp_path: Path, seed: Callable[..., bytes]) -> Enrolled:
    home = tmp_path / "home"
    home.mkdir()
    (home / SEED_FILE).write_bytes(seed())
    identity = Identity(home)
    record = prepare(home, identity, Settings(), Clock())
    return Enrolled(home, Hub(record.hub, identity), identity)
