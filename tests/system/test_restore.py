"""A hub restored from a backup goes on with devices that have meanwhile been told more than it knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent
from prahari_wire.twin import Desired
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
BOX = "ecb-09"


def sign(text: str) -> DisplayConfig:
    item = PlaylistItem(id="only", duration_s=60, content=TextContent(text=text))
    return DisplayConfig(width=192, height=96, playlist=[item])


def put_twin(town: Any, text: str) -> None:
    version = town.get(f"/devices/{BOX}/twin")["version"]
    desired = Desired(heartbeat_s=2, peripherals={"box1": CallboxConfig(), "sign1": sign(text)})
    answer = town.api.put(
        f"/devices/{BOX}/twin",
        json=desired.model_dump(mode="json"),
        headers={"If-Match": f'"{version}"'},
    )
    assert answer.status_code == 200, answer.text


def put_up(town: Any, text: str) -> str:
    wanted = {
        "class": 6,
        "priority": 1,
        "content": {"type": "text", "text": text},
        "reason": "test",
        "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    return str(town.post("/overrides", {"display": f"{BOX}:sign1", **wanted})["id"])


def shows(town: Any, text: str | None) -> bool:
    """Whether the sign itself says that it shows this override, or none."""
    found = town.get(f"/displays/{BOX}:sign1")
    shown = found["shown"] or {}
    return (shown.get("source") == "override") == (text is not None) and (
        text is None or shown.get("text") == text
    )


def presses(town: Any) -> int:
    return len(town.events(BOX, "callbox.press"))


def test_twins_overrides_commands_and_events_go_on_after_an_older_backup_is_restored(
    own_town: Any, eventually: Callable[..., Any]
) -> None:
    town = own_town
    box = town.box(BOX, {"box1": CallboxConfig(), "sign1": sign("DRIVE SAFELY")})
    box.press()
    eventually(lambda: presses(town) == 1, "the press before the backup")
    said = town.do("prahari-hub", "backup", str(town.folder / "backups"))
    assert "MiB in" in said

    for number in range(2):
        put_twin(town, f"TEXT {number}")
        eventually(lambda: town.twin_applied(BOX), "the new configuration")
    put_up(town, "ROAD CLOSED")
    eventually(lambda: shows(town, "ROAD CLOSED"), "the override on the sign")
    box.press()
    eventually(lambda: presses(town) == 2, "the press after the backup")
    before = town.get(f"/devices/{BOX}/twin")["version"]

    town.stop_hub()
    (town.folder / "hub").rename(town.folder / "lost")
    told = town.do("prahari-hub", "restore", str(town.folder / "backups"), "--home", str(town.folder / "hub"))
    assert "prahari-hub doctor" in told
    town.start_hub()

    eventually(lambda: town.twin_applied(BOX), "the device to run the restored hub's configuration")
    assert town.get(f"/devices/{BOX}/twin")["version"] > before
    eventually(lambda: shows(town, None), "the override of which the backup knows nothing to end")
    put_up(town, "FLOOD AHEAD")
    eventually(lambda: shows(town, "FLOOD AHEAD"), "an override of the restored hub")
    put_twin(town, "TEXT 9")
    eventually(lambda: town.twin_applied(BOX), "a configuration of the restored hub")
    box.press()
    eventually(lambda: presses(town) == 2, "a press at the restored hub: the one of the backup and this one")
    told = text_string_to_metric_families(town.api.get(f"{town.console}/metrics").text)
    found = {sample.name: sample.value for family in told for sample in family.samples}
    assert found["prahari_partitions_owned"] == 16 and found["prahari_devices_loaded"] == 1
