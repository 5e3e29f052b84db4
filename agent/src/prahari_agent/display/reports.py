"""What a display tells the hub: override.state, display.shown and display.fault, each when it changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from prahari_wire import events
from prahari_wire.display import (
    DisplayFault,
    OverrideOutcome,
    OverrideState,
    Shown,
    ShownSource,
    TextContent,
)
from prahari_wire.playback import Item

from prahari_agent.display.renderer import Frame
from prahari_agent.peripheral import Surroundings

ROTATION_S = 60.0
"""A playlist that goes round reports each new item at once, and then one item a minute: the rest follows from the twin."""
REMEMBER = 512
SHORT = 120
FAULTS: tuple[str, ...] = get_args(DisplayFault.model_fields["fault"].annotation)


class Reporter:
    """Emits for one display, from its follower's thread. ``monotonic`` counts seconds."""

    def __init__(self, peripheral: str, surroundings: Surroundings, monotonic: Callable[[], float]) -> None:
        self._peripheral, self._surroundings, self._monotonic = peripheral, surroundings, monotonic
        self._state: OverrideState | None = None
        self._detail: str | None = None
        self._not_stored: dict[str, str] = {}
        self._shown: Shown | None = None
        self._shown_at = 0.0
        self._seen: OrderedDict[tuple[str | None, str], None] = OrderedDict()
        self._uploaded: OrderedDict[str, None] = OrderedDict()
        self._told_faults: dict[str, bool] = {}

    def stored(self, epoch: int, *, taken: bool) -> None:
        """An override set came; it was put on disk, or its epoch was not higher than the last."""
        if taken:
            self._not_stored = {}
        self._detail = (
            None if taken else short(f"epoch {epoch} is not higher than the one in force and was ignored")
        )

    def not_stored(self, lost: Iterable[str], why: str) -> None:
        """The overrides ``lost`` came but could not be put on disk: refused until a set can be stored."""
        self._detail = short(f"The display cannot store it ({why}): free space on its disk.")
        self._not_stored = dict.fromkeys(lost, self._detail)

    def overrides(
        self,
        epoch: int,
        *,
        active: list[str],
        refused: Mapping[str, str],
        waiting: int,
        ended: Mapping[str, str],
        answer: bool,
    ) -> None:
        """Say where the set stands: when it differs from what was said last, or when the hub asked (``answer``)."""
        refused = {**refused, **self._not_stored}
        pending = f"{waiting} of the pictures are still on their way" if waiting else None
        why_ended = next(iter(ended.values()), None)
        state = OverrideState(
            epoch=epoch,
            outcome=_outcome(refused, ended),
            active=active,
            refused={id_: short(reason) for id_, reason in refused.items()},
            detail=pending or why_ended,
        )
        nothing_new = self._state is None and not active and not refused
        if answer:
            self._emit(
                events.OVERRIDE_STATE, state.model_copy(update={"detail": self._detail or state.detail})
            )
        elif state != self._state and not nothing_new:
            self._emit(events.OVERRIDE_STATE, state)
        self._state, self._detail = state, None

    def shown(self, item: Item, frame: Frame, epoch: int) -> None:
        """Report a change of what shows, and have its frame uploaded once."""
        before = self._shown
        text = item.content.text if isinstance(item.content, TextContent) else None
        now = Shown(
            source=item.source, item=item.id, cls=item.cls, epoch=epoch, frame_sha256=frame.sha256, text=text
        )
        if before is not None and now == before.model_copy(update={"epoch": epoch}):
            return
        rotates = before is not None and before.source is now.source is ShownSource.PLAYLIST
        known = not _is_new(self._seen, (item.id, frame.sha256))
        if rotates and known and self._monotonic() - self._shown_at < ROTATION_S:
            return
        self._emit(events.SHOWN, now)
        self._shown, self._shown_at = now, self._monotonic()
        if _is_new(self._uploaded, frame.sha256):
            self._surroundings.upload(frame.png, "image/png")

    def forget_rotation(self) -> None:
        """A new configuration: its items count as not yet reported."""
        self._seen.clear()

    def faults(self, present: Mapping[str, str], *, well: bool) -> None:
        """Raise what is new, clear what has gone; a fault whose sentence changes is the same fault.

        What was not told yet in this process's life is cleared once, when the sign is ``well``: an agent before this one
        may have left it open.
        """
        for fault in FAULTS:
            active, told = fault in present, self._told_faults.get(fault)
            if told is active or (told is None and not active and not well):
                continue
            self._fault(fault, active=active, detail=short(present[fault]) if active else None)
            self._told_faults[fault] = active

    def _fault(self, fault: Any, *, active: bool, detail: str | None = None) -> None:
        self._emit(events.DISPLAY_FAULT, DisplayFault(fault=fault, active=active, detail=detail))

    def _emit(self, kind: str, body: Any) -> None:
        self._surroundings.emit(kind, body, peripheral=self._peripheral)


def _outcome(refused: Mapping[str, str], ended: Mapping[str, str]) -> OverrideOutcome:
    if refused:
        return OverrideOutcome.REFUSED
    return OverrideOutcome.ENDED if ended else OverrideOutcome.APPLIED


def short(sentence: str) -> str:
    return sentence if len(sentence) <= SHORT else sentence[: SHORT - 1] + "…"


def _is_new(seen: OrderedDict[Any, None], key: Any) -> bool:
    """Whether ``key`` was not there; it is afterwards, and the oldest go."""
    if key in seen:
        return False
    seen[key] = None
    while len(seen) > REMEMBER:
        seen.popitem(last=False)
    return True
