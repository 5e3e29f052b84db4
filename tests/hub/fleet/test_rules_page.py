"""What the page of a camera's rules draws and takes."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prahari_hub.access import sessions, users
from prahari_hub.errors import Invalid, NotFound
from prahari_hub.fleet import journal, twins
from prahari_hub.fleet.pages_rules import _parsed, _with_rules, shape_of
from prahari_hub.fleet.twins import Twin
from prahari_hub.http.actor import Role, system
from prahari_hub.live.feed import Feed
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.web.app import Parts, console_app
from prahari_wire.base import Clock
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig
from prahari_wire.envelope import Event
from prahari_wire.events import RULE
from prahari_wire.ids import ulid
from prahari_wire.rules import Crossed, WrongDirection
from prahari_wire.twin import Desired

SQUARE = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]
TWIN = Twin(
    "pune-cam-01",
    4,
    Desired(
        peripherals={"cam1": CameraConfig(source="/clip.mp4", name="Gate", fps=2), "box1": CallboxConfig()}
    ),
)


_numbers = itertools.count(1)


def test_shapes_are_drawn_in_thousandths_of_the_picture() -> None:
    line = Crossed(id="l", name="Line", line=[(0.0, 0.5), (1.0, 0.625)])
    drawn = shape_of(line)
    assert (drawn["closed"], drawn["points"], drawn["arrow"]) == (False, "0,500 1000,625", "")
    lane = WrongDirection(id="w", name="Lane", region=SQUARE, allowed=[(0.5, 0.5), (0.5, 0.75)])
    assert shape_of(lane)["closed"]
    assert shape_of(lane)["arrow"] == "500,500 500,750"


def test_rules_replace_those_of_the_camera_and_nothing_else() -> None:
    rule = {"type": "ObjectsInside", "id": "gate", "name": "Gate", "region": SQUARE}
    desired = _with_rules(TWIN, "cam1", [rule])
    camera = desired.peripherals["cam1"]
    assert isinstance(camera, CameraConfig)
    assert [one.id for one in camera.rules] == ["gate"]
    assert (camera.name, camera.fps) == ("Gate", 2)
    assert desired.peripherals["box1"] == TWIN.desired.peripherals["box1"]


def test_what_is_no_rule_is_refused_with_its_place() -> None:
    bow = {"type": "ObjectsInside", "id": "gate", "name": "Gate", "region": [[0, 0], [1, 1], [1, 0], [0, 1]]}
    with pytest.raises(Invalid, match="crosses itself"):
        _with_rules(TWIN, "cam1", [bow])
    for text in ("[", '{"id": 1}'):
        with pytest.raises(Invalid):
            _parsed(text)


@pytest.mark.parametrize("camera", ["cam2", "box1"])
def test_only_a_camera_of_the_twin_has_rules(camera: str) -> None:
    with pytest.raises(NotFound, match="names no camera"):
        _with_rules(TWIN, camera, [])


ADDRESS = "/devices/pune-cam-01/cameras/cam1/rules"
LANE = WrongDirection(id="lane", name="Lane", region=SQUARE, allowed=[(0.5, 0.5), (0.5, 0.75)])


@pytest.fixture
async def browser(store: Store, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A signed-in technician's client and the CSRF token of the session."""
    desired = Desired(peripherals={"cam1": CameraConfig(source="/clip.mp4", name="Gate", rules=[LANE])})

    def work(unit: Unit) -> sessions.SignedIn:
        twins.put(unit, system("test"), "pune-cam-01", desired, if_version=0)
        users.add(unit, system("test"), "ravi", password="four unrelated words here", role=Role.TECHNICIAN)
        return sessions.open_session(unit, "ravi")

    signed = await store.write(work)
    app = console_app(Parts(Settings(home=tmp_path), store, state={"feed": Feed()}))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://localhost",
        cookies={"prahari_session": signed.secret},
    ) as client:
        yield client, signed.csrf


async def test_the_page_shows_the_rules_over_the_newest_picture_of_that_camera(
    store: Store, browser: tuple[httpx.AsyncClient, str], time: Any
) -> None:
    client, _ = browser
    empty = await client.get(ADDRESS)
    assert empty.status_code == 200
    assert "There is no picture of this camera yet" in empty.text
    assert 'points="100,100 900,100 900,900 100,900"' in empty.text
    for camera, sha256 in (("cam1", "a" * 64), ("cam1", "b" * 64), ("cam2", "c" * 64)):
        store.write_sync(partial(_seen, camera=camera, sha256=sha256, at=time.now))
    assert f"/api/v1/blobs/{'b' * 64}" in (await client.get(ADDRESS)).text


def _seen(unit: Unit, *, camera: str, sha256: str, at: Any) -> None:
    """A rule of the camera was met, with a picture."""
    snapshot = {"sha256": sha256, "size": 10}
    stamp = {"boot": uuid4(), "conn": 1, "at": at, "mono_ms": 1, "clock": Clock.SYNCED}
    body = {
        "phase": "started",
        "event": ulid(),
        "rule": "lane",
        "type": "WrongDirection",
        "label": "car",
        "score": 0.9,
    }
    body |= {"started_at": at.isoformat(), "seen_at": at.isoformat(), "snapshot": snapshot}
    seq = next(_numbers)
    event = Event(id=ulid(), seq=seq, kind=RULE, peripheral=camera, body=body, **stamp)
    journal.add_events(unit, [journal.row_of("pune-cam-01", str(uuid4()), event, at)])


async def test_rules_are_written_as_the_next_version_and_a_stale_one_is_not(
    store: Store, browser: tuple[httpx.AsyncClient, str]
) -> None:
    client, csrf = browser
    gate = {"type": "ObjectsInside", "id": "gate", "name": "Gate", "region": SQUARE}
    form = {"csrf": csrf, "version": "1", "rules": json.dumps([gate])}
    assert (await client.post(ADDRESS, data=form)).status_code == 303
    twin = store.read_sync(lambda conn: twins.get(conn, "pune-cam-01"))
    assert [rule.id for rule in twin.desired.peripherals["cam1"].rules] == ["gate"]
    stale = await client.post(ADDRESS, data=form)
    assert stale.status_code == 422
    assert "version 2, not 1" in stale.text
