"""The demo's city: where its devices stand and what the hub wants of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prahari_wire.base import Severity
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent
from prahari_wire.twin import Desired, PeripheralConfig

CITY = "Pune"
HEARTBEAT_S = 10
ROAD = [(0.0, 0.35), (1.0, 0.35), (1.0, 1.0), (0.0, 1.0)]
"""The part of the picture in which the demo's cameras raise incidents: all but the sky."""


@dataclass(frozen=True)
class Zone:
    id: str
    name: str


@dataclass(frozen=True)
class Site:
    id: str
    name: str
    zone: str
    lat: float
    lon: float


@dataclass(frozen=True)
class Device:
    id: str
    name: str
    site: str
    desired: Desired


ZONES = (Zone("kasba-peth", "Kasba Peth"), Zone("shivajinagar", "Shivajinagar"), Zone("swargate", "Swargate"))
SITES = (
    Site("shaniwar-wada", "Shaniwar Wada Chowk", "kasba-peth", 18.51950, 73.85530),
    Site("deccan-gymkhana", "Deccan Gymkhana", "shivajinagar", 18.51670, 73.84110),
    Site("swargate-chowk", "Swargate Chowk", "swargate", 18.50180, 73.86360),
)


def devices(clip: Path, quiet_clip: Path, model: Path | None) -> tuple[Device, ...]:
    """The three devices; ``clip`` plays at the first camera, ``quiet_clip`` at the one beside the call box."""
    first: Mapping[str, PeripheralConfig] = {"cam1": camera("Wada gate", clip, model)}
    second: Mapping[str, PeripheralConfig] = {
        "box1": CallboxConfig(name="Help point"),
        "cam1": camera("Help point camera", quiet_clip, None, watched=False),
    }
    third: Mapping[str, PeripheralConfig] = {"sign1": sign()}
    return (
        Device("pune-cam-01", "Wada camera", "shaniwar-wada", desired(first)),
        Device("pune-ecb-01", "Deccan help point", "deccan-gymkhana", desired(second)),
        Device("pune-vms-01", "Swargate sign", "swargate-chowk", desired(third)),
    )


def desired(peripherals: Mapping[str, PeripheralConfig]) -> Desired:
    return Desired(heartbeat_s=HEARTBEAT_S, peripherals=dict(peripherals))


def camera(name: str, clip: Path, model: Path | None, *, watched: bool = True) -> CameraConfig:
    """A camera on a clip; without a model the motion gate alone sees, so ``motion`` counts in the region then."""
    classes = ["person"] if model else ["person", "motion"]
    regions = [Region(id="road", name="Road", polygon=ROAD, classes=classes, severity=Severity.MINOR)]
    return CameraConfig(
        name=name, source=str(clip), model=str(model) if model else None, regions=regions if watched else []
    )


def sign() -> DisplayConfig:
    return DisplayConfig(
        name="Swargate sign",
        playlist=[
            PlaylistItem(id="welcome", duration_s=15, content=TextContent(text="पुणे शहर\nसुरक्षित चलें")),
            PlaylistItem(id="helmet", duration_s=15, content=TextContent(text="WEAR A HELMET\nDRIVE SAFELY")),
        ],
        safe=TextContent(text="पुणे", colour="#606060"),
    )
