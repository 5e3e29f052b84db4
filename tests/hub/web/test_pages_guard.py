"""Every page asks who is there before it shows or changes anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from prahari_hub.web.app import PAGE_ROUTERS

OPEN = {
    "/login",
    "/login/link",
    "/setup",
    "/locale",
    "/logout",
    "/",
    "/release/{secret}",
    "/release/{secret}/package",
}
"""The way in, the choice of a language before it, the way out, which ends whatever session there is, and what a link opens."""


def routes() -> list[tuple[str, str]]:
    """(method, path) of each page."""
    found = [route for router in PAGE_ROUTERS for route in within(router)]
    assert len(found) > 10
    return [
        (method, route.path) for route in found for method in sorted(route.methods) if route.path not in OPEN
    ]


def within(router: APIRouter) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from within(route.original_router)


@pytest.mark.parametrize(("method", "path"), routes())
def test_a_page_leads_who_is_not_signed_in_to_log_in_or_refuses(console, method: str, path: str) -> None:
    with console.browser() as client:
        answer = client.request(method, re.sub(r"{[\w:]+}", "0", path), headers={"accept": "text/html"})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize(("method", "path"), [pair for pair in routes() if pair[0] != "GET"])
def test_a_form_without_its_csrf_token_is_refused(console, method: str, path: str) -> None:
    client, _ = console.sign_in("the-admin")
    with client:
        answer = client.request(method, re.sub(r"{[\w:]+}", "0", path), data={"csrf": "wrong"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("locale", "said"), [("en", "Nothing here for your role yet"), ("hi", "यहाँ अभी कुछ नहीं")]
)
def test_a_role_without_pages_is_told_so_and_offered_no_link_that_refuses(
    console, locale: str, said: str
) -> None:
    client, csrf = console.sign_in("the-advertiser")
    with client:
        client.post("/locale", data={"csrf": csrf, "locale": locale})
        answer = client.get("/")
        assert answer.status_code == 200 and said in answer.text
        links = set(re.findall(r'href="(/[^"]*)"', answer.text)) - {"/static/prahari.svg"}
        assert not [link for link in links if not link.startswith("/static/")]
        assert "hx-get" not in answer.text and "data-worker" not in answer.text
    client, _ = console.sign_in("the-operator")
    with client:
        assert client.get("/").headers["location"] == "/map"
