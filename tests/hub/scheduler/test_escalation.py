"""Who is told when nobody acknowledges: a real HTTP receiver and a real mail server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from prahari_hub.errors import SetupError
from prahari_hub.fleet import registry, windows
from prahari_hub.fleet.facts import Transition
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import actions, holds, outages, queries, service
from prahari_hub.incidents.outages import Silent
from prahari_hub.incidents.queries import Filter
from prahari_hub.incidents.tables import notifications
from prahari_hub.scheduler.channels import Call, letter
from prahari_hub.scheduler.escalation import ATTEMPTS, Escalation, Way
from prahari_hub.settings import Settings
from prahari_hub.store import Store

from tests.hub.clock import Clock
from tests.hub.scheduler.told import SECRET, Inbox, Receiver, press

ASHA = Actor("asha", Role.OPERATOR)


def offline(store: Store, before: str, after: str) -> None:
    told = Transition(1, "pune-ecb-01", None, None, "presence", before, after, store.clock(), None)
    store.write_sync(lambda unit: service.on_transition(unit, told))


def rows(store: Store) -> list:
    query = sa.select(notifications).order_by(notifications.c.id)
    return store.read_sync(lambda conn: conn.execute(query).all())


async def round_(escalation: Escalation) -> None:
    await escalation.plan()
    for name in escalation.channels:
        for way in Way:
            await escalation.deliver(name, way)


async def test_an_unacknowledged_call_is_told_step_by_step(store: Store, hook, receiver, clock) -> None:
    incident = press(store)
    await round_(hook)
    assert receiver.got == []
    for seconds, expected in ((60, [1]), (100, [1]), (140, [1, 2]), (600, [1, 2, 3]), (3600, [1, 2, 3])):
        clock.pass_(seconds=seconds)
        await round_(hook)
        await round_(hook)
        assert [json.loads(body)["step"] for _, _, body in receiver.got] == expected
    assert json.loads(receiver.got[0][2])["incident"]["id"] == incident
    log = store.read_sync(lambda conn: queries.log_of(conn, incident))
    assert [entry.action for entry in log] == ["opened", "told", "told", "told"]


async def test_the_worker_tells_by_itself_and_ends_when_cancelled(
    store: Store, hook, receiver, clock
) -> None:
    press(store)
    clock.pass_(seconds=61)
    worker = asyncio.ensure_future(hook.run())
    for _ in range(500):
        if receiver.got:
            break
        await asyncio.sleep(0.02)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert len(receiver.got) == 1 and worker.cancelled()


async def test_the_receiver_can_check_who_called(store: Store, hook, receiver, clock) -> None:
    press(store)
    clock.pass_(seconds=61)
    await round_(hook)
    _, headers, body = receiver.got[0]
    at, signature = (part.split("=")[1] for part in headers["prahari-signature"].split(","))
    assert int(at) == int(clock.now.timestamp())
    assert signature == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["prahari-delivery"] == str(json.loads(body)["delivery"])


async def test_a_receiver_that_fails_is_tried_again_with_back_off_and_given_up_at_last(
    store: Store, hook, receiver, clock
) -> None:
    receiver.status = 500
    incident = press(store)
    clock.pass_(seconds=61)
    hook.delays = {"critical": [60]}
    await round_(hook)
    await round_(hook)
    assert len(receiver.got) == 1
    first = rows(store)[0]
    assert first.state == "waiting" and first.attempts == 1
    assert timedelta(seconds=4) < first.due_at - clock.now < timedelta(seconds=6)
    for _ in range(ATTEMPTS):
        clock.pass_(seconds=400)
        await round_(hook)
    assert len(receiver.got) == ATTEMPTS
    assert rows(store)[0].state == "failed" and "answered 500" in rows(store)[0].error
    assert len({headers["prahari-delivery"] for _, headers, _ in receiver.got}) == 1
    log = store.read_sync(lambda conn: queries.log_of(conn, incident))
    assert "given up" in log[-1].text


async def test_redirects_are_not_followed_and_the_paths_secret_is_kept(
    store: Store, hook, receiver, clock
) -> None:
    receiver.status = 302
    press(store)
    clock.pass_(seconds=61)
    await round_(hook)
    assert [path for path, _, _ in receiver.got] == ["/hook/path-secret"]
    assert rows(store)[0].attempts == 1
    assert "path-secret" not in str(rows(store))


@pytest.mark.parametrize("action", [actions.acknowledge, actions.resolve], ids=["acknowledged", "resolved"])
async def test_what_somebody_has_is_told_no_further(store: Store, hook, receiver, clock, action) -> None:
    receiver.status = 503
    incident = press(store)
    clock.pass_(seconds=61)
    await round_(hook)
    store.write_sync(lambda unit: action(unit, ASHA, incident, comment="on it"))
    receiver.status = 200
    clock.pass_(seconds=3600)
    await round_(hook)
    assert len(receiver.got) == 1 and [row.state for row in rows(store)] == ["dropped"]


async def test_a_call_long_after_the_acknowledgement_is_told_from_the_first_step_again(
    store: Store, hook, receiver, clock
) -> None:
    incident = press(store)
    clock.pass_(seconds=301)
    await round_(hook)
    store.write_sync(lambda unit: actions.acknowledge(unit, ASHA, incident))
    clock.pass_(seconds=3600)
    assert press(store) == incident
    await round_(hook)
    assert [json.loads(body)["step"] for _, _, body in receiver.got] == [1, 2]
    for seconds, expected in ((61, [1]), (240, [1, 2]), (600, [1, 2, 3]), (3600, [1, 2, 3])):
        clock.pass_(seconds=seconds)
        await round_(hook)
        assert [json.loads(body)["step"] for _, _, body in receiver.got][2:] == expected
    assert rows(store)[2].took_s == 61


async def test_a_fault_that_is_over_before_its_time_is_not_told(store: Store, hook, receiver, clock) -> None:
    offline(store, "suspect", "offline")
    clock.pass_(seconds=200)
    offline(store, "offline", "online")
    clock.pass_(seconds=200)
    await round_(hook)
    assert receiver.got == []
    offline(store, "suspect", "offline")
    await round_(hook)
    assert len(receiver.got) == 1


async def test_a_dead_receiver_costs_a_try_and_nothing_else(
    store: Store, tmp_path: Path, clock, free_port
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    url = f"http://127.0.0.1:{free_port()}/"
    escalation = Escalation(store, Settings(home=tmp_path, webhook_url=url, webhook_secret_file=secret))
    press(store)
    clock.pass_(seconds=61)
    await round_(escalation)
    assert "does not answer (ConnectError)" in rows(store)[0].error


async def test_each_step_mails_its_own_people(store: Store, tmp_path: Path, clock, free_port) -> None:
    inbox = Inbox()
    server = Controller(inbox, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        settings = Settings(
            home=tmp_path,
            smtp_url=f"smtp://127.0.0.1:{server.port}",
            mail_from="prahari@city.example",
            mail_to=[["asha@city.example"], ["chief@city.example", "duty@city.example"]],
        )
        escalation = Escalation(store, settings)
        press(store)
        for _ in range(3):
            clock.pass_(seconds=300)
            await round_(escalation)
    finally:
        server.stop()
    chiefs = ["chief@city.example", "duty@city.example"]
    assert [people for people, _ in inbox.mails] == [["asha@city.example"], chiefs, chiefs]
    assert "Subject: [critical] Emergency call: pune-ecb-01" in inbox.mails[0][1]
    assert [row.state for row in rows(store)] == ["sent"] * 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook_url": "https://x.example"}, "webhook_secret_file"),
        ({"webhook_url": "file:///etc/passwd"}, "https://"),
        ({"smtp_url": "imap://x.example"}, "smtp://"),
    ],
    ids=["no-secret", "no-http", "no-smtp"],
)
def test_settings_that_cannot_work_are_refused_at_start(store: Store, tmp_path: Path, given, said) -> None:
    with pytest.raises(SetupError, match=said):
        Escalation(store, Settings(home=tmp_path, **given))


def plan(store: Store, clock: Clock, *, kind: str = "planned_power", minutes: float = 60) -> str:
    """A window over the device that begins now."""
    return store.write_sync(
        lambda unit: windows.plan(
            unit,
            ASHA,
            kind=kind,
            scope=("device", "pune-ecb-01"),
            starts_at=clock.now,
            ends_at=clock.now + timedelta(minutes=minutes),
            reason="transformer works",
        )
    ).id


def steps(receiver: Receiver) -> list[int]:
    return [json.loads(body)["step"] for _, _, body in receiver.got]


async def tick(store: Store, hook: Escalation) -> None:
    """The scheduler's part of holding, then a round."""
    hold = holds.Refresh()
    await store.read(lambda conn: hold.prepare(conn, store.clock()))
    while await store.write(hold.run):
        pass
    await round_(hook)


async def test_an_incident_waits_while_a_window_runs_and_its_time_goes_on_afterwards(
    store: Store, hook, receiver, clock
) -> None:
    offline(store, "suspect", "offline")
    clock.pass_(seconds=200)
    plan(store, clock, minutes=60)
    for _ in range(6):
        await tick(store, hook)
        clock.pass_(seconds=600)
    assert steps(receiver) == [] and listed(store).hold is not None
    clock.pass_(seconds=301)
    await tick(store, hook)
    assert steps(receiver) == [] and listed(store).hold is None
    clock.pass_(seconds=90)
    await tick(store, hook)
    assert steps(receiver) == []
    clock.pass_(seconds=20)
    await tick(store, hook)
    assert steps(receiver) == [1]


async def test_later_steps_wait_too(store: Store, hook, receiver, clock) -> None:
    offline(store, "suspect", "offline")
    clock.pass_(seconds=301)
    await tick(store, hook)
    assert steps(receiver) == [1]
    plan(store, clock, minutes=60)
    clock.pass_(seconds=3000)
    await tick(store, hook)
    assert steps(receiver) == [1]


async def test_a_step_is_not_planned_although_the_window_has_not_been_noted_yet(
    store: Store, hook, receiver, clock
) -> None:
    offline(store, "suspect", "offline")
    clock.pass_(seconds=301)
    plan(store, clock)
    await round_(hook)
    assert rows(store) == []


async def test_a_call_that_is_planned_already_waits_and_is_sent_afterwards(
    store: Store, hook, receiver, clock
) -> None:
    receiver.status = 503
    offline(store, "suspect", "offline")
    clock.pass_(seconds=301)
    await round_(hook)
    assert len(receiver.got) == 1
    receiver.status = 200
    plan(store, clock, minutes=60)
    clock.pass_(seconds=60)
    await round_(hook)
    await tick(store, hook)
    assert len(receiver.got) == 1
    clock.pass_(seconds=3600 + 301)
    await tick(store, hook)
    assert len(receiver.got) == 2 and [row.state for row in rows(store)] == ["sent"]


async def test_a_device_in_maintenance_is_on_hold(store: Store, hook, receiver, clock) -> None:
    offline(store, "suspect", "offline")
    store.write_sync(
        lambda unit: registry.change_device(unit, ASHA, "pune-ecb-01", {"service": "maintenance"})
    )
    clock.pass_(seconds=3600)
    await round_(hook)
    await tick(store, hook)
    assert steps(receiver) == [] and listed(store).hold == "maintenance"


@pytest.mark.parametrize("kind", ["planned_power", "maintenance"])
async def test_a_call_from_a_call_box_waits_for_no_window(store: Store, hook, receiver, clock, kind) -> None:
    plan(store, clock, kind=kind)
    press(store)
    clock.pass_(seconds=61)
    await tick(store, hook)
    assert steps(receiver) == [1]


def listed(store: Store) -> queries.Incident:
    (found,) = store.read_sync(lambda conn: queries.page(conn, Filter())).items
    return found


async def test_an_outage_is_told_once_with_its_place_and_how_many_it_holds(
    store: Store, hook, receiver, clock, tmp_path: Path
) -> None:
    silent = [Silent("pune-ecb-01", clock.now)]
    store.write_sync(lambda unit: outages.begin(unit, "asset/sw-12", silent, devices=1))
    clock.pass_(seconds=301)
    await tick(store, hook)
    (told,) = [json.loads(body)["incident"] for _, _, body in receiver.got]
    assert (told["device"], told["scope"], told["children"]) == (None, "sw-12", 1)
    found = letter(Call(1, 1, listed(store), clock.now), "hub@city.example", "asha@city.example")
    assert found["Subject"] == "[major] sw-12: 1 of 1 devices silent: asset sw-12"
