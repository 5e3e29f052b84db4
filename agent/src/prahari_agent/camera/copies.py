"""Copies with persons hidden, from the agent's process: one at a time, drawn by a process of its own, then told and uploaded."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prahari_wire.base import Refused, validate
from prahari_wire.events import REDACTED
from prahari_wire.owner import SENTENCES, Use
from prahari_wire.redaction import MOST_FILM, Film, RedactArgs, Redacted

from prahari_agent.camera.recorder.index import Interval
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_agent.camera.terms import Terms
from prahari_agent.errors import AgentError, Rejected
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Surroundings

log = get_logger("recorder")

LIMIT_S = 1800.0
"""A copy that takes longer is given up: the box has other work."""
_NOT_STORED = (AgentError, OSError)


class Copies:
    """``model`` gives the manifest that the camera uses now. ``shelf``: this camera's footage."""

    def __init__(
        self,
        camera: str,
        shelf: Shelf,
        around: Surroundings,
        *,
        model: Callable[[], str | None],
        terms: Terms,
    ) -> None:
        self._camera, self._shelf, self._around = camera, shelf, around
        self._model, self._terms = model, terms
        self._busy = threading.Lock()
        self._copy: str | None = None
        self._process: subprocess.Popen[str] | None = None

    def begin(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The command recording.redact."""
        try:
            wanted = validate(RedactArgs, dict(args))
        except Refused as error:
            raise Rejected(error.detail) from None
        self._terms.check(Use.FOOTAGE)
        if self._copy == wanted.copy_id:
            return {}
        interval = Interval(round(wanted.start.timestamp() * 1000), round(wanted.end.timestamp() * 1000))
        segments = [
            (self._shelf.path(one.day, segment.position), segment.start_ms, segment.sha256)
            for one in self._shelf.find(interval)
            for segment in one.segments
            if segment.position in set(one.wanted)
        ]
        if not segments:
            raise Rejected("there is no footage of that time on the box any more")
        if not self._busy.acquire(blocking=False):
            raise Rejected("the box draws another copy of this camera: try again in some minutes")
        self._copy = wanted.copy_id
        self._shelf.hold(wanted.copy_id, interval)
        threading.Thread(
            target=self._run, args=(wanted.copy_id, interval, segments), name=f"copy-{self._camera}", daemon=True
        ).start()  # fmt: skip
        return {"segments": len(segments)}

    def stop(self) -> None:
        """What is under way is given up."""
        if (process := self._process) is not None:
            process.kill()

    def _run(self, copy: str, interval: Interval, segments: list[tuple[Path, int, str]]) -> None:
        target = self._around.home / f"copy-{copy}.mp4"
        try:
            said = self._drawn(interval, segments, target)
            self._tell(copy, said, [sha256 for _, _, sha256 in segments], target)
        except Exception:
            log.exception("a copy with persons hidden failed", camera=self._camera, copy=copy)
        finally:
            target.unlink(missing_ok=True)
            self._shelf.release(copy)
            self._process = None
            self._busy.release()

    def _drawn(
        self, interval: Interval, segments: list[tuple[Path, int, str]], target: Path
    ) -> dict[str, Any]:
        """What the drawing process says; a problem of its own where it dies."""
        order = {
            "segments": [[str(path), start_ms] for path, start_ms, _ in segments],
            "start_ms": interval.start_ms,
            "end_ms": interval.end_ms,
            "model": self._model(),
            "target": str(target),
        }
        command = ["nice", "-n", "15", sys.executable, "-m", "prahari_agent.camera.redaction"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            text, _ = self._process.communicate(json.dumps(order), timeout=LIMIT_S)
            said: dict[str, Any] = json.loads(text)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return {"problem": f"the copy was not drawn within {LIMIT_S:.0f} s"}
        except ValueError:
            return {"problem": f"the process that draws ended with {self._process.returncode}"}
        return said

    def _tell(self, copy: str, said: dict[str, Any], segments: list[str], target: Path) -> None:
        denied = self._terms.denied(Use.FOOTAGE)
        problem = SENTENCES[denied] if denied else said.get("problem")
        body = Redacted(copy_id=copy, detail=problem[:120]) if problem else None
        data = target.read_bytes() if body is None else b""
        if body is None and len(data) > MOST_FILM:
            body = Redacted(copy_id=copy, detail="the copy is too large: ask for a shorter time")
        if body is None:
            film = Film(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            body = Redacted(copy_id=copy, film=film, segments=segments, **said)
        try:
            self._around.emit(REDACTED, body, peripheral=self._camera)
            if body.film is not None:
                self._around.upload(data, "video/mp4")
        except _NOT_STORED as error:
            log.error(
                "a copy could not be kept: free space on the disk", camera=self._camera, error=str(error)
            )
