"""The fleet's routes on the assembled console."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from prahari_hub.fleet import intake, twins
from prahari_hub.fleet.presence import Step
from prahari_hub.http.actor import Role
from prahari_wire.callbox import CallboxConfig
from prahari_wire.twin import Desired, TwinOutcome, TwinReport

BOX = Desired(peripherals={"box1": CallboxConfig()}).model_dump(mode="json")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


async def test_a_device_is_registered_listed_changed_and_found(api: Any) -> None:
    client = api(Role.TECHNICIAN)
    made = await client.post("/devices", json={"id": "pune-new-01", "name": "New", "site": "wada"})
    assert made.status_code == 201
    assert (made.json()["presence"], made.json()["verdict"]["code"]) == ("unknown", "never-seen")
    assert (await client.post("/devices", json={"id": "pune-new-01"})).status_code == 409
    changed = await client.patch("/devices/pune-new-01", json={"service": "maintenance", "site": None})
    assert (changed.json()["service"], changed.json()["site"], changed.json()["name"]) == (
        "maintenance",
        None,
        "New",
    )
    found = (await client.get("/devices", params={"q": "new"})).json()
    assert [item["id"] for item in found["items"]] == ["pune-new-01"]
    assert found["next"] is None


async def test_pages_follow_the_cursor(api: Any) -> None:
    client = api()
    first = (await client.get("/devices", params={"limit": 2, "sort": "-presence"})).json()
    second = (
        await client.get("/devices", params={"limit": 2, "sort": "-presence", "cursor": first["next"]})
    ).json()
    assert len({item["id"] for item in first["items"] + second["items"]}) == 3
    other = await client.get("/devices", params={"sort": "id", "cursor": first["next"]})
    assert other.status_code == 422


async def test_versions_of_a_twin_and_changes_of_presence_are_listed_to_the_last_page(
    api: Any, store: Any, asha: Any, time: Any
) -> None:
    device = "pune-ecb-01"
    moves = [(device, Step("presence", "online", "suspect", str(n)), time.now) for n in range(5)]
    store.write_sync(lambda unit: intake.record_steps(unit, moves))
    for version in range(5):
        desired = Desired(heartbeat_s=10 + version)
        store.write_sync(
            lambda unit, version=version, desired=desired: twins.put(
                unit, asha, device, desired, if_version=version
            )
        )
    client = api()
    for address, field, expected in (
        (f"/devices/{device}/transitions", "detail", ["4", "3", "2", "1", "0"]),
        (f"/devices/{device}/twin/history", "version", [5, 4, 3, 2, 1]),
    ):
        seen, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            found = (await client.get(address, params=query)).json()
            seen += [item[field] for item in found["items"]]
            cursor, pages = found["next"], pages + 1
        assert (seen, pages) == (expected, 3)
        assert (await client.get(address, params={"cursor": "x"})).status_code == 422


async def test_a_twin_is_written_with_the_etag_that_was_read(api: Any) -> None:
    client = api(Role.TECHNICIAN)
    address = "/devices/pune-ecb-01/twin"
    read = await client.get(address)
    assert (read.headers["etag"], read.json()["document"]["peripherals"]) == ('"0"', {})
    written = await client.put(address, json=BOX, headers={"If-Match": read.headers["etag"]})
    assert (written.status_code, written.headers["etag"], written.json()["document"]) == (200, '"1"', BOX)
    stale = await client.put(address, json=BOX, headers={"If-Match": '"0"'})
    assert stale.status_code == 409
    assert "version 1" in stale.json()["detail"]
    missing = await client.put(address, json=BOX)
    assert missing.status_code == 428
    assert missing.headers["content-type"] == "application/problem+json"
    history = (await client.get(f"{address}/history")).json()["items"]
    assert [item["version"] for item in history] == [1]


@pytest.mark.parametrize("tag", ["*", "3", 'W/"3"', '"-1"', '"x"', '"99999999999999"'])
async def test_an_if_match_that_is_no_version_is_refused(api: Any, tag: str) -> None:
    answer = await api().put("/devices/pune-ecb-01/twin", json=BOX, headers={"If-Match": tag})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param(b'{"heartbeat_s":0}', "body.heartbeat_s", id="range"),
        pytest.param(b'{"heartbeat_s":"5"}', "body.heartbeat_s", id="type"),
        pytest.param(b'{"peripherals":{"x":{"type":"lamp"}}}', "body.peripherals.x", id="kind"),
        pytest.param(b'{"heartbeat_s":NaN}', "body", id="NaN"),
        pytest.param(b'{"peripherals":{"\\ud800":{"type":"callbox"}}}', "body", id="lone surrogate"),
        pytest.param(b'{"peripherals":{"b":{"type":"callbox","name":"a\\u0000b"}}}', "body", id="NUL"),
    ],
)
async def test_a_wrong_document_is_refused_with_the_field(api: Any, body: bytes, path: str) -> None:
    headers = {"If-Match": '"0"', "Content-Type": "application/json"}
    answer = await api().put("/devices/pune-ecb-01/twin", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"].startswith(path)


async def test_commands_are_issued_followed_and_cancelled(api: Any) -> None:
    client = api(Role.OPERATOR)
    address = "/devices/pune-ecb-01/commands"
    made = await client.post(address, json={"name": "agent.restart", "reason": "after the update"})
    assert (made.status_code, made.json()["state"], made.json()["device"]) == (201, "QUEUED", "pune-ecb-01")
    command = f"/commands/{made.json()['id']}"
    assert (await client.get(command)).json() == made.json()
    assert (await client.delete(command)).json()["state"] == "CANCELLED"
    assert (await client.delete(command)).status_code == 409
    assert [item["id"] for item in (await client.get(address)).json()["items"]] == [made.json()["id"]]
    assert (await client.get(address, params={"open": True})).json()["items"] == []
    wrong = await client.post(address, json={"name": "callbox.lamp", "args": {"peripheral": "box1"}})
    assert wrong.json()["errors"][0]["path"] == "args.incident"


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        (Role.OPERATOR, "PUT", "/devices/pune-ecb-01/twin"),
        (Role.OPERATOR, "POST", "/devices"),
        (Role.OPERATOR, "POST", "/sites"),
        (Role.TECHNICIAN, "POST", "/devices/pune-ecb-01/commands"),
        (Role.AUDITOR, "POST", "/overrides"),
        (Role.TECHNICIAN, "POST", "/overrides"),
        (Role.ADVERTISER, "GET", "/devices"),
    ],
)
async def test_roles_are_kept(api: Any, role: Role, method: str, path: str) -> None:
    answer = await api(role).request(method, path, json={})
    assert answer.status_code == 403


async def test_zones_and_sites_are_made_changed_and_removed(api: Any) -> None:
    client = api(Role.TECHNICIAN)
    assert (
        await client.post("/zones", json={"id": "aundh", "name": "Aundh", "parent": "pune"})
    ).status_code == 201
    assert (await client.put("/zones/aundh", json={"name": "Aundh ward"})).json()["parent"] is None
    site = {"id": "gate", "name": "Gate", "lat": 18.56, "lon": 73.8, "zone": "aundh"}
    assert (await client.post("/sites", json=site)).json() == site
    assert (await client.delete("/zones/aundh")).status_code == 409
    assert (await client.get("/sites", params={"zone": "aundh"})).json()["items"] == [site]
    assert (await client.delete("/sites/gate")).status_code == 204
    assert (await client.delete("/zones/aundh")).status_code == 204
    assert (await client.get("/zones/aundh")).status_code == 404
    assert (await client.post("/sites", json=site | {"lat": 91})).status_code == 422


async def test_pictures_are_brought_in_by_their_hash(api: Any) -> None:
    client = api(Role.OPERATOR)
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert (await client.get(f"/blobs/{sha256}")).status_code == 404
    made = await client.put(f"/blobs/{sha256}", content=PNG)
    assert (made.status_code, made.json()["size"]) == (201, len(PNG))
    got = await client.get(f"/blobs/{sha256}")
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    assert "immutable" in got.headers["cache-control"]
    assert (await client.put(f"/blobs/{'a' * 64}", content=PNG)).status_code == 422
    script = b"<script>alert(1)</script>"
    named = hashlib.sha256(script).hexdigest()
    assert (await client.put(f"/blobs/{named}", content=script)).status_code == 422


async def test_an_override_needs_a_display_a_reason_and_an_end(api: Any, born: Any) -> None:
    born("pune-vms-01", serves={"sign1": "display"})
    client = api(Role.OPERATOR)
    body = {
        "display": "pune-vms-01:sign1",
        "class": 6,
        "content": {"type": "text", "text": "ROAD CLOSED"},
        "reason": "water main burst",
        "minutes": 5,
    }
    made = await client.post("/overrides", json=body)
    assert (made.status_code, made.json()["class"], made.json()["active"]) == (201, 6, True)
    shown = (await client.get("/displays/pune-vms-01")).json()
    assert shown["overrides"] == [made.json()["id"]]
    assert shown == (await client.get("/displays/pune-vms-01/sign1")).json()
    assert (await client.get("/displays")).json()["items"] == [shown]
    for wrong in ({"reason": ""}, {"minutes": None}, {"class": 3}, {"content": {"type": "text", "text": ""}}):
        assert (await client.post("/overrides", json=body | wrong)).status_code == 422
    assert (await client.post("/overrides", json=body | {"display": "pune-cam-01:x"})).status_code == 404
    ended = await client.delete(f"/overrides/{made.json()['id']}", params={"reason": "repaired"})
    assert (ended.json()["active"], ended.json()["content"]["text"]) == (False, "ROAD CLOSED")
    assert (await client.get("/overrides")).json()["items"] == []
    assert len((await client.get("/overrides", params={"state": "all"})).json()["items"]) == 1


async def test_health_is_a_series_with_gaps(api: Any, store: Any, time: Any) -> None:
    from prahari_hub.fleet import history

    store.write_sync(
        lambda unit: history.add(
            unit, history.from_sums(time.now, {"pune-cam-01": {"cpu": [1.0, 4.0, 3.0, 2]}})
        )
    )
    params = {"until": "2026-03-01T12:10:00Z", "hours": 0.5}
    found = (await api().get("/devices/pune-cam-01/health", params=params)).json()
    assert found["step_s"] == 300
    assert found["checks"]["cpu"]["mean"] == [None, None, None, None, 2.0, None]
    absurd = await api().get("/devices/pune-cam-01/health", params={"until": "0001-01-01T00:00:00Z"})
    assert absurd.status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/devices/pune-xxx-99",
        "/devices/pune-xxx-99/twin",
        "/devices/pune-xxx-99/commands",
        "/devices/pune-xxx-99/events",
        "/devices/pune-xxx-99/health",
        "/devices/pune-xxx-99/transitions",
        "/commands/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "/overrides/01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "/displays/pune-ecb-01",
        "/displays/pune-ecb-01/sign1",
        "/sites/none",
        "/zones/none",
    ],
)
async def test_what_is_not_there_is_a_problem_document(api: Any, path: str) -> None:
    answer = await api().get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_events_are_listed_newest_first_by_pages(api: Any, store: Any, born: Any, time: Any) -> None:
    from uuid import uuid4

    from prahari_hub.fleet import journal
    from prahari_wire.base import Clock
    from prahari_wire.envelope import Event
    from prahari_wire.ids import ulid

    named = []
    for seq in range(5):
        event = Event(
            id=ulid(), boot=uuid4(), conn=1, at=time.now, mono_ms=1, clock=Clock.SYNCED,
            seq=seq, kind="callbox.press", body={"press": ulid(), "count": 1},
        )  # fmt: skip
        named.append(event.id)
        store.write_sync(
            lambda unit, e=event: journal.add_events(unit, [journal.row_of("pune-ecb-01", "j", e, unit.now)])
        )
    seen: list[str] = []
    cursor: str | None = None
    client = api(Role.AUDITOR)
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = await client.get("/devices/pune-ecb-01/events", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == named[::-1]


async def test_the_device_page_shows_what_the_device_said(
    api: Any, store: Any, born: Any, fact: Any, asha: Any
) -> None:
    born("pune-ecb-01", serves={"box1": "callbox"})
    store.write_sync(lambda unit: twins.put(unit, asha, "pune-ecb-01", Desired(), if_version=0))
    report = TwinReport(version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    store.write_sync(lambda unit: twins.reported(unit, fact("pune-ecb-01", "twin.report", report)))
    found = (await api(Role.AUDITOR).get("/devices/pune-ecb-01")).json()
    assert (found["presence"], found["applied_version"], found["verdict"]["code"]) == ("online", 1, "fine")
    assert found["birth"]["versions"]["board"] == "simulated"
