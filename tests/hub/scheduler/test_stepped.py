"""A hub whose clock runs ahead and is put right: signs keep their overrides, and nothing waits longer than it would have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prahari_hub.access import sessions
from prahari_hub.access.tables import audit, users
from prahari_hub.access.tables import sessions as session_rows
from prahari_hub.evidence import requests
from prahari_hub.evidence.tables import footage_requests, transfers
from prahari_hub.fleet import commands, registry, twins, windows
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.served import Serves, serve
from prahari_hub.fleet.tables import devices
from prahari_hub.fleet.tables import live_views as live_view_rows
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import actions, service
from prahari_hub.incidents.tables import incidents, notifications
from prahari_hub.scheduler import escalation
from prahari_hub.scheduler.escalation import Escalation
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.scheduler.role import Scheduler
from prahari_hub.scheduler.trust import Trust
from prahari_hub.settings import Settings
from prahari_hub.signage import overrides
from prahari_hub.signage.overrides import Wanted
from prahari_hub.signage.tables import displays
from prahari_hub.signage.tables import overrides as override_rows
from prahari_hub.store import Store, Unit
from prahari_wire.callbox import Press
from prahari_wire.command import CommandName
from prahari_wire.display import DisplayClass, OverrideOutcome, OverrideSet, OverrideState, TextContent
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired

ASHA = Actor("asha", Role.ADMIN)
DEVICE, SIGN = "pune-vms-01", "sign1"
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
YEAR, INDIA = timedelta(days=365), timedelta(hours=5, minutes=30)
BY_THE_CLOCK = {
    "clock.mend",
    "clock.right",
    "overrides.expire",
    "overrides.renew",
    "windows.follow",
    "commands.overdue",
    "live.end",
}


class Hub:
    """A hub with one sign, whose wall clock is set by hand; other time passes as it does."""

    def __init__(self, database_url: str, home: Path) -> None:
        self.wall, self.elapsed_s = START, 0.0
        self.settings = Settings(home=home)
        self.store = Store.open(database_url, clock=lambda: self.wall)
        self.start()
        self.store.write_sync(self._build)

    def _build(self, unit: Unit) -> None:
        registry.create_device(unit, ASHA, DEVICE, name="Gantry")
        serve(unit, DEVICE, Serves({SIGN: "display", "box1": "callbox", "cam1": "camera"}, {}))
        unit.conn.execute(devices.update().values(presence="online", born_at=unit.now, service="active"))

    def start(self, **more: Any) -> None:
        trust = Trust(elapsed_s=lambda: self.elapsed_s, **more)
        work = [job for job in jobs(self.settings) if job.name in BY_THE_CLOCK]
        self.scheduler = Scheduler(self.store, work, mono=lambda: self.elapsed_s, trust=trust)

    async def pass_s(self, seconds: float, *, step: timedelta = timedelta(), every_s: float = 30) -> None:
        """The clock is stepped, then so much time passes."""
        self.wall += step
        while True:
            await self.scheduler.run_due()
            if seconds <= 0:
                return
            part = min(every_s, seconds)
            seconds -= part
            self.elapsed_s += part
            self.wall += timedelta(seconds=part)

    def do(self, work: Any) -> Any:
        return self.store.write_sync(work)

    def put_up(self, text: str = "ROAD CLOSED", *, lasts: timedelta = timedelta(hours=8)) -> str:
        wanted = Wanted(
            DisplayClass.EMERGENCY, 2, TextContent(text=text), "water main burst", self.wall + lasts
        )
        return str(self.do(lambda unit: overrides.create(unit, ASHA, (DEVICE, SIGN), wanted)))

    def sign_hears(self) -> list[OverrideSet]:
        """What goes to the sign now; it confirms each."""
        found = [item.message for item in self.do(overrides.take_due)]
        for message in found:
            self.say(message.epoch, OverrideOutcome.APPLIED, [one.id for one in message.overrides])
        return found

    def say(self, epoch: int, outcome: OverrideOutcome, active: list[str]) -> None:
        body = OverrideState(epoch=epoch, outcome=outcome, active=active)
        fact = Fact(DEVICE, None, SIGN, "display", "override.state", body, START, False, ulid(), self.wall)
        self.do(lambda unit: overrides.reported(unit, fact))

    def press(self) -> str:
        fact = Fact(
            DEVICE,
            None,
            "box1",
            "callbox",
            "callbox.press",
            Press(press=ulid(), count=1),
            self.wall,
            False,
            ulid(),
            self.wall,
        )
        self.do(lambda unit: service.on_event(unit, fact))
        return str(self.one(sa.select(incidents.c.id).order_by(incidents.c.opened_at.desc()).limit(1)))

    def command(self) -> str:
        return str(
            self.do(
                lambda unit: commands.issue(unit, ASHA, DEVICE, CommandName.RESTART, {}, expires_in_s=3600)
            )
        )

    def calls(self) -> Escalation:
        """Those who are told; nobody is sent anything here."""
        secret = self.settings.home / "secret"
        secret.write_text("of the receiver alone")
        return Escalation(
            self.store,
            Settings(home=self.settings.home, webhook_url="http://127.0.0.1:9/", webhook_secret_file=secret),
        )

    def one(self, query: Any) -> Any:
        return self.store.read_sync(lambda conn: conn.scalar(query))

    def set(self, table: sa.Table, **values: Any) -> None:
        self.do(lambda unit: unit.conn.execute(table.update().values(**values)))


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    found = Hub(database_url, tmp_path)
    yield found
    found.store.close()


async def heard_for(hub: Hub, seconds: float, **how: Any) -> tuple[list[OverrideSet], float]:
    """Every set that goes to the sign, and the longest time without one."""
    heard, quiet_s, longest_s = [], 0.0, 0.0
    await hub.pass_s(0, **how)
    for _ in range(int(seconds / 30)):
        await hub.pass_s(30, every_s=30)
        came = hub.sign_hears()
        heard += came
        quiet_s = 0.0 if came else quiet_s + 30
        longest_s = max(longest_s, quiet_s)
    return heard, longest_s


@pytest.mark.parametrize("ahead", [YEAR, INDIA], ids=["a year", "five and a half hours"])
async def test_an_override_stays_on_the_sign_while_the_clock_is_ahead_and_after_it_was_put_right(
    hub: Hub, ahead: timedelta
) -> None:
    made = hub.put_up()
    await hub.pass_s(10)
    hub.sign_hears()
    for step in (ahead, -ahead):
        heard, longest_s = await heard_for(hub, 450, step=step)
        assert heard and all([one.id for one in message.overrides] == [made] for message in heard)
        assert longest_s < overrides.DEFAULT_LEASE_S


async def test_a_second_override_that_is_put_up_while_the_clock_is_ahead_does_not_take_the_first_one_down(
    hub: Hub,
) -> None:
    first = hub.put_up()
    await hub.pass_s(10)
    await hub.pass_s(0, step=YEAR)
    hub.sign_hears()
    second = hub.put_up("SLOW")
    (message,) = hub.sign_hears()
    assert [one.id for one in message.overrides] == [first, second]


async def test_an_override_of_ten_minutes_that_was_put_up_a_year_ahead_lasts_ten_minutes(hub: Hub) -> None:
    await hub.pass_s(10)
    await hub.pass_s(0, step=YEAR)
    made = hub.put_up(lasts=timedelta(minutes=10))
    await hub.pass_s(60, step=-YEAR)
    (message,) = hub.sign_hears()[-1:]
    assert message.overrides[0].expires_at - hub.wall <= timedelta(minutes=10)
    await hub.pass_s(600, every_s=300)
    assert hub.one(sa.select(override_rows.c.ended_at).where(override_rows.c.id == made)) is not None


async def test_an_override_that_a_clock_half_a_day_ahead_ended_is_put_up_again(hub: Hub) -> None:
    made = hub.put_up(lasts=timedelta(hours=2))
    await hub.pass_s(10)
    await hub.pass_s(20, step=INDIA)
    assert hub.sign_hears()[-1].overrides == []
    await hub.pass_s(20, step=-INDIA)
    assert [one.id for one in hub.sign_hears()[-1].overrides] == [made]
    told = sa.select(audit.c.subject).where(audit.c.action == "override.resume")
    assert hub.one(told) == f"override:{made}"


async def test_no_more_overrides_come_back_than_a_sign_can_hold(hub: Hub) -> None:
    made = hub.put_up(lasts=timedelta(hours=2))
    await hub.pass_s(10)
    await hub.pass_s(10, step=INDIA)
    others = {hub.put_up(f"LANE {number}") for number in range(overrides.MOST)}
    await hub.pass_s(10, step=-INDIA)
    assert {one.id for one in hub.sign_hears()[-1].overrides} == others
    hub.do(lambda unit: overrides.cancel(unit, ASHA, others.pop()))
    await hub.pass_s(10)
    assert {one.id for one in hub.sign_hears()[-1].overrides} == {made, *others}


async def test_what_was_cancelled_while_the_clock_was_ahead_stays_cancelled(hub: Hub) -> None:
    made = hub.put_up()
    await hub.pass_s(10)
    await hub.pass_s(10, step=YEAR)
    hub.do(lambda unit: overrides.cancel(unit, ASHA, made))
    await hub.pass_s(60, step=-YEAR)
    assert hub.sign_hears()[-1].overrides == []


async def test_a_sign_that_lets_go_after_the_clock_was_put_right_gets_its_set_at_once(hub: Hub) -> None:
    hub.put_up()
    await hub.pass_s(10)
    await hub.pass_s(10, step=YEAR)
    hub.set(displays, bumped_at=hub.wall)
    (message,) = hub.sign_hears()
    hub.wall -= YEAR
    hub.say(message.epoch, OverrideOutcome.ENDED, [])
    assert len(hub.sign_hears()) == 1


async def test_commands_and_twins_that_were_not_answered_while_the_clock_was_ahead_are_sent_again(
    hub: Hub,
) -> None:
    await hub.pass_s(10)
    hub.do(lambda unit: twins.put(unit, ASHA, DEVICE, Desired(), if_version=0))
    before = hub.command()
    await hub.pass_s(10, step=YEAR)
    during = hub.command()
    assert {item.message.id for item in hub.do(commands.take_due)} == {during}
    assert len(hub.do(twins.take_due)) == 1
    await hub.pass_s(60, step=-YEAR)
    assert {item.message.id for item in hub.do(commands.take_due)} == {before, during}
    assert len(hub.do(twins.take_due)) == 1
    await hub.pass_s(3600 + 60, every_s=600)
    assert set(
        hub.store.read_sync(lambda conn: conn.scalars(sa.select(commands.commands.c.state)).all())
    ) == {"EXPIRED"}


@pytest.mark.parametrize("ahead", [YEAR, INDIA], ids=["a year", "five and a half hours"])
async def test_a_call_that_failed_while_the_clock_was_ahead_is_tried_again(
    hub: Hub, ahead: timedelta
) -> None:
    hub.press()
    await hub.pass_s(70)
    hub.wall += ahead
    await hub.calls().plan()
    number = hub.one(sa.select(notifications.c.id).order_by(notifications.c.id).limit(1))
    hub.do(lambda unit: escalation.failed(unit, number, "nobody answers"))
    await hub.pass_s(10, step=-ahead)
    due_at = hub.one(sa.select(notifications.c.due_at).where(notifications.c.id == number))
    assert START < due_at <= hub.wall


@pytest.mark.parametrize("ahead", [YEAR, INDIA], ids=["a year", "five and a half hours"])
async def test_a_press_that_came_while_the_clock_was_ahead_is_told_when_nobody_has_it(
    hub: Hub, ahead: timedelta
) -> None:
    await hub.pass_s(10)
    await hub.pass_s(0, step=ahead)
    incident = hub.press()
    await hub.pass_s(10, step=-ahead)
    rows = sa.select(notifications.c.incident_id, notifications.c.step)
    for seconds, expected in ((0, []), (65, [(incident, 1)]), (240, [(incident, 1), (incident, 2)])):
        await hub.pass_s(seconds)
        await hub.calls().plan()
        found = hub.store.read_sync(lambda conn: conn.execute(rows.order_by(notifications.c.step)).all())
        assert [tuple(row) for row in found] == expected


async def test_an_acknowledgement_of_a_year_ahead_does_not_cover_what_comes_next_month(hub: Hub) -> None:
    await hub.pass_s(10)
    await hub.pass_s(0, step=YEAR)
    incident = hub.press()
    hub.do(lambda unit: actions.acknowledge(unit, ASHA, incident))
    await hub.pass_s(10, step=-YEAR)
    hub.wall += timedelta(hours=12)
    hub.press()
    assert hub.one(sa.select(incidents.c.acked_at)) is None


async def test_a_window_that_was_over_by_a_clock_that_ran_ahead_is_looked_after_when_it_is_over(
    hub: Hub,
) -> None:
    await hub.pass_s(10)
    ends_at = hub.wall + timedelta(hours=2)
    hub.do(
        lambda unit: windows.plan(
            unit,
            ASHA,
            kind="planned_power",
            scope=("device", DEVICE),
            starts_at=hub.wall,
            ends_at=ends_at,
            reason="feeder",
        )
    )
    query = sa.select(windows.windows.c.followed_at)
    await hub.pass_s(20, step=YEAR)
    assert hub.one(query) is None, "nothing ends while the clock is not believed"
    await hub.pass_s(20, step=INDIA - YEAR)
    assert hub.one(query) is not None
    await hub.pass_s(20, step=-INDIA)
    assert hub.one(query) is None
    await hub.pass_s(3 * 3600, every_s=1200)
    assert ends_at < hub.one(query) <= hub.wall


async def test_what_else_waits_for_a_time_of_the_clock_that_ran_ahead_waits_no_longer(hub: Hub) -> None:
    await hub.pass_s(10)
    ahead = hub.wall + YEAR
    hub.press()
    hub.set(incidents, detail={"last_change": ahead.isoformat()}, last_at=ahead, hold="w1", hold_since=ahead)
    hub.do(lambda unit: _rows_of_a_year_ahead(unit, ahead))
    await hub.pass_s(10)
    latest = hub.wall + timedelta(minutes=3)
    assert hub.one(sa.select(transfers.c.next_at).where(transfers.c.id == "t1")) <= latest
    assert hub.one(sa.select(transfers.c.changed_at).where(transfers.c.id == "t2")) <= latest
    assert hub.one(sa.select(footage_requests.c.due_at)) <= latest + requests.PATIENCE
    assert hub.one(sa.select(live_view_rows.c.ends_at)) <= latest
    assert hub.one(sa.select(users.c.locked_until)) <= latest
    assert hub.one(sa.select(sa.func.count()).select_from(session_rows)) == 0
    assert hub.one(sa.select(incidents.c.hold_since)) <= latest
    assert datetime.fromisoformat(hub.one(sa.select(incidents.c.detail))["last_change"]) <= latest
    told = sa.select(sa.func.count()).where(audit.c.action == "clock.right")
    assert hub.one(told) == 1


def _rows_of_a_year_ahead(unit: Unit, ahead: datetime) -> None:
    """As a hub writes them, by a clock that is a year ahead."""
    unit.now = ahead
    unit.conn.execute(
        users.insert().values(
            id="u1", name="ravi", role="operator", password_hash="x", disabled=False, failures=9, created_at=START,
            locked_until=ahead + sessions.LOCK,
        )
    )  # fmt: skip
    unit.conn.execute(
        session_rows.insert().values(
            hash="h1", user_id="u1", csrf="c", created_at=ahead, seen_at=ahead, expires_at=ahead + sessions.ABSOLUTE
        )
    )  # fmt: skip
    unit.conn.execute(
        footage_requests.insert().values(
            id="r1", authority="Police", case_number="1", purpose="theft", place={}, starts_at=START, ends_at=START, state="collecting",
            submitted_by="asha", submitter="asha", submitted_at=ahead, due_at=ahead + requests.PATIENCE, version=1,
        )
    )  # fmt: skip
    for transfer, state in (("t1", "wanted"), ("t2", "coming")):
        unit.conn.execute(
            transfers.insert().values(
                id=transfer, request_id="r1", device_id=DEVICE, camera="cam1", starts_at=START, ends_at=START, state=state,
                next_at=ahead + timedelta(minutes=5), changed_at=ahead,
            )
        )  # fmt: skip
    unit.conn.execute(
        live_view_rows.insert().values(
            id="v1", device_id=DEVICE, camera="cam1", started_by="asha", reason="to look", command="c1", started_at=ahead,
            ends_at=ahead + timedelta(minutes=2), pictures=0,
        )
    )  # fmt: skip


async def test_what_is_as_it_should_be_is_left_alone_and_nothing_is_written_of_it(hub: Hub) -> None:
    made = hub.put_up()
    hub.press()
    hub.command()
    await hub.pass_s(120)
    assert (
        hub.one(sa.select(sa.func.count()).where(audit.c.action.in_(["clock.right", "override.resume"]))) == 0
    )
    row = hub.store.read_sync(lambda conn: overrides.get(conn, made))
    assert (row["issued_at"], row["expires_at"]) == (START, START + timedelta(hours=8))


async def test_a_clock_that_fell_back_to_1970_shortens_no_override_and_brings_none_back(hub: Hub) -> None:
    """A board without a battery, until its time server answers."""
    over, made = hub.put_up("OLD", lasts=timedelta(seconds=30)), hub.put_up()
    await hub.pass_s(60)
    hub.start()
    await hub.pass_s(60, step=datetime(1970, 1, 1, tzinfo=UTC) - START)
    await hub.pass_s(20, step=START - datetime(1970, 1, 1, tzinfo=UTC))
    rows = {row["id"]: row for row in hub.store.read_sync(overrides.list_overrides)}
    assert list(rows) == [made] and over not in rows
    assert rows[made]["expires_at"] == START + timedelta(hours=8)
