"""Planned work, what hangs on what, and an outage with many devices, as people see them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.fleet import topology
from prahari_hub.fleet.tables import devices
from prahari_hub.incidents import outages
from prahari_hub.incidents.outages import Silent
from prahari_hub.store import Unit

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]

TABLE = """kind,id,name,parent,zone
switch,s1,Switch Deccan,f1,
feeder,f1,Feeder Kothrud,,pune
site,deccan,,s1,
"""
SHOTS = os.environ.get("PRAHARI_SHOTS")


def shot(page: Page, name: str) -> None:
    """Keep what the page looks like where PRAHARI_SHOTS names a folder."""
    for width in (1280, 390) if SHOTS else ():
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(str(SHOTS)) / f"{name}-{width}.png"), full_page=True)


def bring(page: Page) -> None:
    page.goto("/topology")
    page.locator("#table").fill(TABLE)
    page.locator("form[action='/topology/import'] button").click()
    expect(page.get_by_role("row").filter(has_text="Switch Deccan")).to_contain_text("f1")


def dark(unit: Unit) -> None:
    """A feeder is dark: 120 devices of its site are silent, five of them are back."""
    names = [f"pune-box-{n:03}" for n in range(120)]
    rows = [
        {"id": name, "site_id": "deccan", "service": "active", "created_at": unit.now, "presence": "offline"}
        for name in names
    ]
    unit.conn.execute(devices.insert(), rows)
    outages.begin(unit, "asset/s1", [Silent(name, unit.now) for name in names], devices=140)
    outages.back(unit, names[:5])


def test_a_city_is_brought_as_a_table_and_a_wrong_line_takes_nothing(city: Any, page: Page) -> None:
    bring(page)
    page.locator("#table").fill("kind,id,name,parent,zone\nfeeder,f2,F,,\ncabinet,c1,C,nowhere,")
    page.locator("form[action='/topology/import'] button").click()
    expect(page.locator("p.error")).to_contain_text("c1 hangs on nowhere, which nobody knows")
    expect(page.locator("#table")).to_have_value(
        "kind,id,name,parent,zone\nfeeder,f2,F,,\ncabinet,c1,C,nowhere,"
    )
    assert city.store.read_sync(lambda conn: len(topology.list_assets(conn).items)) == 2


def test_a_window_is_planned_seen_and_ended(city: Any, page: Page) -> None:
    page.goto("/windows")
    page.get_by_label("Covers").select_option("site")
    page.get_by_label("Its id").fill("deccan")
    page.get_by_label("Until").fill("2001-01-01T10:00")
    page.get_by_label("Reason").fill("transformer works")
    page.get_by_role("button", name="Plan it").click()
    expect(page.locator("p.error")).to_contain_text("over before it begins")
    expect(page.get_by_label("Reason")).to_have_value("transformer works")
    page.evaluate(
        "() => { document.getElementById('ends_at').value = new Date(Date.now() + 864e5).toISOString().slice(0, 16) }"
    )
    page.get_by_role("button", name="Plan it").click()
    row = page.get_by_role("row").filter(has_text="Deccan Gymkhana")
    expect(row).to_contain_text("Running")
    row.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("Nothing is planned.")).to_be_visible()
    page.goto("/windows?state=past")
    expect(page.get_by_role("row").filter(has_text="Deccan Gymkhana")).to_contain_text("Over")


@pytest.mark.parametrize("locale", ["en", "hi"])
def test_an_outage_lists_its_devices_page_by_page_and_says_what_it_hangs_on(
    city: Any, page: Page, locale: str
) -> None:
    bring(page)
    city.do(dark)
    city.do(lambda unit: unit.tell("incidents", id="x"))
    if locale == "hi":
        page.get_by_role("button", name="हिन्दी").click()
        expect(page.locator("html")).to_have_attribute("lang", "hi")
    shot(page, f"topology-{locale}")
    page.goto("/windows")
    shot(page, f"windows-{locale}")
    page.goto("/incidents")
    headline = (
        "Switch Deccan: 115 of 140 devices silent"
        if locale == "en"
        else "Switch Deccan: 140 में से 115 उपकरण मौन"
    )
    link = page.get_by_role("link", name=headline)
    shot(page, f"incidents-{locale}")
    link.click()
    expect(page.locator("#incident .facts")).to_contain_text("Feeder Kothrud")
    expect(page.locator("#child-rows tr")).to_have_count(100)
    shot(page, f"outage-{locale}")
    page.locator("#more button").click()
    expect(page.locator("#child-rows tr")).to_have_count(120)
