"""A camera's rules: drawn over its picture by mouse and by keyboard, written as the next version of the twin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from prahari_hub.fleet import twins
from prahari_wire.camera import CameraConfig
from prahari_wire.rules import AnyRule, ObjectsInside, WrongDirection

pytestmark = [pytest.mark.browser, pytest.mark.needs("chromium")]
ADDRESS = "/devices/pune-cam-01/cameras/cam1/rules"


def written(city: Any) -> list[AnyRule]:
    twin = city.store.read_sync(lambda conn: twins.get(conn, "pune-cam-01"))
    config = twin.desired.peripherals["cam1"]
    assert isinstance(config, CameraConfig)
    return config.rules


def test_a_rule_is_drawn_with_the_keyboard_alone_and_written_as_the_next_version(
    city: Any, page: Page
) -> None:
    page.goto("/devices/pune-cam-01")
    page.get_by_role("link", name="Rules").click()
    page.get_by_role("button", name="Add a rule").press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("School gate")
    page.keyboard.press("Tab")
    point = page.get_by_role("button", name="Point 1: 35 %")
    point.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.get_by_role("button", name="Point 1: 34 % from the left, 50 % from above")).to_be_focused()
    page.get_by_role("button", name="Add a point").press("Enter")
    page.keyboard.press("Delete")
    page.get_by_role("button", name="Write as version 2").press("Enter")
    expect(page.get_by_role("button", name="Write as version 3")).to_be_visible()
    (rule,) = written(city)
    assert isinstance(rule, ObjectsInside)
    assert (rule.name, rule.region[0], len(rule.region)) == ("School gate", (0.34, 0.5), 4)


def test_a_point_is_dragged_with_the_mouse_and_the_kind_is_changed(city: Any, page: Page) -> None:
    page.goto(ADDRESS)
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Kind").select_option("WrongDirection")
    expect(page.locator(".handle")).to_have_count(6)
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    handle = page.get_by_role("button", name="End of the arrow")
    handle.hover()
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.8 * stage["width"], stage["y"] + 0.25 * stage["height"], steps=4)
    page.mouse.up()
    page.get_by_label("By so many of its own heights").fill("2.5")
    page.get_by_label("Severity").select_option("major")
    page.get_by_role("button", name="Write as version 2").click()
    expect(page.get_by_role("button", name="Write as version 3")).to_be_visible()
    (rule,) = written(city)
    assert isinstance(rule, WrongDirection)
    assert (rule.heights, rule.severity) == (2.5, "major")
    assert rule.allowed[1] == pytest.approx((0.8, 0.25), abs=0.02)


def test_a_polygon_that_crosses_itself_comes_back_with_the_reason_and_the_work(city: Any, page: Page) -> None:
    page.goto(ADDRESS)
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_text("As text").click()
    text = page.get_by_label("The camera's rules, JSON")
    rules = json.loads(text.input_value())
    rules[0]["region"] = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]
    text.fill(json.dumps(rules))
    page.get_by_role("button", name="Write as version 2").click()
    expect(page.get_by_role("alert").filter(has_text="the polygon crosses itself")).to_be_visible()
    expect(page.locator(".handle")).to_have_count(4)
    assert written(city) == []
