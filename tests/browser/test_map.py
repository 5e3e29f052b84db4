"""The map: what is drawn, not only that something is; and the list that says the same."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from prahari_hub.fleet import vitals
from prahari_hub.fleet.cells import cell_of
from prahari_hub.fleet.vitals import Cell
from prahari_hub.store import Unit

from tests.browser.conftest import open_page, sign_in, violations

pytestmark = [
    pytest.mark.browser,
    pytest.mark.webgl,
    pytest.mark.needs("chromium"),
    pytest.mark.timeout(420),
]
LAYER = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"kind": "road", "rank": 1, "name": "Laxmi Road"},
            "geometry": {"type": "LineString", "coordinates": [[73.84, 18.511], [73.88, 18.518]]},
        }
    ],
}


STATE = """(() => { const map = window.prahari?.map; return map
    ? `loaded ${map.loaded()}, style ${map.isStyleLoaded()}, zoom ${map.getZoom()}, devices ${map.querySourceFeatures('devices').length}`
    : 'no map yet'; })()"""
"""What to say of a map on which something is missing. It is drawn without a graphics card: on a busy machine that takes a while."""


def ask(page: Page, expression: str, wanted: Callable[[Any], bool], timeout_s: float = 120) -> Any:
    """The value of ``expression`` once it is as wanted. (The console's CSP refuses Playwright's own wait_for_function.)"""
    until = time.monotonic() + timeout_s
    while True:
        found = page.evaluate(expression)
        if wanted(found) or time.monotonic() > until:
            assert wanted(found), f"{expression} gave {found!r}; {page.evaluate(STATE)}"
            return found
        page.wait_for_timeout(200)


def drawn(page: Page, layer: str, wanted: Callable[[Any], bool]) -> Any:
    query = f"""window.prahari?.map?.getLayer('{layer}')
        ? prahari.map.queryRenderedFeatures({{layers: ['{layer}']}}).map(one => one.properties) : []"""
    return ask(page, query, wanted)


@pytest.fixture(scope="module")
def standing_page(browser: Browser, standing_city: Any, window: ViewportSize) -> Iterator[Page]:
    with open_page(browser, standing_city, viewport=window) as found:
        sign_in(found, standing_city, "admin")
        yield found


@pytest.fixture
def drawn_map(standing_page: Page) -> Page:
    """The map of the standing city, as it opens; a test that leaves it open leaves it as it was."""
    if not standing_page.url.partition("#")[0].endswith("/map"):
        standing_page.goto("/map")
    drawn(standing_page, "devices", lambda all: len(all) == 4)
    return standing_page


def test_every_device_in_view_is_drawn_by_its_state(drawn_map: Page) -> None:
    found = drawn(drawn_map, "devices", lambda all: len(all) == 4)
    assert {one["id"]: one["state"] for one in found} == {
        "pune-cam-01": "warn",
        "pune-cam-02": "offline",
        "pune-ecb-01": "normal",
        "pune-vms-01": "normal",
    }


def test_without_any_layer_the_city_view_has_a_grid_and_a_scale(drawn_map: Page) -> None:
    drawn(drawn_map, "grid", lambda all: len(all) >= 4)
    expect(drawn_map.locator(".maplibregl-ctrl-scale")).to_contain_text("m")


def test_the_drawn_map_has_no_wcag_violation(drawn_map: Page) -> None:
    assert violations(drawn_map) == []


def test_a_change_of_state_reaches_map_and_list_without_reload(
    standing_city: Any, drawn_map: Page, happen: Any
) -> None:
    sign = lambda state: lambda all: any(o["id"] == "pune-vms-01" and o["state"] == state for o in all)  # noqa: E731
    standing_city.do(lambda unit: happen.presence(unit, "pune-vms-01", "offline"))
    drawn(drawn_map, "devices", sign("offline"))
    expect(drawn_map.locator("#in-view li").nth(1)).to_contain_text("Swargate sign")
    standing_city.do(lambda unit: happen.presence(unit, "pune-vms-01", "online"))
    drawn(drawn_map, "devices", sign("normal"))


def test_dark_places_are_drawn_and_listed_once_they_are_switched_on(
    standing_city: Any, drawn_map: Page
) -> None:
    def night(unit: Unit) -> None:
        beside = {"pune-cam-01": {"peripheral:cam1": 7.0}, "pune-cam-02": {"peripheral:cam1": 19.0}}
        for device, said in beside.items():
            one, two = struct.pack("=d", unit.now.timestamp()), bytes(2)
            cell = Cell([device], one, one, one, bytes(8), b"\0", [], b"", [[]], two, [b"[]"], two, {}, {device: said})  # fmt: skip
            vitals.write(unit, [(cell_of(device), cell)])

    page = drawn_map
    standing_city.do(night)
    page.get_by_role("checkbox", name="Dark places").check()
    items = page.locator("#dark li")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text("hardly any light, 7")
    found = drawn(page, "dark-cameras", lambda all: len(all) == 2)
    assert {one["light"] for one in found} == {"none", "little"}
    assert violations(page) == []
    page.get_by_role("checkbox", name="Dark places").uncheck()
    drawn(page, "dark-cameras", lambda all: all == [])


def test_the_list_beside_the_map_says_the_same_worst_first_and_leads_to_the_device(
    drawn_map: Page,
) -> None:
    page = drawn_map
    expect(page.locator("#in-view li")).to_have_count(4)
    expect(page.locator("#in-view li").first).to_contain_text("Station camera")
    expect(page.locator("#in-view-count")).to_contain_text("1 faulty or offline")
    page.get_by_label("Only what is not normal").check()
    expect(page.locator("#in-view li")).to_have_count(2)
    page.locator("#in-view a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("pune-cam-02")


def test_from_afar_a_cluster_shows_how_many_are_faulty_and_india_is_drawn(
    standing_city: Any, browser: Browser
) -> None:
    with open_page(browser, standing_city) as page:  # a desk's window, which all of India fits in
        sign_in(page, standing_city, "admin")
        page.goto("/map#at=4/22/80")
        (cluster,) = drawn(page, "clusters", lambda all: len(all) == 1)
        assert (cluster["point_count"], cluster["bad"], cluster["warn"]) == (4, 1, 1)
        states = {"jk", "ar", "mh", "an"}
        drawn(page, "land", lambda all: len(all) >= 36 and states <= {one["id"] for one in all})
        assert drawn(page, "cities", lambda all: len(all) > 2)


def test_an_uploaded_layer_is_drawn_with_its_source_in_the_corner(
    city: Any, page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "roads.geojson"
    file.write_text(json.dumps(LAYER))
    page.goto("/map-layers")
    page.get_by_label("Name", exact=True).fill("Roads")
    page.get_by_label("Source, shown on the map").fill("Pune Municipal Corporation")
    page.get_by_label("GeoJSON or PMTiles").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("cell", name="Pune Municipal Corporation")).to_be_visible()
    page.goto("/map")
    layers = ask(
        page,
        "window.prahari?.map?.getStyle().layers.map(one => one.id) ?? []",
        lambda all: any(one.endswith("-roads") for one in all),
    )
    roads = next(one for one in layers if one.endswith("-roads"))
    drawn(page, roads, lambda all: any(one["name"] == "Laxmi Road" for one in all))
    expect(page.locator(".maplibregl-ctrl-attrib")).to_contain_text("Pune Municipal Corporation")
    page.get_by_label("Roads").uncheck()
    drawn(page, roads, lambda all: all == [])


def test_the_drawn_map_has_no_wcag_violation_in_hindi(city: Any, page: Page) -> None:
    page.goto("/windows")
    page.get_by_role("button", name="हिन्दी").click()
    expect(page.locator("html")).to_have_attribute("lang", "hi")
    page.goto("/map")
    drawn(page, "devices", lambda all: len(all) == 4)
    assert violations(page) == []
