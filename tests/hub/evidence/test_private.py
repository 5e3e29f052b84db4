"""Cameras that are not the city's, in a request: shown as ruled out, never asked, and refused by the box in words that the hub knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prahari_hub.evidence import figures, requests
from prahari_hub.evidence.places import AtSite
from prahari_hub.evidence.requests import Found
from prahari_hub.fleet import owners, twins
from prahari_hub.http.actor import Role
from prahari_wire.camera import CameraConfig
from prahari_wire.command import CommandName
from prahari_wire.owner import SENTENCES, Consent, Denied, Owner
from prahari_wire.recording import RecordingConfig
from prahari_wire.twin import Desired

from .conftest import CHIEF, NOON, City
from .test_pages import form

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
START = NOON - timedelta(minutes=30)


def joshi(**more: Any) -> Owner:
    return Owner(name="Joshi Jewellers", contact="+91 20 5550 1234", **more)


def with_owner(city: City, device: str, camera: str, owner: Owner | None) -> None:
    config = CameraConfig(source="rtsp://10.0.0.5/main", recording=RecordingConfig(enabled=True), owner=owner)

    def work(unit: Any) -> None:
        version = twins.get(unit.conn, device).version
        twins.put(unit, CHIEF, device, Desired(peripherals={camera: config}), if_version=version)

    city.store.write_sync(work)


def found(city: City) -> Found:
    place, end = AtSite(site="wada"), START + timedelta(minutes=2)
    (one,) = city.store.read_sync(lambda conn: requests.search(conn, place, START, end, now=city.now))
    return one


async def test_a_camera_whose_owner_allows_events_only_covers_the_place_and_is_not_asked(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    box.cameras["front"].tell()
    with_owner(city, "pune-cam-01", "front", joshi())
    assert (found(city).ruled_out, found(city).share) == ("events_only", 1.0)
    request = city.submit(START, 1)
    city.approve(request)
    city.advance()
    assert box.asked(CommandName.HOLD) == []
    assert city.cameras(request)["front"].reason == "events_only"
    assert (city.request(request).outcome, city.request(request).reason) == ("impossible", "events_only")
    read = city.store.read_sync
    since, until = city.now - timedelta(days=1), city.now + timedelta(days=1)
    said = read(lambda conn: figures.figures(conn, since, until, group="month", zone=None))  # type: ignore[arg-type]
    assert said.worst == [], "nobody needs to repair what its owner does not allow"


@pytest.mark.parametrize("why", [Denied.WITHDRAWN, Denied.EVENTS_ONLY], ids=str)
async def test_what_the_box_refuses_by_its_terms_is_the_owners_reason_and_not_a_failure(
    city: City, why: Denied
) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 1)
    city.approve(request)
    city.advance()
    for row in box.asked(CommandName.HOLD):
        box.answer(row.id, "REJECTED", error=SENTENCES[why])
    city.advance()
    camera = city.cameras(request)["front"]
    reason = "events_only" if why is Denied.EVENTS_ONLY else "owner_consent"
    assert (camera.state, camera.reason) == ("missing", reason)


async def test_consent_that_is_withdrawn_while_footage_comes_ends_the_transfer(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 1)
    city.approve(request)
    for _ in range(2):
        city.advance()
        box.hold()
    for row in box.asked(CommandName.SEND):
        box.answer(row.id, "REJECTED", error=SENTENCES[Denied.WITHDRAWN])
    city.advance()
    city.advance()
    assert city.cameras(request)["front"].reason == "owner_consent"
    assert city.request(request).outcome == "impossible"


async def test_terms_are_entered_with_a_reason_seen_on_every_page_and_withdrawn(
    city: City, console: Callable[[Role], Any]
) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    box.cameras["front"].tell()
    with_owner(city, "pune-cam-01", "front", None)
    technician, csrf = await console(Role.TECHNICIAN)
    address = "/devices/pune-cam-01/cameras/front/owner"
    terms = {
        "csrf": csrf, "version": "1", "name": "Joshi Jewellers", "contact": "020 5550", "consent": "footage",
        "until": "2031-03-31", "hours": "mon tue 09:00-21:00\n22:00-06:00", "tells": ["rules"], "classes": "person, car",
    }  # fmt: skip
    unsaid = await technician.post(address, data=terms)
    assert unsaid.status_code == 422 and "Say why the terms change" in unsaid.text
    wrong = await technician.post(address, data=terms | {"reason": "signed", "hours": "always"})
    assert "Write the owner" in wrong.text
    written = await technician.post(address, data=terms | {"reason": "agreement of 2026-11-20"})
    assert written.status_code == 200
    owner = city.store.read_sync(lambda conn: owners.named(conn, "pune-cam-01"))["front"]
    assert owner.until is not None and f"{owner.until:%Y-%m-%dT%H:%M}" == "2031-03-31T18:30"
    assert (owner.consent, owner.classes, owner.live, len(owner.hours)) == (
        Consent.FOOTAGE, ["person", "car"], False, 2,
    )  # fmt: skip
    for page in ("/devices/pune-cam-01", "/devices/pune-cam-01/cameras/front/rules", address):
        assert "Joshi Jewellers" in (await technician.get(page)).text
    stale = await technician.post(
        f"{address}/withdraw", data={"csrf": csrf, "version": "1", "reason": "asked"}
    )
    assert stale.status_code == 422
    gone = await technician.post(
        f"{address}/withdraw", data={"csrf": csrf, "version": "2", "reason": "letter"}
    )
    assert "Footage is not sent any more" in gone.text
    operator, csrf = await console(Role.OPERATOR)
    seen = await operator.post("/evidence/new", data=form(csrf))
    assert "needs the owner" in seen.text and "Joshi Jewellers" in seen.text
    assert "Enter terms" not in (await operator.get(address)).text
    admin, _ = await console(Role.ADMIN)
    audit = (await admin.get("/api/v1/audit", params={"subject": "device:pune-cam-01"})).text
    assert "agreement of 2026-11-20" in audit and "camera.terms" in audit
    assert "020 5550" not in audit, "how to reach the owner stays out of the log that nothing leaves"
