"""A switch dies: real boxes on a real hub fall silent together, and an operator sees one incident."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig

pytestmark = pytest.mark.system
CITY = """kind,id,name,parent,zone
feeder,f1,Feeder 1,,kasba
switch,s1,Switch 1,f1,
site,wada,,s1,
site,deccan,,s1,
"""


def holding(town: Any) -> list[tuple[str, str]]:
    """(kind, device or place) of each incident whose cause holds."""
    return sorted((one["kind"], one["device"] or one["scope"]) for one in town.incidents() if one["active"])


@pytest.mark.timeout(300)
def test_boxes_behind_a_dead_switch_are_one_incident_and_a_press_is_another(
    own_town: Any, eventually: Callable[..., Any]
) -> None:
    town = own_town
    town.post("/sites", {"id": "deccan", "name": "Deccan", "zone": "kasba", "lat": 18.5167, "lon": 73.8411})
    answer = town.api.post("/topology/csv", content=CITY.encode(), headers={"Content-Type": "text/csv"})
    assert answer.json() == {"assets": 2, "sites": 2}, answer.text
    boxes = [
        town.box(f"box-{n}", {"box1": CallboxConfig(button_pin=n, lamp_pin=n + 10)}) for n in range(1, 4)
    ]
    for box in boxes[1:]:
        assert town.api.patch(f"/devices/{box.device}", json={"site": "deccan"}).is_success
    for box in boxes:
        box.kill()
    eventually(lambda: all(box.presence == "offline" for box in boxes), "the boxes to be offline")
    eventually(lambda: holding(town) == [("place.outage", "s1")], "one incident for the switch")
    (outage,) = (one for one in town.incidents() if one["active"])
    assert outage["title"].startswith("Switch 1") and outage["severity"] == "critical"
    eventually(
        lambda: len(town.get(f"/incidents/{outage['id']}/children")["items"]) == 3, "its three children"
    )

    boxes[0].start()
    eventually(lambda: town.get(f"/incidents/{outage['id']}")["children"] == 2, "one to be back")
    boxes[0].press()
    eventually(
        lambda: holding(town) == [("callbox.press", "box-1"), ("place.outage", "s1")], "the press beside it"
    )

    until = datetime.now(UTC) + timedelta(hours=1)
    window = {"kind": "planned_power", "scope_type": "asset", "scope_id": "f1", "reason": "works"}
    now = datetime.now(UTC).isoformat()
    town.post("/windows", window | {"starts_at": now, "ends_at": until.isoformat()})
    eventually(lambda: town.get(f"/incidents/{outage['id']}")["hold"], "the outage to be on hold")
    assert [one["hold"] for one in town.incidents(kind="callbox.press")] == [None]
