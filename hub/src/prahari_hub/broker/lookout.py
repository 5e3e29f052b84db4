"""Whether this hub stands on the greater side of its cluster: a hub on the smaller one hears few devices, and blames none of the others.

A broker does not say so: the connection to a node that was split off stands. So the nodes are asked who they are.
"""

from __future__ import annotations

import asyncio
import logging

from prahari_hub import metrics
from prahari_hub.broker.connection import Bus
from prahari_hub.broker.statistics import nodes
from prahari_hub.errors import Unavailable

LOOK_S = 2.0
LOOKS = 2
"""One answer may be late; the second that lacks nodes counts."""
FEWEST = 3
"""Nodes of a cluster that can be split into a greater and a smaller part."""
log = logging.getLogger(__name__)


class Lookout:
    """``system`` speaks in the system account; ``buses`` are told that they are blind, and to try another node, until they are not."""

    def __init__(self, system: Bus, buses: tuple[Bus, ...], *, look_s: float = LOOK_S) -> None:
        self._system, self._buses, self._look_s = system, buses, look_s
        self._most = len(system.nodes)
        self._missed: dict[Bus, int] = dict.fromkeys((system, *buses), 0)

    @property
    def needed(self) -> bool:
        return self._most >= FEWEST

    async def run(self) -> None:
        """Look for ever; cancel it."""
        while True:
            await asyncio.sleep(self._look_s)
            try:
                await self.look()
            except Exception:  # a lookout that ended could leave the hub blind for good
                metrics.WORKER_FAILURES.labels("lookout").inc()
                log.exception("the nodes of the broker could not be looked at")

    async def look(self) -> None:
        found = await self._found()
        whole = len(found) > self._most // 2
        await self._judge(self._system, well=whole)
        for bus in self._buses:
            await self._judge(bus, well=whole and bus.node in found)

    async def _found(self) -> set[str]:
        try:
            return {node.id for node in await nodes(self._system, expected=self._most)}
        except Unavailable:
            return set()

    async def _judge(self, bus: Bus, *, well: bool) -> None:
        if not bus.connected:
            return  # it knows, and looks for a node by itself
        self._missed[bus] = 0 if well else self._missed[bus] + 1
        if well:
            await bus.set_aside(False)
        elif self._missed[bus] >= LOOKS:
            self._missed[bus] = 0
            log.warning("%s stands on the smaller side of a split cluster and tries another node", bus.name)
            await bus.set_aside(True)
            await bus.move()
