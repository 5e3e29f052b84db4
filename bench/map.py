"""The fleet map's first load: from the address to groups drawn in Chromium, at a city's and at a state's size.

    python -m bench.map [--short]

The hub is a real one on a store filled for the purpose; the browser draws WebGL in software here, on the same two cores.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from functools import partial

import sqlalchemy as sa
from playwright.sync_api import Page, Playwright, Response, sync_playwright
from prahari_hub.access import users
from prahari_hub.fleet.tables import devices
from prahari_hub.http.actor import Role, system
from prahari_hub.store import Store, Unit

from bench.place import Place
from bench.results import Results
from bench.swarm import name_of

SIZES = (25_000, 400_000)
LOADS, SHORT_LOADS = 5, 2
HEARTBEAT_S = 3600
"""Nobody beats here and nobody may fall silent while the map is looked at."""
PASSWORD = "lamps along the river road"
FLAGS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--disable-background-networking",
]
DRAWN = """() => new Promise((seen, late) => {
    const look = () => {
        const map = window.prahari?.map;
        if (map?.getLayer('clusters') && map.queryRenderedFeatures({layers: ['clusters', 'devices']}).length) seen();
        else if (performance.now() > 60000) late(new Error('no mark was drawn on the map within a minute'));
        else setTimeout(look, 30);
    };
    look();
})"""
"""Asked within the page, so that asking costs the machine little."""


def mark(unit: Unit, count: int) -> None:
    """Two in a hundred offline, three degraded; and who looks at them."""
    for every, values in ((50, {"presence": "offline"}), (33, {"health_state": "warn"})):
        names = [{"which": name_of(number)} for number in range(0, count, every)]
        here = devices.c.id == sa.bindparam("which")
        unit.conn.execute(devices.update().where(here).values(**values), names)
    users.add(unit, system("bench"), "operator", password=PASSWORD, role=Role.OPERATOR)


def first_load(page: Page, url: str) -> float:
    """Seconds from the address to the first marks on the map."""
    started = time.monotonic()
    page.goto(f"{url}/map", wait_until="commit")
    page.evaluate(DRAWN)
    return time.monotonic() - started


def look(playwright: Playwright, url: str, sizes: list[int]) -> float:
    """Sign in with a fresh browser and open the map."""

    def heard(answer: Response) -> None:
        if "/map/view" in answer.url:
            sizes.append(int(answer.headers.get("content-length", 0)))

    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
    try:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("response", heard)
        page.goto(f"{url}/login")
        page.get_by_label("Name", exact=True).fill("operator")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button").first.click()
        page.wait_for_url("**/map")
        page.goto(f"{url}/incidents")
        return first_load(page, url)
    finally:
        browser.close()


def measure(results: Results, count: int, loads: int) -> None:
    """First loads in a fresh browser each; the very first one also makes the hub read every device."""
    seconds: list[float] = []
    sizes: list[int] = []
    with Place(heartbeat_s=HEARTBEAT_S) as place, sync_playwright() as playwright:
        place.state(count)
        store = Store.open(place.settings.store_url)
        store.write_sync(lambda unit: mark(unit, count))
        store.close()
        place.start()
        url = place.console.replace("127.0.0.1", "localhost")
        seconds += [look(playwright, url, sizes) for _ in range(loads)]
    median_s = statistics.median(seconds)
    how = "" if count < SIZES[-1] else ", clustered by the hub"
    results.row(
        f"fleet map of {count:,} devices: first load in a fresh browser, until marks are drawn{how}",
        f"median {median_s:.2f} s, first of all {seconds[0]:.2f} s, max {max(seconds):.2f} s (n = {loads}); "
        f"an answer has up to {max(sizes, default=0) / 1024:.0f} kB",
        aim="≤ 2 s",
        met=median_s <= 2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    results = Results("map")
    try:
        for count in SIZES[:1] if short else SIZES:
            loads = SHORT_LOADS if short else LOADS
            results.take(f"map of {count:,}", partial(measure, results, count, loads))
    finally:
        results.print()


if __name__ == "__main__":
    main()
