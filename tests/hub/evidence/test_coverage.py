"""The coverage index: what devices told is found again, by place and time, also of a whole state."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prahari_hub.errors import Invalid
from prahari_hub.evidence import requests
from prahari_hub.evidence.coverage import EPOCH
from prahari_hub.evidence.places import AtSite, Point, cameras_at, distance_m
from prahari_hub.evidence.reasons import OF_CAUSE
from prahari_hub.evidence.spans import CAUSES, DAY_MS, Day, Gap, merged, pack, total_ms, unpack, without
from prahari_hub.evidence.tables import coverage_cameras, coverage_days
from prahari_hub.fleet import registry
from prahari_hub.fleet.tables import devices, peripherals, sites
from prahari_hub.http.words import WORDS
from prahari_hub.store import Unit
from prahari_wire.recording import GapCause

from .conftest import DAY, NOON, ROOT, City

START = NOON - timedelta(minutes=30)
MARKS = st.lists(st.integers(0, DAY_MS), unique=True, min_size=0, max_size=40).map(sorted)
WHOLE_DAYS = 20_000


def pairs(marks: list[int]) -> list[tuple[int, int]]:
    return list(zip(marks[::2], marks[1::2], strict=False))


@given(spans=MARKS, gaps=MARKS, growing=st.none() | st.integers(0, DAY_MS), cause=st.sampled_from(CAUSES))
def test_a_day_is_unpacked_as_it_was_packed(
    spans: list[int], gaps: list[int], growing: int | None, cause: str
) -> None:
    origin = WHOLE_DAYS * DAY_MS
    day = Day(
        [(origin + start, origin + end) for start, end in pairs(spans)],
        [Gap(origin + start, origin + end, cause) for start, end in pairs(gaps)],
        None if growing is None else origin + growing,
    )
    assert unpack(WHOLE_DAYS, pack(WHOLE_DAYS, day)) == day


def test_a_day_without_a_gap_takes_a_few_bytes() -> None:
    origin = WHOLE_DAYS * DAY_MS
    assert len(pack(WHOLE_DAYS, Day([(origin, origin + DAY_MS)], []))) <= 12


@given(marks=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=20))
def test_what_is_there_and_what_is_missing_make_the_whole(marks: list[tuple[int, int]]) -> None:
    spans = merged((min(pair), max(pair)) for pair in marks)
    missing = without(0, 1000, spans)
    assert total_ms(spans) + total_ms(missing) == 1000
    assert merged(spans + missing, seam_ms=0) == [(0, 1000)]


def test_causes_are_those_of_the_contract() -> None:
    told = {str(cause) for cause in GapCause}
    assert set(CAUSES) == told
    assert set(OF_CAUSE) == told
    assert set(WORDS["gap"]) == told


async def test_the_newest_account_of_a_day_counts_and_an_older_one_changes_nothing(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"]
    camera.record(START, 60)
    camera.tell()
    camera.record(START + timedelta(minutes=1), 60)
    camera.tell()
    camera.version = 0
    camera.segments = camera.segments[:1]
    camera.tell()
    (found,) = city.store.read_sync(
        lambda conn: requests.search(
            conn, AtSite(site="wada"), START, START + timedelta(minutes=2), now=city.now
        )
    )
    assert found.share == 1.0


async def test_what_is_being_recorded_is_known_to_be_there_until_now(city: City) -> None:
    box = await city.box("pune-cam-01", "front", presence="offline")
    box.cameras["front"].record(START, 60)
    box.cameras["front"].tell(growing=True)
    (found,) = city.store.read_sync(
        lambda conn: requests.search(conn, AtSite(site="wada"), START, NOON, now=city.now)
    )
    assert found.share == 1.0
    assert found.camera.presence == "offline"


async def test_the_nearest_camera_comes_first_and_what_lies_outside_of_the_circle_does_not(
    city: City,
) -> None:
    def build(unit: Unit) -> None:
        registry.create_site(unit, ROOT, "near", "Near", lat=18.5200, lon=73.8553)
        registry.create_site(unit, ROOT, "far", "Far", lat=18.5300, lon=73.8553)

    city.store.write_sync(build)
    for name, site in (("pune-cam-01", "wada"), ("pune-cam-02", "near"), ("pune-cam-03", "far")):
        await city.box(name, "front", site=site)
    place = Point(lat=18.5199, lon=73.8553, radius_m=200)
    found = city.store.read_sync(lambda conn: cameras_at(conn, place))
    assert [one.device for one in found] == ["pune-cam-02", "pune-cam-01"]
    assert found[0].metres == pytest.approx(11.1, abs=0.2)


def test_distances_are_those_of_the_earth() -> None:
    assert distance_m(18.5195, 73.8553, 19.0760, 72.8777) == pytest.approx(120_000, rel=0.01)
    assert distance_m(0, 179.999, 0, -179.999) == pytest.approx(222.4, rel=0.01)


async def test_a_circle_with_too_many_cameras_is_refused(city: City) -> None:
    await city.box("pune-cam-01", *[f"c{number}" for number in range(101)])
    await city.box("pune-cam-02", *[f"c{number}" for number in range(101)])
    with pytest.raises(Invalid, match="202 cameras stand there"):
        city.submit(START, 1)


@pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
async def test_a_search_in_a_state_is_quick(city: City) -> None:
    """5,000 sites with a camera and thirty days each: what is read is that of the circle alone."""
    count, days = 5_000, 30
    last = (DAY.date() - EPOCH).days

    def build(unit: Unit) -> None:
        names = [f"s-{number:06d}" for number in range(count)]
        rows = [
            {"id": n, "name": n, "lat": 18 + i // 200 * 0.01, "lon": 73 + i % 200 * 0.01}
            for i, n in enumerate(names)
        ]
        unit.conn.execute(sites.insert(), rows)
        unit.conn.execute(devices.insert(), [{"id": n, "site_id": n, "created_at": unit.now} for n in names])
        cameras = [
            {"device_id": n, "id": "front", "type": "camera", "faults": [], "updated_at": unit.now}
            for n in names
        ]
        unit.conn.execute(peripherals.insert(), cameras)
        unit.conn.execute(
            coverage_cameras.insert(),
            [{"id": i + 1, "device_id": n, "camera": "front"} for i, n in enumerate(names)],
        )
        packed = {
            day: pack(day, Day([(day * DAY_MS, (day + 1) * DAY_MS)], []))
            for day in range(last - days + 1, last + 1)
        }
        for day, content in packed.items():
            found = [{"camera_id": i + 1, "day": day, "version": 1, "packed": content} for i in range(count)]
            unit.conn.execute(coverage_days.insert(), found)

    await city.store.write(build)
    place = Point(lat=18.1, lon=74.0, radius_m=3000)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        found = city.store.read_sync(
            lambda conn: requests.search(
                conn, place, START, START + timedelta(hours=1), now=NOON + timedelta(hours=2)
            )
        )
        took.append(time.perf_counter() - began)
    assert len(found) > 15
    assert all(one.share == 1.0 for one in found)
    assert min(took) < 1.0
