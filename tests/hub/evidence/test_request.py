"""A footage request from submission to a sealed package that verifies."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from prahari_hub.access.tables import audit
from prahari_hub.evidence.trust import trust_of
from prahari_wire import verifier
from prahari_wire.command import CommandName

from .conftest import NOON, City

START = NOON - timedelta(minutes=30)


def custody(city: City, request: str) -> list[str]:
    query = audit.select().where(audit.c.subject == f"request:{request}").order_by(audit.c.id)
    return [
        row.action.removeprefix("evidence.")
        for row in city.store.read_sync(lambda conn: conn.execute(query).all())
    ]


def trust(city: City) -> Path:
    file = city.folder / "city.json"
    file.write_text(json.dumps(trust_of(city.identity)))
    return file


async def test_a_request_is_taken_from_submission_to_a_clip_that_verifies(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START - timedelta(minutes=5), 1200)
    box.cameras["front"].tell()
    request = city.submit(START, 5)
    assert city.request(request).state == "submitted"
    assert not box.asked(CommandName.HOLD), "nothing is asked of a box before the approval"
    await city.carry_out(request)
    row = city.request(request)
    assert (row.state, row.outcome, row.reason) == ("sealed", "fulfilled", None)
    code, lines = verifier.verify(await city.package(request), trust(city))
    assert code == 0, lines
    assert any("FIR 112/2026" in line for line in lines)
    assert custody(city, request) == [
        "submit", "approve", "hold", "held", "send", "manifest", "transferred", "received", "seal", "unhold",
    ]  # fmt: skip


async def test_the_box_need_hold_it_no_longer_once_it_is_sealed(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 2)
    await city.carry_out(request)
    (release,) = box.asked(CommandName.RELEASE)
    (hold,) = [camera.hold for camera in city.cameras(request).values()]
    assert release.args == {"peripheral": "front", "hold": hold}
    box.answer(release.id)
    city.advance()
    assert city.cameras(request)["front"].released_at == city.now
