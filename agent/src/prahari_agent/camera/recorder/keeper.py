"""Keeps a camera's footage in the agent's process: makes room, tells the hub what there is, carries out holds and sends."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prahari_wire.base import Clock as Quality
from prahari_wire.base import Refused, validate
from prahari_wire.command import CommandName
from prahari_wire.events import COVERAGE
from prahari_wire.evidence import ChainHead, ChainProof
from prahari_wire.owner import SENTENCES, Use
from prahari_wire.recording import (
    DAY_MS,
    MOST_SENT,
    MOST_STRETCHES,
    Coverage,
    GapCause,
    HoldArgs,
    ReleaseArgs,
    SendArgs,
    SentDay,
    TransferManifest,
)

from prahari_agent.camera.recorder.daybook import day_of, midnight_ms
from prahari_agent.camera.recorder.index import FRESH_MS, Found, Interval
from prahari_agent.camera.recorder.runs import Run, of_day, stretch
from prahari_agent.camera.recorder.shelf import Shelf
from prahari_agent.camera.terms import Terms
from prahari_agent.errors import Rejected
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Surroundings

log = get_logger("recorder")

TELL_S = 3600.0
"""Coverage of what changes all the time is told so often; a gap that begins or ends sooner."""
SOON_S, SOON_PER_RUN_S = 60.0, 2.0
"""The least time between two tellings; a day of many gaps is a long message and waits longer."""
TICK_S = 60.0
_GONE = "gone"


class Keeper:
    """``shelf`` is this camera's; ``recording``: whether a recorder runs now. ``terms``: what the camera's owner allows."""

    def __init__(
        self,
        camera: str,
        shelf: Shelf,
        around: Surroundings,
        *,
        recording: Callable[[], bool],
        terms: Terms | None = None,
    ) -> None:
        self._terms = terms or Terms(around.stamp, around.undisputed)
        self._camera, self._shelf, self._around, self._recording = camera, shelf, around, recording
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._changed = True
        self._told_s = float("-inf")
        self._runs = 0
        self._thread = threading.Thread(target=self._run, name=f"footage-{camera}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What the recorder's last lines say is still told."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def nudge(self) -> None:
        """The recorder has written, or the disk is full."""
        self._woken.set()

    def age_s(self) -> float | None:
        """How long ago the newest footage ends, by the box's clock."""
        now_ms, sure = self._time()
        end_ms = self._shelf.last_end_ms(now_ms if sure else None)
        return None if end_ms is None else max(0, now_ms - end_ms) / 1000

    def _time(self) -> tuple[int, bool]:
        """Unix milliseconds now, and whether nobody disputes it."""
        stamp = self._around.stamp()
        sure = stamp.clock is Quality.SYNCED and self._around.undisputed()
        return round(stamp.at.timestamp() * 1000), sure

    @property
    def trouble(self) -> str | None:
        return self._shelf.trouble

    def commands(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {
            CommandName.HOLD: self._hold,
            CommandName.RELEASE: self._release,
            CommandName.SEND: self._send,
        }

    # The thread

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                self.step(time.monotonic(), last=last)
            except Exception:
                log.exception("keeping the footage failed once and carries on", camera=self._camera)
            if last:
                return
            self._woken.wait(TICK_S)
            self._woken.clear()

    def step(self, mono_s: float, *, last: bool = False) -> None:
        """Read what is new, make room, tell what is due."""
        writing = (
            self._recording()
        )  # before the lines are read: then those of a process that has ended are all read
        self._changed |= self._shelf.refresh()
        self._release_sent()
        self._keep_to_terms(writing=writing)
        now_ms, sure = self._time()
        self._changed |= self._shelf.judge(now_ms, sure=sure)
        self._shelf.trim(now_ms if sure else None)
        since_s = mono_s - self._told_s
        soon = self._changed and since_s >= SOON_S + SOON_PER_RUN_S * self._runs
        if soon or since_s >= TELL_S or (last and self._changed):
            if (
                self.tell(now_ms, sure=sure) or self._runs
            ):  # the first footage is told as soon as there is any
                self._told_s = mono_s
            self._changed = False

    def _keep_to_terms(self, *, writing: bool) -> None:
        """What the owner does not allow any more is not sent, and deleted where nobody holds it."""
        denied = self._terms.denied(Use.FOOTAGE)
        if self._around.transfers is not None:
            self._around.transfers.deny(self._camera, SENTENCES[denied] if denied else None)
        if self._terms.forgotten() and (gone := self._shelf.clear(writing=writing)):
            self._changed = True
            log.info("footage is deleted by its owner's terms", camera=self._camera, segments=gone)

    # Coverage

    def tell(self, now_ms: int, *, sure: bool) -> list[Coverage]:
        """Emit the coverage of every day of which the hub knows something else; what was emitted. ``sure``: nobody disputes ``now_ms``."""
        news: list[tuple[str, int, str]] = []
        told: list[Coverage] = []
        runs, growing_ms = self._timeline(now_ms, sure=sure)
        self._runs = 0
        for day in _days(runs):
            version, before = self._shelf.told(day)
            if self._shelf.forgotten and not version:
                version = now_ms // 1000  # above all that was told before one by one
            body = self._coverage(day, version + 1, runs, growing_ms)
            if not sure and _never_was(body):
                continue
            self._runs = max(self._runs, len(body.spans) + len(body.gaps))
            digest = _digest(body)
            if digest == before and not (body.growing and body.day == day_of(growing_ms or 0)):
                continue
            self._around.emit(COVERAGE, body, peripheral=self._camera)
            told.append(body)
            news.append((day, version + 1, digest))
        if news:
            self._shelf.note_told(news)
        return told

    def _timeline(self, now_ms: int, *, sure: bool) -> tuple[list[Run], int | None]:
        """All runs up to now, and where footage ends that goes on."""
        runs, carry = self._shelf.runs(now_ms if sure else None)
        if carry.end_ms is None:
            return runs, None
        alive = self._recording()
        told = any("gap" in mark or "end" in mark for mark in carry.marks)
        if alive and not told and now_ms - carry.end_ms < FRESH_MS:
            return runs, carry.end_ms
        if now_ms > carry.end_ms:
            marks = list(carry.marks)
            if not alive and not marks:
                marks.append({"gap": carry.end_ms, "cause": str(GapCause.FAULT)})
            runs = [*runs, *stretch(carry.end_ms, now_ms, marks)]
        return runs, None

    def _coverage(self, day: str, version: int, runs: list[Run], growing_ms: int | None) -> Coverage:
        midnight = midnight_ms(day)
        found = of_day(runs, midnight)
        last_ms = runs[-1].end_ms
        growing = growing_ms is not None and midnight <= growing_ms < midnight + DAY_MS
        return Coverage(
            day=day,
            version=version,
            spans=[(run.start_ms, run.end_ms) for run in found if run.cause is None],
            gaps=[(run.start_ms, run.end_ms, run.cause) for run in found if run.cause is not None],
            until_ms=min(DAY_MS, last_ms - midnight),
            growing=growing,
            closed=last_ms >= midnight + DAY_MS,
            size=self._shelf.day_size(day),
            head=self._head(day),
        )

    def _head(self, day: str) -> ChainHead | None:
        end = self._shelf.unsigned_head(day)
        return None if end is None else self._signed(day, *end)

    def _signed(self, day: str, position: int, digest: str) -> ChainHead | None:
        transfers = self._around.transfers
        if transfers is None:
            return None
        return transfers.sign(
            ChainHead(
                device=self._around.device, camera=self._camera, day=day, position=position, hash=digest,
                signed_at=self._around.stamp().at,
            )
        )  # fmt: skip

    # Commands

    def _hold(self, args: Mapping[str, Any]) -> dict[str, Any]:
        wanted = _checked(HoldArgs, args)
        self._terms.check(Use.FOOTAGE)
        interval = _interval(wanted.start, wanted.end)
        try:
            spans = self._shelf.hold(wanted.hold, interval)
        except OSError as error:
            raise Rejected(f"the hold cannot be written ({error.strerror}): free space on the box") from error
        log.info("footage is held", camera=self._camera, hold=wanted.hold, spans=len(spans))
        self._changed = True
        self.nudge()
        return {"spans": [list(span) for span in spans[:200]], **self._tally(interval)}

    def _tally(self, interval: Interval) -> dict[str, int]:
        segments, size = self._shelf.tally(interval)
        return {"segments": segments, "size": size}

    def _release(self, args: Mapping[str, Any]) -> dict[str, Any]:
        self._shelf.release(_checked(ReleaseArgs, args).hold)
        self.nudge()
        return {}

    def _send(self, args: Mapping[str, Any]) -> dict[str, Any]:
        wanted = _checked(SendArgs, args)
        self._terms.check(Use.FOOTAGE)
        transfers = self._around.transfers
        if transfers is None:
            raise Rejected("this box has no way to send footage")
        interval = _interval(wanted.start, wanted.end)
        self._shelf.hold(wanted.transfer, interval)
        found = self._shelf.find(interval)
        if not found:
            self._shelf.release(wanted.transfer)
            raise Rejected("there is no footage of that time on the box")
        if sum(len(one.wanted) for one in found) > MOST_SENT:
            self._shelf.release(wanted.transfer)
            raise Rejected(f"that are more than {MOST_SENT} segments: ask for a shorter time")
        if len(found) > MOST_STRETCHES:
            self._shelf.release(wanted.transfer)
            raise Rejected("the record of that day is damaged at too many places: replace the disk")
        files = {
            segment.sha256: self._shelf.path(one.day, segment.position)
            for one in found
            for segment in one.segments
            if segment.position in set(one.wanted)
        }
        manifest = TransferManifest(
            transfer=wanted.transfer,
            camera=self._camera,
            days=[self._sent_day(one) for one in found],
            certificate=transfers.certificate(),
        )
        try:
            transfers.send(manifest, files, wanted.rate_kbit_s)
        except OSError as error:
            raise Rejected(
                f"the transfer cannot be written ({error.strerror}): free space on the box"
            ) from error
        return self._tally(interval)

    def _sent_day(self, found: Found) -> SentDay:
        head = self._signed(found.day, *found.head)
        assert head is not None
        before_position, before = found.before
        proof = ChainProof(before_position=before_position, before=before, segments=found.segments, head=head)
        return SentDay(proof=proof, sent=found.wanted, missing=found.missing)

    def _release_sent(self) -> None:
        """Let go of what transfers held that have ended."""
        transfers = self._around.transfers
        if transfers is None:
            return
        for name in transfers.ended(self._camera):
            self._shelf.release(name)
            transfers.forget(name)


def _checked(model: type[Any], args: Mapping[str, Any]) -> Any:
    try:
        return validate(model, dict(args))
    except Refused as error:
        raise Rejected(error.detail) from None


def _interval(start: datetime, end: datetime) -> Interval:
    return Interval(round(start.timestamp() * 1000), round(end.timestamp() * 1000))


def _days(runs: list[Run]) -> list[str]:
    """Every UTC day that ``runs`` touch."""
    if not runs:
        return []
    first, last = midnight_ms(day_of(runs[0].start_ms)), max(run.end_ms for run in runs) - 1
    return [day_of(at_ms) for at_ms in range(first, last + 1, DAY_MS)]


def _never_was(body: Coverage) -> bool:
    """Whether a clock leapt over the day: a year of such days is told only where nobody disputes that leap."""
    return not body.spans and body.gaps == [(0, DAY_MS, GapCause.CLOCK)]


def _digest(body: Coverage) -> str:
    """What must be the same for a day not to be told again. The end of what grows is left out; ``gone`` marks a day without footage."""
    said = json.dumps([body.spans, [list(map(str, gap)) for gap in body.gaps], body.growing, body.closed])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return f"{_GONE}-{digest}" if body.closed and not body.spans else digest
