"""The page of figures: what closed days sum up to, and the way from there to a device."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.fleet.availability.closing import close_days
from prahari_hub.fleet.tables import devices, transitions
from prahari_hub.store import Unit

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
KOLKATA = ZoneInfo("Asia/Kolkata")


@pytest.fixture
def month(city: Any) -> str:
    """Three days are closed, in which one camera was down for a while; the month of the last one, as 2026-03."""

    def build(unit: Unit) -> str:
        midnight = unit.now.astimezone(KOLKATA).replace(hour=0, minute=0, second=0, microsecond=0)
        began = midnight - timedelta(days=3)
        unit.conn.execute(
            devices.update().values(counted_from=began - timedelta(days=9), presence="online", vendor="Acme")
        )
        steps = [("online", "offline", 5.0), ("offline", "unknown", 9.0), ("unknown", "online", 11.0)]
        rows = [
            {"device_id": "pune-cam-02", "kind": "presence", "before": before, "after": after, "at": began + timedelta(hours=hours)}
            for before, after, hours in steps
        ]  # fmt: skip
        unit.conn.execute(transitions.delete())
        unit.conn.execute(transitions.insert(), rows)
        unit.now = midnight + timedelta(hours=1)
        while close_days(unit, KOLKATA):
            pass
        return began.strftime("%Y-%m")

    found: str = city.do(build)
    return found


def test_figures_lead_from_the_fleet_to_the_device_that_was_down(month: str, page: Page) -> None:
    page.goto(f"/figures?month={month}")
    total = page.locator(".figure strong")
    expect(total).to_contain_text("%")
    expect(total).not_to_have_text("100.000 %")
    expect(page.locator("rect.share-down").first).to_be_attached()
    page.get_by_label("Grouped by", exact=True).select_option("vendor")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("rowheader", name="Acme")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").first.click()
    assert download.value.suggested_filename == f"availability-{month}-vendor.csv"
    page.get_by_role("link", name="pune-cam-02").click()
    expect(page.locator("#availability")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_figures_fit_the_screen(month: str, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/figures?month={month}")
    expect(page.locator(".figure")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
