"""Files on their way to the hub: they wait in ``spool/``, named by their SHA-256, until the hub has them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.files import write_atomic
from prahari_agent.log import get_logger
from prahari_agent.pulse import Pulses
from prahari_agent.transfer import LONGEST_ASKED_S, Answer, Connection, Hub, asked_to_wait_s, problem
from prahari_agent.worker import Stepper

log = get_logger("spool")

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 300.0
PATIENT_AFTER = 6
"""After so many tries a file waits for its own time, however much else the hub commits."""
SILENT_S = 300.0
"""So long may one piece of one file take before the watchdog ends the agent."""
GIVE_UP_S = 3 * 86_400.0
"""A file that the hub says for so long that no event names it is given up: its event was shed or refused."""
COMMITS_S = 86_400.0
"""Only a hub that has committed something of this box within so long may say so: else the event still waits here."""


LOSS_TOLD_S = 86_400.0
"""So long the heartbeat tells of the last file that was given up."""


class _Wait(NamedTuple):
    """A file that was tried. ``unknown_s``: for how long the hub has said that no event names it."""

    due_s: float = 0.0
    attempts: int = 0
    failed: int = 0
    unknown_s: float = 0.0
    asked_s: float = -math.inf


class Spool:
    """Files on their way to the hub. ``upload`` returns once the bytes are on disk; a thread carries them over.

    A hub that is away, or wants no more now, is waited for once for all files; a file that is not announced yet waits by itself.
    """

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
        self._folder, self._hub = home / "spool", hub
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_bytes, self._now_s = max_bytes, now_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._waits: dict[str, _Wait] = {}
        self._done: set[str] = set()
        self._hub_due_s, self._hub_attempts, self._asked_until_s = 0.0, 0, 0.0
        self._committed_s = -math.inf
        self._thread = Stepper("upload", pulses, self.step, silent_s=SILENT_S)
        self.trouble: str | None = None
        self.dropped = 0
        self._lost_s, self._lost_why = -math.inf, ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def upload(self, data: bytes, content_type: str) -> str:
        """Keep ``data`` until the hub has it; its SHA-256. OSError where the disk takes nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._make_room(len(data))
        write_atomic(self._folder / f"{sha256}.type", content_type.encode())
        write_atomic(self._folder / sha256, data)
        self._done.discard(sha256)
        self._thread.wake()
        return sha256

    @property
    def loss(self) -> str | None:
        """What was given up since the agent started, for a day after the last file, for a person."""
        if self._now_s() - self._lost_s > LOSS_TOLD_S:
            return None
        files = "1 file" if self.dropped == 1 else f"{self.dropped} files, the last one"
        return f"will not reach the hub: {files}: {self._lost_why}"

    def nudge(self, *, every: bool = False) -> None:
        """The hub has committed something: what it did not know may be announced now. ``every``: it is there again, try all.

        A time that the hub itself has named is kept to.
        """
        if every:
            self._hub_due_s, self._hub_attempts = self._asked_until_s, 0
        else:
            self._committed_s = self._now_s()
        for name, wait in list(self._waits.items()):
            if every:
                self._waits[name] = wait._replace(due_s=0.0, attempts=0, failed=0)
            elif wait.attempts <= PATIENT_AFTER:
                self._waits[name] = wait._replace(due_s=0.0)
        self._thread.wake()

    def waiting(self) -> list[Path]:
        """Files that are not uploaded yet, oldest first."""
        found = []
        for path in self._folder.iterdir():
            if len(path.name) == 64 and path.name not in self._done:
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
            _remove(path)
            self._lose("the spool was full, see to the link or raise spool_max_mb")
            log.warning("the spool is full and gives up its oldest file", sha256=path.name)

    def step(self) -> float:
        """Try every file that is due; the seconds until the next is."""
        for name in list(self._done):
            self._forget(self._folder / name)
        files, now_s = self.waiting(), self._now_s()
        here = {path.name for path in files}
        for name in set(self._waits) - here:
            self._waits.pop(name, None)
        due = [path for path in files if self._wait(path).due_s <= now_s]
        if due and self._hub_due_s <= now_s:
            self._carry(sorted(due, key=lambda path: self._wait(path).failed))
        dues = [max(wait.due_s, self._hub_due_s) for wait in list(self._waits.values())]
        return min(60.0, max(0.05, min(dues, default=math.inf) - self._now_s()))

    def _wait(self, path: Path) -> _Wait:
        return self._waits.get(path.name, _Wait())

    def _carry(self, files: list[Path]) -> None:
        """Try these by one connection, as long as the hub takes files."""
        given_up = self.dropped
        try:
            with self._hub.connection() as connection:
                for path in files:
                    self._thread.beat()
                    if self._thread.stopping or not self._try(connection, path):
                        break
        except SetupError as error:
            self._hub_later(str(error))
        if self.dropped > given_up:
            log.error("files that the hub will not take are given up", files=self.dropped - given_up)

    def _try(self, connection: Connection, path: Path) -> bool:
        """Try one upload; False where the hub is not there or wants no more now, so that others need not be tried."""
        try:
            data = path.read_bytes()
            content_type = path.with_name(path.name + ".type").read_text()
        except FileNotFoundError:
            return True
        except OSError as error:
            self.trouble = f"a file that waits for upload cannot be read ({error.strerror}): check the card"
            self._later(path)
            return True
        try:
            answer = connection.request(
                "PUT", f"/device/v1/blobs/{path.name}", body=data, headers={"Content-Type": content_type},
                alive=self._thread.beat,
            )  # fmt: skip
        except (HubUnreachable, Rejected) as error:
            self._hub_later(str(error), path)
            return False
        return self._judge(path, answer)

    def _judge(self, path: Path, answer: Answer) -> bool:
        match answer.status:
            case 200 | 201 | 204:
                self._hub_is_there()
                self._forget(path)
            case 400 | 409 | 411 | 413 | 415 | 422:
                self._hub_is_there()
                self._give_up(path, problem(answer))
            case 404:
                self._hub_is_there()
                self._unknown(path)
            case status:
                said = f"the hub answers {status} to an upload: {problem(answer)}"
                self._hub_later(said, path, asked_s=asked_to_wait_s(answer))
                return False
        return True

    def _hub_is_there(self) -> None:
        self._hub_attempts, self.trouble = 0, None

    def _hub_later(self, trouble: str, path: Path | None = None, *, asked_s: float | None = None) -> None:
        """Leave the hub alone for a while, as long as it asks at least; ``path``, which it was about, comes after the others."""
        now_s, self.trouble = self._now_s(), trouble
        if asked_s is not None:
            self._asked_until_s = now_s + min(LONGEST_ASKED_S, asked_s) * self._rng.uniform(1.0, 1.2)
        self._hub_due_s = max(self._asked_until_s, now_s + self._pause_s(self._hub_attempts))
        self._hub_attempts = min(self._hub_attempts + 1, 16)
        if path is not None:
            wait = self._wait(path)
            self._waits[path.name] = wait._replace(failed=wait.failed + 1)

    def _unknown(self, path: Path) -> None:
        """The hub has no event that names the file: ask again later, or give it up after days."""
        wait, now_s = self._wait(path), self._now_s()
        pause_s = now_s - wait.asked_s
        if pause_s <= 2 * LONGEST_RETRY_S and now_s - self._committed_s <= COMMITS_S:
            wait = wait._replace(unknown_s=wait.unknown_s + pause_s)
        if wait.unknown_s >= GIVE_UP_S:
            self._give_up(
                path, f"for {wait.unknown_s / 86_400:.0f} days no event that names it has reached the hub"
            )
            return
        self._waits[path.name] = wait._replace(asked_s=now_s)
        self._later(path)

    def _later(self, path: Path) -> None:
        wait = self._wait(path)
        due_s = self._now_s() + self._pause_s(wait.attempts)
        self._waits[path.name] = wait._replace(due_s=due_s, attempts=min(wait.attempts + 1, 16))

    def _pause_s(self, attempts: int) -> float:
        return min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0**attempts) * self._rng.uniform(0.5, 1.0)

    def _lose(self, why: str) -> None:
        self.dropped += 1
        self._lost_s, self._lost_why = self._now_s(), why

    def _give_up(self, path: Path, why: str) -> None:
        self._lose(why)
        log.error("a file is given up", sha256=path.name, why=why)
        self._forget(path)

    def _forget(self, path: Path) -> None:
        """Remove a file that needs no upload any more; what cannot be removed is at least not sent again."""
        try:
            _remove(path)
        except OSError as error:
            self._done.add(path.name)
            self.trouble = f"an uploaded file cannot be removed ({error.strerror}): mount the card writable, or change it"
        else:
            if path.name in self._done:
                self._done.discard(path.name)
                self.trouble = None
        self._waits.pop(path.name, None)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".type").unlink(missing_ok=True)
