"""Thousands of incidents are due in one moment, and a press comes among them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from prahari_hub.fleet import windows
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import holds
from prahari_hub.incidents.tables import incident_log, incidents, notifications
from prahari_hub.scheduler.escalation import Escalation, Way
from prahari_hub.settings import Settings
from prahari_hub.store import Store

from tests.hub.clock import Clock
from tests.hub.scheduler.told import RANKS, Inbox, Receiver, open_many, press

MANY = 2000


def planned(store: Store) -> list[tuple[str, int]]:
    """(severity, step) in the order in which they were planned."""
    joined = notifications.join(incidents, incidents.c.id == notifications.c.incident_id)
    query = sa.select(incidents.c.severity, notifications.c.step).select_from(joined)
    rows = store.read_sync(lambda conn: conn.execute(query.order_by(notifications.c.id)).all())
    return [(row.severity, row.step) for row in rows]


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["incident"]["kind"] for _, _, body in receiver.got]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(escalation: Escalation) -> AsyncIterator[None]:
    worker = asyncio.ensure_future(escalation.run())
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_no_transaction_plans_more_than_some_and_all_are_planned_at_last(
    store: Store, hook: Escalation, clock: Clock
) -> None:
    open_many(store, 130)
    clock.pass_(seconds=301)
    seen = [0]
    while await hook.plan():
        seen.append(len(planned(store)))
    assert max(after - before for before, after in pairwise(seen)) <= 50
    assert len(planned(store)) == 130


async def test_the_worst_are_planned_first_however_long_the_others_have_waited(
    store: Store, hook: Escalation, clock: Clock
) -> None:
    open_many(store, 30, "minor")
    clock.pass_(seconds=1000)
    open_many(store, 30, "major")
    clock.pass_(seconds=900)
    open_many(store, 30, "critical", kind="device.offline")
    press(store)
    clock.pass_(seconds=61)
    while await hook.plan():
        pass
    found = [RANKS[severity] for severity, _ in planned(store)]
    assert found == sorted(found) and set(found) == {0, 1, 2}
    query = sa.select(incidents.c.kind).join(notifications).order_by(notifications.c.id).limit(1)
    assert store.read_sync(lambda conn: conn.scalar(query)) == "callbox.press"


async def test_a_press_among_thousands_that_are_due_is_told_before_them(
    store: Store, hook: Escalation, receiver: Receiver, clock: Clock
) -> None:
    open_many(store, MANY)
    clock.pass_(seconds=241)
    press(store)
    clock.pass_(seconds=59)
    async with at_work(hook):
        await until(lambda: len(receiver.got) > 0)
        clock.pass_(seconds=1)
        before = len(receiver.got)
        await until(lambda: "callbox.press" in told(receiver))
    assert told(receiver).index("callbox.press") < before + MANY // 10


class Slow(Inbox):
    """A mail server that takes a mail about a press at once, and any other only when ``goes_on`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.holding = 0
        self.goes_on = asyncio.Event()

    async def handle_DATA(self, server: SMTP, session: object, envelope) -> str:
        if b"Emergency call" not in envelope.content:
            self.holding += 1
            await self.goes_on.wait()
        return await super().handle_DATA(server, session, envelope)


@pytest.fixture
def slow(free_port: Callable[[], int]) -> Iterator[Controller]:
    server = Controller(Slow(), hostname="127.0.0.1", port=free_port())
    server.start()
    yield server
    server.stop()


async def test_a_press_is_mailed_while_another_mail_takes_its_time(
    store: Store, slow: Controller, tmp_path: Path, clock: Clock
) -> None:
    settings = Settings(
        home=tmp_path, smtp_url=f"smtp://127.0.0.1:{slow.port}", mail_to=[["asha@city.example"]]
    )
    open_many(store, 5)
    clock.pass_(seconds=301)
    async with at_work(Escalation(store, settings)):
        await until(lambda: slow.handler.holding > 0)
        press(store)
        clock.pass_(seconds=61)
        await until(lambda: len(slow.handler.mails) > 0)
        assert "Emergency call" in slow.handler.mails[0][1]
        slow.loop.call_soon_threadsafe(slow.handler.goes_on.set)


async def test_what_is_worse_waits_behind_no_more_than_the_call_that_is_under_way(
    store: Store, slow: Controller, tmp_path: Path, clock: Clock
) -> None:
    url, people = f"smtp://127.0.0.1:{slow.port}", [["asha@city.example"]]
    escalation = Escalation(store, Settings(home=tmp_path, smtp_url=url, mail_to=people))
    open_many(store, 3, "minor")
    clock.pass_(seconds=1801)
    await escalation.plan()
    delivery = asyncio.ensure_future(escalation.deliver("mail", Way.REST))
    await until(lambda: slow.handler.holding > 0)
    open_many(store, 1, "critical")
    clock.pass_(seconds=61)
    await escalation.plan()
    slow.loop.call_soon_threadsafe(slow.handler.goes_on.set)
    await delivery
    subjects = [mail.partition("Subject: [")[2].partition("]")[0] for _, mail in slow.handler.mails]
    assert subjects == ["minor", "critical", "minor", "minor"]


async def test_the_worst_is_next_although_others_wait_already(
    store: Store, hook: Escalation, receiver: Receiver, clock: Clock
) -> None:
    open_many(store, 3, "minor")
    clock.pass_(seconds=1801)
    await hook.plan()
    clock.pass_(seconds=5)
    open_many(store, 1, "critical")
    clock.pass_(seconds=61)
    await hook.plan()
    await hook.deliver("webhook", Way.REST)
    severities = [json.loads(body)["incident"]["severity"] for _, _, body in receiver.got]
    assert severities == ["critical", "minor", "minor", "minor"]


async def test_a_fault_that_is_over_while_its_call_waits_is_told_only_if_it_comes_again(
    store: Store, hook: Escalation, receiver: Receiver, clock: Clock
) -> None:
    open_many(store, 1, kind="device.offline")
    clock.pass_(seconds=301)
    await hook.plan()
    over(store, clock.now)
    await hook.deliver("webhook", Way.REST)
    assert receiver.got == []
    over(store, None)
    await hook.deliver("webhook", Way.REST)
    assert told(receiver) == ["device.offline"]


def over(store: Store, at: datetime | None) -> None:
    store.write_sync(lambda unit: unit.conn.execute(incidents.update().values(cleared_at=at)))


async def test_a_message_that_cannot_be_made_is_a_failed_try_and_holds_up_no_other(
    store: Store, slow: Controller, tmp_path: Path, clock: Clock
) -> None:
    url, people = f"smtp://127.0.0.1:{slow.port}", [["asha@city.example\nBcc: x"], ["chief@city.example"]]
    escalation = Escalation(store, Settings(home=tmp_path, smtp_url=url, mail_to=people))
    press(store)
    clock.pass_(seconds=301)
    await escalation.plan()
    await escalation.deliver("mail", Way.PRESSES)
    assert [to for to, _ in slow.handler.mails] == [["chief@city.example"]]
    query = sa.select(notifications.c.state, notifications.c.attempts, notifications.c.error)
    first, second = store.read_sync(lambda conn: conn.execute(query.order_by(notifications.c.step)).all())
    assert (first.state, first.attempts, second.state) == ("waiting", 1, "sent")
    assert "log" in first.error


async def test_a_step_that_names_nobody_keeps_no_others_from_being_told(
    store: Store, tmp_path: Path, clock: Clock
) -> None:
    people = [[], ["chief@city.example"]]
    escalation = Escalation(store, Settings(home=tmp_path, smtp_url="smtp://127.0.0.1:1", mail_to=people))
    open_many(store, 1, "major")
    clock.pass_(seconds=900)
    open_many(store, 60, "critical")
    clock.pass_(seconds=61)
    assert not await escalation.plan()
    assert planned(store) == [("major", 2)]


def held(store: Store) -> int:
    count = sa.select(sa.func.count()).where(incidents.c.hold.is_not(None))
    return store.read_sync(lambda conn: conn.scalar(count)) or 0


def test_a_window_over_many_incidents_holds_and_releases_them_some_at_a_time(
    store: Store, clock: Clock
) -> None:
    open_many(store, 110)
    window = store.write_sync(
        lambda unit: windows.plan(
            unit,
            Actor("asha", Role.OPERATOR),
            kind="maintenance",
            scope=("device", "pune-ecb-01"),
            starts_at=clock.now,
            ends_at=clock.now + timedelta(hours=1),
            reason="cabinet moved",
        )
    )
    hold = holds.Refresh()

    def refreshed() -> list[int]:
        """How many were held after each transaction."""
        counts = []
        more = True
        while more:
            store.read_sync(lambda conn: hold.prepare(conn, clock.now))
            more = store.write_sync(hold.run)
            counts.append(held(store))
        return counts

    assert refreshed() == [50, 100, 110]
    assert refreshed() == [110]
    logged = sa.select(incident_log.c.text).where(incident_log.c.action == "held").distinct()
    assert store.read_sync(lambda conn: list(conn.scalars(logged))) == [window.reason]
    clock.pass_(hours=2)
    assert refreshed() == [60, 10, 0]
