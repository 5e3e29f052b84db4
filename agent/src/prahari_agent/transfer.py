"""Everything over HTTPS: the only HTTP client of the agent.

Uploads wait in ``spool/`` until the hub has them, fetched files lie in ``cache/``, both named by their SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import random
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
from prahari_agent.files import sync_folder, write_atomic
from prahari_agent.identity import Identity
from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses

log = get_logger("transfer")

CONNECT_S, READ_S = 10.0, 60.0
LARGEST_ANSWER = 1024 * 1024
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 300.0
PATIENT_AFTER = 6
"""After so many tries a file waits for its own time, however much else the hub commits."""
CHUNK = 64 * 1024


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Connection:
    """Several requests to the hub by one connection, which is opened anew where it breaks."""

    def __init__(self, pool: urllib3.PoolManager, address: str) -> None:
        self._pool, self._address = pool, address

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; HubUnreachable if there is no answer, Rejected if it is far too long."""
        try:
            response = self._pool.request(
                method, self._address + path, body=body, headers=dict(headers or {}), preload_content=False,
                redirect=False,
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


class Spool:
    """Files on their way to the hub. ``upload`` returns once the bytes are on disk; a thread carries them over."""

    def __init__(
        self,
        home: Path,
        hub: Hub,
        pulses: Pulses,
        *,
        max_bytes: int,
        now_s: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._folder, self._hub, self._pulses = home / "spool", hub, pulses
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_bytes, self._now_s = max_bytes, now_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._due_s: dict[str, tuple[float, int]] = {}
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self.trouble: str | None = None
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join(3)  # what is under way is begun again at the next start
        self._pulses.end("upload")

    def upload(self, data: bytes, content_type: str) -> str:
        """Keep ``data`` until the hub has it; its SHA-256. OSError where the disk takes nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._make_room(len(data))
        write_atomic(self._folder / f"{sha256}.type", content_type.encode())
        write_atomic(self._folder / sha256, data)
        self._woken.set()
        return sha256

    def nudge(self, *, every: bool = False) -> None:
        """The hub has committed something: what it did not know may be announced now. ``every``: it is there again, try all."""
        for name, (_, attempts) in list(self._due_s.items()):
            if every or attempts <= PATIENT_AFTER:
                self._due_s[name] = (0.0, 0 if every else attempts)
        self._woken.set()

    def waiting(self) -> list[Path]:
        """Files that are not uploaded yet, oldest first."""
        found = []
        for path in self._folder.iterdir():
            if len(path.name) == 64:
                try:
                    found.append((path.stat().st_mtime_ns, path))
                except FileNotFoundError:
                    continue  # uploaded since
        return [path for _, path in sorted(found)]

    def _make_room(self, wanted: int) -> None:
        """Give up the oldest files where the spool would grow over its cap."""
        files = self.waiting()
        held = sum(path.stat().st_size for path in files if path.exists())
        for path in files:
            if held + wanted <= self._max_bytes:
                return
            held -= path.stat().st_size if path.exists() else 0
            self._forget(path)
            self.dropped += 1
            log.warning("the spool is full and gives up its oldest file", sha256=path.name)

    def _forget(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".type").unlink(missing_ok=True)
        self._due_s.pop(path.name, None)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._pulses.beat("upload", limit_s=300)
            try:
                wait_s = self.step()
            except Exception:
                log.exception("uploading failed once and carries on")
                wait_s = LONGEST_RETRY_S
            self._woken.wait(min(wait_s, 60))
            self._woken.clear()

    def step(self) -> float:
        """Try every file that is due; the seconds until the next is."""
        for path in self.waiting():
            if self._stopping.is_set():
                break
            if self._due_s.get(path.name, (0.0, 0))[0] <= self._now_s() and not self._carry(path):
                break
        dues = [due_s - self._now_s() for due_s, _ in self._due_s.values()]
        return max(0.05, min(dues, default=60.0))

    def _carry(self, path: Path) -> bool:
        """Try one upload; False where the hub is not there, so that others need not be tried."""
        try:
            data = path.read_bytes()
            content_type = path.with_name(path.name + ".type").read_text()
        except FileNotFoundError:
            return True
        try:
            answer = self._hub.request(
                "PUT", f"/device/v1/blobs/{path.name}", body=data, headers={"Content-Type": content_type}
            )
        except HubUnreachable as error:
            self.trouble = str(error)
            self._later(path)
            return False
        self._judge(path, answer)
        return True

    def _judge(self, path: Path, answer: Answer) -> None:
        match answer.status:
            case 200 | 201 | 204:
                self.trouble = None
                self._forget(path)
            case 400 | 409 | 411 | 413 | 415 | 422:
                log.error(
                    "the hub will never take this file, it is given up",
                    sha256=path.name,
                    status=answer.status,
                )
                self.dropped += 1
                self._forget(path)
            case status:
                if status != 404:
                    self.trouble = f"the hub answers {status} to an upload"
                self._later(path)

    def _later(self, path: Path) -> None:
        attempts = self._due_s.get(path.name, (0.0, 0))[1]
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**attempts) * self._rng.uniform(0.5, 1.0)
        self._due_s[path.name] = (self._now_s() + delay_s, min(attempts + 1, 16))


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


def problem(answer: Answer) -> str:
    """The sentence of an RFC 9457 problem document, or the status."""
    import json

    try:
        found: Any = json.loads(answer.body)
        return str(found.get("detail") or found.get("title") or answer.status)[:300]
    except (ValueError, AttributeError):
        return f"status {answer.status}"
