"""One process's share of a group of leases: it takes what is free, hands over what is too much, and is fenced where it lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil

from prahari_wire.ids import ulid

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.store import Store, Unit
from prahari_hub.store import leases as statements
from prahari_hub.store.leases import Held, LeaseLost, Standing

RENEW_S = 2.0
SOON_S = 0.1
RESTS_S = RENEW_S, 15.0, 30.0, 60.0
"""So long a worker claims nothing that could not take its share once, twice …: the first time it may have been bad luck, later others
take all meanwhile, or people are told that nobody hears these devices."""
log = logging.getLogger(__name__)

Move = Callable[[set[str]], Awaitable[None]]


async def untold() -> None:
    return


@dataclass(frozen=True)
class Quota:
    """How many names a worker gives back, and how many more it may take."""

    surplus: int
    room: int


def quota(mine: int, others: Iterable[int], total: int) -> Quota:
    """A fair share: nobody holds more than one name above another, and names move no more than that needs."""
    counts = list(others)
    workers = len(counts) + 1
    least, most = total // workers, ceil(total / workers)
    hungry = any(count < least for count in counts)
    surplus = max(mine - most, 1 if hungry and mine > least else 0)
    return Quota(surplus, max(0, (least if hungry else most) - mine))


class Share:
    """``take`` and ``give_up`` are called on the event loop, one at a time, with names; ``held`` is name → epoch.

    After an error of ``take`` what was claimed is given up, and free for others. ``give_up`` of a name that is still held ends
    everything that this process writes for it; of a name that was lost, nothing can be written any more. ``fixed`` takes all names
    and shares them with nobody. ``nudge`` tells other workers to look at once.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        names: Iterable[str],
        *,
        fixed: bool = False,
        nudge: Callable[[], Awaitable[None]] = untold,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = ulid()
        self.held: Held = {}
        self.workers: Mapping[str, int] = {}
        self.moves = 0
        self._store = store.aside()
        self._group = f"{group}.fixed" if fixed else group
        self._names = sorted(names)
        self._fixed = fixed
        self._nudge = nudge
        self._mono = mono
        self._taken: set[str] = set()
        self._failures = 0  # takes that failed, one after the other
        self._rest_until_s = float("-inf")
        self._losing = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, take: Move, give_up: Move) -> None:
        """Returns when what is free has been taken."""
        self._take, self._give_up = take, give_up
        try:
            wait_s = await self._round()
        except LeaseLost as error:
            log.warning("%s: not everything is taken at the start: %s", self._group, error)
            wait_s = SOON_S
        self._task = asyncio.create_task(self._run(wait_s), name=f"hub.share.{self._group}")

    async def stop(self) -> None:
        """Hand everything over; other workers need not wait for the leases to end."""
        self._stopping = True
        self._wake.set()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._give_back(set(self.held))
            await self._store.write(partial(statements.leave, group=self._group, holder=self.holder))
            await self._tell()
        except Unavailable as error:
            log.warning("the leases of %s are not given back, they end by themselves: %s", self._group, error)
        finally:
            self._store.close()

    @property
    def rests(self) -> bool:
        """Whether it claims nothing for a while, because it could not take what it had claimed."""
        return self._mono() < self._rest_until_s

    def wake(self) -> None:
        """Something may have become free."""
        self._wake.set()

    def guard(self) -> Callable[[Unit], None]:
        """For a FencedStore: what this process holds now must still be its own when the transaction commits."""
        held = dict(self.held)

        def check(unit: Unit) -> None:
            if self._losing:
                raise LeaseLost("another worker has taken over; what was not committed is sent again")
            statements.fence(unit, self.holder, held)

        return check

    async def _run(self, wait_s: float) -> None:
        while True:
            await self._sleep(wait_s)
            if self._stopping:
                return
            wait_s = RENEW_S
            try:
                wait_s = await self._round()
            except Unavailable as error:
                log.warning("the leases of %s cannot be renewed now: %s", self._group, error)
            except Exception:
                metrics.WORKER_FAILURES.labels("leases").inc()
                log.exception("a round of leases failed")

    async def _round(self) -> float:
        """Renew, hand over, take; seconds until the next round."""
        rests = self.rests
        standing = await self._store.write(
            partial(
                statements.keep,
                group=self._group,
                holder=self.holder,
                names=self._names,
                held=self.held,
                counts=not rests,
            )
        )
        self.workers = standing.workers
        if standing.lost:
            await self._lose(standing)
        others = [count for holder, count in standing.workers.items() if holder != self.holder]
        fair = Quota(0, len(self._names)) if self._fixed else quota(len(self.held), others, len(self._names))
        if fair.surplus:
            await self._give_back(set(sorted(self.held)[-fair.surplus :]))
            await self._tell()
        wanted = [] if rests else sorted(standing.free)[: fair.room]
        if wanted:
            self.held |= await self._store.write(partial(statements.claim, holder=self.holder, names=wanted))
        await self._take_new()
        if rests:
            return min(RENEW_S, max(SOON_S, self._rest_until_s - self._mono()))
        if len(standing.free) > len(wanted) or not set(wanted) <= set(self.held):
            return SOON_S if fair.room else RENEW_S
        return min(RENEW_S, (standing.next_end_s or RENEW_S) + SOON_S)

    async def _take_new(self) -> None:
        new = set(self.held) - self._taken
        if not new:
            return
        log.info("%s: this process takes %s", self._group, ", ".join(sorted(new)))
        try:
            await self._renewing(self._take(new))
        except Exception as error:
            try:
                with contextlib.suppress(Unavailable):  # half of it may be taken
                    await self._renewing(self._give_up(new))
            finally:
                if not isinstance(error, LeaseLost):
                    await self._let_others(new)
            raise
        self._failures, self._rest_until_s = 0, float("-inf")
        self._taken |= new
        self.moves += len(new)

    async def _let_others(self, names: set[str]) -> None:
        """Names that could not be taken are free; this worker rests, so that others leave it no share."""
        rest_s = RESTS_S[min(self._failures, len(RESTS_S) - 1)]
        self._failures += 1
        self._rest_until_s = self._mono() + rest_s
        metrics.WORKER_FAILURES.labels("leases").inc()
        log.error(
            "%s: %s could not be taken; others may have them, this process tries again in %.0f s",
            self._group,
            ", ".join(sorted(names)),
            rest_s,
        )
        await self._release(names)
        await self._tell()

    async def _renewing(self, move: Awaitable[None]) -> None:
        """Wait for a move that may take longer than a lease lasts, a state's devices above all, and renew meanwhile."""
        moving = asyncio.ensure_future(move)
        try:
            while not moving.done():
                await asyncio.wait({moving}, timeout=RENEW_S)
                if not moving.done():
                    await self._renew()
        finally:
            if not moving.done():
                moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)
        moving.result()

    async def _renew(self) -> None:
        """What is lost meanwhile is found by the next round."""
        try:
            await self._store.write(
                partial(
                    statements.renew,
                    holder=self.holder,
                    group=self._group,
                    held=dict(self.held),
                    counts=not self.rests,
                )
            )
        except Unavailable as error:
            log.warning("the leases of %s cannot be renewed now: %s", self._group, error)

    async def _lose(self, standing: Standing) -> None:
        """Others have them already: forget them, and let no write through meanwhile."""
        log.warning("%s: lost %s to another worker", self._group, ", ".join(sorted(standing.lost)))
        self._losing = True
        try:
            self.held = dict(standing.held)
            lost, self._taken = self._taken & standing.lost, self._taken - standing.lost
            await self._renewing(self._give_up(lost))
        except Unavailable as error:
            log.info("what was not written of %s belongs to another worker now: %s", self._group, error)
        finally:
            self._losing = False

    async def _give_back(self, names: set[str]) -> None:
        if not names:
            return
        log.info("%s: this process gives back %s", self._group, ", ".join(sorted(names)))
        taken, self._taken = names & self._taken, self._taken - names
        try:
            if taken:
                await self._renewing(self._give_up(taken))
        except Unavailable as error:
            log.warning("of %s not everything could be written: %s", ", ".join(sorted(taken)), error)
        await self._release(names)

    async def _release(self, names: set[str]) -> None:
        await self._store.write(partial(statements.release, holder=self.holder, names=names))
        for name in names:
            self.held.pop(name, None)

    async def _tell(self) -> None:
        try:
            await self._nudge()
        except Unavailable as error:
            log.info("other workers look for themselves: %s", error)

    async def _sleep(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
