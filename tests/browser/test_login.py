"""The way in: log-in, the first admin's set-up, one-time links, log-out, language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.access import links

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
PASSWORD = "a lamp in every street"


def fill(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_a_wrong_password_is_refused_in_one_sentence_and_the_name_stays(visit: Callable[..., Page]) -> None:
    page = visit()
    page.goto("/devices?q=pune")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    fill(page, "operator", "not the password")
    expect(page.locator("p.error")).to_have_text(
        "The name or the password is wrong; after several wrong ones wait up to 15 minutes."
    )
    expect(page.get_by_label("Name")).to_have_value("operator")


def test_after_log_in_one_is_where_one_wanted_to_be(visit: Callable[..., Page]) -> None:
    page = visit()
    page.goto("/devices?q=pune")
    fill(page, "operator", PASSWORD)
    expect(page).to_have_url(re.compile(r"/devices\?q=pune$"))


def test_the_next_page_is_never_another_site(visit: Callable[..., Page], console: Any) -> None:
    page = visit()
    page.goto("/login?next=//evil.example/")
    fill(page, "operator", PASSWORD)
    expect(page).to_have_url(f"{console.url}/map")


def test_log_out_ends_the_session(visit: Callable[..., Page]) -> None:
    page = visit()
    page.goto("/login?next=/windows")
    fill(page, "admin", PASSWORD)
    page.locator(".who summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile(r"/login$"))
    page.goto("/incidents")
    expect(page).to_have_url(re.compile(r"/login\?next="))


def test_the_first_admin_comes_from_the_set_up_token(bare: Any, visit: Callable[..., Page]) -> None:
    token = bare.do(links.make_setup_token)
    page = visit(at=bare)
    page.goto(f"/setup?token={token}")
    page.get_by_label("Name").fill("asha")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("The same password again").fill("short")
    page.get_by_role("button", name="Make the account").click()
    expect(page.locator("p.error")).to_contain_text("12")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.locator(".who summary")).to_have_text("asha")
    another = visit(at=bare)
    another.goto(f"/setup?token={token}")
    another.get_by_label("Name").fill("other")
    another.get_by_label("Password", exact=True).fill(PASSWORD)
    another.get_by_label("The same password again").fill(PASSWORD)
    another.get_by_role("button", name="Make the account").click()
    expect(another.locator("p.error")).to_contain_text("used or expired")


def test_a_log_in_link_works_once(console: Any, visit: Callable[..., Page]) -> None:
    token = console.do(lambda unit: links.make_login_link(unit, "admin"))
    page = visit()
    page.goto(f"/login/link?token={token}")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".who summary")).to_have_text("admin")
    second = visit()
    second.goto(f"/login/link?token={token}")
    second.get_by_role("button", name="Log in").click()
    expect(second.locator("p.error")).to_contain_text("used or expired")


def test_the_language_stays_with_the_account(visit: Callable[..., Page]) -> None:
    page = visit(name="operator")
    page.goto("/incidents")
    page.get_by_role("button", name="हिन्दी").click()
    expect(page.get_by_role("link", name="घटनाएँ")).to_be_visible()
    elsewhere = visit()
    elsewhere.goto("/login?next=/incidents")
    fill(elsewhere, "operator", PASSWORD)
    expect(elsewhere.locator("html")).to_have_attribute("lang", "hi")
    expect(elsewhere.locator(".link-text")).to_have_text("सीधा")
