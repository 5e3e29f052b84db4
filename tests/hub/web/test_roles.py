"""Who may do what: every route of the API for every role, and nobody (H33)."""

from __future__ import annotations

import re

import httpx
import pytest
from prahari_hub.http.actor import Role

from tests.hub.web.operations import OPERATIONS

ADMIN = frozenset({Role.ADMIN})
OPERATOR = ADMIN | {Role.OPERATOR}
TECHNICIAN = ADMIN | {Role.TECHNICIAN}
AUDITOR = ADMIN | {Role.AUDITOR}
FIELD = OPERATOR | TECHNICIAN
READERS = FIELD | AUDITOR
EVERYONE = frozenset(Role)

WRITES = {
    "POST /users": ADMIN,
    "PATCH /users/{name}": ADMIN,
    "PUT /users/{name}/password": ADMIN,
    "POST /tokens": ADMIN,
    "DELETE /tokens/{token_id}": ADMIN,
    "POST /claims": TECHNICIAN,
    "DELETE /claims/{claim_id}": TECHNICIAN,
    "POST /devices/{device_id}/revoke": TECHNICIAN,
    "POST /devices": TECHNICIAN,
    "PATCH /devices/{device}": TECHNICIAN,
    "PUT /devices/{device}/twin": TECHNICIAN,
    "POST /devices/{device}/commands": OPERATOR,
    "DELETE /commands/{command}": OPERATOR,
    "POST /devices/{device}/cameras/{camera}/live": OPERATOR,
    "DELETE /live-views/{view}": OPERATOR,
    "POST /zones": TECHNICIAN,
    "PUT /zones/{zone}": TECHNICIAN,
    "DELETE /zones/{zone}": TECHNICIAN,
    "POST /sites": TECHNICIAN,
    "PUT /sites/{site}": TECHNICIAN,
    "DELETE /sites/{site}": TECHNICIAN,
    "PUT /sites/{site}/asset": TECHNICIAN,
    "PUT /assets/{asset}": TECHNICIAN,
    "DELETE /assets/{asset}": TECHNICIAN,
    "POST /topology": TECHNICIAN,
    "POST /topology/csv": TECHNICIAN,
    "POST /windows": FIELD,
    "POST /windows/{window}/end": FIELD,
    "PUT /blobs/{sha256}": FIELD,
    "POST /map-layers": ADMIN,
    "DELETE /map-layers/{layer_id}": ADMIN,
    "POST /incidents/{incident}/ack": OPERATOR,
    "POST /incidents/{incident}/resolve": OPERATOR,
    "POST /incidents/{incident}/assign": OPERATOR,
    "POST /incidents/{incident}/comment": OPERATOR,
    "POST /overrides": OPERATOR,
    "DELETE /overrides/{override}": OPERATOR,
    "POST /evidence/requests": OPERATOR,
    "POST /evidence/requests/{request_id}/approve": ADMIN,
    "POST /evidence/requests/{request_id}/refuse": ADMIN,
    "POST /evidence/requests/{request_id}/withdraw": OPERATOR,
    "PUT /evidence/requests/{request_id}/keeping": ADMIN,
    "POST /evidence/requests/{request_id}/copies": OPERATOR,
    "POST /evidence/requests/{request_id}/links": OPERATOR,
    "DELETE /evidence/requests/{request_id}/links/{link}": OPERATOR,
}
READS = {
    "GET /me": EVERYONE,
    "GET /users": ADMIN,
    "GET /tokens": ADMIN,
    "GET /audit": AUDITOR,
    "GET /live-views/{view}": OPERATOR,
    "GET /live-views/{view}/picture": OPERATOR,
    "GET /evidence/coverage": OPERATOR | AUDITOR,
    "GET /evidence/requests": OPERATOR | AUDITOR,
    "GET /evidence/requests/{request_id}": OPERATOR | AUDITOR,
    "GET /evidence/requests/{request_id}/custody": OPERATOR | AUDITOR,
    "GET /evidence/requests/{request_id}/copies": OPERATOR | AUDITOR,
    "GET /evidence/requests/{request_id}/copies/{copy_id}": OPERATOR,
    "GET /evidence/requests/{request_id}/keeping": OPERATOR | AUDITOR,
    "GET /evidence/requests/{request_id}/package": OPERATOR,
    "GET /evidence/requests/{request_id}/films/{device}/{camera}": OPERATOR,
}
"""Every other GET is for those who watch the fleet: an advertiser sees nothing of it."""

ROUTES = [f"{method.upper()} {path.removeprefix('/api/v1')}" for method, path in OPERATIONS]


def expected(route: str) -> frozenset[Role]:
    return WRITES[route] if route in WRITES else READS.get(route, READERS)


def asked(client: httpx.Client, route: str) -> int:
    """The status for a request that is well-formed in its path alone: refusal comes before any other check."""
    method, path = route.split(" ")
    return client.request(method, "/api/v1" + re.sub(r"{\w+}", "0", path)).status_code


def test_each_write_of_the_api_is_in_the_matrix_and_the_other_way_round() -> None:
    assert {route for route in ROUTES if not route.startswith("GET ")} == WRITES.keys()


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_the_matrix_says_and_no_more(console, role: Role) -> None:
    with console.client(role) as client:
        allowed = {route for route in ROUTES if asked(client, route) != 403}
    assert allowed == {route for route in ROUTES if role in expected(route)}


def test_nobody_may_do_anything(console) -> None:
    with console.client() as client:
        assert {route: asked(client, route) for route in ROUTES} == dict.fromkeys(ROUTES, 401)


def test_a_token_that_may_read_changes_nothing(console) -> None:
    with console.client(Role.ADMIN, "read") as client:
        refused = {route for route in ROUTES if asked(client, route) == 403}
    assert refused == {route for route in ROUTES if not route.startswith("GET ")}


def test_a_token_that_may_write_reads_nothing(console) -> None:
    with console.client(Role.ADMIN, "write") as client:
        assert all(asked(client, route) == 403 for route in ROUTES if route.startswith("GET "))
