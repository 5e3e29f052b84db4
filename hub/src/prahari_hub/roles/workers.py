"""Tasks that run together, for instance from the moment when a lease is taken until it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet

from prahari_hub.ending import end


class Workers:
    """``start`` and ``stop`` take the names of leases as a Share gives them; there is only one here."""

    def __init__(self, *work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._tasks: list[asyncio.Future[None]] = []

    async def start(self, _names: AbstractSet[str] = frozenset()) -> None:
        self._tasks = [asyncio.ensure_future(work()) for work in self._work]

    async def stop(self, _names: AbstractSet[str] = frozenset()) -> None:
        await end(self._tasks)
        self._tasks = []
