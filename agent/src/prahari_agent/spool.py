"""Files on their way to the hub: they wait in ``spool/``, named by their SHA-256, until the hub has them."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path

from prahari_agent.errors import HubUnreachable
from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses
from prahari_agent.transfer import Answer, Hub

log = get_logger("spool")

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 300.0
PATIENT_AFTER = 6
"""After so many tries a file waits for its own time, however much else the hub commits."""


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
