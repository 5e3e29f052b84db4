"""Sessions and tokens as attackers meet them (H34)."""

from __future__ import annotations

import pytest
from prahari_hub.access import tokens, users
from prahari_hub.http.actor import Role, system

ROOT = system("test")
NEW_ZONE = {"id": "csrf", "name": "made by another site"}


def zones(console) -> set[str]:
    with console.client(Role.ADMIN) as client:
        return {zone["id"] for zone in client.get("/api/v1/zones").json()["items"]}


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-csrf-token": ""}, {"x-csrf-token": "x" * 32}, {"x-csrf-token": "é"}],
    ids=["none", "empty", "wrong", "not-ascii"],
)
def test_a_cookie_alone_changes_nothing(console, headers: dict[str, str]) -> None:
    client, _ = console.sign_in("the-admin")
    with client:
        encoded = {name: value.encode() for name, value in headers.items()}
        answer = client.post("/api/v1/zones", json=NEW_ZONE, headers=encoded)
    assert answer.status_code == 403 and "csrf" not in zones(console)


def test_the_csrf_token_of_another_session_is_refused(console) -> None:
    client, _ = console.sign_in("the-admin")
    other, csrf = console.sign_in("the-admin")
    with client, other:
        answer = client.post("/api/v1/zones", json=NEW_ZONE, headers={"x-csrf-token": csrf})
    assert answer.status_code == 403 and "csrf" not in zones(console)


def test_the_right_csrf_token_still_fails_from_another_origin(console) -> None:
    client, csrf = console.sign_in("the-admin")
    with client:
        headers = {"x-csrf-token": csrf, "origin": "https://evil.example"}
        answer = client.post("/api/v1/zones", json=NEW_ZONE, headers=headers)
    assert answer.status_code == 403 and "csrf" not in zones(console)


def test_with_header_or_form_field_a_session_writes(console) -> None:
    client, csrf = console.sign_in("the-technician")
    with client:
        answer = client.post(
            "/api/v1/zones", json={"id": "mine", "name": "Mine"}, headers={"x-csrf-token": csrf}
        )
        assert answer.status_code == 201, answer.text
        form = client.post("/api/v1/zones", data={"csrf": csrf})
        assert form.status_code == 422


def test_a_cookie_from_elsewhere_is_never_adopted(console) -> None:
    """Session fixation: log-in gives a new secret and the planted one opens nothing."""
    planted = "planted-by-an-attacker"
    with console.browser(cookies={"prahari_session": planted}) as client:
        answer = client.post(
            "/login",
            data={"name": "the-operator", "password": "four unrelated words here"},
            headers={"origin": console.url},
        )
        given = answer.cookies.get("prahari_session")
        assert answer.status_code == 303 and given and given != planted
        flags = answer.headers["set-cookie"].lower()
        assert "httponly" in flags and "samesite=lax" in flags and "path=/" in flags
    with console.browser(cookies={"prahari_session": planted}) as client:
        assert client.get("/api/v1/me").status_code == 401


def test_log_in_from_another_sites_page_is_refused(console) -> None:
    with console.browser() as client:
        answer = client.post(
            "/login",
            data={"name": "the-operator", "password": "four unrelated words here"},
            headers={"origin": "https://evil.example"},
        )
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_stolen_cookie_is_worthless_after_log_out(console) -> None:
    client, csrf = console.sign_in("the-operator")
    with client:
        assert client.get("/api/v1/me").json()["name"] == "the-operator"
        stolen = dict(client.cookies)
        client.post("/logout", data={"csrf": csrf}, headers={"origin": console.url})
    with console.browser(cookies=stolen) as thief:
        assert thief.get("/api/v1/me").status_code == 401


def test_a_changed_role_or_password_ends_open_sessions_at_once(console) -> None:
    console.store.write_sync(
        lambda unit: users.add(unit, ROOT, "meera", password="four unrelated words here", role=Role.OPERATOR)
    )
    for change in (
        lambda unit: users.change(unit, ROOT, "meera", role=Role.AUDITOR),
        lambda unit: users.set_password(unit, ROOT, "meera", "another four words here"),
        lambda unit: users.change(unit, ROOT, "meera", disabled=True),
    ):
        client, _ = console.sign_in("meera")
        with client:
            assert client.get("/api/v1/me").status_code == 200
            console.store.write_sync(change)
            assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer prt_x_y", "Basic YTpi", "Bearer prt_{0}_{1}"],
    ids=["empty", "malformed", "basic", "wrong-secret"],
)
def test_a_bad_authorization_is_401_even_beside_a_good_cookie(console, authorization: str) -> None:
    client, _ = console.sign_in("the-admin")
    header = authorization.format("0" * 26, "0" * 48)
    with client:
        assert client.get("/api/v1/me", headers={"authorization": header}).status_code == 401


def test_a_revoked_token_opens_nothing_from_that_moment_on(console) -> None:
    token, text = console.store.write_sync(lambda unit: tokens.create(unit, ROOT, "t", role=Role.ADMIN))
    headers = {"authorization": f"Bearer {text}"}
    with console.browser(headers=headers) as client:
        assert client.get("/api/v1/me").json()["name"] == f"token:{token.id}"
        console.store.write_sync(lambda unit: tokens.revoke(unit, ROOT, token.id))
        assert client.get("/api/v1/me").status_code == 401


def test_tokens_through_the_api_are_shown_once(console) -> None:
    with console.client(Role.ADMIN) as client:
        made = client.post("/api/v1/tokens", json={"name": "backup", "role": "auditor", "days": 1}).json()
        assert made["token"].startswith(f"prt_{made['id']}_") and made["scopes"] == ["read"]
        listed = client.get("/api/v1/tokens").text
        assert made["id"] in listed and made["token"] not in listed
        assert client.delete(f"/api/v1/tokens/{made['id']}").json()["revoked_at"] is not None


def test_no_hash_or_secret_leaves_through_the_api(console) -> None:
    with console.client(Role.ADMIN) as client:
        for path in ("users", "tokens", "audit", "me"):
            text = client.get(f"/api/v1/{path}").text
            assert "argon2" not in text and "hash" not in text


def test_what_the_api_changes_stands_in_the_audit_log(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as client:
        name = client.get("/api/v1/me").json()["name"]
        answer = client.post(f"/api/v1/incidents/{incident}/ack", json={"comment": "seen"})
        assert answer.json()["acked_by"] == name and answer.json()["acknowledged"] is True
    with console.client(Role.AUDITOR) as client:
        (entry,) = client.get("/api/v1/audit", params={"subject": f"incident:{incident}"}).json()["items"]
    assert (entry["actor"], entry["action"], entry["reason"]) == (name, "incident.acknowledge", "seen")


def test_the_audit_log_pages_by_key(console) -> None:
    with console.client(Role.AUDITOR) as client:
        seen, cursor = [], None
        while True:
            params = {"limit": 5, "action": "user."} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/v1/audit", params=params).json()
            seen += [entry["id"] for entry in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == sorted(set(seen), reverse=True) and len(seen) >= 5
        assert client.get("/api/v1/audit", params={"cursor": "rubbish"}).status_code == 422
