"""Everything over HTTPS: the only HTTP client of the agent.

Fetched files lie in ``cache/``, named by their SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import urllib3
from prahari_wire.base import now_utc
from urllib3.exceptions import HTTPError, SSLError

from prahari_agent.errors import HubUnreachable, Rejected
from prahari_agent.files import sync_folder
from prahari_agent.identity import Identity
from prahari_agent.log import get_logger

log = get_logger("transfer")

CONNECT_S, READ_S = 10.0, 60.0
LARGEST_ANSWER = 1024 * 1024
CHUNK = 64 * 1024
PIECE = 16 * 1024
"""A body goes out in such pieces, each with CONNECT_S of its own: a slow line is no broken one."""
LONGEST_ASKED_S = 3600.0
"""No hub is left alone for longer than this, whatever it asks."""


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Connection:
    """Several requests to the hub by one connection, which is opened anew where it breaks."""

    def __init__(self, pool: urllib3.PoolManager, address: str) -> None:
        self._pool, self._address = pool, address

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> Answer:
        """One request; HubUnreachable if there is no answer, Rejected if it is far too long. ``alive``: called at each piece sent."""
        wanted = dict(headers or {})
        if body is not None:
            wanted["Content-Length"] = str(len(body))
        try:
            response = self._pool.request(
                method, self._address + path, body=body and _pieces(body, alive), headers=wanted,
                preload_content=False, redirect=False,
            )  # fmt: skip
            try:
                found = response.read(LARGEST_ANSWER + 1)
            finally:
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise HubUnreachable(sentence(error, self._address)) from error
        if len(found) > LARGEST_ANSWER:
            raise Rejected(f"{path} answered more than {LARGEST_ANSWER} bytes")
        return Answer(response.status, found, response.headers)


def _pieces(body: bytes, alive: Callable[[], None]) -> Iterator[bytes]:
    for begin in range(0, len(body), PIECE):
        alive()
        yield body[begin : begin + PIECE]


class Hub:
    """HTTPS to the hub's device port. ``address``: https://host:port."""

    def __init__(
        self, address: str, identity: Identity, *, check_time: Callable[[], bool] = lambda: True
    ) -> None:
        self._address, self._identity, self._check_time = address.rstrip("/"), identity, check_time

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        as_device: bool = True,
    ) -> Answer:
        """One request with the device's certificate (``as_device``) or without; HubUnreachable if there is no answer."""
        with self._pool(as_device) as pool:
            return Connection(pool, self._address).request(method, path, body=body, headers=headers)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """For many requests in a row, with the device's certificate."""
        with self._pool(as_device=True) as pool:
            yield Connection(pool, self._address)

    def download(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """Stream to ``target`` and verify; a part that arrived before is continued. HubUnreachable or Rejected otherwise."""
        part = target.with_suffix(".part")
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._pool(as_device=True) as pool:
            try:
                response = pool.request(
                    "GET", self._address + path, headers=headers, preload_content=False, redirect=False
                )
                try:
                    if response.status not in (200, 206):
                        raise _refused(response.status, path, response.read(2000))
                    with part.open("ab" if response.status == 206 else "wb") as file:
                        received = have if response.status == 206 else 0
                        while (chunk := response.read(CHUNK)) and received <= size:
                            received += file.write(chunk)
                        file.flush()
                        os.fsync(file.fileno())
                finally:
                    response.release_conn()
            except (HTTPError, OSError) as error:
                raise HubUnreachable(sentence(error, self._address)) from error
        self._keep_if_right(part, target, sha256, size)

    @staticmethod
    def _keep_if_right(part: Path, target: Path, sha256: str, size: int) -> None:
        if part.stat().st_size < size:
            raise HubUnreachable("the download broke off, it is continued later")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise Rejected("the hub's file does not have the hash that it was asked for by")
        part.replace(target)
        sync_folder(target.parent)

    def _pool(self, as_device: bool) -> urllib3.PoolManager:
        pair = self._identity.proven_or_newer(now_utc()) if as_device else None
        context = self._identity.tls(pair, check_time=self._check_time())
        return urllib3.PoolManager(
            ssl_context=context,
            retries=False,
            num_pools=1,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        )

    def without_trust(self, path: str) -> Answer:
        """GET from a server that is not trusted yet: its answer must be judged by itself (first contact, pinned by the seed)."""
        import ssl

        urllib3.disable_warnings(
            urllib3.exceptions.InsecureRequestWarning
        )  # the pin is checked by the caller
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with urllib3.PoolManager(
            ssl_context=context,
            retries=False,
            num_pools=1,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        ) as pool:
            try:
                response = pool.request("GET", self._address + path, redirect=False)
            except (HTTPError, OSError) as error:
                raise HubUnreachable(sentence(error, self._address)) from error
        return Answer(response.status, response.data[:LARGEST_ANSWER])


def _refused(status: int, path: str, body: bytes) -> HubUnreachable | Rejected:
    text = f"the hub answers {status} to {path}: {body[:200].decode(errors='replace')}"
    return HubUnreachable(text) if status >= 500 or status in (404, 408, 429) else Rejected(text)


def sentence(error: Exception, address: str) -> str:
    """What a person can do about a failed request."""
    said = str(error)
    if isinstance(error, SSLError) or "CERTIFICATE_VERIFY_FAILED" in said:
        return f"The server at {address} is not the hub of the seed or does not take this box's certificate ({said[:200]})."
    if "refused" in said:
        return f"Nothing answers at {address}: start the hub, or check the address and the firewall."
    if "Name or service" in said or "name resolution" in said or "getaddrinfo" in said:
        return f"The name in {address} is not known: check the address and the box's name server."
    return f"{address} cannot be reached: check the network ({said[:200]})."


class Cache:
    """Files that the hub holds, fetched once and verified."""

    def __init__(self, home: Path, hub: Hub, *, max_bytes: int) -> None:
        self._folder, self._hub, self._max_bytes = home / "cache", hub, max_bytes
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()

    def fetch(self, sha256: str, size: int) -> Path:
        """A local path of the file; HubUnreachable where it cannot be had now."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise Rejected("a file is named by the 64 hex digits of its SHA-256")
        path = self._folder / sha256
        with self._lock:
            if path.exists() and path.stat().st_size == size:
                os.utime(path)
                return path
            self._make_room(size)
            try:
                self._hub.download(f"/device/v1/blobs/{sha256}", path, sha256=sha256, size=size)
            except Rejected as error:
                raise HubUnreachable(str(error)) from error
        return path

    def _make_room(self, wanted: int) -> None:
        files = sorted((path.stat().st_atime_ns, path) for path in self._folder.iterdir())
        held = sum(path.stat().st_size for _, path in files)
        for _, path in files:
            if held + wanted <= self._max_bytes:
                return
            held -= path.stat().st_size
            path.unlink(missing_ok=True)


def show(hub: Hub, view: str, pictures: Iterator[bytes]) -> None:
    """Hand the pictures of a live view to the hub, by one connection, until there are no more or the hub wants none."""
    with hub.connection() as connection:
        for jpeg in pictures:
            answer = connection.request(
                "PUT", f"/device/v1/live/{view}", body=jpeg, headers={"Content-Type": "image/jpeg"}
            )
            if answer.status not in (200, 204):
                return


def twin_document(hub: Hub, version: int) -> bytes:
    """The canonical bytes of a desired document; HubUnreachable where they cannot be had now."""
    answer = hub.request("GET", f"/device/v1/twin/{version}")
    if answer.status != 200:
        raise _refused(answer.status, f"twin {version}", answer.body)
    return answer.body


def asked_to_wait_s(answer: Answer) -> float | None:
    """The seconds of a Retry-After, where the hub names some."""
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else None


def problem(answer: Answer) -> str:
    """The sentence of an RFC 9457 problem document, or the status."""
    import json

    try:
        found: Any = json.loads(answer.body)
        return str(found.get("detail") or found.get("title") or answer.status)[:300]
    except (ValueError, AttributeError):
        return f"status {answer.status}"
