"""The pages: what an operator, an admin and a police officer with a link do and see, in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prahari_hub.http.actor import Role
from prahari_wire import verifier

from .conftest import NOON, City

pytestmark = pytest.mark.parametrize("which_store", ["sqlite"], indirect=True)
START = NOON - timedelta(minutes=30)
IST = ZoneInfo("Asia/Kolkata")


def local(at: datetime) -> str:
    return at.astimezone(IST).strftime("%Y-%m-%dT%H:%M")


def form(csrf: str, **more: str) -> dict[str, str]:
    return {
        "csrf": csrf, "authority": "Faraskhana", "case_number": "FIR 7/2026", "purpose": "theft", "kind": "point",
        "lat": "18.5195", "lon": "73.8553", "radius_m": "200",
        "starts_at": local(START), "ends_at": local(START + timedelta(minutes=2)),
    } | more  # fmt: skip


async def test_a_request_goes_from_the_form_to_a_link_that_opens_a_verified_package(
    city: City, console: Callable[[Role], Any]
) -> None:
    box = await city.box("pune-cam-01", "front", presence="offline")
    box.cameras["front"].record(START - timedelta(minutes=5), 900)
    box.cameras["front"].tell()
    operator, csrf = await console(Role.OPERATOR)
    admin, admins = await console(Role.ADMIN)
    seen = await operator.post("/evidence/new", data=form(csrf))
    assert "100 %" in seen.text and 'value="pune-cam-01:front"' in seen.text
    made = await operator.post("/evidence", data=form(csrf, camera="pune-cam-01:front"))
    assert made.status_code == 200 and "another person must decide" in made.text
    address = made.url.path
    assert f"{address}/approve" not in made.text
    approved = await admin.post(f"{address}/approve", data={"csrf": admins})
    assert "Being collected" in approved.text
    for _ in range(3):
        city.advance()
        box.hold()
        await box.send()
    sealed = await operator.get(address)
    assert "Fulfilled" in sealed.text and "Hash of the manifest" in sealed.text
    linked = await operator.post(f"{address}/links", data={"csrf": csrf, "recipient": "Inspector Kulkarni"})
    (link,) = re.findall(r'value="http://localhost(/release/[\w-]+)"', linked.text)
    operator.cookies.clear()
    page = await operator.get(link)
    assert "Inspector Kulkarni" in page.text
    file = city.folder / "released.zip"
    file.write_bytes((await operator.get(f"{link}/package")).content)
    assert verifier.verify(file)[0] == 0
    custody = await admin.get(address)
    assert custody.text.count("downloaded") == 1


async def test_a_link_opens_so_often_and_so_long_and_can_be_called_back(
    city: City, console: Callable[[Role], Any]
) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 1)
    await city.carry_out(request)
    operator, csrf = await console(Role.OPERATOR)

    async def link(**more: str) -> str:
        data = {"csrf": csrf, "recipient": "K", "days": "1", "most_uses": "1"} | more
        page = await operator.post(f"/evidence/{request}/links", data=data)
        return re.findall(r'value="http://localhost(/release/[\w-]+)"', page.text)[0]

    once, long, back = await link(), await link(most_uses="9"), await link()
    assert (await operator.get(f"{once}/package")).status_code == 200
    assert (await operator.get(f"{once}/package")).status_code == 404
    page = await operator.get(f"/evidence/{request}")
    await operator.post(
        re.findall(r'action="(/evidence/\w+/links/\w+/revoke)"', page.text)[0], data={"csrf": csrf}
    )
    assert (await operator.get(f"{back}/package")).status_code == 404
    city.pass_time(days=2)
    over = await operator.get(long)
    assert over.status_code == 404 and "does not open anything any more" in over.text


async def test_an_incident_leads_to_the_form_with_its_camera_and_the_minutes_around_it(
    city: City, console: Callable[[Role], Any]
) -> None:
    await city.box("pune-cam-01", "front")
    operator, _ = await console(Role.OPERATOR)
    known = {
        "cameras": "pune-cam-01:front",
        "at": (NOON - timedelta(seconds=20)).isoformat(),
        "purpose": "Wrong way",
    }
    page = (await operator.get("/evidence/new", params=known)).text
    shown = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]+)"', page))
    assert (shown["cameras"], shown["purpose"]) == ("pune-cam-01:front", "Wrong way")
    noon = NOON.astimezone(IST)
    assert datetime.fromisoformat(shown["starts_at"]) == (noon - timedelta(seconds=30)).replace(tzinfo=None)
    assert datetime.fromisoformat(shown["ends_at"]) == noon.replace(tzinfo=None), "never beyond this moment"
    assert 'value="cameras" checked' in page
    at_site = await operator.get("/evidence/new", params={"site": "shaniwar-wada", "at": known["at"]})
    assert 'value="site" checked' in at_site.text and 'value="shaniwar-wada"' in at_site.text


async def test_bad_input_is_said_beside_the_form_which_keeps_what_was_typed(
    city: City, console: Callable[[Role], Any]
) -> None:
    await city.box("pune-cam-01", "front")
    operator, csrf = await console(Role.OPERATOR)
    for more, said in (
        ({"lat": "north"}, "Give the point as latitude"),
        ({"kind": "site", "site": ""}, "There is no site"),
        ({"kind": "cameras", "cameras": "pune"}, "Name cameras as device:camera"),
        ({"ends_at": local(NOON + timedelta(days=2))}, "That time has not passed yet"),
        ({"starts_at": "soon"}, "Say from when until when"),
    ):
        answer = await operator.post("/evidence/new", data=form(csrf, **more))
        assert answer.status_code == 422
        assert said in answer.text and "FIR 7/2026" in answer.text


async def test_every_page_speaks_hindi(city: City, console: Callable[[Role], Any]) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 120)
    request = city.submit(START, 5)
    await city.carry_out(request)
    admin, csrf = await console(Role.ADMIN)
    await admin.post("/locale", data={"csrf": csrf, "locale": "hi"})
    for path, said in (
        ("/evidence", "फ़ुटेज की माँगें"), ("/evidence/new", "कहाँ और कब"), (f"/evidence/{request}", "अंशतः पूरी हुई"),
        ("/evidence/figures", "पहले इनकी मरम्मत करें"),
    ):  # fmt: skip
        assert said in (await admin.get(path)).text
    seen = await admin.post("/evidence/new", data=form(csrf))
    assert "कौन-सा फ़ुटेज है" in seen.text


async def test_a_technician_sees_what_to_repair_and_no_case(
    city: City, console: Callable[[Role], Any]
) -> None:
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 60)
    box.cameras["front"].tell(gaps=[(41_500_000, 43_000_000, "power")])
    await city.carry_out(city.submit(START, 10))
    technician, _ = await console(Role.TECHNICIAN)
    page = await technician.get("/evidence/figures")
    assert "pune-cam-01:front" in page.text and "FIR" not in page.text
    assert (await technician.get("/evidence")).status_code == 403
