"""The page of a device: verdict, health with its gaps, configuration, commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.fleet import commands, twins

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]


def test_the_page_says_in_one_line_how_the_device_is(city: Any, page: Page) -> None:
    page.goto("/devices/pune-cam-01")
    expect(page.locator(".verdict")).to_contain_text("88 % used")
    expect(page.get_by_role("cell", name="motion only: no model")).to_be_visible()
    page.goto("/devices/pune-cam-02")
    expect(page.locator(".verdict")).to_contain_text("Offline")


def test_health_is_charted_and_silence_is_a_gap(measured: Any, page: Page) -> None:
    page.goto("/devices/pune-cam-01")
    expect(page.locator("#charts")).to_have_attribute("data-drawn", "3")
    label = page.locator("#charts [role=img]").first.get_attribute("aria-label") or ""
    gaps = int(label.split(";")[1].split()[0])
    assert 24 <= gaps <= 26
    page.get_by_role("button", name="7 days").click()
    expect(page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")


def test_a_configuration_is_written_as_the_next_version_and_nonsense_is_refused_with_its_field(
    city: Any, page: Page
) -> None:
    page.goto("/devices/pune-cam-01")
    text = page.locator("#document")
    document = json.loads(text.input_value())
    text.fill(json.dumps(document | {"heartbeat_s": 0}))
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#twin p.error")).to_contain_text("heartbeat_s")
    text.fill(json.dumps(document | {"heartbeat_s": 20}))
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#twin-state")).to_contain_text("version 2")
    twin = city.store.read_sync(lambda conn: twins.get(conn, "pune-cam-01"))
    assert (twin.version, twin.desired.heartbeat_s, twin.updated_by) == (2, 20, "admin")


def test_a_change_made_meanwhile_is_not_overwritten(city: Any, page: Page) -> None:
    page.goto("/devices/pune-cam-01")
    twin = city.store.read_sync(lambda conn: twins.get(conn, "pune-cam-01"))
    city.do(lambda unit: twins.put(unit, _actor(), "pune-cam-01", twin.desired, if_version=1))
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#twin p.error")).to_contain_text("version 2, not 1")


def test_a_command_is_issued_followed_and_recalled(city: Any, page: Page) -> None:
    page.goto("/devices/pune-cam-01")
    page.get_by_role("button", name="Take a snapshot").click()
    expect(page.locator("#commands")).to_contain_text("Queued until it reconnects")
    page.locator("#commands").get_by_role("button", name="Cancel").click()
    expect(page.locator("#commands")).to_contain_text("Cancelled")
    (command,) = city.store.read_sync(lambda conn: commands.list_commands(conn, "pune-cam-01")).items
    assert (command["state"], command["args"]) == ("CANCELLED", {"peripheral": "cam1"})


def test_maintenance_begins_and_ends_with_a_button(city: Any, page: Page) -> None:
    page.goto("/devices/pune-ecb-01")
    page.get_by_role("button", name="Begin maintenance").click()
    expect(page.locator(".verdict")).to_contain_text("Maintenance")
    page.get_by_role("button", name="End maintenance").click()
    expect(page.locator(".verdict")).to_contain_text("Normal")


def test_a_claim_token_is_shown_once(city: Any, page: Page) -> None:
    page.goto("/claims?device=pune-cam-09")
    page.get_by_role("button", name="Make a claim").click()
    expect(page.locator("#made")).to_contain_text("FLT1-")
    page.goto("/claims")
    expect(page.get_by_role("cell", name="Waiting for the device")).to_be_visible()
    expect(page.locator("#made")).to_have_count(0)


def _actor() -> Any:
    from prahari_hub.http.actor import system

    return system("another")
