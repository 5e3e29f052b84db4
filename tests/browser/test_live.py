"""The line to the hub: the header tells the truth about it, and a hub that comes back is picked up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_a_hub_that_stops_shows_disconnected_and_its_return_live_with_what_was_missed(
    city: Any, page: Page, happen: Any
) -> None:
    page.goto("/devices")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    city.stop()
    expect(page.locator("#link")).to_have_attribute("data-state", "disconnected", timeout=20_000)
    expect(page.locator(".stale-note")).to_contain_text("as of")
    expect(page.locator("body")).to_have_class("stale")
    city.store.write_sync(lambda unit: happen.presence(unit, "pune-vms-01", "offline"))
    city.start()
    expect(page.locator("#link")).to_have_attribute("data-state", "live", timeout=20_000)
    expect(page.locator('tr[data-id="pune-vms-01"]')).to_contain_text("Offline", timeout=20_000)


def test_a_hub_without_its_broker_says_that_it_hears_no_device(city: Any, page: Page) -> None:
    page.goto("/devices")
    expect(page.locator(".link-text")).to_have_text("LIVE")
    city.missing = "the broker is not reachable"
    expect(page.locator(".link-text")).to_have_text("HUB HEARS NO DEVICE", timeout=20_000)
    city.missing = None
    expect(page.locator(".link-text")).to_have_text("LIVE", timeout=20_000)


def test_eight_tabs_share_one_stream_and_all_load(city: Any, page: Page) -> None:
    pages = [page] + [page.context.new_page() for _ in range(7)]
    for one in pages:
        one.goto("/incidents")
        expect(one.locator("#link")).to_have_attribute("data-state", "live")
    assert len(city.feed.subscriptions) == 1


def test_a_session_that_ended_leads_to_log_in(city: Any, page: Page, happen: Any) -> None:
    page.goto("/incidents")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    city.do(happen.sign_everybody_out)
    city.stop()
    city.start()
    expect(page).to_have_url(f"{city.url}/login?next=%2Fincidents", timeout=20_000)


def test_the_fleet_table_is_patched_filtered_and_sorted_by_the_server(
    city: Any, visit: Callable[..., Page], happen: Any
) -> None:
    page = visit(name="operator")
    page.goto("/devices?type=display")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Serves").select_option("")
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_label("Search in id, name and site").fill("deccan")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(
        f"{city.url}/devices?sort=presence&q=deccan&presence=&health=&type=&service=&zone="
    )
    city.do(lambda unit: happen.presence(unit, "pune-ecb-01", "suspect"))
    expect(page.locator("tbody tr")).to_contain_text("Suspect")
    page.goto("/devices")
    page.get_by_role("link", name="Device", exact=True).click()
    expect(page.locator("tbody tr").first).to_have_attribute("data-id", "pune-cam-01")
