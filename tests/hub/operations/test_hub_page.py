"""The hub's own page and its API: the same words and figures, in the reader's language, for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from prahari_hub import metrics
from prahari_hub.access import sessions, tokens, users
from prahari_hub.http.actor import Role, system
from prahari_hub.incidents.tables import incidents, notifications
from prahari_hub.operations import overview
from prahari_hub.operations.doctor.findings import Level
from prahari_hub.store import leases
from prahari_hub.web.app import Parts, console_app

from tests.hub.scheduler.told import open_many

ROOT = system("test")


@pytest.fixture
async def console(city) -> AsyncIterator[httpx.AsyncClient]:
    probes = {"broker": lambda: None}
    app = console_app(Parts(city.settings, city.store, probes=probes, notices={"clock": lambda: None}))
    app.state.feed = type("Feed", (), {"position": lambda self, topics: {"feed": "x", "n": {}}})()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        client.app = app  # type: ignore[attr-defined]
        yield client


def take_everything(city) -> None:
    def work(unit) -> None:
        names = [f"partition/{number}" for number in range(16)]
        held = leases.claim(unit, "first", names[:10])
        assert len(held) == 10 and leases.claim(unit, "second", [*names[10:], "scheduler"])

    city.store.write_sync(work)


def bearer(city, role: Role) -> dict[str, str]:
    _, text = city.store.write_sync(
        lambda unit: tokens.create(unit, ROOT, "test", role=role, life=timedelta(days=1))
    )
    return {"authorization": f"Bearer {text}"}


async def test_without_any_ingest_worker_the_hub_says_so_and_blames_no_clock(
    city, console: httpx.AsyncClient
) -> None:
    console.app.state.probes["ingest"] = lambda: "nobody hears the devices"  # type: ignore[attr-defined]
    answer = await console.get("/api/v1/hub", headers=bearer(city, Role.OPERATOR))
    found = {each["subject"]: each for each in answer.json()["findings"]}
    assert found["processes"]["level"] == "fail" and "0 of 16" in str(found["processes"])
    assert "ingest" not in found and "clock" not in str(found["broker"])
    page = await console.get("/hub", headers=bearer(city, Role.OPERATOR) | {"accept-language": "hi"})
    assert "बाक़ी के उपकरण सुने नहीं जा रहे" in page.text


async def test_the_api_says_whether_the_hub_is_well(city, console: httpx.AsyncClient) -> None:
    take_everything(city)
    answer = await console.get("/api/v1/hub", headers=bearer(city, Role.OPERATOR))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["level"] == "warn"  # no backup, nobody is told
    assert {"broker", "traffic", "processes", "database", "backup"} <= {
        each["subject"] for each in said["findings"]
    }
    assert sorted(each["partitions"] for each in said["processes"]) == [6, 10]
    assert said["figures"]["database_bytes"] > 100_000


async def test_partitions_that_nobody_hears_are_a_failure(city, console: httpx.AsyncClient) -> None:
    said = (await console.get("/api/v1/hub", headers=bearer(city, Role.ADMIN))).json()
    [finding] = [each for each in said["findings"] if each["subject"] == "processes"]
    assert said["level"] == "fail" and finding["level"] == "fail" and "Only 0 of 16" in finding["said"]
    assert said["findings"][0]["level"] == "fail"  # the worst comes first


async def test_a_hub_that_does_not_see_its_broker_says_so(city, console: httpx.AsyncClient) -> None:
    console.app.state.probes["broker"] = lambda: "the broker is not reachable"  # type: ignore[attr-defined]
    said = (await console.get("/api/v1/hub", headers=bearer(city, Role.ADMIN))).json()
    assert "does not see its broker" in str(said["findings"])


async def test_advertisers_and_strangers_see_nothing_of_it(city, console: httpx.AsyncClient) -> None:
    assert (await console.get("/api/v1/hub")).status_code == 401
    assert (await console.get("/api/v1/hub", headers=bearer(city, Role.ADVERTISER))).status_code == 403


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", ("To be looked at", "No backup was ever made.")),
        ("hi", ("देखने योग्य", "कभी कोई बैकअप नहीं लिया गया।")),
    ],
    ids=["en", "hi"],
)
async def test_the_page_is_in_the_readers_language(
    city, console: httpx.AsyncClient, locale: str, words: tuple[str, ...]
) -> None:
    take_everything(city)
    city.store.write_sync(
        lambda unit: users.add(unit, ROOT, "ravi", password=None, role=Role.OPERATOR, locale=locale)
    )
    signed_in = city.store.write_sync(lambda unit: sessions.open_session(unit, "ravi"))
    console.cookies["prahari_session"] = signed_in.secret
    answer = await console.get("/hub")
    assert answer.status_code == 200, answer.text
    for word in words:
        assert word in answer.text


def test_rates_are_told_between_two_looks() -> None:
    rates = overview.Rates()
    assert rates.look(100.0) == (None, None)
    metrics.MESSAGES.labels("health", "taken").inc(300)
    metrics.EVENTS.labels("callbox.press").inc(20)
    assert rates.look(103.0) == (None, None)
    assert rates.look(110.0) == (30.0, 2.0)


def test_calls_that_are_late_are_said_with_how_long_the_oldest_waits(city) -> None:
    open_many(city.store, 3, device=None)
    told_first = {"channel": "mail", "target": "asha@city.example", "step": 1, "state": "waiting"}
    ids = city.store.read_sync(lambda conn: list(conn.scalars(sa.select(incidents.c.id))))

    def late(seconds: float) -> list[str]:
        each = [
            {**told_first, "incident_id": one, "due_at": city.store.clock() - timedelta(seconds=seconds)}
            for one in ids
        ]
        city.store.write_sync(lambda unit: unit.conn.execute(notifications.delete()))
        city.store.write_sync(lambda unit: unit.conn.execute(notifications.insert(), each))
        found = overview.take(city.settings, city.store, notices={}, rates=overview.Rates()).findings
        return [finding.said() for finding in found if finding.subject == "calls"]

    assert late(30) == []
    assert late(200) == ["3 calls about incidents are late, the oldest by 200 s."]


def test_lag_turns_from_a_remark_into_a_failure(city) -> None:
    def level(lag_s: float) -> Level:
        metrics.LAG_S.labels("events").set_function(lambda: lag_s)
        found = overview.take(city.settings, city.store, notices={}, rates=overview.Rates())
        return next(finding.level for finding in found.findings if finding.subject == "traffic")

    try:
        assert [level(0.2), level(2.0), level(8.0)] == [Level.OK, Level.WARN, Level.FAIL]
    finally:
        metrics.LAG_S.labels("events").set_function(lambda: 0.0)
