"""Whether somebody hears every device: a console that runs apart says so when the workers behind it are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from prahari_wire.topics import PARTITIONS

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.store import Store, leases

LOOK_S = 2.0
PATIENCE_S = 4.0
"""Beyond a lease's end: so long a partition may pass from one worker to another before anybody is told."""
NAMES = {f"partition/{number}": number for number in range(PARTITIONS)}
log = logging.getLogger(__name__)


class Heard:
    """``missing`` is one sentence while partitions have had no worker for longer than a take-over lasts."""

    def __init__(self, store: Store, *, mono: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._mono = mono
        self._since_s: dict[int, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable:
                self._since_s = {}  # the store says for itself that it does not answer
            except Exception:
                metrics.WORKER_FAILURES.labels("heard").inc()
                log.exception("who hears the devices could not be looked up")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        now = self._store.clock()
        found = await self._store.read(lambda conn: leases.unheld(conn, list(NAMES), now))
        now_s = self._mono()
        self._since_s = {NAMES[name]: self._since_s.get(NAMES[name], now_s) for name in found}

    def missing(self) -> str | None:
        now_s = self._mono()
        unheard = sorted(number for number, since_s in self._since_s.items() if now_s - since_s > PATIENCE_S)
        if not unheard:
            return None
        which = "all" if len(unheard) == PARTITIONS else ", ".join(map(str, unheard))
        return f"nobody hears the devices of partitions {which}: start a process with the role ingest"
