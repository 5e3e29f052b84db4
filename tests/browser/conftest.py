"""The real console on a real store in a real browser; devices are played by writing what they would have said."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, Playwright, Request, ViewportSize, expect, sync_playwright
from prahari_hub.access import users
from prahari_hub.access.sessions import cookie_name, open_session
from prahari_hub.access.tables import sessions
from prahari_hub.fleet import commands, history, registry, twins, uploads
from prahari_hub.fleet.blobs import open_blobs, open_footage
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import devices, peripherals
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.service import open_identity
from prahari_hub.incidents import service as incidents
from prahari_hub.live.feed import Feed
from prahari_hub.settings import Settings, load
from prahari_hub.signage import displays
from prahari_hub.store import Store, Unit
from prahari_hub.store.migrate import migrate
from prahari_hub.store.upsert import upsert
from prahari_hub.web.app import Parts, console_app
from prahari_wire import events
from prahari_wire.callbox import CallboxConfig, Press
from prahari_wire.camera import CameraConfig, CameraFault, ContentFault
from prahari_wire.command import CommandReport
from prahari_wire.display import DisplayConfig, Shown, ShownSource
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired, TwinOutcome, TwinReport

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a lamp in every street"
PATIENCE_S = 60.0
expect.set_options(timeout=15_000)  # a slow machine is no reason to fail
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-gpu",
    "--renderer-process-limit=1",
    "--disable-features=IsolateOrigins,site-per-process",
]
WITHOUT_WEBGL = ["--disable-software-rasterizer", "--disable-3d-apis"]
WITH_WEBGL = ["--enable-unsafe-swiftshader", "--use-angle=swiftshader-webgl"]
"""The map alone is drawn as a graphics card would, by the processor: with the page around it that costs twice as much, and in the
headless shell a link out of a drawn map then leads nowhere. A file whose tests look at the drawn map is marked ``webgl``."""
LARGE, SMALL = ViewportSize(width=1440, height=900), ViewportSize(width=960, height=640)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


class Console:
    """The console app in a thread of its own; ``do`` writes as the hub would, so that browsers are told."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings = settings
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.store = Store.open(settings.store_url)
        migrate(self.store.engine)
        self.blobs = open_blobs(settings)
        self.footage = open_footage(settings)
        self.missing: str | None = None

    def start(self) -> None:
        self.feed = Feed(tick_s=0.2)
        self.store.on_changes = self.feed.publish
        self.identity = open_identity(self.settings.home, self.store, city="Pune")
        state = {"feed": self.feed, "blobs": self.blobs, "footage": self.footage, "identity": self.identity}
        probes = {"broker": lambda: self.missing}
        app = console_app(Parts(self.settings, self.store, state=state, probes=probes))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="warning", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        ready: Future[asyncio.AbstractEventLoop] = Future()

        async def serve() -> None:
            ready.set_result(asyncio.get_running_loop())
            await self.server.serve()

        self.thread = threading.Thread(target=asyncio.run, args=(serve(),), name="console")
        self.thread.start()
        self.loop = ready.result(PATIENCE_S)
        while not self.server.started:
            threading.Event().wait(0.02)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.feed.close)
        self.server.should_exit = True
        self.thread.join(15)

    def do(self, work: Callable[[Unit], T]) -> T:
        return asyncio.run_coroutine_threadsafe(self.store.write(work), self.loop).result(PATIENCE_S)

    def keep(self, sha256: str, content: bytes) -> None:
        async def chunks() -> Any:
            yield content

        asyncio.run_coroutine_threadsafe(self.blobs.put(sha256, chunks()), self.loop).result(PATIENCE_S)


@contextmanager
def running(home: Path, port: int) -> Iterator[Console]:
    found = Console(load(home=home), port)
    found.start()
    try:
        yield found
    finally:
        found.stop()
        found.store.close()


@pytest.fixture
def bare(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Console]:
    """A console that nobody has an account of."""
    with running(tmp_path / "bare", free_port()) as found:
        yield found


@pytest.fixture(scope="session")
def stage(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A hub's home with an admin, an operator, a technician and an auditor, who share a password."""
    return made_once("stage", _set_stage) / "hub"


def _set_stage(folder: Path) -> None:
    home = folder / "hub"
    store = Store.open(load(home=home).store_url)
    migrate(store.engine)
    store.write_sync(_people)
    open_identity(home, store, city="Pune")
    store.close()


@pytest.fixture
def console(stage: Path, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Console]:
    """With the people of ``stage``."""
    home = tmp_path / "hub"
    shutil.copytree(stage, home)
    with running(home, free_port()) as found:
        yield found


def _people(unit: Unit) -> None:
    for role in (Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN, Role.AUDITOR):
        users.add(unit, system("test"), str(role), password=PASSWORD, role=role)


class Browsers:
    """A worker's browsers, at most one of each kind: to start one and its driver costs a second of a core.

    Playwright leaves its event loop running in this thread; ``lend`` hides it from the asynchronous tests that come between.
    """

    def __init__(self, playwright: Playwright, program: str | None) -> None:
        self._playwright, self._program = playwright, program
        self._started: dict[bool, Browser] = {}
        self._loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    @contextmanager
    def lend(self, *, webgl: bool) -> Iterator[Browser]:
        with self._at_work():
            found = self._started.get(webgl)
            if found is None or not found.is_connected():
                flags = [*FLAGS, *(WITH_WEBGL if webgl else WITHOUT_WEBGL)]
                found = self._playwright.chromium.launch(executable_path=self._program, args=flags)
                self._started[webgl] = found
            yield found

    def close(self) -> None:
        asyncio._set_running_loop(self._loop)
        for found in self._started.values():
            found.close()


@pytest.fixture(scope="session")
def browsers(find_program: Callable[[str], str | None]) -> Iterator[Browsers]:
    """Chromium's headless shell takes a third of the time where it is installed."""
    program = find_program("chromium-headless-shell") or find_program("chromium")
    with sync_playwright() as playwright:
        found = Browsers(playwright, program)
        try:
            yield found
        finally:
            found.close()


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest, browsers: Browsers) -> Iterator[Browser]:
    with browsers.lend(webgl=_is_webgl(request)) as found:
        yield found


def _is_webgl(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("webgl") is not None


@pytest.fixture(scope="module")
def window(request: pytest.FixtureRequest) -> ViewportSize:
    """What a page is opened in: a desk's window, or one as small as the desk's layout allows where the processor draws it with WebGL."""
    return SMALL if _is_webgl(request) else LARGE


@contextmanager
def open_page(browser: Browser, console: Console, *, locale: str = "en-IN", **options: Any) -> Iterator[Page]:
    """A page that fails the test for a request to another origin, a broken rule of the CSP or an error in our code."""
    context = browser.new_context(
        base_url=console.url,
        locale=locale,
        reduced_motion="reduce",
        **{"viewport": LARGE, **options},
    )
    page = context.new_page()
    wrong: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((console.url, "data:", "blob:")):
            wrong.append(f"request to {request.url}")

    context.on("request", watch)
    page.on("pageerror", lambda error: wrong.append(f"error in the page: {error}"))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None,
    )
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


def sign_in(page: Page, console: Console, name: str) -> None:
    """A session of that account, as a log-in opens it; no page is opened yet. (tests/browser/test_login.py uses the form.)"""
    signed_in = console.do(lambda unit: open_session(unit, name))
    page.context.add_cookies(
        [{"name": cookie_name(secure=False), "value": signed_in.secret, "url": console.url}]
    )


def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA."""
    page.evaluate((ROOT / "hub/ui/node_modules/axe-core/axe.min.js").read_text())
    options = json.dumps({"runOnly": RULES, "resultTypes": ["violations"]})
    found: dict[str, Any] = page.evaluate(f"axe.run(document, {options})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.fixture
def page(browser: Browser, console: Console, window: ViewportSize) -> Iterator[Page]:
    """Signed in as the admin; nothing is opened yet."""
    with open_page(browser, console, viewport=window) as found:
        sign_in(found, console, "admin")
        yield found


# A small city


SITES = {
    "shaniwar-wada": ("Shaniwar Wada Chowk", 18.51950, 73.85530),
    "deccan": ("Deccan Gymkhana", 18.51670, 73.84110),
    "swargate": ("Swargate Chowk", 18.50180, 73.86360),
    "station": ("Pune Station", 18.52860, 73.87420),
}
DEVICES = {
    "pune-cam-01": (
        "shaniwar-wada",
        "Wada camera",
        {"cam1": CameraConfig(name="Wada gate", source="clip.mp4")},
    ),
    "pune-ecb-01": ("deccan", "Deccan help point", {"box1": CallboxConfig(name="Help point")}),
    "pune-vms-01": ("swargate", "Swargate sign", {"sign1": DisplayConfig(name="Swargate sign")}),
    "pune-cam-02": ("station", "Station camera", {"cam1": CameraConfig(source="rtsp://10.0.0.7/main")}),
}


def fact(device: str, peripheral: str, kind: str, body: Any) -> Fact:
    now = datetime.now(UTC)
    site, _name, configs = DEVICES[device]
    return Fact(device, site, peripheral, configs[peripheral].type, kind, body, now, False, ulid(), now)


def press(unit: Unit) -> None:
    """Somebody presses the call box."""
    incidents.on_event(unit, fact("pune-ecb-01", "box1", events.PRESS, Press(press=ulid(), count=1)))


def camera_fault(unit: Unit) -> None:
    body = CameraFault(fault=ContentFault.SIGNAL_LOSS, active=True, since=datetime.now(UTC))
    incidents.on_event(unit, fact("pune-cam-02", "cam1", events.CAMERA_FAULT, body))


def a_frame(text: str) -> bytes:
    image = Image.new("RGB", (192, 96), "#000000")
    ImageDraw.Draw(image).text((96, 48), text, fill="#ffb000", anchor="mm", font_size=28)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def shows(console: Console, text: str, *, override: str | None = None) -> None:
    """The sign reports what it shows, its safe content unless an override, and uploads the frame that it drew."""
    frame = a_frame(text)
    sha256 = hashlib.sha256(frame).hexdigest()
    console.keep(sha256, frame)
    source = ShownSource.OVERRIDE if override else ShownSource.SAFE
    body = Shown(
        source=source, item=override, cls=5 if override else 0, epoch=1, frame_sha256=sha256, text=text
    )
    said = fact("pune-vms-01", "sign1", events.SHOWN, body)
    console.do(
        lambda unit: (
            uploads.announce(unit, said),
            displays.shown(unit, said),
            uploads.stored(unit, said.device, sha256),
        )
    )


def set_presence(unit: Unit, device: str, presence: str, health: str = "ok") -> None:
    """What the flush of heartbeats and the sweep of silences write."""
    values = {"presence": presence, "presence_since": unit.now, "last_seen": unit.now, "health_state": health}
    unit.conn.execute(devices.update().where(devices.c.id == device).values(**values, born_at=unit.now))
    unit.tell("devices", id=device, presence=presence)


def _build(unit: Unit) -> None:
    root = system("test")
    registry.create_zone(unit, root, "pune", "Pune")
    for site, (name, lat, lon) in SITES.items():
        registry.create_site(unit, root, site, name, lat=lat, lon=lon, zone="pune")
    for device, (site, name, configs) in DEVICES.items():
        registry.create_device(unit, root, device, name=name, site=site)
        registry.change_device(unit, root, device, {"service": "active"})
        twins.put(unit, root, device, Desired(peripherals=configs), if_version=0)
        twins.reported(
            unit,
            fact(
                device,
                next(iter(configs)),
                events.TWIN_REPORT,
                TwinReport(version=1, outcome=TwinOutcome.APPLIED),
            ),
        )
        for peripheral, config in configs.items():
            row = {"device_id": device, "id": peripheral, "type": config.type, "name": config.name}
            row |= {"state": "ok", "faults": [], "note": None, "updated_at": unit.now}
            upsert(unit.conn, peripherals, row, keys=("device_id", "id"))
        set_presence(unit, device, "online")
    unit.conn.execute(
        peripherals.update()
        .where(peripherals.c.device_id == "pune-cam-01")
        .values(note="motion only: no model")
    )
    set_presence(unit, "pune-cam-02", "offline")
    health = {
        "uptime_s": 86400,
        "checks": [
            {"name": "cpu", "state": "ok", "value": 23.5},
            {"name": "memory", "state": "ok", "value": 41.0},
            {"name": "disk", "state": "warn", "value": 88.0, "text": "88 % used"},
            {"name": "temperature", "state": "ok", "value": 51.2},
        ],
    }
    unit.conn.execute(
        devices.update()
        .where(devices.c.id == "pune-cam-01")
        .values(
            health=health, health_state="warn", boot="6f1c9d1e-0000-4000-8000-000000000001", clock="synced"
        )
    )


def _health(unit: Unit) -> None:
    """A day of measurements with an hour in which the device said nothing."""
    for step in range(288):
        at = unit.now - timedelta(minutes=5 * step)
        if 60 <= step < 84:
            continue
        cpu = 25 + 15 * math.sin(step / 20)
        sums = {
            "cpu": [cpu - 5, cpu, cpu + 9, 1],
            "temperature": [48.0, 50 + step % 7, 55.0, 1],
            "memory": [40.0, 41.0, 43.0, 1],
        }
        history.add(unit, history.from_sums(at, {"pune-cam-01": sums}))


@pytest.fixture
def city(console: Console) -> Console:
    """Four devices of Pune, one of them offline, one with a full disk; a sign with a frame; a camera without picture."""
    _furnish(console)
    return console


def _furnish(console: Console) -> None:
    console.do(_build)
    console.do(camera_fault)
    shows(console, "PUNE")


@pytest.fixture(scope="module")
def standing_city(
    stage: Path, tmp_path_factory: pytest.TempPathFactory, find_port_offset: Callable[[], int]
) -> Iterator[Console]:
    """The city of a module's tests that leave it as it was."""
    home = tmp_path_factory.mktemp("standing") / "hub"
    shutil.copytree(stage, home)
    with running(home, 8080 + find_port_offset()) as found:
        _furnish(found)
        yield found


@pytest.fixture
def measured(city: Console) -> Console:
    """The city, whose camera told of its measurements for a day: 264 writes, for those who look at a chart."""
    city.do(_health)
    return city


@pytest.fixture
def visit(browser: Browser, console: Console, window: ViewportSize) -> Iterator[Callable[..., Page]]:
    """visit(name="operator") gives a page signed in as that person, visit() one that is not; ``at`` is another console."""
    with ExitStack() as stack:

        def go(name: str | None = None, *, at: Console = console, **options: Any) -> Page:
            found = stack.enter_context(open_page(browser, at, viewport=window, **options))
            if name:
                sign_in(found, at, name)
            return found

        yield go


class Happen:
    """What the field does while a page is open."""

    press = staticmethod(press)
    presence = staticmethod(set_presence)

    @staticmethod
    def sign_everybody_out(unit: Unit) -> None:
        unit.conn.execute(sessions.delete())

    @staticmethod
    def shows(city: Console, text: str, *, override: str | None = None) -> None:
        shows(city, text, override=override)

    @staticmethod
    def draws(city: Console, text: str) -> None:
        """The sign answers the preview that waits for it and uploads the drawing."""
        frame = a_frame(text)
        sha256 = hashlib.sha256(frame).hexdigest()
        city.keep(sha256, frame)
        result = {"frame": {"sha256": sha256, "size": len(frame)}, "width": 192, "height": 96}
        _answer(city, "SUCCEEDED", result=result)
        city.do(lambda unit: uploads.stored(unit, "pune-vms-01", sha256))

    @staticmethod
    def refuses(city: Console, why: str) -> None:
        _answer(city, "REJECTED", error=why)


def _answer(city: Console, state: Any, *, result: Any = None, error: str | None = None) -> None:
    def work(unit: Unit) -> None:
        command = commands.list_commands(unit.conn, "pune-vms-01").items[0]["id"]
        body = CommandReport(command=command, state=state, result=result, error=error)
        said = fact("pune-vms-01", "sign1", events.COMMAND_STATE, body)
        uploads.announce(unit, said)
        commands.reported(unit, said)

    city.do(work)


@pytest.fixture
def happen() -> type[Happen]:
    return Happen
