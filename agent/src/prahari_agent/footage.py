"""Footage on its way to the hub: manifests and segments over HTTPS, resumed where they broke off, never faster than allowed.

    HOME/transfers/{transfer}.json        what is to be sent: camera, rate, segments in order
    HOME/transfers/{transfer}.manifest    the manifest as the hub gets it
    HOME/transfers/{transfer}.ended       the hub has been told how it ended; the camera may let go of the files

One transfer at a time, the oldest first; how far the hub has got is asked of the hub, so nothing is written while sending.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prahari_wire.base import now_utc
from prahari_wire.events import SENT
from prahari_wire.evidence import ChainHead, head_bytes
from prahari_wire.recording import Sent, SentOutcome, TransferManifest

from prahari_agent.errors import HubUnreachable, Rejected, SetupError
from prahari_agent.files import write_atomic
from prahari_agent.identity import Identity, Pair
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Emit
from prahari_agent.pulse import Pulses
from prahari_agent.transfer import LONGEST_ASKED_S, Answer, Connection, Hub, asked_to_wait_s, problem
from prahari_agent.worker import Stepper

log = get_logger("footage")

FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 300.0
LEAST_CHUNK, LARGEST_CHUNK = 16 * 1024, 1024 * 1024
CHUNK_S = 2.0
"""A request carries what the rate allows in so long: what a broken line costs at most."""
SILENT_S = 300.0
"""So long may one piece of one request take before the watchdog ends the agent."""
MOST_REFUSED = 3
"""A segment whose bytes the hub refuses so often is given up: the line, or the disk, changes them."""


class Item(NamedTuple):
    """A segment to send."""

    sha256: str
    size: int
    path: str


@dataclass(frozen=True)
class Job:
    transfer: str
    camera: str
    rate_kbit_s: int
    items: list[Item]

    @property
    def chunk(self) -> int:
        return min(LARGEST_CHUNK, max(LEAST_CHUNK, int(self.rate_kbit_s * 125 * CHUNK_S)))


class _Later(Exception):
    """The hub wants it later, or the agent stops; ``after_s`` None: by the usual back-off."""

    def __init__(self, after_s: float | None = None) -> None:
        super().__init__()
        self.after_s = after_s


class _Over(Exception):
    """The transfer has ended without its footage; the text says why."""


class Footage:
    """The peripheral.Transfers of this box. A thread carries the jobs; ``emit`` tells how each ended."""

    def __init__(
        self,
        home: Path,
        hub: Hub,
        identity: Identity,
        pulses: Pulses,
        *,
        emit: Emit,
        now_s: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._folder, self._hub, self._identity = home / "transfers", hub, identity
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._emit, self._now_s = emit, now_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._due_s: dict[str, tuple[float, int]] = {}
        self._denied: dict[str, str] = {}
        self._arrived: dict[str, set[str]] = {}
        self._unmarked: dict[str, str] = {}
        self._forgotten: set[str] = set()
        self._thread = Stepper("footage", pulses, self.step, silent_s=SILENT_S)
        self.trouble: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def nudge(self) -> None:
        """The hub is there again."""
        self._due_s = dict.fromkeys(self._due_s, (0.0, 0))
        self._thread.wake()

    # peripheral.Transfers

    def send(self, manifest: TransferManifest, files: Mapping[str, Path], rate_kbit_s: int) -> None:
        if self._job_path(manifest.transfer).exists():
            return
        sizes = {segment.sha256: segment.size for day in manifest.days for segment in day.proof.segments}
        job = {
            "camera": manifest.camera,
            "rate_kbit_s": rate_kbit_s,
            "items": [[sha256, sizes[sha256], str(path)] for sha256, path in files.items()],
        }
        write_atomic(self._manifest_path(manifest.transfer), manifest.model_dump_json().encode())
        write_atomic(self._job_path(manifest.transfer), json.dumps(job).encode())
        self._thread.wake()

    def ended(self, camera: str) -> list[str]:
        """Transfers of the camera that have ended and are not forgotten."""
        found = {transfer for transfer, of in list(self._unmarked.items()) if of == camera}
        for path in self._folder.glob("*.ended"):
            if path.read_text(errors="replace") == camera:
                found.add(path.stem)
        return sorted(found - self._forgotten)

    def forget(self, transfer: str) -> None:
        """Remove what is kept of it; where the card takes nothing, it is at least asked for no more."""
        try:
            self._remove(transfer)
        except OSError:
            self._forgotten.add(transfer)
        else:
            self._forgotten.discard(transfer)

    def _remove(self, transfer: str) -> None:
        self._job_path(transfer).unlink(missing_ok=True)
        self._manifest_path(transfer).unlink(missing_ok=True)
        self._ended_path(transfer).unlink(missing_ok=True)
        self._unmarked.pop(transfer, None)

    def deny(self, camera: str, why: str | None) -> None:
        if why is None:
            self._denied.pop(camera, None)
        elif self._denied.get(camera) != why:
            self._denied[camera] = why
            self._thread.wake()

    def sign(self, head: ChainHead) -> ChainHead:
        pair = self._pair()
        named = head.model_copy(update={"key": pair.serial})
        signature = self._identity.sign(pair, head_bytes(named))
        return named.model_copy(update={"sig": base64.urlsafe_b64encode(signature).rstrip(b"=").decode()})

    def certificate(self) -> str:
        return self._pair().certificate.read_text()

    def _pair(self) -> Pair:
        pair = self._identity.proven_or_newer(now_utc())
        if pair is None:
            raise Rejected("this box has no certificate to sign with: enrol it again")
        return pair

    def _job_path(self, transfer: str) -> Path:
        return self._folder / f"{transfer}.json"

    def _manifest_path(self, transfer: str) -> Path:
        return self._folder / f"{transfer}.manifest"

    def _ended_path(self, transfer: str) -> Path:
        return self._folder / f"{transfer}.ended"

    # The thread

    def waiting(self) -> list[str]:
        """Transfers that are not at their end, oldest first."""
        ended = {path.stem for path in self._folder.glob("*.ended")} | set(self._unmarked)
        return sorted({path.stem for path in self._folder.glob("*.json")} - ended)

    def step(self) -> float:
        """Carry every transfer that is due; the seconds until the next is."""
        for transfer, camera in list(self._unmarked.items()):
            self._mark(transfer, camera)
        for transfer in list(self._forgotten):
            self.forget(transfer)
        waiting = self.waiting()
        self._due_s = {transfer: due for transfer, due in self._due_s.items() if transfer in waiting}
        for transfer in waiting:
            if self._thread.stopping:
                break
            if self._due_s.get(transfer, (0.0, 0))[0] <= self._now_s():
                self._carry(transfer)
        dues = [due_s - self._now_s() for due_s, _ in self._due_s.values()]
        return max(0.05, min(dues, default=60.0))

    def _carry(self, transfer: str) -> None:
        try:
            job = self._read(transfer)
            self._check_allowed(job)
            with self._hub.connection() as connection:
                self._announce(connection, transfer)
                sent = self._send_items(connection, job)
        except _Later as later:
            self._later(transfer, later.after_s)
        except (HubUnreachable, SetupError) as error:
            self.trouble = str(error)
            self._later(transfer, None)
        except OSError as error:
            self.trouble = (
                f"a transfer of footage cannot be read on the box ({error.strerror}): check the card"
            )
            self._later(transfer, None)
        except _Over as over:
            self._end(transfer, SentOutcome.FAILED, [], str(over))
        else:
            lost = len(job.items) - len(sent)
            outcome = SentOutcome.PARTIAL if lost else SentOutcome.COMPLETE
            detail = f"{lost} of {len(job.items)} segments could not be read on the box" if lost else None
            self._end(transfer, outcome, sent, detail, job.camera)

    def _check_allowed(self, job: Job) -> None:
        if (why := self._denied.get(job.camera)) is not None:
            raise _Over(why)
        if self._thread.stopping:
            raise _Later

    def _read(self, transfer: str) -> Job:
        try:
            found: Any = json.loads(self._job_path(transfer).read_bytes())
            return Job(
                transfer,
                str(found["camera"]),
                int(found["rate_kbit_s"]),
                [Item(*one) for one in found["items"]],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise _Over("the transfer's file on the box is damaged: order it again") from error

    def _announce(self, connection: Connection, transfer: str) -> None:
        """Bring the manifest, which the hub may have from a try before."""
        body = self._manifest_path(transfer).read_bytes()
        answer = connection.request(
            "PUT",
            f"/device/v1/transfers/{transfer}",
            body=body,
            headers={"Content-Type": "application/json"},
            alive=self._thread.beat,
        )
        if answer.status not in (200, 201):
            raise _judged(answer)

    def _send_items(self, connection: Connection, job: Job) -> list[Item]:
        """Send what the hub does not have; the items that it has at the end."""
        arrived = self._arrived.setdefault(job.transfer, set())
        sent, resumed = [], True
        for item in job.items:
            if item.sha256 not in arrived:
                self._thread.beat()
                self._check_allowed(job)
                offset = self._offset(connection, job, item) if resumed else 0
                resumed = resumed and offset > 0
                if offset != item.size and not self._send_item(connection, job, item, offset):
                    continue
                arrived.add(item.sha256)
                self.trouble = None
            sent.append(item)
        return sent

    def _offset(self, connection: Connection, job: Job, item: Item) -> int:
        """How many bytes of ``item`` the hub has from a try before.

        Asked by an upload of nothing behind its end: a hub that was killed when all had come, and had not stored it, does so now.
        """
        answer = connection.request(
            "PUT",
            _path(job, item),
            body=b"",
            headers={"Upload-Offset": str(item.size), "Content-Type": "application/octet-stream"},
        )
        match answer.status:
            case 200 | 201:
                return item.size
            case 202 | 409 | 422:
                return _upload_offset(answer, item) or 0
        raise _judged(answer)

    def _send_item(self, connection: Connection, job: Job, item: Item, offset: int) -> bool:
        """Send a segment from ``offset`` on; False where the box cannot give it any more."""
        data = _bytes_of(item)
        if data is None:
            log.error("a segment is damaged on the disk and is not sent", file=item.path)
            return False
        refused = 0
        while refused < MOST_REFUSED:
            self._check_allowed(job)
            part = data[offset : offset + job.chunk]
            began_s = self._now_s()
            answer = connection.request(
                "PUT",
                _path(job, item),
                body=part,
                headers={"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"},
                alive=self._thread.beat,
            )
            self._wait_out(began_s, len(part), job)
            match answer.status:
                case 200 | 201:
                    return True
                case 202 | 409:
                    found = _upload_offset(answer, item)
                    if found is None or (answer.status == 409 and found == offset):
                        raise HubUnreachable("the hub says nothing of where an upload goes on")
                    offset = found
                case 422:
                    refused, offset = refused + 1, 0
                case _:
                    raise _judged(answer)
        raise _Over("the hub gets other bytes than this box sends: check what stands between")

    def _wait_out(self, began_s: float, size: int, job: Job) -> None:
        """Keep to the rate."""
        left_s = size / (job.rate_kbit_s * 125) - (self._now_s() - began_s)
        if self._thread.stops_within(max(0.0, left_s)):
            raise _Later

    def _later(self, transfer: str, after_s: float | None) -> None:
        attempts = self._due_s.get(transfer, (0.0, 0))[1]
        backed_off_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**attempts) * self._rng.uniform(0.5, 1.0)
        self._due_s[transfer] = (self._now_s() + (after_s or backed_off_s), min(attempts + 1, 12))

    def _end(
        self,
        transfer: str,
        outcome: SentOutcome,
        sent: list[Item],
        detail: str | None,
        camera: str | None = None,
    ) -> None:
        """Tell how it ended, then mark it, so that a stop in between tells it twice rather than never."""
        log.info("a transfer of footage has ended", transfer=transfer, outcome=str(outcome), detail=detail)
        camera = camera or self._camera_of(transfer)
        size = sum(item.size for item in sent)
        if camera is not None:
            body = Sent(
                transfer=transfer,
                outcome=outcome,
                segments=len(sent),
                size=size,
                detail=detail and detail[:120],
            )
            self._emit(SENT, body, peripheral=camera)
        self._mark(transfer, camera or "")
        self._due_s.pop(transfer, None)
        self._arrived.pop(transfer, None)

    def _mark(self, transfer: str, camera: str) -> None:
        """Write down that it has been told; in memory where the card takes nothing, so that it is not told over and over."""
        try:
            write_atomic(self._ended_path(transfer), camera.encode())
        except OSError as error:
            if transfer not in self._unmarked:
                log.warning(
                    "the end of a transfer cannot be written down", transfer=transfer, error=str(error)
                )
            self._unmarked[transfer] = camera
        else:
            self._unmarked.pop(transfer, None)

    def _camera_of(self, transfer: str) -> str | None:
        try:
            return self._read(transfer).camera
        except (_Over, OSError):
            return None


def _path(job: Job, item: Item) -> str:
    return f"/device/v1/transfers/{job.transfer}/segments/{item.sha256}"


def _bytes_of(item: Item) -> bytes | None:
    """The segment's bytes, if they are still those that were recorded."""
    try:
        data = Path(item.path).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == item.sha256 else None


def _upload_offset(answer: Answer, item: Item) -> int | None:
    said = answer.headers.get("Upload-Offset", "")
    return int(said) if said.isdecimal() and int(said) <= item.size else None


def _judged(answer: Answer) -> Exception:
    """What an answer that is no success means for the transfer."""
    match answer.status:
        case 410:
            return _Over("the hub has called the transfer off")
        case 400 | 403 | 409 | 411 | 413 | 415 | 422:
            return _Over(f"the hub does not take it: {problem(answer)}")
        case 404:
            return _Later()
    asked_s = asked_to_wait_s(answer)
    return _Later(None if asked_s is None else min(LONGEST_ASKED_S, asked_s))
