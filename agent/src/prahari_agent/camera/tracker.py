"""Objects over frames: a pure tracker that follows boxes by overlap and distance.

An object is a track once ``confirm_frames`` frames saw it with a median score that its label asks for. A track ends when
nothing saw it for ``coast_s``: shorter gaps (a missed detection, a person behind a post) do not split it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prahari_wire.ids import ulid

from prahari_agent.camera.boxes import Box, Detection, Point, covered, iou, overlap

COAST_S = 1.4
HIDDEN_S = 5.0
"""A track that another one stands before is waited for so long."""
HIDDEN_SHARE = 0.4
"""Share of its box that the other one covers."""
TENTATIVE_S = 1.0
"""An unconfirmed object is forgotten after this long unseen."""
MISSED = 2
"""Frames that must have looked for an object in vain before it is given up, however long dropped frames made the gap."""
REACH = 1.0
"""How far an object may have moved, in its own heights, in each second unseen (counted as at least one third)."""
SPARE = 2
"""So many weak detections among those that confirm a track do no harm."""
SAME_IOU = 0.2
_SMOOTH = 0.5
_SCORE_STEPS = 100


@dataclass
class Track:
    """An object being followed; ``seen_at`` and ``seen_s`` are the last frame that saw it (UTC; the source's own time line),
    ``hidden_s`` the last at which another object stood before it, ``found_s`` the last in which a detector saw it: since then its box
    has been carried. ``recent``: its scores until it was confirmed.
    """

    id: str
    label: str
    box: Box
    started_at: datetime
    seen_at: datetime
    seen_s: float
    frames: int = 1
    missed: int = 0
    confirmed: bool = False
    hidden_s: float = float("-inf")
    found_s: float = 0.0
    velocity: Point = (0.0, 0.0)
    recent: list[float] = field(default_factory=list)
    scores: list[int] = field(default_factory=lambda: [0] * (_SCORE_STEPS + 1))

    @property
    def score(self) -> float:
        """Median of its detections' scores, to a hundredth."""
        middle, below = (sum(self.scores) + 1) // 2, 0
        for step, count in enumerate(self.scores):
            below += count
            if below >= middle:
                return step / _SCORE_STEPS
        return 0.0

    @property
    def box_age_s(self) -> float:
        """How long its box has been carried since a detector saw it."""
        return round(min(3600.0, max(0.0, self.seen_s - self.found_s)), 3)

    def expected(self, now_s: float) -> Box:
        """Where it should be by now: it is not believed to run on for more than half a second unseen."""
        gap_s = min(now_s - self.seen_s, 0.5)
        return self.box.moved((self.velocity[0] * gap_s, self.velocity[1] * gap_s))

    def saw(self, detection: Detection, at: datetime, now_s: float) -> None:
        self.carried(detection.box, at, now_s)
        self.frames += 1
        self.missed, self.found_s = 0, now_s
        self.count(detection.score)

    def carried(self, box: Box, at: datetime, now_s: float) -> None:
        """It was found again without a detector."""
        gap_s = max(now_s - self.seen_s, 0.001)
        before, after = self.box.centre, box.centre
        self.velocity = (
            _SMOOTH * self.velocity[0] + (1 - _SMOOTH) * (after[0] - before[0]) / gap_s,
            _SMOOTH * self.velocity[1] + (1 - _SMOOTH) * (after[1] - before[1]) / gap_s,
        )
        self.box, self.seen_at, self.seen_s = box, at, now_s

    def count(self, score: float) -> None:
        if not self.confirmed:
            self.recent.append(score)
        self.scores[round(min(1.0, max(0.0, score)) * _SCORE_STEPS)] += 1


@dataclass(frozen=True)
class Changes:
    """What one frame changed: tracks confirmed by it, and tracks that ended before it."""

    confirmed: Sequence[Track] = ()
    ended: Sequence[Track] = ()


class Tracker:
    """``threshold`` gives the least median score of a label; detections below it only keep a track alive.

    >>> from datetime import UTC
    >>> tracker = Tracker(threshold=lambda label: 0.5, confirm_frames=1)
    >>> walker = Detection("person", 0.9, Box(0.1, 0.1, 0.2, 0.5))
    >>> [track.label for track in tracker.update([walker], datetime.now(UTC), 0.0).confirmed]
    ['person']
    """

    def __init__(
        self, *, threshold: Callable[[str], float], confirm_frames: int = 3, coast_s: float = COAST_S
    ) -> None:
        self._threshold = threshold
        self._confirm_frames = confirm_frames
        self._coast_s = coast_s
        self._tracks: list[Track] = []

    @property
    def live(self) -> Sequence[Track]:
        """Everything followed, confirmed or not yet."""
        return self._tracks

    def update(
        self,
        found: Iterable[Detection],
        at: datetime,
        now_s: float,
        *,
        shown: Callable[[Box], bool] = lambda _box: True,
        moving: Callable[[Box], bool] = lambda _box: False,
    ) -> Changes:
        """One frame's detections; ``now_s`` is the frame's place on the source's time line, which never goes back. ``shown``: whether
        the detector looked at a place, so that nobody is missed elsewhere; ``moving``: whether something moves there, so that a weak
        detection is the first of somebody who comes in, and no pattern of the background. It takes strong ones to confirm it.
        """
        ended = self._forget(now_s)
        for track in self._tracks:
            track.missed += shown(track.expected(now_s))
        strong: list[Detection] = []
        weak: list[Detection] = []
        for detection in found:
            (strong if detection.score >= self._threshold(detection.label) else weak).append(detection)
        unmatched = self._match(strong, at, now_s)
        left = self._match(weak, at, now_s)
        self._begin([*unmatched, *(one for one in left if moving(one.box))], at, now_s)
        self._hide(now_s)
        return Changes(confirmed=self._confirm(now_s), ended=ended)

    def carry(self, boxes: Mapping[str, Box], at: datetime, now_s: float) -> None:
        """A frame at which no detector looked: where some tracks, by id, are nevertheless."""
        for track in self._tracks:
            if (box := boxes.get(track.id)) is not None:
                track.carried(box, at, now_s)

    def flush(self) -> Changes:
        """The source has ended: so has every track."""
        ended = [track for track in self._tracks if track.confirmed]
        self._tracks = []
        return Changes(ended=ended)

    def _forget(self, now_s: float) -> list[Track]:
        kept, ended = [], []
        for track in self._tracks:
            patience_s = self._coast_s if track.confirmed else min(TENTATIVE_S, self._coast_s)
            hidden = (
                track.confirmed
                and now_s - track.hidden_s <= self._coast_s
                and now_s - track.seen_s <= HIDDEN_S
            )
            if now_s - track.seen_s <= patience_s or track.missed < MISSED or hidden:
                kept.append(track)
            elif track.confirmed:
                ended.append(track)
        self._tracks = kept
        return ended

    def _hide(self, now_s: float) -> None:
        """Note which tracks are not seen because another one stands before them."""
        seen = [track for track in self._tracks if track.seen_s == now_s]
        for track in self._tracks:
            if track.seen_s < now_s:
                box = track.expected(now_s)
                if any(overlap(box, other.box) >= HIDDEN_SHARE * box.area for other in seen):
                    track.hidden_s = now_s

    def _match(self, found: list[Detection], at: datetime, now_s: float) -> list[Detection]:
        """Pair detections with the tracks that this frame has not shown yet, best pair first; gives the detections left over."""
        waiting = [track for track in self._tracks if track.seen_s < now_s]
        pairs = [
            (closeness, place, number)
            for place, (track, expected) in enumerate((track, track.expected(now_s)) for track in waiting)
            for number, detection in enumerate(found)
            if (closeness := _closeness(track, expected, detection, now_s)) > 0
        ]
        taken_tracks: set[int] = set()
        taken: set[int] = set()
        for _, place, number in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if place not in taken_tracks and number not in taken:
                taken_tracks.add(place)
                taken.add(number)
                waiting[place].saw(found[number], at, now_s)
        return [detection for number, detection in enumerate(found) if number not in taken]

    def _begin(self, found: list[Detection], at: datetime, now_s: float) -> None:
        """A detection begins a track, unless it lies on an object that this frame showed already (a second box on it)."""
        for detection in found:
            doubled = any(
                track.label == detection.label
                and track.seen_s == now_s
                and covered(track.box, detection.box) > 0.7
                for track in self._tracks
            )
            if not doubled:
                track = Track(ulid(), detection.label, detection.box, at, at, now_s, found_s=now_s)
                track.count(detection.score)
                self._tracks.append(track)

    def _confirm(self, now_s: float) -> list[Track]:
        confirmed = []
        for track in self._tracks:
            seen_enough = track.frames >= self._confirm_frames and track.seen_s == now_s
            if not track.confirmed and seen_enough and self._is_sure(track):
                track.confirmed = True
                confirmed.append(track)
        return confirmed

    def _is_sure(self, track: Track) -> bool:
        """By the median of the best of its last scores: who comes in is seen weakly at first, which must not count against him."""
        best = sorted(track.recent[-self._confirm_frames - SPARE :])[-self._confirm_frames :]
        return best[len(best) // 2 - (len(best) % 2 == 0)] >= self._threshold(track.label)


def _closeness(track: Track, expected: Box, detection: Detection, now_s: float) -> float:
    """How well a detection continues a track: 0 not at all, up to 1 by nearness, 1 to 2 by overlap. ``expected``: where it should be."""
    if track.label != detection.label:
        return 0.0
    shared = max(iou(expected, detection.box), iou(track.box, detection.box))
    if shared >= SAME_IOU:
        return 1 + shared
    size = max(expected.bottom - expected.top, detection.box.bottom - detection.box.top, 0.02)
    reach = size * max(1 / 3, REACH * (now_s - track.seen_s))
    distance = min(_distance(box, detection.box) for box in (expected, track.box))
    return max(0.0, 1 - distance / reach)


def _distance(one: Box, other: Box) -> float:
    """The nearer of centres and feet: a person cut off by the picture's edge keeps only one of them."""
    (x, y), (other_x, other_y) = one.centre, other.centre
    return abs(x - other_x) + min(abs(y - other_y), abs(one.bottom - other.bottom))
