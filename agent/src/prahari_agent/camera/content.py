"""Is the picture fit to be looked at: the faults that ONVIF names, each with raise and clear.

SignalLoss and Frozen are judged at every frame, the others once a second: too dark and too bright by the picture alone, too blurry and
another scene by what is usual for this camera. A fault is raised when it has lasted, and cleared when the picture has been good for as
long, so that head-lights, lightning, a lorry that passes and a lens that hunts for focus raise nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from prahari_wire.camera import CameraFault, ContentFault

from prahari_agent.camera.baseline import Baseline, Comparison
from prahari_agent.camera.nightlight import NightLight
from prahari_agent.camera.signals import Edges, Luma, Signals, blocks, measure

GOOD_FRAMES = 3
"""So many frames end SignalLoss and Frozen."""
LOOK_S = 1.0
SAVE_S = 600.0
BRIGHTNESS_S = 20.0
HOLD_S = 8.0
"""How long a picture must be unfit, or fit again, before it is told."""
SAME_SHARE = 0.5
"""Share of exact duplicates among the frames of a frozen picture; good video holds one in a hundred. What is not exact are the frames
that an encoder codes anew from the same picture."""
SAME_LEVEL = 2.5
"""Difference in brightness of a block that is no more than the encoder's."""

DARK, NO_LONGER_DARK = 30.0, 42.0
WHITE, NO_LONGER_WHITE = 0.6, 0.4
PALE = 200.0
"""A mean above this, with hardly a step of brightness left, is glare."""
FLAT = 7.0
"""Contrast below which nothing can be seen."""
BLURRED, SHARP_AGAIN = 0.62, 0.75
"""Of the usual sharpness."""
UNSHARP = 0.4
"""Sharpness that is unfit whatever is usual."""
OTHER, SAME_AGAIN = 0.55, 0.7
"""Share of the cells that show what they usually do."""
TURNED, SURE = 0.012, 0.3
"""Share of the picture by which a camera must be turned, and how certain that must be."""

_DARK, _BRIGHT = ContentFault.IMAGE_TOO_DARK, ContentFault.IMAGE_TOO_BRIGHT
_BLURRY, _SCENE = ContentFault.IMAGE_TOO_BLURRY, ContentFault.GLOBAL_SCENE_CHANGE
_LOOKED_AT = (_DARK, _BRIGHT, _SCENE, _BLURRY)
"""In this order: a picture that shows nothing says nothing of its view, and another view nothing of its usual sharpness."""


def _never() -> bool:
    return False


@dataclass
class _Fault:
    since: datetime
    good: int = 0


@dataclass
class _Turning:
    """A look that says the contrary of what was told; ``since`` when it first did."""

    since: datetime
    since_s: float


class Content:
    """Told of every frame and, while none comes, of the silence; gives the faults that begin or end.

    ``active``: faults told before the camera's process started anew. ``ignored``: faults that nobody asks about, such as another
    scene of a camera that pans. ``kept``: the file that the baseline is kept in; ``source``: what the camera looks at.
    """

    def __init__(
        self,
        *,
        frozen_after_s: float,
        signal_loss_after_s: float,
        active: Iterable[CameraFault] = (),
        ignored: Collection[ContentFault] = (),
        kept: Path | None = None,
        source: str = "",
    ) -> None:
        self._frozen_after_s = frozen_after_s
        self._signal_loss_after_s = signal_loss_after_s
        self._active = {fault.fault: _Fault(fault.since) for fault in active}
        self._ignored = ignored
        self._kept, self._source = kept, source
        self._baseline = Baseline.load(kept, source) if kept else Baseline()
        self._night_light = NightLight(kept.with_name("night.json") if kept else None, source)
        self._still = _Still()
        self._turning: dict[ContentFault, _Turning] = {}
        self._looked_s = float("-inf")
        self._saved_s: float | None = None
        self._unsaved = False
        self._brightness: float | None = None

    @property
    def active(self) -> list[ContentFault]:
        return list(self._active)

    @property
    def night(self) -> bool:
        """By the brightness of the picture."""
        return bool(self._baseline.night)

    @property
    def brightness(self) -> float:
        """Of late: a moving average, 0 to 255."""
        return self._brightness or 0.0

    def night_light(self, now: datetime) -> float | None:
        """How bright the view is by night, 0 to 255; None where that is not known."""
        return self._night_light.value(now)

    def frame(
        self, at: datetime, time_s: float, luma: Luma, *, same: bool | None, grey: Callable[[], bool] = _never
    ) -> list[CameraFault]:
        """A frame came; ``same``: every pixel is as in the frame before, None where that one was left undecoded. ``time_s`` is the source's
        time line. ``grey`` says whether the picture has no colour; it is asked now and then by night.
        """
        changes = self._good(ContentFault.SIGNAL_LOSS)
        self._still.frame(at, time_s, luma, same=same)
        lasted_s = time_s - self._still.since_s
        if not self._still.frozen:
            changes += self._good(ContentFault.FROZEN)
        elif lasted_s >= self._frozen_after_s:
            detail = (
                f"the same picture for {lasted_s:.0f} s: restart the camera, look at its lens and encoder"
            )
            changes += self._bad(ContentFault.FROZEN, self._still.since, detail)
        gap_s = time_s - self._looked_s
        if gap_s >= LOOK_S - 0.01:
            self._looked_s = time_s
            signals = measure(luma)
            found = self._unfit(signals)
            changes += self._look(at, time_s, signals, found, min(gap_s, 10 * LOOK_S))
            self._look_by_night(at, time_s, signals.mean, found, grey)
        return changes

    def silence(self, now: datetime, silent_s: float, reason: str | None) -> list[CameraFault]:
        """No frame came for ``silent_s`` until ``now``; ``reason`` is what the source says about it."""
        if silent_s < self._signal_loss_after_s:
            return []
        detail = (reason or "no picture arrives: check the camera's power, cable and address")[:120]
        return self._bad(ContentFault.SIGNAL_LOSS, now - timedelta(seconds=silent_s), detail)

    def relearn(self) -> None:
        """A person says that the view is right as it is now."""
        self._baseline.forget()
        self._night_light.forget()
        self._unsaved = True
        self.save()

    def save(self) -> None:
        """Keep what was learned since the last time."""
        if self._kept is not None and self._unsaved:
            self._unsaved = False
            self._baseline.save(self._kept, self._source)
            self._night_light.save()

    def _look_by_night(
        self,
        at: datetime,
        time_s: float,
        mean: float,
        found: Collection[ContentFault],
        grey: Callable[[], bool],
    ) -> None:
        """What is lit by infrared says nothing of the street's light: a picture that shows something counts in colour alone."""
        if not self.night or ContentFault.FROZEN in self._active or not self._night_light.due(time_s):
            return
        if _DARK in found or not (found or grey()):
            self._night_light.look(at, time_s, mean)
            self._unsaved = True
            self._save_at_times(time_s)

    def _look(
        self, at: datetime, time_s: float, signals: Signals, found: dict[ContentFault, str], gap_s: float
    ) -> list[CameraFault]:
        """One look: what ``found`` makes of the faults, and what there is to learn."""
        if _DARK not in found and _BRIGHT not in found:
            before = signals.mean if self._brightness is None else self._brightness
            self._brightness = before + (signals.mean - before) * min(1.0, gap_s / BRIGHTNESS_S)
            self._baseline.note_light(self._brightness)
        changes: list[CameraFault] = []
        for fault in _judged(found):
            if fault not in self._ignored:
                changes += self._settle(fault, found.get(fault), at, time_s)
        if not found and ContentFault.FROZEN not in self._active:
            self._baseline.learn(signals, gap_s)
            self._unsaved = True
            self._save_at_times(time_s)
        return changes

    def _unfit(self, signals: Signals) -> dict[ContentFault, str]:
        """What is wrong with this picture, and what to do. Whatever hides the view hides the other faults, too."""
        if signals.high < (NO_LONGER_DARK if _DARK in self._active else DARK):
            return {
                _DARK: "almost no light in the picture: look for a covered lens, and for lamps that are out"
            }
        white = NO_LONGER_WHITE if _BRIGHT in self._active else WHITE
        if signals.saturated > white or (signals.mean > PALE and signals.contrast < FLAT):
            return {
                _BRIGHT: "most of the picture is white: look for sun or a lamp in the lens, and at its exposure"
            }
        if signals.contrast < FLAT:
            return {_SCENE: "nothing can be told apart in the picture: look for something before the lens"}
        usual = self._baseline.compare(signals)
        if changed := _how_changed(usual, SAME_AGAIN if _SCENE in self._active else OTHER):
            return {_SCENE: changed}
        if (
            usual.sharpness < (SHARP_AGAIN if _BLURRY in self._active else BLURRED)
            or signals.sharpness < UNSHARP
        ):
            return {
                _BLURRY: f"sharpness is {min(usual.sharpness, 1.0):.0%} of the usual: clean the lens, focus it anew"
            }
        return {}

    def _settle(
        self, fault: ContentFault, detail: str | None, at: datetime, time_s: float
    ) -> list[CameraFault]:
        """A fault begins, or ends, when every look of HOLD_S has said so."""
        if (detail is not None) == (fault in self._active):
            self._turning.pop(fault, None)
            return []
        turning = self._turning.setdefault(fault, _Turning(at, time_s))
        if time_s - turning.since_s < HOLD_S:
            return []
        del self._turning[fault]
        if detail is not None:
            return self._bad(fault, turning.since, detail)
        since = self._active.pop(fault).since
        return [CameraFault(fault=fault, active=False, since=since)]

    def _save_at_times(self, time_s: float) -> None:
        if self._saved_s is None:
            self._saved_s = time_s - SAVE_S + 60.0
        if time_s - self._saved_s >= SAVE_S:
            self._saved_s = time_s
            self.save()

    def _bad(self, fault: ContentFault, since: datetime, detail: str) -> list[CameraFault]:
        if fault in self._active:
            self._active[fault].good = 0
            return []
        if fault in self._ignored:
            return []
        self._active[fault] = _Fault(since)
        return [CameraFault(fault=fault, active=True, since=since, detail=detail[:120])]

    def _good(self, fault: ContentFault) -> list[CameraFault]:
        state = self._active.get(fault)
        if state is None:
            return []
        state.good += 1
        if state.good < GOOD_FRAMES:
            return []
        del self._active[fault]
        return [CameraFault(fault=fault, active=False, since=state.since)]


def _judged(found: Collection[ContentFault]) -> Sequence[ContentFault]:
    """The faults of which a look says anything, given what it found."""
    if _DARK in found or _BRIGHT in found:
        return _LOOKED_AT[:2]
    return _LOOKED_AT[:3] if _SCENE in found else _LOOKED_AT


def _how_changed(usual: Comparison, least: float) -> str | None:
    """What became of the usual view, None if it is there."""
    x, y, certainty = usual.moved
    if certainty >= SURE and max(abs(x), abs(y)) >= TURNED:
        return f"the camera is turned, its picture moved by {x:+.0%} and {y:+.0%}: turn it back, or take this view as right"
    if usual.kept < least:
        return f"{1 - usual.kept:.0%} of the usual view is gone: look for something before the lens, or a camera turned away"
    return None


class _Still:
    """How long nothing has changed: ``since`` the first of the frames that look the same, ``frozen`` when most of them are the same in
    every pixel.
    """

    def __init__(self) -> None:
        self.since = datetime.min.replace(tzinfo=UTC)
        self.since_s = 0.0
        self._first: Edges | None = None
        self._frames = self._exact = 0

    @property
    def frozen(self) -> bool:
        return self._frames > 1 and self._exact >= SAME_SHARE * (self._frames - 1)

    def frame(self, at: datetime, time_s: float, luma: Luma, *, same: bool | None) -> None:
        now = blocks(luma)
        if (
            self._first is None
            or self._first.shape != now.shape
            or np.abs(now - self._first).max() > SAME_LEVEL
        ):
            self.since, self.since_s, self._first = at, time_s, now
            self._frames, self._exact = 1, 0
        elif same is not None:
            self._frames += 1
            self._exact += same
