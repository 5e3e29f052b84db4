from __future__ import annotations

import httpx
import pytest
from prahari_hub.store import Store


async def test_nobody_gets_401_with_a_problem_that_says_how(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/users")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    problem = answer.json()
    assert (
        problem["status"] == 401 and problem["instance"] == "/api/v1/users" and "token" in problem["detail"]
    )


async def test_a_browser_without_session_is_led_to_the_log_in_page(client: httpx.AsyncClient) -> None:
    """Pages that do not exist say so; those that need a user lead to log-in (each page's own test)."""
    answer = await client.get("/no-such-page", headers={"accept": "text/html"})
    assert answer.status_code == 404


async def test_a_wrong_value_names_its_field(client: httpx.AsyncClient, admin_token: str) -> None:
    answer = await client.post(
        "/api/v1/users",
        json={"name": "Asha", "password": "x", "role": "emperor"},
        headers={"authorization": f"Bearer {admin_token}"},
    )
    assert answer.status_code == 422
    assert {error["path"] for error in answer.json()["errors"]} == {"body.name", "body.role"}


async def test_nothing_of_the_inside_leaves_on_an_unexpected_error(
    client: httpx.AsyncClient, store: Store
) -> None:
    store.close()
    answer = await client.get(
        "/api/v1/me", headers={"authorization": "Bearer prt_" + "0" * 26 + "_" + "0" * 48}
    )
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "executor" not in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", ""],
    ids=["foreign", "suffix", "empty"],
)
async def test_a_foreign_host_name_is_refused(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"host": host})).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.1.20:8080", "LOCALHOST"]
)
async def test_the_hubs_own_names_and_addresses_pass(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://[x"},
    ],
    ids=["origin", "null", "fetch-metadata", "broken"],
)
async def test_a_write_from_another_sites_page_is_refused(
    client: httpx.AsyncClient, admin_token: str, headers: dict[str, str]
) -> None:
    answer = await client.post(
        "/api/v1/tokens", json={}, headers=headers | {"authorization": f"Bearer {admin_token}"}
    )
    assert answer.status_code == 403


async def test_a_body_too_large_is_refused_with_and_without_a_length(
    client: httpx.AsyncClient, admin_token: str
) -> None:
    headers = {"authorization": f"Bearer {admin_token}", "content-type": "application/json"}
    big = b'{"name": "' + b"x" * (2 * 1024 * 1024) + b'"}'

    async def pieces():
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    for content in (big, pieces()):
        answer = await client.post("/api/v1/tokens", content=content, headers=headers)
        assert answer.status_code == 413, answer.text
        assert answer.json()["status"] == 413


async def test_a_large_file_is_taken_only_from_who_is_known(
    client: httpx.AsyncClient, admin_token: str
) -> None:
    files = {"file": ("streets.geojson", b" " * (2 * 1024 * 1024))}
    form = {"name": "Streets", "source": "test"}
    for headers, expected in (
        ({}, 413),
        ({"authorization": "Bearer prt_0_0"}, 413),
        ({"cookie": "prahari_session=planted"}, 413),
        ({"authorization": f"Bearer {admin_token}"}, 422),
    ):
        answer = await client.post("/api/v1/map-layers", data=form, files=files, headers=headers)
        assert answer.status_code == expected, answer.text


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/api/v1/me", "/nowhere"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


async def test_health_readiness_and_metrics_answer_without_a_user(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json()["status"] == "ready"
    metrics = await client.get("/metrics")
    assert metrics.status_code == 200 and "prahari_http_requests_total" in metrics.text
    assert 'prahari_devices{presence="offline"} 0.0' in metrics.text
