"""What a display shows, moment by moment: the playlist of the twin, overrides above it, safe content below."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import NamedTuple

from prahari_wire.display import Content, DisplayConfig, Override, OverrideSet, ShownSource
from prahari_wire.envelope import Stamp
from prahari_wire.playback import Item, plan, top_override

from prahari_agent.display.frames import Frames, Refusal
from prahari_agent.display.overrides import Judged, OverrideBook
from prahari_agent.display.player import Player
from prahari_agent.display.renderer import Frame, blank
from prahari_agent.display.reports import Reporter
from prahari_agent.errors import SourceError
from prahari_agent.log import get_logger

log = get_logger("display")

TICK_S = 5.0
"""The longest wait: the player's faults are looked at that often."""
RETRY_S = 1.0


class Sign(NamedTuple):
    """A configuration in force, with what draws and what plays it."""

    config: DisplayConfig
    frames: Frames
    player: Player


class Showing(NamedTuple):
    """``stands_in``: the frame is dark, because the item's content cannot be drawn yet."""

    item: Item
    frame: Frame
    stands_in: bool = False


class Follower:
    """Decides and shows in a thread of its own; ``turn`` is one decision, so that a test can take them one by one."""

    def __init__(self, book: OverrideBook, reporter: Reporter, stamp: Callable[[], Stamp]) -> None:
        self._book, self._reporter, self._stamp = book, reporter, stamp
        self._wake = Condition()
        self._mail: deque[OverrideSet] = deque()
        self._sign: Sign | None = None
        self._next_sign: Sign | None = None
        self._showing: Showing | None = None
        self._broken: dict[str, Refusal] = {}
        self._dirty = self._owes_answer = False
        self._thread: Thread | None = None
        self.failures = 0

    @property
    def showing(self) -> Showing | None:
        return self._showing

    def configure(self, sign: Sign) -> None:
        """``sign`` takes over at the next turn; then the old one is closed."""
        with self._wake:
            unused, self._next_sign = self._next_sign, sign
            self._set_dirty()
        if unused is not None:
            _close(unused, keep=sign)

    def post(self, new: OverrideSet) -> None:
        with self._wake:
            self._mail.append(new)
            self._set_dirty()

    def wake(self) -> None:
        """Something outside has changed: a picture has come, the player has died."""
        with self._wake:
            self._set_dirty()

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        self.wake()
        if thread is not None:
            thread.join(timeout=10)
        for sign in (self._sign, self._next_sign):
            if sign is not None:
                _close(sign)

    def _set_dirty(self) -> None:
        self._dirty = True
        self._wake.notify()

    def _run(self) -> None:
        while self._thread is not None:
            try:
                wait_s = self.turn()
            except (
                Exception
            ):  # the top of the worker: a display that stands still is worse than a skipped turn
                self.failures += 1
                log.exception("the display's turn failed and is taken again", failures=self.failures)
                wait_s = RETRY_S
            with self._wake:
                if not self._dirty:
                    self._wake.wait(wait_s)
                self._dirty = False

    def turn(self) -> float:
        """Take what was posted, show what is due now, report it; gives the seconds until something may change."""
        now = self._stamp()
        self._take_mail(now)
        sign = self._take_sign()
        if sign is None:
            return TICK_S
        judged = self._book.judged(now)
        item = self._choose(sign, judged.in_force, now)
        shown = self._show(sign, item)
        self._report(sign, judged)
        waits = [TICK_S if shown else RETRY_S, item.until_s, judged.left_s]
        self._prepare_next(sign, item)
        return max(0.0, min(wait for wait in waits if wait is not None))

    def _take_mail(self, now: Stamp) -> None:
        """Put what came onto disk; the hub is owed an answer to each."""
        while self._mail:
            new = self._mail.popleft()
            self._owes_answer = True
            try:
                self._reporter.stored(new.epoch, taken=self._book.accept(new, now))
            except OSError as error:
                lost = {override.id for override in new.overrides} - self._book.ids()
                self._reporter.not_stored(lost, error.strerror or str(error))

    def _take_sign(self) -> Sign | None:
        with self._wake:
            new, self._next_sign = self._next_sign, None
        if new is not None:
            old, self._sign = self._sign, new
            self._showing = None
            self._broken.clear()
            self._reporter.forget_rotation()
            if old is not None:
                _close(old, keep=new)
        return self._sign

    def _choose(self, sign: Sign, in_force: list[Override], now: Stamp) -> Item:
        """What plan() says of the overrides that can be shown; only those above the winner are drawn for it."""
        open_ones = list(in_force)
        while (top := top_override(open_ones)) is not None:
            if self._is_showing(top.content) is not None or isinstance(sign.frames.look(top.content), Frame):
                return plan(sign.config, now.at, [top])
            open_ones.remove(top)
        return plan(sign.config, now.at, [])

    def _is_showing(self, content: Content) -> Showing | None:
        showing = self._showing
        return showing if showing and showing.item.content == content and not showing.stands_in else None

    def _show(self, sign: Sign, item: Item) -> bool:
        """Have the item on the glass, or what may stand for it; False if the player refuses."""
        showing = self._is_showing(item.content)
        if showing is not None:
            return self._play(sign, Showing(item, showing.frame))
        found = sign.frames.look(item.content)
        if isinstance(found, Frame):
            self._broken.pop(item.id or "", None)
            return self._play(sign, Showing(item, found))
        if isinstance(found, Refusal):
            self._broken[item.id or ""] = found
        elif self._showing is not None and self._showing.item.source is not ShownSource.OVERRIDE:
            return self._play(sign, self._showing)  # the picture is on its way: the one before stays
        return self._play(sign, self._safe(sign))

    def _safe(self, sign: Sign) -> Showing:
        """Safe content; a dark sign while that cannot be drawn."""
        item = plan(sign.config.model_copy(update={"playlist": []}), self._stamp().at, [])
        showing = self._is_showing(item.content)
        if showing is not None:
            return showing
        found = sign.frames.look(item.content)
        if isinstance(found, Refusal):
            self._broken[""] = found
        if not isinstance(found, Frame):
            return Showing(item, blank(sign.config.width, sign.config.height), stands_in=True)
        self._broken.pop("", None)
        return Showing(item, found)

    def _play(self, sign: Sign, showing: Showing) -> bool:
        on_glass = self._showing is not None and self._showing.frame.sha256 == showing.frame.sha256
        if not on_glass or sign.player.fault() is not None:
            try:
                sign.player.show(showing.frame)
            except SourceError as error:
                log.debug("the player does not show", error=str(error))
                self._showing = None
                return False
        self._showing = showing
        return True

    def _report(self, sign: Sign, judged: Judged) -> None:
        """Overrides first: an operator waits for that answer. The epoch is the one in force, so that the hub repeats a later one."""
        epoch = self._book.epoch
        if epoch is not None or self._owes_answer:
            checks = {override.id: self._check(sign, override) for override in judged.in_force}
            self._reporter.overrides(
                epoch or 0,
                active=[id_ for id_, check in checks.items() if check is True],
                refused={
                    **judged.expired,
                    **{id_: check.reason for id_, check in checks.items() if isinstance(check, Refusal)},
                },
                waiting=sum(check is False for check in checks.values()),
                ended=judged.ended,
                answer=self._owes_answer,
            )
            self._owes_answer = False
        if self._showing is not None:
            self._reporter.shown(self._showing.item, self._showing.frame, epoch or 0)
        shows = self._showing is not None and not self._showing.stands_in
        self._reporter.faults(self.faults(), well=shows)

    def _check(self, sign: Sign, override: Override) -> Refusal | bool:
        return self._is_showing(override.content) is not None or sign.frames.check(override.content)

    def _prepare_next(self, sign: Sign, item: Item) -> None:
        """Have the next item of the playlist drawn before its time."""
        if item.source is ShownSource.PLAYLIST and len(sign.config.playlist) > 1:
            ids = [entry.id for entry in sign.config.playlist]
            following = sign.config.playlist[(ids.index(item.id or "") + 1) % len(ids)]
            sign.frames.look(following.content)

    def faults(self) -> dict[str, str]:
        """The faults of the moment by their name in display.fault, each with one sentence."""
        found: dict[str, str] = {}
        for refusal in list(self._broken.values()):
            found.setdefault(refusal.fault, refusal.reason)
        player = self._sign.player.fault() if self._sign is not None else None
        if player is not None:
            found["player"] = player
        return found


def _close(sign: Sign, keep: Sign | None = None) -> None:
    sign.frames.close()
    if keep is None or keep.player is not sign.player:
        sign.player.close()
