"""The live view on the box: masked pictures at one a second to whoever watches, while the camera's owner allows it. Nothing is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prahari_wire.base import Refused, validate
from prahari_wire.live import EVERY_S, LiveArgs
from prahari_wire.owner import Use

from prahari_agent.camera.terms import Terms
from prahari_agent.errors import AgentError, Rejected
from prahari_agent.log import get_logger
from prahari_agent.peripheral import Show

log = get_logger("camera")


class LiveView:
    """``picture`` takes a masked JPEG now, or Rejected says why not. ``show`` None: this box has no way to the hub."""

    def __init__(self, camera: str, picture: Callable[[], bytes], show: Show | None, terms: Terms) -> None:
        self._camera, self._picture, self._show, self._terms = camera, picture, show, terms
        self._view: str | None = None
        self._over = threading.Event()

    def begin(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The command camera.live."""
        try:
            wanted = validate(LiveArgs, dict(args))
        except Refused as error:
            raise Rejected(error.detail) from None
        if self._show is None:
            raise Rejected("this box has no way to show pictures")
        self._terms.check(Use.LIVE)
        if wanted.view != self._view:
            self.stop()
            self._view, self._over = wanted.view, threading.Event()
            pictures = self._pictures(self._over, wanted.seconds)
            name = f"live-{self._camera}"
            threading.Thread(
                target=self._run, args=(self._show, wanted.view, pictures), name=name, daemon=True
            ).start()
        return {"seconds": wanted.seconds}

    def stop(self) -> None:
        self._over.set()

    def _run(self, show: Show, view: str, pictures: Iterator[bytes]) -> None:
        try:
            show(view, pictures)
        except AgentError as error:
            log.warning("the live view ends", camera=self._camera, reason=str(error)[:300])
        except Exception:
            log.exception("the live view failed", camera=self._camera)

    def _pictures(self, over: threading.Event, seconds: int) -> Iterator[bytes]:
        """Until the time is over, it is stopped, the owner does not allow it any more, or there is no picture."""
        began_s = due_s = time.monotonic()
        while not over.is_set() and time.monotonic() - began_s < seconds:
            self._terms.check(Use.LIVE)
            yield self._picture()
            due_s = max(due_s + EVERY_S, time.monotonic())
            over.wait(due_s - time.monotonic())
