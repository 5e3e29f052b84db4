"""What came for requests is kept to its date and then deleted, each deletion said in the custody log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.evidence import queries, release, retention
from prahari_hub.evidence.release import Terms
from prahari_hub.evidence.sealing import item_of
from prahari_hub.evidence.tables import evidence_segments, release_links
from prahari_hub.http.actor import Role
from prahari_hub.scheduler.jobs import jobs
from prahari_hub.settings import Settings

from .conftest import CHIEF, NOON, OPERATOR, City

START = NOON - timedelta(minutes=30)
YEAR = timedelta(days=365)


async def sealed(city: City, minutes: float, **more: Any) -> str:
    request = city.submit(START, minutes, **more)
    await city.carry_out(request)
    assert city.request(request).outcome == "fulfilled"
    return request


@pytest.fixture
async def recorded(city: City) -> City:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    return city


def forget(city: City, *, before: Any = None) -> None:
    city.store.write_sync(lambda unit: retention.forget_sealed(unit, city.blobs, before=before))


async def there(city: City) -> int:
    """Segments whose bytes lie in the object store."""
    query = evidence_segments.select()
    names = {row.sha256 for row in city.store.read_sync(lambda conn: list(conn.execute(query)))}
    return sum([await city.blobs.size(name) is not None for name in names])


def actions(city: City, request: str) -> list[str]:
    steps = city.store.read_sync(lambda conn: queries.custody(conn, request)).items
    return [step.action for step in steps]


async def test_footage_whose_time_is_over_goes_and_what_another_request_needs_stays(recorded: City) -> None:
    city = recorded
    long, short = await sealed(city, 2), await sealed(city, 1, case_number="FIR 2")
    _, secret = city.store.write_sync(lambda unit: release.link(unit, OPERATOR, long, Terms("Inspector K")))
    all_of_it = await there(city)
    ended = city.request(long).ended_at
    until = city.now + timedelta(days=40)
    city.store.write_sync(lambda unit: retention.keep_until(unit, CHIEF, short, until, reason="appeal"))
    forget(city, before=ended)
    assert await there(city) == all_of_it, "its time is not over"
    city.pass_time(days=30)
    forget(city, before=city.now - timedelta(days=29))
    assert 0 < await there(city) < all_of_it, "the other request needs its minute until its own date"
    with pytest.raises(Conflict, match="has been deleted"):
        city.store.read_sync(lambda conn: item_of(conn, long))
    with pytest.raises(NotFound):
        city.store.read_sync(lambda conn: release.live(conn, secret, city.now))
    assert (await city.package(short)).stat().st_size > 1000
    assert actions(city, long)[0] == "evidence.delete"
    assert city.store.read_sync(lambda conn: queries.whole(conn, long, city.now)).sealed is not None
    city.pass_time(days=11)
    forget(city)
    assert await there(city) == 0
    assert actions(city, short)[:2] == ["evidence.delete", "evidence.keep"]


async def test_without_a_setting_or_a_date_nothing_goes(recorded: City) -> None:
    city = recorded
    request = await sealed(city, 1)
    city.pass_time(days=4000)
    forget(city)
    keeping = city.store.read_sync(lambda conn: retention.keeping(conn, request, None))
    assert (keeping.until, keeping.deleted_at) == (None, None)
    assert await there(city) > 0


async def test_a_date_needs_a_reason_lies_ahead_and_comes_too_late_for_what_is_gone(recorded: City) -> None:
    city = recorded
    request = await sealed(city, 1)

    def name(until: Any, reason: str = "appeal") -> None:
        city.store.write_sync(lambda unit: retention.keep_until(unit, CHIEF, request, until, reason=reason))

    with pytest.raises(Invalid, match="Say why"):
        name(city.now + YEAR, " ")
    with pytest.raises(Invalid, match="lies ahead"):
        name(city.now)
    name(city.now + timedelta(seconds=1))
    city.pass_time(seconds=2)
    forget(city)
    with pytest.raises(Conflict, match="has been deleted"):
        name(city.now + YEAR)


async def test_the_scheduler_forgets_by_the_settings(recorded: City) -> None:
    city = recorded
    request = await sealed(city, 1)
    city.store.write_sync(lambda unit: release.link(unit, OPERATOR, request, Terms("Inspector K")))
    settings = Settings(home=city.folder / "home", keep_sealed_days=100, keep_links_days=30)
    (job,) = [job for job in jobs(settings) if job.name == "evidence.forget"]
    assert job.ends
    city.pass_time(days=99)
    await asyncio.to_thread(lambda: city.store.write_sync(job.run))
    assert await there(city) > 0
    assert city.store.read_sync(lambda conn: conn.execute(release_links.select()).all()) == []
    city.pass_time(days=2)
    await asyncio.to_thread(lambda: city.store.write_sync(job.run))
    assert await there(city) == 0


async def test_an_admin_names_the_date_on_the_page_and_by_the_api(
    recorded: City, console: Callable[[Role], Any]
) -> None:
    city = recorded
    request = await sealed(city, 1)
    admin, csrf = await console(Role.ADMIN)
    page = await admin.get(f"/evidence/{request}")
    assert "How long it is kept" in page.text and "somebody names a date" in page.text
    data = {"csrf": csrf, "until": "2040-12-31", "reason": "appeal pending"}
    told = await admin.post(f"/evidence/{request}/keeping", data=data)
    assert 'value="2040-12-31"' in told.text and "the date changed that it is kept to" in told.text
    said = (await admin.get(f"/api/v1/evidence/requests/{request}/keeping")).json()
    assert said == {"until": "2040-12-31T18:30:00Z", "named": True, "deleted_at": None}
    operator, csrf = await console(Role.OPERATOR)
    assert "Set the date" not in (await operator.get(f"/evidence/{request}")).text
    refused = await operator.post(f"/evidence/{request}/keeping", data=data | {"csrf": csrf})
    assert refused.status_code == 403
