"""The page of one fault on many cameras: what it is, how many have it, and which, in both languages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from prahari_hub.fleet import faults, registry
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.served import Serves, serve
from prahari_hub.http.actor import Role, system
from prahari_hub.incidents import service
from prahari_hub.incidents.rootcause import Bars
from prahari_hub.scheduler.likeness import Likeness
from prahari_hub.store import Unit
from prahari_wire.camera import CameraFault

ROOT = system("test")
NAMES = tuple(f"gate-cam-{number}" for number in range(3))


@pytest.fixture(scope="module")
def incident(console: Any) -> str:
    def build(unit: Unit) -> None:
        registry.create_site(unit, ROOT, "gate", "Delhi Gate", lat=18.53, lon=73.86)
        for name in NAMES:
            registry.create_device(unit, ROOT, name, site="gate")
            registry.change_device(unit, ROOT, name, {"service": "active"})
            serve(unit, name, Serves({"cam1": "camera"}, {}))

    def dark(unit: Unit) -> None:
        since = datetime.now(UTC).isoformat()
        body = CameraFault.model_validate_json(
            json.dumps({"fault": "ImageTooDark", "active": True, "since": since})
        )
        for name in NAMES:
            fact = Fact(name, "gate", "cam1", "camera", "camera.fault", body, unit.now, False, "", unit.now)
            faults.noted(unit, fact)
            service.on_event(unit, fact)

    console.store.write_sync(build)
    console.store.write_sync(dark)
    console.store.write_sync(Likeness(Bars()).gather)
    with console.client(Role.AUDITOR) as client:
        found = client.get("/api/v1/incidents").json()["items"]
    return str(next(one["id"] for one in found if one["kind"] == "place.fault"))


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        (
            "en",
            ("Delhi Gate: Picture too dark at 3 of 3 devices with cameras", "Faulty since", "still faulty"),
        ),
        ("hi", ("Delhi Gate: चित्र बहुत अंधेरा, कैमरों वाले 3 में से 3 उपकरणों पर", "ख़राबी कब से", "अब भी ख़राब")),
    ],
)
def test_the_page_says_which_devices_have_the_fault(
    console: Any, incident: str, locale: str, said: tuple[str, ...]
) -> None:
    client, csrf = console.sign_in("the-operator")
    with client:
        client.post("/locale", data={"csrf": csrf, "locale": locale})
        text = client.get(f"/incidents/{incident}").text
        listed = client.get("/incidents").text
    assert all(name in text for name in NAMES)
    assert [word for word in said if word not in text] == []
    assert said[0] in listed
