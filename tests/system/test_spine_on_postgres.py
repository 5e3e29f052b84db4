"""The spine once more with PostgreSQL behind the hub: press, incident, lamp, and a hub that is killed in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig

pytestmark = [pytest.mark.system, pytest.mark.needs("initdb")]


def test_a_press_goes_all_the_way_and_what_was_said_outlives_a_killed_hub(
    town_on_postgres: Any, eventually: Callable[..., Any]
) -> None:
    town = town_on_postgres
    box = town.box("ecb-01", {"box1": CallboxConfig()})
    box.press()
    opened = eventually(
        lambda: town.incidents(state="open", kind="callbox.press"), "the press to become an incident"
    )
    town.post(f"/incidents/{opened[0]['id']}/ack", {})
    eventually(
        lambda: "steady" in town.do("prahari-agent", "lamp", "--home", str(box.home)),
        "the lamp to turn steady",
    )

    town.kill_hub()
    box.press()
    town.start_hub()
    found = eventually(
        lambda: [each for each in town.incidents(state="open", kind="callbox.press") if each["count"] == 2],
        "the press that the hub did not hear to arrive after its restart",
    )
    assert [each["id"] for each in found] == [opened[0]["id"]]
    assert not (town.folder / "hub" / "hub.db").exists()
