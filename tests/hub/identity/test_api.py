"""Claims and revocation over the API, with real tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from prahari_hub.access import tokens
from prahari_hub.access.authenticator import StoreAuthenticator
from prahari_hub.http import problems
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.api import router
from prahari_hub.settings import Settings

A = "pune-cam-01"


class Api:
    def __init__(self, desk, app: FastAPI) -> None:
        self.desk = desk
        self._transport = httpx.ASGITransport(app)

    async def ask(
        self, method: str, path: str, role: Role = Role.TECHNICIAN, **more: object
    ) -> httpx.Response:
        life = timedelta(days=1)
        _, token = await self.desk.store.write(
            lambda unit: tokens.create(
                unit, system("test"), "t", role=role, scopes=["read", "write"], life=life
            )
        )
        async with httpx.AsyncClient(transport=self._transport, base_url="http://hub/api/v1") as client:
            return await client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)


@pytest.fixture
async def api(desk) -> AsyncIterator[Api]:
    app = FastAPI()
    problems.install(app)
    app.state.store = desk.store
    app.state.identity = desk.identity
    app.state.settings = Settings(
        home=desk.folder / "home", city="Pune", hosts=["hub.example"], port_offset=7
    )
    app.state.authenticator = StoreAuthenticator(desk.store, secure=False)
    app.include_router(router, prefix="/api/v1")
    yield Api(desk, app)


async def test_a_claim_made_over_the_api_enrols_the_device(api, box) -> None:
    made = await api.ask("POST", "/claims", json={"device": A})
    assert made.status_code == 201
    answer = await api.desk.enrol(box(A), made.json()["token"])
    assert answer.status == 200
    listed = (await api.ask("GET", "/claims")).json()
    assert [(item["device"], item["state"]) for item in listed["items"]] == [(A, "bound")]
    assert "token" not in listed["items"][0]
    certificates = (await api.ask("GET", f"/devices/{A}/certificates")).json()["items"]
    assert [item["state"] for item in certificates] == ["next"]


async def test_the_list_of_claims_is_paged(api) -> None:
    for number in range(5):
        await api.ask("POST", "/claims", json={"device": f"box-{number}"})
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.ask("GET", "/claims", params=params)).json()
        seen += [item["device"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"box-{number}" for number in reversed(range(5))]


async def test_an_unused_claim_is_revoked_and_a_used_one_is_not(api, box) -> None:
    free = (await api.ask("POST", "/claims", json={"device": A})).json()
    assert (await api.ask("DELETE", f"/claims/{free['id']}")).json()["state"] == "revoked"
    assert (await api.desk.enrol(box(A), free["token"])).status == 401
    used = (await api.ask("POST", "/claims", json={"device": A})).json()
    assert (await api.desk.enrol(box(A), used["token"])).status == 200
    assert (await api.ask("DELETE", f"/claims/{used['id']}")).status_code == 409
    assert (await api.ask("DELETE", "/claims/00000000")).status_code == 404


async def test_a_device_is_revoked_with_a_reason(api, box) -> None:
    token = (await api.ask("POST", "/claims", json={"device": A})).json()["token"]
    await api.desk.enrol(box(A), token)
    assert (await api.ask("POST", f"/devices/{A}/revoke", json={})).status_code == 422
    revoked = await api.ask("POST", f"/devices/{A}/revoke", json={"reason": "stolen"})
    assert revoked.json() == {"device": A, "certificates": 1}
    assert not await api.desk.serials(A)
    assert (await api.ask("POST", "/devices/nobody/revoke", json={"reason": "x"})).status_code == 404
    assert "device.revoke" in await api.desk.audited()


async def test_the_enrolment_page_gives_what_a_seed_needs(api) -> None:
    assert (await api.ask("GET", "/enrolment")).json() == {
        "hub": "https://hub.example:8450",
        "mqtt": "hub.example:8890",
        "city": "Pune",
        "ca_spki_sha256": api.desk.identity.authority.root_spki_sha256,
    }


async def test_the_authority_is_given_as_pem(api) -> None:
    found = (await api.ask("GET", "/ca")).json()
    assert found["pem"].encode() == api.desk.identity.authority.ca_file.read_bytes()
    assert found["spki_sha256"] == api.desk.identity.authority.root_spki_sha256


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADVERTISER, Role.AUDITOR])
async def test_only_technicians_and_admins_make_claims(api, role: Role) -> None:
    assert (await api.ask("POST", "/claims", role, json={"device": A})).status_code == 403
    assert (await api.ask("POST", f"/devices/{A}/revoke", role, json={"reason": "x"})).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"device": "A B"},
        {"device": "../x"},
        {"device": A, "ttl_s": 5},
        {"device": A, "more": 1},
        {"device": A, "site": "\0"},
    ],
    ids=["empty", "space", "path", "too-short", "unknown-field", "nul"],
)
async def test_a_bad_claim_request_is_refused_with_the_field(api, body: dict[str, object]) -> None:
    answer = await api.ask("POST", "/claims", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]
