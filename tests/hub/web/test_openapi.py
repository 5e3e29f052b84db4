"""Every operation of the API under generated input: no 5xx, no undocumented status or content, no answer off its schema."""

from __future__ import annotations

from contextlib import suppress

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from prahari_hub.http.actor import Role
from prahari_hub.web.app import api_router, openapi
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 4
LONGEST_QUERY = 2000
DOCUMENT = openapi(api_router())
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
KNOWN = {
    "device": "pune-cam-01",
    "device_id": "pune-cam-01",
    "zone": "kasba",
    "site": "wada",
    "name": "the-operator",
}


@pytest.fixture(scope="module")
def headers(console) -> dict[str, str]:
    return {"authorization": f"Bearer {console.token(Role.ADMIN)}"}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_an_operation_answers_as_documented(console, headers, method: str, path: str) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method.upper()]
    names = {parameter.name for parameter in operation.path_parameters}
    known = {name: KNOWN[name] for name in names if name in KNOWN}
    if "incident" in names:
        known["incident"] = console.incident()
    strategies = [
        operation.as_strategy(GenerationMode.POSITIVE),
        operation.as_strategy(GenerationMode.NEGATIVE),
    ]
    if known and known.keys() == names:
        strategies.append(operation.as_strategy(GenerationMode.POSITIVE, path_parameters=known))
    for strategy in strategies:
        _explore(strategy, console.url, headers)


def _explore(strategy, url: str, headers: dict[str, str]) -> None:
    @hypothesis.given(case=strategy)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def explore(case) -> None:
        # the server itself refuses an address of more than 64 KiB, before the application sees it
        hypothesis.assume(len(str(case.query)) < LONGEST_QUERY)
        answer = case.call(base_url=url, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    # nothing can be wrong where nothing can be sent
    with suppress(hypothesis.errors.Unsatisfiable):
        explore()
