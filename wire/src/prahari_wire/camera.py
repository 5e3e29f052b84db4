"""A camera: its configuration in the twin and its events."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from prahari_wire.base import Message, PeripheralId, Severity, Sha256, ShortText, Ulid, Utc
from prahari_wire.owner import Owner
from prahari_wire.recording import RecordingConfig
from prahari_wire.rules import Direction, Mask, Polygon, Rules, Unit

_PASSWORD = re.compile(r"(?i)(?:^|[/?&;_])(?:pass|passwd|password|pwd)=(?!\{password\}(?:[/?&;_]|$))")


def _without_password(source: str) -> str:
    parts = urlsplit(source)
    if parts.username or parts.password:
        raise ValueError("the address must not carry a user or password: put them in the box's secrets.toml")
    if parts.scheme and _PASSWORD.search(f"{parts.path}?{parts.query}"):
        raise ValueError(
            "the address must not carry a password: write {password} in its place and put it in the box's secrets.toml"
        )
    return source


Source = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_without_password)]


class Region(Message):
    """A polygon in the picture; a track's bottom centre decides. Empty ``classes`` means every class of the model."""

    id: PeripheralId
    name: ShortText
    polygon: Polygon
    classes: Annotated[list[ShortText], Field(max_length=32)] = ["person"]
    severity: Severity = Severity.MINOR


class ContentFault(StrEnum):
    """What is wrong with a picture; names as ONVIF spells them."""

    SIGNAL_LOSS = "SignalLoss"
    FROZEN = "Frozen"
    IMAGE_TOO_DARK = "ImageTooDark"
    IMAGE_TOO_BRIGHT = "ImageTooBright"
    IMAGE_TOO_BLURRY = "ImageTooBlurry"
    GLOBAL_SCENE_CHANGE = "GlobalSceneChange"


class CameraConfig(Message):
    """``source``: a path, rtsp://, http(s):// or /dev/video*. ``loop`` and ``realtime`` concern files alone.

    ``model``: path of a manifest on the box; without one the motion gate alone runs. ``score``: least score of a detection, the
    manifest's own if left out. ``inferences_per_s``: the most that its detector may do. ``ignored_faults`` are never raised: a camera
    that pans has no usual view.
    ``owner``: of a camera that is not the city's, with the terms that the box keeps to.
    """

    type: Literal["camera"] = "camera"
    name: ShortText | None = None
    source: Source
    loop: bool = True
    realtime: bool = True
    fps: Annotated[float, Field(gt=0, le=5)] = 5
    model: Annotated[str, StringConstraints(max_length=500)] | None = None
    score: Unit | None = None
    inferences_per_s: Annotated[float, Field(gt=0, le=100)] = 8
    confirm_frames: Annotated[int, Field(ge=1, le=50)] = 3
    regions: Annotated[list[Region], Field(max_length=16)] = []
    rules: Rules = []
    masks: Annotated[list[Mask], Field(max_length=16)] = []
    frozen_after_s: Annotated[float, Field(ge=1, le=3600)] = 10
    signal_loss_after_s: Annotated[float, Field(ge=1, le=3600)] = 10
    fault_severity: Severity = Severity.MAJOR
    ignored_faults: Annotated[list[ContentFault], Field(max_length=6)] = []
    recording: RecordingConfig = RecordingConfig()
    owner: Owner | None = None


class Box(Message):
    """Corners as shares of the picture."""

    left: Unit
    top: Unit
    right: Unit
    bottom: Unit


BoxAge = Annotated[float, Field(ge=0, le=3600)]


class Snapshot(Message):
    """A JPEG that the device uploads over HTTPS; persons are pixelated in it."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=8 * 1024 * 1024)]


class TrackPhase(StrEnum):
    STARTED = "started"
    ENDED = "ended"


class Track(Message):
    """An object over frames. Times are those of the frames. ``score`` is the median of its detections' scores.

    ``regions`` are all that it was in so far, ``frames`` how many frames saw it. ``frame_at``: of the frame at which this is told;
    ``box_age_s``: how long before it a detector saw the box, which has been carried along by its pattern since.
    """

    phase: TrackPhase
    track: Ulid
    label: ShortText
    score: Unit
    started_at: Utc
    ended_at: Utc | None = None
    box: Box
    frames: Annotated[int, Field(ge=1)]
    regions: Annotated[list[PeripheralId], Field(max_length=16)] = []
    frame_at: Utc | None = None
    box_age_s: BoxAge | None = None
    snapshot: Snapshot | None = None


class RulePhase(StrEnum):
    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


class RuleEvent(Message):
    """A rule of the twin is met, still met, or no longer met; ``event`` is the same in all that is told of it.

    ``type`` is the rule's. ``track``: the object, none for a crowd. ``score`` is the median of its detections' scores. ``seen_at``
    is the time of the frame that this was seen in, ``box_age_s`` how long before it a detector saw the box. ``count``: how many objects,
    for a crowd; ``direction``: of a crossing.
    """

    phase: RulePhase
    event: Ulid
    rule: PeripheralId
    type: ShortText
    track: Ulid | None = None
    label: ShortText
    score: Unit
    started_at: Utc
    seen_at: Utc
    box: Box | None = None
    box_age_s: BoxAge | None = None
    count: Annotated[int, Field(ge=0)] | None = None
    direction: Direction | None = None
    snapshot: Snapshot | None = None


class LabelCount(Message):
    """Objects that went over a line, seen from its first point to its last."""

    label: ShortText
    to_right: Annotated[int, Field(ge=0)]
    to_left: Annotated[int, Field(ge=0)]


class LineCount(Message):
    """What a LineCounting rule counted ``since`` until ``until``; a label that it did not see is left out."""

    rule: PeripheralId
    since: Utc
    until: Utc
    counts: Annotated[list[LabelCount], Field(max_length=64)] = []


class CameraFault(Message):
    """``active`` False clears the fault; ``detail`` says what to do, never a password."""

    fault: ContentFault
    active: bool
    since: Utc
    detail: ShortText | None = None
