"""The queue: live, in place, by keyboard, with sound until somebody has acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.incidents import queries

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def rows(page: Page) -> Any:
    return page.locator(".queue tr[data-id]")


def test_a_press_appears_without_reload_and_is_acknowledged_by_keyboard_alone(
    city: Any, page: Page, happen: Any
) -> None:
    page.goto("/incidents")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    city.do(happen.press)
    button = page.get_by_role("button", name="1 new – show")
    expect(button).to_be_visible()
    expect(page.locator("#counts .count.sev-critical")).to_have_attribute("data-count", "1")
    expect(page.locator("#alarm")).to_contain_text("Emergency call")
    button.focus()
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("j")
    first = rows(page).first
    expect(first).to_have_attribute("aria-selected", "true")
    expect(first).to_contain_text("Emergency call")
    page.keyboard.press("a")
    expect(first).to_have_attribute("data-acked", "yes")
    expect(first).to_contain_text("admin")
    expect(first).to_have_attribute("aria-selected", "true")
    expect(page.locator("#counts .count.sev-critical")).to_have_attribute("data-count", "0")


def test_a_row_changes_in_place_and_does_not_move(city: Any, page: Page, happen: Any) -> None:
    city.do(happen.press)
    page.goto("/incidents")
    before = rows(page).evaluate_all("all => all.map(row => row.dataset.id)")
    critical = rows(page).first
    critical.get_by_role("button", name="Acknowledge").click()
    expect(critical).to_have_attribute("data-acked", "yes")
    assert rows(page).evaluate_all("all => all.map(row => row.dataset.id)") == before


def test_an_acknowledgement_by_another_shows_here(city: Any, page: Page, visit: Callable[..., Page]) -> None:
    page.goto("/incidents")
    other = visit(name="operator")
    other.goto("/incidents")
    rows(other).first.get_by_role("button", name="Acknowledge").click()
    expect(rows(page).first).to_contain_text("operator")


def test_a_critical_incident_that_nobody_acknowledged_is_resolved_only_with_a_word(
    city: Any, page: Page, happen: Any
) -> None:
    city.do(happen.press)
    page.goto("/incidents")
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_contain_text("say why")
    page.keyboard.press("r")
    page.locator("#say-text").fill("a drill")
    page.get_by_role("button", name="Save").click()
    expect(rows(page).first).to_have_attribute("data-resolved", "yes")


def test_the_page_of_an_incident_keeps_who_when_and_why(city: Any, page: Page) -> None:
    page.goto("/incidents")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_contain_text("Major")
    page.get_by_label("Comment").first.fill("sent a crew to <Pune> Station")
    page.get_by_role("button", name="Add the comment").click()
    expect(page.locator(".log")).to_contain_text("sent a crew to <Pune> Station")
    page.get_by_role("button", name="Take it myself").click()
    expect(page.locator("dl.facts")).to_contain_text("admin")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".verdict")).to_contain_text("acknowledged by admin")
    found = city.store.read_sync(lambda conn: queries.page(conn, queries.Filter()).items[0])
    assert (found.acked_by, found.assignee) == ("admin", "admin")


def test_sound_runs_until_the_critical_incident_is_acknowledged(city: Any, page: Page, happen: Any) -> None:
    page.goto("/incidents")
    sound = page.locator("#sound")
    expect(sound).to_contain_text("Sound off")
    sound.click()
    expect(sound).to_contain_text("Sound on")
    city.do(happen.press)
    expect(page.locator("body")).to_have_attribute("data-sounding", "true")
    page.locator("#new-rows").click()
    rows(page).first.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("body")).to_have_attribute("data-sounding", "false")


def test_the_empty_queue_says_so_and_fills_by_itself(console: Any, page: Page) -> None:
    page.goto("/incidents")
    expect(page.locator("#queue-empty")).to_be_visible()
