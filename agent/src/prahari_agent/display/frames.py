"""Frames of contents, drawn once: text at once, pictures in a thread, because they may have to be fetched."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Literal, NamedTuple

from prahari_wire.display import Content, TextContent

from prahari_agent.display.renderer import Fetch, Frame, render
from prahari_agent.errors import AgentError, HubUnreachable, Rejected
from prahari_agent.log import get_logger

log = get_logger("display")

KEEP_BYTES = 4 * 1024 * 1024
KEEP_FRAMES = 256
FETCH_AGAIN_S = 15.0


class Refusal(NamedTuple):
    """Why a content cannot be shown; ``fault`` as in display.fault. ``again_at``: when to try once more, if ever."""

    fault: Literal["illegible", "content"]
    reason: str
    again_at: float | None = None


class Frames:
    """The frames of one sign's size. ``ready`` is called from the thread when a picture has been drawn or refused."""

    def __init__(
        self,
        width: int,
        height: int,
        fetch: Fetch,
        ready: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.width, self.height = width, height
        self._fetch, self._ready, self._clock = fetch, ready, clock
        self._known: OrderedDict[Content, Frame | Refusal] = OrderedDict()
        self._drawable: OrderedDict[Content, None] = OrderedDict()
        self._asked: set[Content] = set()
        self._lock = Lock()
        self._queue: SimpleQueue[Content | None] = SimpleQueue()
        self._thread: Thread | None = None

    def look(self, content: Content) -> Frame | Refusal | None:
        """The frame, or why there is none; None while a picture is on its way."""
        with self._lock:
            found = self._known.get(content)
            if found is not None and not self._is_due(found):
                self._known.move_to_end(content)
                return found
        if isinstance(content, TextContent):
            return self._draw(content)
        self._order(content)
        return found

    def check(self, content: Content) -> Refusal | bool:
        """True if the content can be drawn, False while that is not known; does not keep its frame at hand."""
        with self._lock:
            if content in self._drawable:
                return True
        found = self.look(content)
        return found if isinstance(found, Refusal) else found is not None

    def close(self) -> None:
        """End the thread after the picture it is at; does not wait for a download."""
        self._queue.put(None)

    def _is_due(self, found: Frame | Refusal) -> bool:
        return isinstance(found, Refusal) and found.again_at is not None and self._clock() >= found.again_at

    def _order(self, content: Content) -> None:
        with self._lock:
            if content in self._asked:
                return
            self._asked.add(content)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="display-pictures", daemon=True)
                self._thread.start()
        self._queue.put(content)

    def _work(self) -> None:
        while (content := self._queue.get()) is not None:
            try:
                self._draw(content)
            except Exception:
                log.exception("a picture could not be drawn")
                self._remember(
                    content, Refusal("content", "The picture could not be drawn: see the agent's log.")
                )
            with self._lock:
                self._asked.discard(content)
            self._ready()

    def _draw(self, content: Content) -> Frame | Refusal:
        result: Frame | Refusal
        try:
            result = render(content, self.width, self.height, self._fetch)
        except Rejected as error:
            result = Refusal("illegible" if isinstance(content, TextContent) else "content", str(error))
        except HubUnreachable as error:
            result = Refusal(
                "content", f"The picture is not here yet: {error}", self._clock() + FETCH_AGAIN_S
            )
        except (AgentError, OSError) as error:
            result = Refusal("content", f"The picture cannot be read: {error}", self._clock() + FETCH_AGAIN_S)
        self._remember(content, result)
        return result

    def _remember(self, content: Content, result: Frame | Refusal) -> None:
        with self._lock:
            self._known[content] = result
            self._known.move_to_end(content)
            if isinstance(result, Frame):
                self._drawable[content] = None
            while len(self._drawable) > KEEP_FRAMES:
                self._drawable.popitem(last=False)
            while len(self._known) > 1 and (len(self._known) > KEEP_FRAMES or self._bytes() > KEEP_BYTES):
                self._known.popitem(last=False)

    def _bytes(self) -> int:
        return sum(len(known.png) for known in self._known.values() if isinstance(known, Frame))
