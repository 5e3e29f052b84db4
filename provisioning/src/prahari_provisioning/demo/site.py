"""The demo's city: where its devices stand and what the hub wants of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prahari_wire.base import Severity
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig, Region
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent
from prahari_wire.recording import RecordingConfig
from prahari_wire.twin import Desired, PeripheralConfig

from prahari_provisioning.demo import street

CITY = "Pune"
HEARTBEAT_S = 10
ROAD = [(0.0, 0.35), (1.0, 0.35), (1.0, 1.0), (0.0, 1.0)]
"""The part of the picture in which a camera on somebody's own clip raises incidents: all but the sky."""
RECORDING = RecordingConfig(enabled=True, retention_days=2, max_mb=1000)


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


@dataclass(frozen=True)
class Scenery:
    """What the demo's cameras look at. ``drawn``: ``clip`` is the street of street.py, so that its rules fit; ``quiet_clip`` plays
    beside the call box.
    """

    clip: Path
    quiet_clip: Path
    model: Path | None
    drawn: bool


def devices(scenery: Scenery) -> tuple[Device, ...]:
    """The three devices."""
    first: Mapping[str, PeripheralConfig] = {"cam1": watching(scenery)}
    second: Mapping[str, PeripheralConfig] = {
        "box1": CallboxConfig(name="Help point"),
        "cam1": CameraConfig(name="Help point camera", source=str(scenery.quiet_clip), recording=RECORDING),
    }
    third: Mapping[str, PeripheralConfig] = {"sign1": sign()}
    return (
        Device("pune-cam-01", "Wada camera", "shaniwar-wada", desired(first)),
        Device("pune-ecb-01", "Deccan help point", "deccan-gymkhana", desired(second)),
        Device("pune-vms-01", "Swargate sign", "swargate-chowk", desired(third)),
    )


def desired(peripherals: Mapping[str, PeripheralConfig]) -> Desired:
    return Desired(heartbeat_s=HEARTBEAT_S, peripherals=dict(peripherals))


def watching(scenery: Scenery) -> CameraConfig:
    """The camera that raises incidents and records: by rules on the drawn street, by one region on a clip of somebody's own.

    Without a model the motion gate alone sees and knows no kinds, so that ``motion`` counts in the region.
    """
    ruled = scenery.drawn and scenery.model is not None
    classes = ["person"] if scenery.model else ["person", "motion"]
    region = Region(id="road", name="Road", polygon=ROAD, classes=classes, severity=Severity.MINOR)
    return CameraConfig(
        name="Wada gate",
        source=str(scenery.clip),
        model=str(scenery.model) if scenery.model else None,
        regions=[] if ruled else [region],
        rules=street.rules() if ruled else [],
        recording=RECORDING,
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
