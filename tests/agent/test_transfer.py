"""Downloads that are verified, and requests as this device, over a real TLS socket."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prahari_agent import transfer
from prahari_agent.errors import HubUnreachable, Rejected
from prahari_agent.identity import Identity
from prahari_agent.transfer import Cache, Hub, twin_document


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Rig:
    def __init__(self, home: Path, hub: Hub, identity: Identity) -> None:
        self.home, self.hub, self.identity = home, hub, identity

    def cache(self, *, max_bytes: int = 10**6) -> Cache:
        return Cache(self.home, self.hub, max_bytes=max_bytes)


@pytest.fixture
def rig(enrolled: Any) -> Rig:
    return Rig(*enrolled)


def test_a_fetched_file_is_verified_and_kept(rig: Rig, https: Any) -> None:
    cache, data = rig.cache(), b"creative" * 30_000
    https.blobs[sha(data)] = data
    path = cache.fetch(sha(data), len(data))
    assert path.read_bytes() == data
    asked = len(https.asked)
    assert cache.fetch(sha(data), len(data)) == path
    assert len(https.asked) == asked


def test_a_broken_download_is_continued(rig: Rig, https: Any) -> None:
    data = b"0123456789" * 10_000
    https.blobs[sha(data)] = data
    cache = rig.cache()
    (rig.home / "cache" / f"{sha(data)}.part").write_bytes(data[:40_000])
    assert cache.fetch(sha(data), len(data)).read_bytes() == data


@pytest.mark.parametrize("what", ["other-bytes", "shorter", "longer", "unknown"])
def test_a_file_that_is_not_what_was_asked_for_is_refused(rig: Rig, https: Any, what: str) -> None:
    wanted = b"right" * 1000
    served = {
        "other-bytes": b"wrong" * 1000,
        "shorter": wanted[:99],
        "longer": wanted + b"!",
        "unknown": None,
    }[what]
    if served is not None:
        https.blobs[sha(wanted)] = served
    cache = rig.cache()
    with pytest.raises(HubUnreachable):
        cache.fetch(sha(wanted), len(wanted))
    assert not (rig.home / "cache" / sha(wanted)).exists()


def test_a_name_that_is_no_hash_reaches_no_file(rig: Rig) -> None:
    with pytest.raises(Rejected):
        rig.cache().fetch("../../identity/a/key.pem", 10)


def test_the_cache_keeps_to_its_cap(rig: Rig, https: Any) -> None:
    cache = rig.cache(max_bytes=2500)
    for n in range(4):
        data = bytes([n]) * 1000
        https.blobs[sha(data)] = data
        cache.fetch(sha(data), 1000)
    assert len(list((rig.home / "cache").iterdir())) == 2


def test_a_large_twin_is_fetched_as_this_device(rig: Rig, https: Any) -> None:
    https.twins[7] = b"{}"
    assert twin_document(rig.hub, 7) == b"{}"
    with pytest.raises(HubUnreachable, match="404"):
        twin_document(rig.hub, 8)


def test_a_server_that_is_not_the_hub_is_refused(rig: Rig, tmp_path: Path, pki: Any) -> None:
    (tmp_path / "other").mkdir()
    rig.identity.save_roots([type(pki)(tmp_path / "other").root])
    with pytest.raises(HubUnreachable, match="not the hub of the seed"):
        rig.hub.request("GET", "/device/v1/keys")


class SlowLine(threading.Thread):
    """A server behind a line of little width: it takes a little of a request, waits, takes the next."""

    def __init__(self, pki: Any) -> None:
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pki.server_files)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1)
        self.port, self.taken = self.listener.getsockname()[1], b""

    def run(self) -> None:
        raw, _ = self.listener.accept()
        with self.listener, self.context.wrap_socket(raw, server_side=True) as line:
            while not self.taken.endswith(b"the end"):
                self.taken += line.recv(16384)
                time.sleep(0.02)
            line.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def test_a_body_that_takes_longer_than_the_timeout_arrives_while_it_moves(
    rig: Rig, pki: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CONNECT_S", 1.0)
    server, body = SlowLine(pki), b"x" * 4_000_000 + b"the end"
    server.start()
    began_s, beats = time.monotonic(), []
    with Hub(f"https://127.0.0.1:{server.port}", rig.identity).connection() as connection:
        answer = connection.request("PUT", "/x", body=body, alive=lambda: beats.append(time.monotonic()))
    assert answer.status == 201
    assert time.monotonic() - began_s > 2, "else this shows nothing"
    assert len(beats) > 200
    assert server.taken.endswith(body)
