"""The thinnest path through everything: press, track, override; box → broker → hub → API, over mutual TLS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent

pytestmark = pytest.mark.system
MODEL = Path(__file__).parent.parent / "data" / "models" / "ssd_mobilenet_v1_coco.toml"
EVERYWHERE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
SIGN = DisplayConfig(
    width=192,
    height=96,
    playlist=[PlaylistItem(id="only", duration_s=60, content=TextContent(text="DRIVE SAFELY"))],
)


def open_press(town: Any, device: str) -> dict[str, Any] | None:
    found = town.incidents(state="open", kind="callbox.press", device=device)
    return found[0] if found else None


def lamp_of(box: Any) -> str:
    return str(box.town.do("prahari-agent", "lamp", "--home", str(box.home))).strip()


def test_a_press_becomes_an_incident_and_the_lamp_follows_the_operator(
    town: Any, eventually: Callable[..., Any]
) -> None:
    box = town.box("ecb-01", {"box1": CallboxConfig()})
    assert lamp_of(box) == "off"
    box.press()
    incident = eventually(lambda: open_press(town, "ecb-01"), "the press to become an incident")
    assert incident["severity"] == "critical"
    assert incident["device"] == "ecb-01"
    assert lamp_of(box) == "blinking"

    town.post(f"/incidents/{incident['id']}/ack", {})
    eventually(lambda: lamp_of(box) == "steady", "the lamp to turn steady")
    town.post(f"/incidents/{incident['id']}/resolve", {"comment": "false alarm, spoke to the caller"})
    eventually(lambda: lamp_of(box) == "off", "the lamp to go out")


def test_a_second_press_joins_the_open_incident(town: Any, eventually: Callable[..., Any]) -> None:
    box = town.box("ecb-02", {"box1": CallboxConfig()})
    box.press()
    first = eventually(lambda: open_press(town, "ecb-02"), "the first press to become an incident")
    box.press()
    eventually(lambda: town.get(f"/incidents/{first['id']}")["count"] == 2, "the second press to be counted")
    assert len(town.incidents(state="open", kind="callbox.press", device="ecb-02")) == 1


@pytest.mark.needs("media")
def test_a_person_in_a_real_video_becomes_an_incident_with_a_snapshot(
    town: Any, media: Path, eventually: Callable[..., Any]
) -> None:
    clip = media / "one-by-one-person-detection.mp4"
    region = Region(id="hall", name="Hall", polygon=EVERYWHERE)
    camera = CameraConfig(source=str(clip), model=str(MODEL), realtime=False, loop=False, regions=[region])
    town.box("cam-01", {"cam1": camera})
    incident = eventually(
        lambda: next((i for i in town.incidents() if i["kind"] == "camera.track" and i["snapshot"]), None),
        "a person to become an incident",
        within_s=90,
    )
    eventually(
        lambda: town.api.get(f"/blobs/{incident['snapshot']}").status_code == 200,
        "the snapshot to arrive at the hub",
    )
    picture = town.api.get(f"/blobs/{incident['snapshot']}")
    assert picture.content.startswith(b"\xff\xd8")


def test_an_override_reaches_the_sign_and_its_own_rendering_comes_back(
    town: Any, eventually: Callable[..., Any]
) -> None:
    box = town.box("vms-01", {"sign1": SIGN})
    eventually(lambda: box.frame, "the sign to show its playlist")
    before = box.frame.read_bytes()
    made = town.post("/overrides", override("vms-01:sign1", "ROAD CLOSED"))
    eventually(lambda: box.frame.read_bytes() != before, "the sign to show the override")
    display = eventually(
        lambda: next(
            (
                d
                for d in [town.get("/displays/vms-01:sign1")]
                if (d["shown"] or {}).get("source") == "override"
            ),
            None,
        ),
        "the hub to know what the sign shows",
    )
    frame = eventually(
        lambda: (a := town.api.get(f"/blobs/{display['shown']['frame_sha256']}")).status_code == 200 and a,
        "the rendered frame to arrive",
    )
    assert frame.content == box.frame.read_bytes()

    assert town.api.delete(f"/overrides/{made['id']}").is_success
    eventually(lambda: box.frame.read_bytes() == before, "the sign to return to its playlist")


def test_an_illegible_override_is_refused_with_the_reason(town: Any, eventually: Callable[..., Any]) -> None:
    box = town.box("vms-02", {"sign1": SIGN})
    eventually(lambda: box.frame, "the sign to show its playlist")
    before = box.frame.read_bytes()
    made = town.post("/overrides", override("vms-02:sign1", "far too much to read while driving past " * 10))
    refused = eventually(
        lambda: (town.get("/displays/vms-02:sign1")["refused"] or {}).get(made["id"]), "the sign to refuse"
    )
    assert "fit" in refused
    assert box.frame.read_bytes() == before


def override(display: str, text: str, **extra: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(minutes=10)
    return {
        "display": display,
        "class": 6,
        "content": {"type": "text", "text": text},
        "reason": "water main burst",
        "expires_at": until.isoformat(),
        **extra,
    }
