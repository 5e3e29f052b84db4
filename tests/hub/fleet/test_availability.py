"""Days that are closed: what is written of them, and that again or later gives the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from prahari_hub.errors import Invalid
from prahari_hub.fleet import registry
from prahari_hub.fleet.availability import figures
from prahari_hub.fleet.availability.calculus import KINDS, Share
from prahari_hub.fleet.availability.closing import close_days, reopen
from prahari_hub.fleet.tables import (
    availability_closed,
    availability_days,
    availability_months,
    availability_sums,
    blind_spells,
    devices,
    transitions,
    windows,
)

KOLKATA = ZoneInfo("Asia/Kolkata")
DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=KOLKATA).astimezone(UTC)
CAMERA, CALLBOX, SIGN = "pune-cam-01", "pune-ecb-01", "pune-vms-01"
H = 3600


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


@pytest.fixture
def days(store: Any, time: Any, asha: Any) -> Days:
    def build(unit: Any) -> None:
        registry.change_device(unit, asha, CAMERA, {"vendor": "Acme"})
        unit.conn.execute(devices.update().values(service="active", presence="online"))

    time.now = at(-48)
    store.write_sync(build)
    found = Days(store, time)
    for device in (CAMERA, CALLBOX, SIGN):
        found.step(device, -30, "unknown", "online")
    return found


class Days:
    """What happens on the first of March, and what is written of it."""

    def __init__(self, store: Any, time: Any) -> None:
        self.store, self.time = store, time

    def do(self, work: Any) -> Any:
        return self.store.write_sync(work)

    def step(self, device: str, hours: float, before: str, after: str, *, kind: str = "presence") -> None:
        row = {"device_id": device, "kind": kind, "before": before, "after": after, "at": at(hours)}

        def work(unit: Any) -> None:
            unit.conn.execute(transitions.insert(), row)
            unit.conn.execute(devices.update().where(devices.c.id == device).values({kind: after}))

        self.do(work)

    def close(self, hours: float = 25) -> None:
        self.time.now = at(hours)
        while self.do(lambda unit: close_days(unit, KOLKATA, limit=2)):
            pass

    def rows(self, table: sa.Table, *key: str) -> dict[Any, tuple[int, ...]]:
        columns = [table.c[name] for name in (*key, *KINDS)]
        found = self.store.read_sync(lambda conn: conn.execute(sa.select(*columns)).all())
        return {row[: len(key)] if len(key) > 1 else row[0]: tuple(row[len(key) :]) for row in found}

    def all(self) -> list[Any]:
        return [
            self.rows(availability_days, "day", "device_id"),
            self.rows(availability_sums, "day", "zone_id", "vendor"),
            {
                key: value
                for key, value in self.rows(availability_months, "month", "device_id").items()
                if any(value)
            },
        ]


def test_a_day_is_closed_after_it_is_over_and_only_differences_are_written(days: Days) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.step(CALLBOX, 9, "offline", "online")
    days.close(24)
    assert (DAY, CALLBOX) not in days.rows(availability_days, "day", "device_id")
    days.close()
    of_day = {
        key[1]: value
        for key, value in days.rows(availability_days, "day", "device_id").items()
        if key[0] == DAY
    }
    assert of_day == {CALLBOX: (21 * H, 3 * H, 0, 0, 0)}
    sums = {
        key[1:]: value
        for key, value in days.rows(availability_sums, "day", "zone_id", "vendor").items()
        if key[0] == DAY
    }
    assert sums == {("kasba", "Acme"): (24 * H, 0, 0, 0, 0), ("kasba", ""): (45 * H, 3 * H, 0, 0, 0)}
    assert days.rows(availability_months, "month", "device_id")[DAY, CALLBOX] == (21 * H, 3 * H, 0, 0, 0)


def test_a_blind_hub_costs_no_row_a_device(days: Days) -> None:
    spell = {"partition": None, "since": at(3), "until": at(4)}
    days.do(lambda unit: unit.conn.execute(blind_spells.insert(), spell))
    days.close()
    assert [key for key in days.rows(availability_days, "day", "device_id") if key[0] == DAY] == []
    sums = {
        key[1:]: value
        for key, value in days.rows(availability_sums, "day", "zone_id", "vendor").items()
        if key[0] == DAY
    }
    assert sums["kasba", "Acme"] == (23 * H, 0, H, 0, 0)


def test_a_hub_that_is_blind_when_a_day_is_closed_counts_the_day_as_it_was(days: Days) -> None:
    days.step(CALLBOX, -5, "online", "offline")
    days.step(SIGN, 24.9, "unknown", "offline")  # found so after the spell: it went down unseen
    spell = {"partition": None, "since": at(24.5), "until": None}

    def blind(unit: Any) -> None:
        unit.conn.execute(devices.update().values(presence="unknown"))
        unit.conn.execute(blind_spells.insert(), spell)

    days.do(blind)
    days.close()
    of_day = {
        key[1]: value
        for key, value in days.rows(availability_days, "day", "device_id").items()
        if key[0] == DAY
    }
    assert of_day == {CALLBOX: (0, 24 * H, 0, 0, 0)}


def test_a_planned_power_cut_over_a_zone_is_kept_apart(days: Days) -> None:
    window = {
        "id": "1", "kind": "planned_power", "scope_type": "zone", "scope_id": "pune", "starts_at": at(5), "ends_at": at(8),
        "reason": "feeder works", "created_by": "asha", "created_at": at(0),
    }  # fmt: skip
    days.do(lambda unit: unit.conn.execute(windows.insert(), window))
    days.step(CAMERA, 6, "online", "offline")
    days.step(CAMERA, 9, "offline", "online")
    days.close()
    assert days.rows(availability_days, "day", "device_id")[DAY, CAMERA] == (21 * H, H, 0, 2 * H, 0)
    days.do(lambda unit: unit.conn.execute(availability_closed.delete()))
    one = days.store.read_sync(
        lambda conn: figures.device_days(conn, CAMERA, DAY, date(2026, 3, 2), zone=KOLKATA, now=at(24))
    )
    assert one == {DAY: Share(21 * H, H, 0, 2 * H, 0)}


def test_maintenance_and_retirement_by_hand_are_counted(days: Days, asha: Any) -> None:
    def change(hours: float, service: str, device: str) -> None:
        days.time.now = at(hours)
        days.do(lambda unit: registry.change_device(unit, asha, device, {"service": service}))

    change(2, "maintenance", CAMERA)
    change(5, "active", CAMERA)
    change(6, "retired", SIGN)
    days.close()
    rows = days.rows(availability_days, "day", "device_id")
    assert rows[DAY, CAMERA] == (21 * H, 0, 0, 0, 3 * H)
    assert rows[DAY, SIGN] == (6 * H, 0, 0, 0, 0)
    days.close(49)
    assert (DAY + timedelta(days=1), SIGN) not in days.rows(availability_days, "day", "device_id")
    assert (
        days.rows(availability_sums, "day", "zone_id", "vendor")[DAY + timedelta(days=1), "kasba", ""][0]
        == 24 * H
    )


def test_a_new_device_is_counted_from_when_it_was_first_online(days: Days, asha: Any) -> None:
    days.do(lambda unit: registry.create_device(unit, asha, "pune-cam-02", site="wada"))
    days.do(
        lambda unit: unit.conn.execute(
            devices.update().where(devices.c.id == "pune-cam-02").values(service="active")
        )
    )
    days.step("pune-cam-02", 20, "unknown", "online")
    days.close()
    assert days.rows(availability_days, "day", "device_id")[DAY, "pune-cam-02"] == (4 * H, 0, 0, 0, 0)


def test_days_that_nobody_closed_are_closed_later_alike(days: Days) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.step(CALLBOX, 30, "offline", "online")
    days.close(25)
    days.close(49)
    soon = days.all()
    for table in (availability_closed, availability_days, availability_months, availability_sums):
        days.do(lambda unit, table=table: unit.conn.execute(table.delete()))
    days.close(24 * 20)
    later = [
        {key: value for key, value in one.items() if key[0] <= DAY + timedelta(days=1)} for one in days.all()
    ]
    assert later == soon


def test_a_closing_killed_midway_goes_on_where_it_was(days: Days) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.close()
    whole = days.all()
    for table in (availability_closed, availability_days, availability_months, availability_sums):
        days.do(lambda unit, table=table: unit.conn.execute(table.delete()))

    def killed(unit: Any) -> None:
        close_days(unit, KOLKATA, limit=1)
        raise KeyboardInterrupt

    while days.do(lambda unit: close_days(unit, KOLKATA, limit=1)):
        with pytest.raises(KeyboardInterrupt):
            days.do(killed)
    assert days.all() == whole


def test_a_day_made_anew_counts_once_what_was_learned_since(days: Days) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.step(CALLBOX, 9, "offline", "online")
    days.close()
    before = days.all()
    days.do(lambda unit: reopen(unit, DAY))
    days.close()
    assert days.all() == before
    spell = {"partition": None, "since": at(6), "until": at(7)}
    days.do(lambda unit: unit.conn.execute(blind_spells.insert(), spell))
    days.do(lambda unit: reopen(unit, DAY))
    days.close()
    assert days.rows(availability_days, "day", "device_id")[DAY, CALLBOX] == (21 * H, 2 * H, H, 0, 0)
    assert days.rows(availability_months, "month", "device_id")[DAY, CALLBOX] == (21 * H, 2 * H, H, 0, 0)


def test_a_day_that_runs_is_not_made_anew(days: Days) -> None:
    with pytest.raises(Invalid):
        days.do(lambda unit: reopen(unit, DAY))


async def test_figures_of_a_month_by_zone_vendor_and_day(days: Days, api: Any) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.step(CALLBOX, 9, "offline", "online")
    days.close()
    client = api()
    found = (await client.get("/figures/availability", params={"month": "2026-03"})).json()
    assert (found["until"], found["total"]["down_s"], found["total"]["up_s"]) == ("2026-03-01", 3 * H, 69 * H)
    assert found["total"]["availability"] == round(69 / 72, 6)
    assert [(row["key"], row["name"], row["devices"]) for row in found["items"]] == [("pune", "Pune", 3)]
    below = (await client.get("/figures/availability", params={"month": "2026-03", "zone": "pune"})).json()
    assert [row["key"] for row in below["items"]] == ["kasba"]
    by_vendor = (
        await client.get("/figures/availability", params={"month": "2026-03", "group": "vendor"})
    ).json()
    assert [(row["key"], row["devices"], row["down_s"]) for row in by_vendor["items"]] == [
        ("", 2, 3 * H),
        ("Acme", 1, 0),
    ]
    acme = (
        await client.get(
            "/figures/availability", params={"month": "2026-03", "group": "day", "vendor": "Acme"}
        )
    ).json()
    assert [(row["key"], row["devices"], row["up_s"]) for row in acme["items"]] == [("2026-03-01", 1, 24 * H)]
    worst = (
        await client.get("/figures/availability/worst", params={"month": "2026-03", "zone": "pune"})
    ).json()
    assert [(row["key"], row["down_s"]) for row in worst["items"]] == [(CALLBOX, 3 * H)]
    assert (await client.get("/figures/availability", params={"month": "2026-13"})).status_code == 422
    empty = (await client.get("/figures/availability", params={"month": "2024-01"})).json()
    assert (empty["until"], empty["items"]) == (None, [])


def test_one_devices_month_includes_the_day_that_runs(days: Days) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.close(25)
    days.time.now = at(26)
    found = days.store.read_sync(
        lambda conn: figures.device_days(
            conn, CALLBOX, DAY, date(2026, 4, 1), zone=KOLKATA, now=days.time.now
        )
    )
    assert found == {DAY: Share(6 * H, 18 * H), DAY + timedelta(days=1): Share(0, 2 * H)}


async def test_figures_are_a_page_and_a_table_for_a_spreadsheet(days: Days, api: Any) -> None:
    days.step(CALLBOX, 6, "online", "offline")
    days.close()
    client = api()
    client.base_url = "http://localhost"
    page = await client.get("/figures", params={"month": "2026-03", "group": "vendor"})
    assert page.status_code == 200
    assert f"/devices/{CALLBOX}" in page.text
    file = await client.get("/figures.csv", params={"month": "2026-03", "group": "device"})
    assert file.headers["content-disposition"].endswith('"availability-2026-03-device.csv"')
    rows = [line.split(",") for line in file.text.splitlines()]
    assert rows[1][:4] == ["2026-03", "2026-03-01", "device", CALLBOX]
    assert rows[1][7:9] == ["6.000", "18.000"]
