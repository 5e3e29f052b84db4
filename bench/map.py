"""The fleet map's first load: from the address to groups drawn in Chromium, at a city's and at a state's size.

The hub is a real one on a store filled for the purpose; the browser draws WebGL in software here, on the same two cores.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import httpx
from playwright.sync_api import Page, Response, sync_playwright
from prahari_hub.access import users
from prahari_hub.fleet.tables import devices, sites
from prahari_hub.http.actor import Role, system
from prahari_hub.settings import CONSOLE_PORT, load
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate
from prahari_provisioning.demo.processes import installed

SIZES = (25_000, 400_000)
LOADS = 5
PASSWORD = "lamps along the river road"
FLAGS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--disable-background-networking",
]
SOUTH, WEST, NORTH, EAST = 15.8, 72.8, 21.9, 80.5
DRAWN = """window.prahari?.map?.getLayer('clusters')
    ? prahari.map.queryRenderedFeatures({layers: ['clusters', 'devices']}).length : 0"""
ASK_AGAIN_S = 0.02


def fill(unit: Unit, count: int) -> None:
    """Four devices a site; two in a hundred offline, three degraded."""
    chance = random.Random(1)
    places = [
        {
            "id": f"site-{n}",
            "name": f"Junction {n}",
            "lat": chance.uniform(SOUTH, NORTH),
            "lon": chance.uniform(WEST, EAST),
        }
        for n in range(count // 4)
    ]
    unit.conn.execute(sites.insert(), places)
    unit.conn.execute(devices.insert(), [row(n, unit.now, chance.random()) for n in range(count)])
    users.add(unit, system("bench"), "operator", password=PASSWORD, role=Role.OPERATOR)


def row(number: int, at: datetime, luck: float) -> dict[str, Any]:
    return {
        "id": f"cam-{number:06d}",
        "name": f"Camera {number}",
        "site_id": f"site-{number // 4}",
        "service": "active",
        "created_at": at,
        "presence": "offline" if luck < 0.02 else "online",
        "presence_since": at,
        "health_state": "warn" if luck > 0.97 else "ok",
    }


@contextmanager
def hub(count: int, folder: Path) -> Iterator[str]:
    """A hub that knows ``count`` devices; gives the console's address."""
    offset = random.randint(2000, 20_000)
    settings = load(home=folder, port_offset=offset)
    store = Store.open(settings.store_url)
    migrate(store.engine)
    store.write_sync(lambda unit: fill(unit, count))
    store.close()
    environment = {**os.environ, "PRAHARI_HOME": str(folder), "PRAHARI_PORT_OFFSET": str(offset)}
    program = Popen([installed("prahari-hub"), "serve"], env=environment, stdout=DEVNULL, stderr=DEVNULL)
    url = f"http://localhost:{CONSOLE_PORT + offset}"
    try:
        wait_ready(url)
        yield url
    finally:
        program.terminate()
        program.wait(60)


def wait_ready(url: str, within_s: float = 120) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the hub did not become ready")


def first_load(page: Page, url: str) -> float:
    """Seconds from the address to the first marks on the map."""
    started = time.monotonic()
    page.goto(f"{url}/map", wait_until="commit")
    while not page.evaluate(DRAWN):
        if time.monotonic() - started > 60:
            raise RuntimeError("no mark was drawn on the map within a minute")
        time.sleep(ASK_AGAIN_S)
    return time.monotonic() - started


def size_of(answer: Response) -> int:
    return int(answer.headers.get("content-length", 0))


def measure(count: int, loads: int = LOADS) -> dict[str, Any]:
    """First loads in a fresh browser each; the very first one also makes the hub read every device."""
    folder = Path(tempfile.mkdtemp(prefix="prahari-bench-map-"))
    seconds: list[float] = []
    sizes: list[int] = []
    try:
        with hub(count, folder / "hub") as url, sync_playwright() as playwright:
            for _ in range(loads):
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.on(
                    "response",
                    lambda answer: sizes.append(size_of(answer)) if "/map/view" in answer.url else None,
                )
                page.goto(f"{url}/login")
                page.get_by_label("Name", exact=True).fill("operator")
                page.get_by_label("Password", exact=True).fill(PASSWORD)
                page.get_by_role("button").first.click()
                page.wait_for_url("**/map")
                page.goto(f"{url}/incidents")
                seconds.append(first_load(page, url))
                browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "devices": count,
        "first_s": round(seconds[0], 2),
        "median_s": round(statistics.median(seconds), 2),
        "max_s": round(max(seconds), 2),
        "answer_kb": round(max(sizes, default=0) / 1024, 1),
        "n": loads,
    }


def main(*, short: bool = False) -> list[dict[str, Any]]:
    found = [measure(count, 2 if short else LOADS) for count in (SIZES[:1] if short else SIZES)]
    print(json.dumps(found, indent=2))
    return found


if __name__ == "__main__":
    main(short="--short" in sys.argv)
