"""Every page: accessible by WCAG 2.2 AA in both languages, for those who may see it and closed to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import violations

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

PAGES = {
    "map": "/map",
    "incidents": "/incidents",
    "incident": "/incidents/{incident}",
    "devices": "/devices",
    "device": "/devices/pune-cam-01",
    "rules of a camera": "/devices/pune-cam-01/cameras/cam1/rules",
    "displays": "/displays",
    "display": "/displays/pune-vms-01:sign1",
    "planned work": "/windows",
    "supply": "/topology",
    "hub": "/hub",
    "claims": "/claims",
    "audit": "/audit",
    "accounts": "/users",
    "map layers": "/map-layers",
}


def incident_of(page: Page) -> str:
    found = page.request.get("/api/v1/incidents").json()
    return str(found["items"][0]["id"])


@pytest.mark.parametrize("locale", ["en", "hi"])
def test_no_page_has_a_wcag_violation(measured: Any, page: Page, locale: str) -> None:
    if locale == "hi":
        page.goto("/windows")
        page.get_by_role("button", name="हिन्दी").click()
        expect(page.locator("html")).to_have_attribute("lang", "hi")
    incident = incident_of(page)
    wrong = {}
    for name, address in PAGES.items():
        page.goto(address.format(incident=incident))
        expect(page.locator("html")).to_have_attribute("lang", locale)
        expect(page.locator("#counts .count")).to_have_count(4)
        wrong[name] = violations(page)
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_log_in_and_set_up_have_no_wcag_violation_in_light_and_dark(
    visit: Callable[..., Page], scheme: str
) -> None:
    page = visit(color_scheme=scheme)
    for address in ("/login", "/setup?token=x", "/login/link?token=x", "/nowhere"):
        page.goto(address)
        assert violations(page) == [], address


def test_dark_pages_have_no_wcag_violation(city: Any, visit: Callable[..., Page]) -> None:
    page = visit(color_scheme="dark", name="admin")
    for address in ("/incidents", "/devices", "/displays/pune-vms-01:sign1"):
        page.goto(address)
        assert violations(page) == [], address


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("operator", ["/users", "/map-layers", "/audit", "/claims"]),
        ("technician", ["/users", "/audit"]),
        ("auditor", ["/users", "/claims"]),
    ],
)
def test_what_a_role_may_not_see_is_neither_offered_nor_served(
    city: Any, visit: Callable[..., Page], name: str, closed: list[str]
) -> None:
    page = visit(name=name)
    for address in closed:
        expect(page.locator(f'.rail a[href="{address}"]')).to_have_count(0)
        answer = page.goto(address)
        assert answer is not None and answer.status == 403


def test_an_auditor_sees_no_button_that_changes_an_incident(city: Any, visit: Callable[..., Page]) -> None:
    page = visit(name="auditor")
    page.goto("/incidents")
    expect(page.locator("tr[data-id]")).to_have_count(1)
    expect(page.locator("[data-action=ack], [data-action=resolve]")).to_have_count(0)


def test_without_webgl_the_map_says_so_and_its_list_shows_every_device(
    city: Any, visit: Callable[..., Page]
) -> None:
    page = visit(name="operator")
    page.goto("/map")
    expect(page.locator(".map-fail")).to_contain_text("WebGL")
    expect(page.locator("#in-view li")).to_have_count(4)
