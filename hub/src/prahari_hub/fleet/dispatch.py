"""Everything that goes to devices and must arrive: taken from the sources, signed, sent, and due again until answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from prahari_wire.signing import SignedMessage
from prahari_wire.topics import Down

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.fleet import commands, twins
from prahari_hub.fleet.outgoing import Outgoing, Source
from prahari_hub.log import about
from prahari_hub.store import Change, Store

POLL_S = 1.0
SOURCES: tuple[Source, ...] = (twins.take_due, commands.take_due)
"""The fleet's own; signage adds its sets of overrides in the composition root."""
log = logging.getLogger(__name__)

Sign = Callable[[str, SignedMessage], SignedMessage]
Send = Callable[[str, Down, SignedMessage], Awaitable[None]]


class Dispatcher:
    """``on_changes`` wakes it after a commit that left something to send; otherwise it looks every second."""

    def __init__(self, store: Store, send: Send, sign: Sign, sources: Sequence[Source] = SOURCES) -> None:
        self._store = store
        self._send = send
        self._sign = sign
        self._sources = tuple(sources)
        self._wake = asyncio.Event()

    def on_changes(self, changes: Iterable[Change]) -> None:
        if any(change.topic == "downlinks" for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.once()
            except Unavailable as error:
                log.warning("nothing can be sent to devices now: %s", error)
                await asyncio.sleep(POLL_S)
            except Exception:
                metrics.WORKER_FAILURES.labels("dispatch").inc()
                log.exception("sending to devices failed")
                await asyncio.sleep(POLL_S)
            await self._pause()

    async def once(self) -> int:
        """Send what is due; how many messages."""
        count = 0
        for source in self._sources:
            due = await self._take(source)
            for item in due:
                await self._deliver(item)
            count += len(due)
        return count

    async def _take(self, source: Source) -> list[Outgoing]:
        """What is due of one source, in a transaction of its own: one that fails holds up no other."""
        try:
            return await self._store.write_if_any(source)
        except Unavailable:
            raise
        except Exception:
            metrics.WORKER_FAILURES.labels("dispatch").inc()
            log.exception("taking what is due from %s failed", source)
            return []

    async def _deliver(self, item: Outgoing) -> None:
        try:
            await self._send(item.device, item.channel, self._sign(item.device, item.message))
        except Unavailable as error:
            log.info(
                "%s for %s goes out later: %s",
                item.channel,
                item.device,
                error,
                extra=about(device=item.device),
            )
        except Exception:
            metrics.WORKER_FAILURES.labels("dispatch").inc()
            log.exception(
                "sending %s to %s failed", item.channel, item.device, extra=about(device=item.device)
            )

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
