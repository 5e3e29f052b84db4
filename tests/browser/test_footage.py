"""A footage request in a browser: a click on the map, what there is, another person's approval, the package; and the figures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, ViewportSize, expect
from prahari_hub.evidence import device_api, progress
from prahari_hub.evidence.parts import Parts
from prahari_hub.evidence.progress import Pace
from prahari_hub.fleet import registry
from prahari_hub.identity.device_http import device_app
from prahari_hub.identity.peer import device_listener
from prahari_hub.store import Store, Unit
from prahari_wire import verifier

from tests.browser.conftest import open_page, sign_in
from tests.hub.evidence.conftest import NOON, ROOT, Box, City

pytestmark = [pytest.mark.browser, pytest.mark.webgl, pytest.mark.needs("chromium", "openssl")]
START = NOON - timedelta(minutes=30)


class Through(Store):
    """The console's store, whose writes run on the console's loop so that browsers hear of them."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self.clock = console.store.clock

    def read_sync(self, work: Callable[[Any], Any]) -> Any:
        return self._console.store.read_sync(work)

    def write_sync(self, work: Callable[[Unit], Any]) -> Any:
        return self._console.do(work)

    async def write(self, work: Callable[[Unit], Any]) -> Any:
        return await asyncio.to_thread(self._console.do, work)


@pytest.fixture
def footage(console: Any, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Footage]:
    """The console with device HTTPS beside it, and a box whose camera has recorded."""
    console.identity.authority.server_certificate(["localhost"], now=console.store.clock())
    folder = console.settings.home / "transfers"
    app = device_app(console.identity, device_api.router, footage=console.footage, parts=Parts(folder))
    port = free_port()
    server = uvicorn.Server(device_listener(app, console.identity.authority, host="127.0.0.1", port=port))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    for _ in range(500):
        if server.started:
            break
        threading.Event().wait(0.02)
    with ThreadPoolExecutor(1) as aside:
        found = Footage(console, tmp_path, port, aside)
        found.prepare()
        yield found
    server.should_exit = True
    thread.join(10)


class Footage:
    """What the box and the scheduler do while people look; off this thread, where Playwright's loop runs."""

    def __init__(self, console: Any, folder: Path, port: int, aside: ThreadPoolExecutor) -> None:
        self.console, self._aside = console, aside
        now = console.store.clock()  # what a box signed long before the console's root began is not believed
        self.city = City(Through(console), console.identity, folder, port, console.footage, now)
        self.box: Box | None = None

    def prepare(self) -> None:
        async def work() -> Box:
            def site(unit: Unit) -> None:
                registry.create_site(unit, ROOT, "wada", "Shaniwar Wada", lat=18.5195, lon=73.8553)

            await self.city.store.write(site)
            box = await self.city.box("pune-cam-01", "front")
            box.cameras["front"].record(START, 600)
            box.cameras["front"].tell(gaps=[(42_000_000, 43_200_000, "power")])
            return box

        self.box = self._aside.submit(lambda: asyncio.run(work())).result(60)

    def carry_out(self) -> None:
        async def work() -> None:
            assert self.box is not None
            for _ in range(3):
                self.console.do(lambda unit: progress.advance(unit, Pace(2000), self.city.sealer.seal))
                self.box.hold()
                await self.box.send()

        self._aside.submit(lambda: asyncio.run(work())).result(60)


def local(at: Any) -> str:
    return at.astimezone(ZoneInfo("Asia/Kolkata")).strftime("%Y-%m-%dT%H:%M")


def test_a_request_is_made_on_the_map_approved_by_another_and_its_package_verifies(
    browser: Browser, console: Any, footage: Footage, window: ViewportSize, tmp_path: Path
) -> None:
    with (
        open_page(browser, console, viewport=window) as page,
        open_page(browser, console, viewport=window) as other,
    ):
        sign_in(page, console, "operator")
        page.goto("/incidents")
        page.get_by_role("link", name="Footage").click()
        page.get_by_role("link", name="New request").click()
        page.get_by_label("Authority").fill("Faraskhana")
        page.get_by_label("Case number").fill("FIR 7/2026")
        page.get_by_label("Purpose").fill("a theft")
        choose_on_the_map(page)
        page.get_by_label("From").fill(local(START))
        page.get_by_label("Until").fill(local(START + timedelta(minutes=2)))
        page.get_by_role("button", name="Show what footage there is").click()
        expect(page.locator("#found")).to_contain_text("100 %")
        page.get_by_role("button", name="Submit the request").click()
        expect(page.locator("#decide")).to_contain_text("another person must decide")
        sign_in(other, console, "admin")
        other.goto(page.url)
        other.get_by_role("button", name="Approve").click()
        expect(other.locator("#request")).to_contain_text("Being collected")
        footage.carry_out()
        expect(page.locator("#sealed")).to_be_visible()
        with page.expect_download() as download:
            page.locator("#sealed").get_by_role("link", name="Download").click()
        file = tmp_path / "package.zip"
        download.value.save_as(file)
        assert verifier.verify(file)[0] == 0
        page.goto("/evidence/figures")
        expect(page.locator("#share")).to_have_text("100 %")


def test_an_incident_leads_to_what_footage_there_is_of_it(city: Any, visit: Callable[..., Page]) -> None:
    page = visit("operator")
    page.goto("/incidents")
    page.get_by_role("link", name="No picture").click()
    page.get_by_role("link", name="Ask for its footage").click()
    expect(page.get_by_label("Cameras, as device:camera")).to_have_value("pune-cam-02:cam1")
    page.get_by_role("button", name="Show what footage there is").click()
    expect(page.locator("#found")).to_contain_text("the camera has told of no footage")


def choose_on_the_map(page: Page) -> None:
    """Where the browser can draw it; the fields take the same by hand."""
    page.get_by_label("Radius, metres").fill("300")
    ready = page.evaluate(
        "() => new Promise((done) => { let left = 100; const look = () => window.prahari?.place ? done(true) "
        ": document.getElementById('place-map').hidden || !left-- ? done(false) : setTimeout(look, 100); look(); })"
    )
    if ready:
        page.evaluate("window.prahari.place.jumpTo({ center: [73.8553, 18.5195], zoom: 15 })")
        page.locator("#place-map canvas").click()
        assert abs(float(page.get_by_label("Latitude").input_value()) - 18.5195) < 0.01
    page.get_by_label("Latitude").fill("18.5195")
    page.get_by_label("Longitude").fill("73.8553")
