"""The figures: which share of requests is fulfilled, how fast, why the rest was not, and what to repair first."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.access import audit
from prahari_hub.evidence import figures, requests
from prahari_hub.evidence.figures import percentile
from prahari_hub.evidence.places import Point
from prahari_hub.evidence.reasons import Refusal
from prahari_hub.http.actor import Role

from tests.conftest import unused_port
from tests.hub.conftest import Database

from .conftest import CHIEF, NOON, City, left

START = NOON - timedelta(minutes=30)
IST = ZoneInfo("Asia/Kolkata")


async def a_month(city: City) -> None:
    """Three fulfilled, one partial for a power cut, one where no camera stands, one refused, two that run."""
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"]
    camera.record(START, 60)
    camera.tell(gaps=[(41_460_000, 43_200_000, "power")])
    for minutes in (0.4, 0.6, 1):
        await city.carry_out(city.submit(START, minutes))
        city.pass_time(hours=2)
    await city.carry_out(city.submit(START, 16))
    city.submit(START, 1, place=Point(lat=10, lon=70, radius_m=100), authority="Traffic police")
    refused = city.submit(START, 1)
    city.store.write_sync(lambda unit: requests.refuse(unit, CHIEF, refused, Refusal.TOO_WIDE))
    city.submit(START, 1)

    city.submit(START, 1, authority="=cmd|calc", purpose="a, b")


@pytest.fixture(scope="module")
def month(new_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with left(new_database, tmp_path_factory.mktemp("city"), unused_port(), a_month) as (found, _):
        yield found


@pytest.fixture
def city(month: City) -> City:
    return month


async def found(city: City, group: str) -> figures.Figures:
    since, until = city.now - timedelta(days=40), city.now
    return await city.store.read(lambda conn: figures.figures(conn, since, until, group=group, zone=IST))


async def test_the_share_counts_what_could_have_been_fulfilled(city: City) -> None:
    total = (await found(city, "month")).total
    assert (total.fulfilled, total.partial, total.impossible, total.refused, total.open) == (3, 1, 1, 1, 2)
    assert total.share == pytest.approx(3 / 5)
    assert total.median_h == 0.0


async def test_each_group_sums_up_to_the_total_and_causes_and_cameras_are_named(city: City) -> None:
    for group in ("month", "zone", "authority"):
        got = await found(city, group)
        assert sum(row.asked for row in got.rows) == got.total.asked == 5
    assert {row.name for row in (await found(city, "zone")).rows} == {"Kasba Peth", ""}
    got = await found(city, "camera")
    assert [(row.key, row.fulfilled, row.partial) for row in got.rows] == [("pune-cam-01:front", 3, 1)]
    assert sorted(got.causes) == [("no_camera", 1), ("power", 1)]
    (worst,) = got.worst
    assert (worst.device, worst.camera, worst.requests, worst.reason) == ("pune-cam-01", "front", 1, "power")
    assert worst.missing_h == pytest.approx(0.25, abs=0.01)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=50), share=st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], share: float
) -> None:
    got = percentile(values, share)
    assert got in values
    assert sum(value <= got for value in values) >= share * len(values)
    smaller = [value for value in values if value < got]
    assert len(smaller) < share * len(values)


async def test_requests_and_figures_come_as_tables_and_the_taking_of_the_list_is_noted(
    city: City, console: Callable[[Role], Any]
) -> None:
    operator, _ = await console(Role.OPERATOR)
    rows = list(csv.DictReader(io.StringIO((await operator.get("/evidence/requests.csv")).text)))
    assert len(rows) == 8
    assert (rows[0]["authority"], rows[0]["purpose"]) == ("'=cmd|calc", "a, b")
    assert Counter(row["outcome"] for row in rows) == {
        "fulfilled": 3,
        "": 2,
        "partial": 1,
        "impossible": 1,
        "refused": 1,
    }
    assert rows[-1]["starts_at"] == START.astimezone(IST).isoformat(timespec="seconds")
    only = (await operator.get("/evidence/requests.csv", params={"outcome": "partial"})).text.splitlines()
    assert len(only) == 2
    found = city.store.read_sync(
        lambda conn: audit.page(conn, audit.Filter(subject="requests"), limit=9)
    ).items
    assert [(step.action, step.detail["rows"]) for step in found] == [
        ("evidence.list-exported", 1), ("evidence.list-exported", 8)
    ]  # fmt: skip
    technician, _ = await console(Role.TECHNICIAN)
    assert (await technician.get("/evidence/requests.csv")).status_code == 403
    table = (await technician.get("/evidence/figures.csv", params={"group": "authority"})).text.splitlines()
    assert table[0].startswith("authority,name,share_fulfilled")
    assert table[-1].startswith("total,total,0.6000,3,1,1,1,2")
    causes = (await technician.get("/evidence/figures.csv", params={"table": "causes"})).text.splitlines()
    assert set(causes) == {"reason,requests", "power,1", "no_camera,1"}
    worst = (await technician.get("/evidence/figures.csv", params={"table": "cameras"})).text.splitlines()
    assert worst[1].startswith("pune-cam-01,front,1,")
