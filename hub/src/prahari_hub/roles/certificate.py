"""The hub's own certificate: renewed in time, also by another process with the same home, and shown from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from prahari_hub import metrics
from prahari_hub.identity.ca import Authority

EVERY_S = 3600.0
log = logging.getLogger(__name__)


class Certificate:
    """``shown_by`` are called on the event loop when there is another certificate; connections that stand keep the old one."""

    def __init__(self, authority: Authority, names: Sequence[str], *, clock: Callable[[], datetime]) -> None:
        self.shown_by: list[Callable[[], None]] = []
        self._authority = authority
        self._names = names
        self._clock = clock
        self._authority.server_certificate(names, now=clock())
        self._seen = self._stamp()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.check()
            except Exception:
                metrics.WORKER_FAILURES.labels("certificate").inc()
                log.exception("the hub's certificate could not be renewed; it is tried again in an hour")

    async def check(self) -> None:
        """Renew it if it ends soon, and let everyone show what lies there now."""
        await asyncio.to_thread(self._authority.server_certificate, self._names, now=self._clock())
        stamp = self._stamp()
        if stamp == self._seen:
            return
        log.info("the hub has a new certificate; it is shown to whoever connects from now on")
        for show in self.shown_by:
            show()
        self._seen = stamp

    def _stamp(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in self._authority.server_files)
