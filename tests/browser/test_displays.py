"""Displays: what a sign reports beside what it should show, and an override in two steps with the sign's own drawing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.signage import displays, overrides

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
SIGN = "pune-vms-01:sign1"


def compose(page: Page, text: str) -> None:
    page.goto(f"/displays/{SIGN}")
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Reason, kept in the audit log").fill("water main burst")
    page.get_by_label("Ends after, minutes").fill("20")
    page.get_by_role("button", name="Let the sign draw it").click()


def in_force(city: Any) -> list[Any]:
    return list(city.store.read_sync(lambda conn: overrides.active(conn, "pune-vms-01", "sign1")))


def test_the_wall_shows_the_frame_that_the_sign_drew(city: Any, page: Page) -> None:
    page.goto("/displays")
    frame = page.locator(".sign .pixels img")
    expect(frame).to_have_count(1)
    assert frame.evaluate("one => one.complete && one.naturalWidth") == 192


def test_an_override_is_drawn_by_the_sign_then_confirmed_then_seen(
    city: Any, page: Page, happen: Any
) -> None:
    compose(page, "ROAD CLOSED\nAHEAD")
    expect(page.locator("[data-preview=drawing]")).to_be_visible()
    assert in_force(city) == []
    happen.draws(city, "ROAD CLOSED")
    expect(page.locator("#preview img")).to_be_visible()
    page.get_by_role("button", name="Show it on the sign now").click()
    expect(page.get_by_role("cell", name="water main burst")).to_be_visible()
    (override,) = in_force(city)
    assert override.content.text == "ROAD CLOSED\nAHEAD"
    assert (override.expires_at - override.issued_at).total_seconds() == pytest.approx(1200, abs=1)
    happen.shows(city, "ROAD CLOSED", override=override.id)
    expect(page.locator(".sign-says")).to_contain_text("Shows what it should")
    page.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("None: the sign follows its playlist.")).to_be_visible()
    assert in_force(city) == []


def test_a_button_under_a_finger_is_not_exchanged_by_news(city: Any, page: Page, happen: Any) -> None:
    """A browser tells nobody of a click whose button was exchanged between press and release."""
    compose(page, "ROAD CLOSED")
    happen.draws(city, "ROAD CLOSED")
    page.get_by_role("button", name="Show it on the sign now").click()
    page.get_by_label("Class").focus()  # which the press takes away
    page.get_by_role("button", name="End it now").hover()
    page.mouse.down()
    (override,) = in_force(city)
    with page.expect_response(lambda answer: answer.url.endswith(SIGN)):
        happen.shows(city, "ROAD CLOSED", override=override.id)
    page.wait_for_timeout(300)
    page.mouse.up()
    expect(page.get_by_text("None: the sign follows its playlist.")).to_be_visible()


def test_a_message_that_the_sign_refuses_cannot_be_sent(city: Any, page: Page, happen: Any) -> None:
    compose(page, "far too long " * 30)
    happen.refuses(city, "The text does not fit: at most 24 characters.")
    expect(page.locator("p.error[role=alert]")).to_contain_text("The text does not fit")
    expect(page.get_by_role("button", name="Show it on the sign now")).to_have_count(0)
    page.get_by_role("button", name="Change the message").click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("far too long " * 30)
    expect(page.get_by_label("Reason, kept in the audit log")).to_have_value("water main burst")


def test_an_offline_sign_is_said_to_be_offline_before_anything_is_sent(
    city: Any, page: Page, happen: Any
) -> None:
    city.do(lambda unit: happen.presence(unit, "pune-vms-01", "offline"))
    page.goto(f"/displays/{SIGN}")
    expect(page.locator("#compose")).to_contain_text("cannot draw a preview now")
    compose(page, "CLEAR THE WAY")
    expect(page.locator("p.error[role=alert]")).to_contain_text("did not draw a preview")
    assert in_force(city) == []
    page.get_by_role("button", name="Send it without a preview").click()
    expect(page.get_by_role("cell", name="water main burst")).to_be_visible()


def test_a_sign_that_shows_something_else_is_marked(city: Any, page: Page, happen: Any) -> None:
    page.goto("/displays")
    happen.shows(city, "SOMETHING", override="01J00000000000000000000000")
    expect(page.locator(".sign.differs")).to_contain_text("Does not show what it should")
    found = city.store.read_sync(lambda conn: displays.get(conn, SIGN, city.store.clock()))
    assert found.agrees is False
