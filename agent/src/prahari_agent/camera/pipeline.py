"""How a frame becomes events: content, gate, detector, tracker, regions, snapshot. One camera, no sockets, no clocks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prahari_wire import camera as wire
from prahari_wire.base import Message
from prahari_wire.events import CAMERA_FAULT, LINE_COUNT, RULE, TRACK
from prahari_wire.rules import ObjectAbandoned, RuleBase

from prahari_agent.camera import redact
from prahari_agent.camera.boxes import Box, Detection, contains, covered, without_doubles
from prahari_agent.camera.carry import HELD, Carried, carry
from prahari_agent.camera.content import Content
from prahari_agent.camera.crops import WHOLE
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.gate import Look, MotionGate
from prahari_agent.camera.looking import Counters, Looking
from prahari_agent.camera.pace import Pace
from prahari_agent.camera.rules.engine import Engine, Told, masked
from prahari_agent.camera.rules.objects import Moment, Object
from prahari_agent.camera.signals import Luma
from prahari_agent.camera.source import Frame
from prahari_agent.camera.tracker import Changes, Track, Tracker

MOTION = "motion"
PERSON = "person"
CONTINUE = 0.6
"""Share of a label's threshold that is enough to keep its track alive."""
IDLE_AFTER_S = 4.0
HIDE_SCORE = 0.25
"""Least score of a person to be pixelated: hiding too much is the lesser harm."""


class Outgoing(NamedTuple):
    """An event to be kept, and the picture that belongs to it."""

    kind: str
    body: Message
    jpeg: bytes | None = None


class _Seen(NamedTuple):
    """What a look found; ``shown``: where it would have been found; ``everywhere``: the whole picture was looked at, at once."""

    found: list[Detection]
    shown: Callable[[Box], bool]
    everywhere: bool


@dataclass
class _Reported:
    regions: list[str] = field(default_factory=list)
    started: bool = False


class Pipeline:
    """``detector`` None: the motion gate alone runs, and what moves becomes tracks labelled "motion".

    ``inferring`` is entered around every call into the inference runtime, which may crash the process.
    ``faults``: those told before this start and not cleared yet. ``view``: the file that the usual view is kept in.
    """

    def __init__(
        self,
        config: wire.CameraConfig,
        detector: Detector | None,
        *,
        inferring: Callable[[], AbstractContextManager[None]] = nullcontext,
        faults: Sequence[wire.CameraFault] = (),
        view: Path | None = None,
    ) -> None:
        self._config = config
        self.counters = Counters()
        self._detector = detector
        self._looking = (
            Looking(detector, self.counters, per_second=config.inferences_per_s, inferring=inferring)
            if detector
            else None
        )
        self._gate = MotionGate()
        self._tracker = Tracker(threshold=self._threshold, confirm_frames=config.confirm_frames)
        self._content = Content(
            frozen_after_s=config.frozen_after_s,
            signal_loss_after_s=config.signal_loss_after_s,
            active=faults,
            ignored=config.ignored_faults,
            kept=view,
            source=config.source,
        )
        self._owners = _owners(config)
        self._rules = Engine(config.rules, masks=config.masks)
        self._reported: dict[str, _Reported] = {}
        self._before: Frame | None = None
        self._pace = Pace()
        self._luma: Luma | None = None
        self._carried: dict[str, Carried] = {}
        self._stirred_s = self._now_s = 0.0

    @property
    def faults(self) -> list[wire.ContentFault]:
        return self._content.active

    def see(self, frame: Frame) -> list[Outgoing]:
        """The events that one frame gives."""
        faults = self._check_content(frame)
        look = self._gate.look(frame.luma, frame.time_s)
        if look.open or self._tracker.live or faults:
            self._stirred_s = frame.time_s
        self._now_s = frame.time_s
        seen = self._find(frame, look)
        changes = self._follow(frame, seen, look)
        found = seen.found if seen and seen.everywhere else None
        self._place_in_regions(frame)
        self.counters.frames += 1
        ended = self._ended(changes.ended)
        return [*faults, *ended, *self._started(frame, found), *self._check_rules(frame, found)]

    @property
    def brightness(self) -> float:
        """Of the picture lately, 0 to 255."""
        return self._content.brightness

    def night_light(self, now: datetime) -> float | None:
        """Brightness of the picture by night, None where that is not known."""
        return self._content.night_light(now)

    @property
    def idle(self) -> bool:
        """Nobody is followed and nothing has moved for a while. Read by the thread that decodes."""
        return self._now_s - self._stirred_s >= IDLE_AFTER_S

    def change(self, config: wire.CameraConfig) -> list[Outgoing]:
        """What to look for is another from now on: its rules, regions and masks. Who is followed is followed on."""
        self._config, self._owners = config, _owners(config)
        at = self._before.at if self._before else None
        return [Outgoing(RULE, body) for body, _ in self._rules.change(config.rules, config.masks, at)]

    def learn_view(self) -> None:
        """A person says that the view is right as it is now."""
        self._content.relearn()

    def silence(self, now: datetime, silent_s: float, reason: str | None) -> list[Outgoing]:
        """No frame came for ``silent_s``."""
        return [Outgoing(CAMERA_FAULT, fault) for fault in self._content.silence(now, silent_s, reason)]

    def end(self) -> list[Outgoing]:
        """The source has ended or the camera stops: every track and every case of a rule ends."""
        self._content.save()
        ended = self._ended(self._tracker.flush().ended)
        return ended + [Outgoing(RULE, body) for body, _ in self._rules.end()]

    def snapshot(self, frame: Frame) -> bytes:
        """A redacted JPEG of the frame, for a person who asked."""
        return self._jpeg(frame, None if self._detector else [], mark=None)

    def _check_content(self, frame: Frame) -> list[Outgoing]:
        before = None if frame.rested else self._before
        same = None if before is None else frame.same_picture(before)
        self._before = frame
        return [
            Outgoing(CAMERA_FAULT, fault)
            for fault in self._content.frame(
                frame.at, frame.time_s, frame.luma, same=same, grey=frame.is_grey
            )
        ]

    def _find(self, frame: Frame, look: Look) -> _Seen | None:
        """What is in the frame, None if nobody looked: the detector looks when it can learn something (pace.py), and where (crops.py)."""
        if self._looking is None:
            return _Seen([Detection(MOTION, 1.0, box) for box in look.boxes], _everywhere, everywhere=True)
        self._carried = self._carry(frame)
        wishes = self._pace.wishes(
            frame.time_s,
            warm=look.open and not look.boxes,
            moving=look.boxes,
            tracks=self._tracker.live,
            carried=self._carried,
        )
        parts = self._looking.plan(frame, wishes)
        if not parts:
            return None
        found, shown = self._looking.look(frame, parts), self._looking.shown(frame, parts)
        frame.let_go()
        self._pace.looked(frame.time_s, self._wanted(found), self._tracker.live, shown)
        return _Seen(found, shown, everywhere=parts == [WHOLE])

    def _carry(self, frame: Frame) -> dict[str, Carried]:
        """Where each confirmed track that was not lost is now, as far as its pattern tells."""
        if self._luma is None:
            return {}
        return {
            track.id: carry(self._luma, frame.luma, track.box)
            for track in self._tracker.live
            if track.confirmed and not track.missed
        }

    def _follow(self, frame: Frame, seen: _Seen | None, look: Look) -> Changes:
        """Detections move the tracks; those where nobody looked are carried."""
        self._luma = frame.luma
        shown = seen.shown if seen else _nowhere
        elsewhere = {track.id for track in self._tracker.live if not shown(track.expected(frame.time_s))}
        held = {id: one.box for id, one in self._carried.items() if one.score >= HELD and id in elsewhere}
        self._tracker.carry(held, frame.at, frame.time_s)
        if seen is None:
            return Changes()
        moving = partial(_moves, look.boxes)
        return self._tracker.update(
            self._wanted(seen.found), frame.at, frame.time_s, shown=shown, moving=moving
        )

    def _wanted(self, found: Sequence[Detection]) -> list[Detection]:
        """Detections that may become tracks, or keep one alive, each object once."""
        return without_doubles(
            [
                one
                for one in found
                if self._is_wanted(one.label)
                and one.score >= CONTINUE * self._threshold(one.label)
                and not masked(self._config.masks, one.label, one.box)
            ]
        )

    def _is_wanted(self, label: str) -> bool:
        """Allowed by the model's manifest and, where there are regions or rules, asked for by one of them."""
        allowed = self._detector.manifest.allowed if self._detector else None
        if allowed is not None and label not in allowed:
            return False
        asking = [*self._config.regions, *self._config.rules]
        return not asking or any(_asks_for(one, label) for one in asking) or label in self._owners

    def _threshold(self, label: str) -> float:
        if self._detector is None:
            return 0.0
        score = self._config.score
        return self._detector.manifest.threshold(label) if score is None else score

    def _place_in_regions(self, frame: Frame) -> None:
        for track in self._tracker.live:
            reported = self._reported.setdefault(track.id, _Reported())
            for region in self._config.regions:
                here = track.seen_s == frame.time_s and contains(region.polygon, track.box.foot)
                if here and _asks_for(region, track.label) and region.id not in reported.regions:
                    reported.regions.append(region.id)
        living = {track.id for track in self._tracker.live}
        self._reported = {
            id: reported for id, reported in self._reported.items() if id in living or reported.started
        }

    def _started(self, frame: Frame, found: Sequence[Detection] | None) -> list[Outgoing]:
        """Confirmed tracks not told yet; where there are regions, a track is told once it is in one. Where there are rules alone,
        they tell what matters.
        """
        told = []
        anywhere = not self._config.regions and not self._config.rules
        for track in self._tracker.live:
            reported = self._reported[track.id]
            if track.confirmed and not reported.started and (reported.regions or anywhere):
                reported.started = True
                self.counters.tracks += 1
                jpeg = self._jpeg(frame, found, mark=track.box)
                body = _body(track, wire.TrackPhase.STARTED, reported.regions, _snapshot(jpeg), frame)
                told.append(Outgoing(TRACK, body, jpeg))
        return told

    def _check_rules(self, frame: Frame, found: Sequence[Detection] | None) -> list[Outgoing]:
        """What the rules say of the confirmed tracks; a case that begins carries a picture."""
        objects = [
            Object(
                track.id, track.label, track.score, track.box, track.seen_s == frame.time_s, track.box_age_s
            )
            for track in self._tracker.live
            if track.confirmed
        ]
        aspect = frame.image.width / frame.image.height
        told = self._rules.see(objects, frame.at, Moment(frame.time_s, aspect), night=self._content.night)
        counts = [Outgoing(LINE_COUNT, count) for count in self._rules.counts(frame.at)]
        return [*(self._pictured(one, frame, found) for one in told), *counts]

    def _pictured(self, told: Told, frame: Frame, found: Sequence[Detection] | None) -> Outgoing:
        if told.body.phase is not wire.RulePhase.STARTED:
            return Outgoing(RULE, told.body)
        jpeg = self._jpeg(frame, found, mark=told.subject.box if told.subject else None)
        return Outgoing(RULE, told.body.model_copy(update={"snapshot": _snapshot(jpeg)}), jpeg)

    def _ended(self, tracks: Sequence[Track]) -> list[Outgoing]:
        reports = [(track, self._reported.pop(track.id, _Reported())) for track in tracks]
        return [
            Outgoing(TRACK, _body(track, wire.TrackPhase.ENDED, reported.regions, None))
            for track, reported in reports
            if reported.started
        ]

    def _everything(self, frame: Frame) -> list[Detection]:
        """What there is for a picture to hide: whatever the model sees in the whole, and around those that are followed."""
        assert self._looking is not None
        return self._looking.everything(frame, [track.expected(frame.time_s) for track in self._tracker.live])

    def _jpeg(self, frame: Frame, found: Sequence[Detection] | None, mark: Box | None) -> bytes:
        """Every person of this frame is hidden: found now, however weakly, or followed and just not seen.

        Where no model knows persons, and where there may be more things than the model can name, the whole picture is. A frame at which
        the detector did not look, ``found`` None, is looked at for its picture.
        """
        if found is None:
            found = self._everything(frame)
        hide = [one.box for one in found if one.label in (PERSON, MOTION) and one.score >= HIDE_SCORE]
        hide += [
            track.expected(frame.time_s) for track in self._tracker.live if track.label in (PERSON, MOTION)
        ]
        detector = self._detector
        knows = detector is not None and PERSON in detector.model.labels
        full = (
            detector is not None and sum(one.score >= HIDE_SCORE for one in found) >= detector.most_detections
        )
        return redact.snapshot_jpeg(frame.bgr(redact.MAX_ROWS), hide, whole=not knows or full, mark=mark)


def _owners(config: wire.CameraConfig) -> set[str]:
    """Whose nearness makes a thing attended, by any of the rules."""
    return {label for rule in config.rules if isinstance(rule, ObjectAbandoned) for label in rule.owners}


def _everywhere(_box: Box) -> bool:
    return True


def _nowhere(_box: Box) -> bool:
    return False


def _moves(areas: Sequence[Box], box: Box) -> bool:
    """Most of it lies where something moves, or most of what moves lies in it."""
    return any(covered(area, box) >= 0.5 for area in areas)


def _snapshot(jpeg: bytes) -> wire.Snapshot:
    return wire.Snapshot(sha256=hashlib.sha256(jpeg).hexdigest(), size=len(jpeg))


def _asks_for(asking: wire.Region | RuleBase, label: str) -> bool:
    return not asking.classes or label in asking.classes


def _body(
    track: Track,
    phase: wire.TrackPhase,
    regions: Sequence[str],
    snapshot: wire.Snapshot | None,
    frame: Frame | None = None,
) -> wire.Track:
    """``frame``: that at which it is told, where it is told of one."""
    left, top, right, bottom = track.box.clipped()
    return wire.Track(
        phase=phase,
        track=track.id,
        label=track.label,
        score=track.score,
        started_at=track.started_at,
        ended_at=track.seen_at if phase is wire.TrackPhase.ENDED else None,
        box=wire.Box(left=left, top=top, right=right, bottom=bottom),
        frames=track.frames,
        regions=list(regions),
        frame_at=frame.at if frame else None,
        box_age_s=track.box_age_s,
        snapshot=snapshot,
    )
