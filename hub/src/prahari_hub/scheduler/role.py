"""The scheduler: every job at its interval, each in a transaction of its own, none able to stop another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.scheduler.jobs import Job
from prahari_hub.scheduler.trust import Trust
from prahari_hub.store import Change, Store, Unit

LOOK_FIRST = frozenset({"transitions", "overrides.expire", "overrides.renew", "audit.seal", "history.days"})
"""Jobs of every second that mostly find nothing, and do nothing but what their transaction does: others need not wait for their turn."""
log = logging.getLogger(__name__)


class Scheduler:
    """``on_changes`` wakes the jobs that do not wait for the clock. ``trust`` says when those that delete or end things wait."""

    def __init__(
        self,
        store: Store,
        jobs: Sequence[Job],
        *,
        mono: Callable[[], float] = time.monotonic,
        trust: Trust | None = None,
    ) -> None:
        self._trust = trust
        self._store = store
        self._jobs = tuple(jobs)
        self._mono = mono
        self._due_s = {job.name: mono() for job in jobs}
        self._wake = asyncio.Event()

    def on_changes(self, changes: Iterable[Change]) -> None:
        topics = {change.topic for change in changes}
        for job in self._jobs:
            if job.wakes & topics:
                self._due_s[job.name] = self._mono()
                self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.run_due()
            await self._sleep()

    async def run_due(self) -> None:
        """Every job whose time has come, in the order of the table."""
        for job in self._jobs:
            now_s = self._mono()
            if self._due_s[job.name] <= now_s:
                self._due_s[job.name] = now_s + job.every_s
                await self._run(job)

    async def _run(self, job: Job) -> None:
        prepare = job.prepare
        try:
            if prepare is not None:
                now = self._store.clock()
                await self._store.read(lambda conn: prepare(conn, now))
            write = self._store.write_if_any if job.name in LOOK_FIRST else self._store.write
            if await write(partial(self._transact, job)) is True:
                self._due_s[job.name] = self._mono()
        except Unavailable as error:
            log.warning("%s waits: %s", job.name, error)
        except Exception:
            metrics.WORKER_FAILURES.labels(f"scheduler.{job.name}").inc()
            log.exception("the job %s failed", job.name)

    def _transact(self, job: Job, unit: Unit) -> object:
        if (job.ends or job.rights) and self._trust is not None and not self._may(job, self._trust, unit):
            return None
        with metrics.JOB_S.labels(job.name).time():
            return job.run(unit)

    @staticmethod
    def _may(job: Job, trust: Trust, unit: Unit) -> bool:
        return trust.check(unit) and not (job.rights and trust.behind)

    async def _sleep(self) -> None:
        wait_s = max(0.0, min(self._due_s.values()) - self._mono())
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
