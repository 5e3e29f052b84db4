"""The live view at the hub: begun with a reason, shown to whoever began it, over after its time, and nothing of it kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prahari_hub.access import sessions, users
from prahari_hub.access.tables import audit
from prahari_hub.errors import Invalid
from prahari_hub.fleet import api_live, commands, live_views, twins
from prahari_hub.fleet.tables import devices
from prahari_hub.fleet.tables import live_views as table
from prahari_hub.http import problems
from prahari_hub.http.actor import Role, system
from prahari_hub.identity.peer import client_device
from prahari_hub.live.feed import Feed
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.web.app import Parts, console_app
from prahari_wire.camera import CameraConfig
from prahari_wire.command import CommandName
from prahari_wire.owner import Owner
from prahari_wire.twin import Desired

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
JPEG = b"\xff\xd8\xff" + b"picture" * 100
PAGE = "/devices/pune-cam-01/cameras/cam1/live"
WHY = "a quarrel was called in"


def configure(store: Store, owner: Owner | None = None) -> None:
    def work(unit: Unit) -> None:
        desired = Desired(peripherals={"cam1": CameraConfig(source="/clip.mp4", owner=owner)})
        version = twins.get(unit.conn, "pune-cam-01").version
        twins.put(unit, system("test"), "pune-cam-01", desired, if_version=version)
        unit.conn.execute(devices.update().values(presence="online"))

    store.write_sync(work)


@pytest.fixture
async def box(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """Device HTTPS as pune-cam-01."""
    app = FastAPI()
    app.state.store = store
    problems.install(app)
    app.include_router(api_live.device_router)
    app.dependency_overrides[client_device] = lambda: "pune-cam-01"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://hub/device/v1") as one:
        yield one


@pytest.fixture
async def people(
    store: Store, tmp_path: Path
) -> AsyncIterator[Callable[[str], tuple[httpx.AsyncClient, str]]]:
    """people(name) signs an operator of that name in."""
    app = console_app(Parts(Settings(home=tmp_path), store, state={"feed": Feed()}))
    made: list[httpx.AsyncClient] = []

    def sign_in(name: str) -> tuple[httpx.AsyncClient, str]:
        def work(unit: Unit) -> sessions.SignedIn:
            users.add(unit, system("test"), name, password="four unrelated words here", role=Role.OPERATOR)
            return sessions.open_session(unit, name)

        signed = store.write_sync(work)
        made.append(
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost",
                cookies={"prahari_session": signed.secret}, follow_redirects=True,
            )
        )  # fmt: skip
        return made[-1], signed.csrf

    yield sign_in
    for each in made:
        await each.aclose()


def logged(store: Store, action: str) -> list[Any]:
    query = audit.select().where(audit.c.action == action)
    return store.read_sync(lambda conn: list(conn.execute(query)))


async def test_an_operator_watches_with_a_reason_and_nothing_of_it_is_kept(
    store: Store, box: Any, people: Any, time: Any
) -> None:
    configure(store)
    asha, csrf = people("asha")
    unsaid = await asha.post(PAGE, data={"csrf": csrf, "reason": "why"})
    assert unsaid.status_code == 422 and "Say why you watch" in unsaid.text
    begun = await asha.post(PAGE, data={"csrf": csrf, "reason": WHY, "seconds": "30"})
    view = begun.url.path.rsplit("/", 1)[1]
    assert "The first picture is on its way" in begun.text and 'hx-trigger="every 1s"' in begun.text
    (command,) = store.read_sync(lambda conn: commands.list_commands(conn, "pune-cam-01")).items
    assert (command["name"], command["args"]["view"], command["args"]["seconds"]) == ("camera.live", view, 30)
    assert (await box.put(f"/live/{view}", content=JPEG)).status_code == 204
    assert f"{view}/picture?n=1" in (await asha.get(f"{PAGE}/{view}")).text
    shown = await asha.get(f"{PAGE}/{view}/picture")
    assert (shown.content, shown.headers["cache-control"]) == (JPEG, "no-store")
    ravi, _ = people("ravi")
    assert (await ravi.get(f"{PAGE}/{view}/picture")).status_code == 403
    time.pass_s(31)
    assert (await box.put(f"/live/{view}", content=JPEG)).status_code == 410
    store.write_sync(live_views.sweep)
    over = await asha.get(f"{PAGE}/{view}")
    assert "Nothing of it was kept" in over.text and "hx-trigger" not in over.text.split('id="live"')[1]
    assert store.read_sync(lambda conn: conn.execute(table.select()).one()).picture is None
    (begin,), (end,) = logged(store, "live.begin"), logged(store, "live.end")
    assert (begin.actor, begin.reason) == ("asha", WHY)
    assert (end.detail["pictures"], end.detail["watched"]) == (1, "asha")


async def test_it_can_be_stopped_and_a_second_one_of_the_camera_ends_the_first(
    store: Store, box: Any, people: Any
) -> None:
    configure(store)
    asha, csrf = people("asha")
    first = (await asha.post(PAGE, data={"csrf": csrf, "reason": WHY})).url.path.rsplit("/", 1)[1]
    second = (await asha.post(PAGE, data={"csrf": csrf, "reason": WHY})).url.path.rsplit("/", 1)[1]
    assert (await box.put(f"/live/{first}", content=JPEG)).status_code == 410
    assert (await box.put(f"/live/{second}", content=JPEG)).status_code == 204
    await asha.post(f"{PAGE}/{second}/end", data={"csrf": csrf})
    assert (await box.put(f"/live/{second}", content=JPEG)).status_code == 410
    assert len(logged(store, "live.end")) == 2


async def test_the_owners_terms_and_an_absent_device_forbid_it(store: Store, people: Any) -> None:
    configure(store, Owner(name="Joshi Jewellers", contact="020"))
    asha, csrf = people("asha")
    assert "the owner allows no live view" in (await asha.get(PAGE)).text
    forced = await asha.post(PAGE, data={"csrf": csrf, "reason": WHY})
    assert forced.status_code == 422 and "allows no live view" in forced.text
    configure(store, Owner(name="Joshi Jewellers", contact="020", live=True))
    store.write_sync(lambda unit: unit.conn.execute(devices.update().values(presence="offline")))
    away = await asha.post(PAGE, data={"csrf": csrf, "reason": WHY})
    assert "nothing to watch" in away.text
    assert store.read_sync(lambda conn: commands.list_commands(conn, "pune-cam-01")).items == []


def _typed(unit: Unit, *, name: CommandName) -> None:
    commands.issue_by_hand(unit, system("test"), "pune-cam-01", name, {}, expires_in_s=60)


async def test_the_api_begins_one_too_and_a_bare_command_does_not(store: Store, api: Any, box: Any) -> None:
    configure(store)
    operator = api(Role.OPERATOR)
    bare = await operator.post("/devices/pune-cam-01/commands", json={"name": "camera.live", "args": {}})
    assert bare.status_code == 422
    for name in ("camera.live", "recording.release"):
        with pytest.raises(Invalid, match=r"wants a reason|footage request"):
            store.write_sync(partial(_typed, name=CommandName(name)))
    begun = await operator.post("/devices/pune-cam-01/cameras/cam1/live", json={"reason": WHY})
    assert begun.status_code == 201
    view = begun.json()["id"]
    assert (await operator.get(f"/live-views/{view}/picture")).status_code == 404
    for wrong in (b"not a picture", JPEG + bytes(600_000)):
        assert (await box.put(f"/live/{view}", content=wrong)).status_code == 422
    assert (await box.put(f"/live/{view}", content=JPEG)).status_code == 204
    assert (await operator.get(f"/live-views/{view}/picture")).content == JPEG
    assert (await operator.delete(f"/live-views/{view}")).json()["ended_at"]
    assert (await box.put("/live/01ARZ3NDEKTSV4RRFFQ69G5FAV", content=JPEG)).status_code == 404
