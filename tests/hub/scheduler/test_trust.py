"""A hub whose clock jumps ahead deletes nothing and ends nothing until the time is trusted again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_hub.scheduler.jobs import Job, jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.scheduler.trust import Trust
from prahari_hub.settings import Settings
from prahari_hub.store import Store

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY_S = 86400.0
AS_EVER = ["forget", "renew"]
ALL = [*AS_EVER, "right"]


class Hub:
    """A hub with a wall clock that may be set and one that may not."""

    def __init__(self, database_url: str) -> None:
        self.wall, self.elapsed_s = START, 0.0
        self.store = Store.open(database_url, clock=lambda: self.wall)
        self.done: list[str] = []
        self.start()

    def start(self, **more: Any) -> None:
        self.trust = Trust(elapsed_s=lambda: self.elapsed_s, **more)
        work = [
            Job("forget", 1.0, lambda unit: self.done.append("forget"), ends=True),
            Job("renew", 1.0, lambda unit: self.done.append("renew")),
            Job("right", 1.0, lambda unit: self.done.append("right"), rights=True),
        ]
        self.scheduler = Scheduler(self.store, work, mono=lambda: self.elapsed_s, trust=self.trust)

    async def after(self, seconds: float = 1, *, jump: timedelta = timedelta()) -> list[str]:
        """What was done when so much time had passed."""
        self.elapsed_s += seconds
        self.wall += timedelta(seconds=seconds) + jump
        self.done.clear()
        await self.scheduler.run_due()
        return self.done


@pytest.fixture
def hub(database_url: str) -> Iterator[Hub]:
    found = Hub(database_url)
    yield found
    found.store.close()


async def test_time_that_really_passes_holds_nothing_up(hub: Hub) -> None:
    for seconds in (1, DAY_S / 2, 30 * DAY_S, 400 * DAY_S):
        assert await hub.after(seconds) == ALL


async def test_a_jump_ahead_holds_what_deletes_until_the_clock_is_back(hub: Hub) -> None:
    await hub.after()
    assert await hub.after(jump=timedelta(days=365)) == ["renew"]
    assert hub.trust.held and "2027-03-01" in hub.trust.held and "PRAHARI_ACCEPT_CLOCK" in hub.trust.held
    assert await hub.after(1800) == ["renew"]
    assert await hub.after(jump=timedelta(days=-365)) == ALL
    assert hub.trust.held is None


async def test_a_clock_that_stays_ahead_for_an_hour_is_believed(hub: Hub) -> None:
    await hub.after()
    assert await hub.after(jump=timedelta(days=4)) == ["renew"]
    assert await hub.after(3700) == ALL
    assert hub.trust.held is None


async def test_a_jump_while_the_hub_was_off_is_seen_at_its_start(hub: Hub) -> None:
    await hub.after()
    hub.start()
    assert await hub.after(jump=timedelta(days=365)) == ["renew"]
    hub.start()
    assert await hub.after() == ["renew"], "a restart alone confirms nothing"
    hub.start(accept=True)
    assert await hub.after() == ALL
    hub.start()
    assert await hub.after() == ALL
    assert await hub.after(jump=timedelta(days=365)) == ["renew"]


async def test_a_clock_that_was_not_set_yet_at_the_start_is_no_jump(hub: Hub) -> None:
    hub.wall = datetime(1970, 1, 1, tzinfo=UTC)
    hub.start()
    assert await hub.after() == AS_EVER
    hub.wall = START
    assert await hub.after() == ALL


async def test_a_clock_that_fell_back_and_was_set_again_is_no_jump(hub: Hub) -> None:
    await hub.after()
    assert await hub.after(jump=timedelta(days=-3000)) == AS_EVER
    assert await hub.after(jump=timedelta(days=3000)) == ALL


async def test_a_running_hubs_clock_that_is_put_back_by_hours_was_wrong_before(hub: Hub) -> None:
    """A board whose own clock shows Indian time, until its time server answers."""
    await hub.after(jump=timedelta(hours=5, minutes=30))
    assert await hub.after(jump=timedelta(hours=-5, minutes=-30)) == ALL
    assert not hub.trust.behind


async def test_a_clock_that_is_behind_at_the_start_rights_nothing_until_it_is_set_or_an_hour_has_passed(
    hub: Hub,
) -> None:
    await hub.after()
    hub.start()
    assert await hub.after(jump=timedelta(hours=-5)) == AS_EVER
    assert await hub.after(1800) == AS_EVER
    assert await hub.after(jump=timedelta(hours=5)) == ALL
    assert await hub.after(jump=timedelta(days=-2)) == AS_EVER
    assert await hub.after(3700) == ALL


async def test_a_clock_that_shows_1970_is_never_believed(hub: Hub) -> None:
    await hub.after()
    assert await hub.after(jump=datetime(1970, 1, 1, tzinfo=UTC) - START) == AS_EVER
    assert await hub.after(2 * DAY_S) == AS_EVER


async def test_a_wrong_year_that_was_believed_and_put_right_is_seen_when_it_comes_again(hub: Hub) -> None:
    await hub.after()
    await hub.after(jump=timedelta(days=365))
    await hub.after(3700)
    assert hub.trust.held is None
    await hub.after(jump=timedelta(days=-365))
    assert hub.trust.behind
    await hub.after(3700)
    assert not hub.trust.behind
    assert await hub.after(jump=timedelta(days=365)) == ["renew"]


def test_every_job_that_deletes_or_ends_things_waits_for_a_trusted_clock(tmp_path: Any) -> None:
    waits = {job.name for job in jobs(Settings(home=tmp_path)) if job.ends}
    named = {
        job.name
        for job in jobs(Settings(home=tmp_path))
        if job.name.endswith((".forget", ".sweep", ".expire"))
    }
    assert waits == named | {
        "commands.overdue",
        "availability.close",
        "clones.end",
        "floods.end",
        "live.end",
        "windows.follow",
    }
