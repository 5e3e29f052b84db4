"""A variable message display: content, playlist, overrides and what it reports."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from prahari_wire.base import Message, PeripheralId, Seq, Severity, Sha256, ShortText, Ulid, Utc

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class DisplayClass(IntEnum):
    """The one ladder of what may show, lowest first; advertisements never compete by priority, only by booking."""

    SAFE = 0
    FILLER = 1
    AD_NON_GUARANTEED = 2
    AD_GUARANTEED = 3
    PUBLIC_INFO = 4
    TRAFFIC = 5
    EMERGENCY = 6
    LOCAL = 7


class Align(StrEnum):
    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"


class TextContent(Message):
    """Lines are broken at ``\\n`` and where they do not fit; the renderer takes the largest size that fits, or ``size_px``."""

    type: Literal["text"] = "text"
    text: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    colour: Colour = "#FFB000"
    background: Colour = "#000000"
    align: Align = Align.CENTRE
    size_px: Annotated[int, Field(ge=6, le=512)] | None = None


class ImageContent(Message):
    """An approved PNG or JPEG, fetched over HTTPS by its hash."""

    type: Literal["image"] = "image"
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=16 * 1024 * 1024)]
    fit: Literal["contain", "cover", "exact"] = "contain"
    background: Colour = "#000000"


Content = Annotated[TextContent | ImageContent, Field(discriminator="type")]


class PlaylistItem(Message):
    id: PeripheralId
    duration_s: Annotated[float, Field(ge=1, le=3600)] = 10
    content: Content


class Player(StrEnum):
    FRAME = "frame"
    MPV = "mpv"


class DisplayConfig(Message):
    """Pixels of the sign, its playlist, and what shows when there is nothing else."""

    type: Literal["display"] = "display"
    name: ShortText | None = None
    width: Annotated[int, Field(ge=16, le=3840)] = 192
    height: Annotated[int, Field(ge=16, le=2160)] = 96
    player: Player = Player.FRAME
    playlist: Annotated[list[PlaylistItem], Field(max_length=100)] = []
    safe: Content = TextContent(text="·", colour="#404040")
    fault_severity: Severity = Severity.MINOR


class Override(Message):
    """An immediate takeover. Within a class the higher priority wins, then the newest ``issued_at``, then the id.

    ``lease_s`` counts on the device's monotonic clock from the epoch that carried it; ``expires_at`` is absolute.
    """

    id: Ulid
    cls: Annotated[Literal[4, 5, 6, 7], Field(alias="class")]
    priority: Annotated[int, Field(ge=1, le=4)] = 2
    issued_at: Utc
    expires_at: Utc
    lease_s: Annotated[int, Field(ge=5, le=86400)]
    content: Content


class OverrideSet(Message):
    """down/override: the complete set of one display, signed by the hub. A set with an epoch that is not higher is ignored."""

    v: Literal[1] = 1
    id: Ulid
    display: PeripheralId
    epoch: Seq
    overrides: Annotated[list[Override], Field(max_length=16)]
    key: ShortText = ""
    sig: ShortText = ""


class OverrideOutcome(StrEnum):
    APPLIED = "applied"
    REFUSED = "refused"
    ENDED = "ended"


class OverrideState(Message):
    """override.state: what became of an epoch. ``active`` are ids now in force, ``refused`` those that cannot be shown."""

    epoch: Seq
    outcome: OverrideOutcome
    active: Annotated[list[Ulid], Field(max_length=16)] = []
    refused: dict[Ulid, ShortText] = {}
    detail: ShortText | None = None


class ShownSource(StrEnum):
    PLAYLIST = "playlist"
    OVERRIDE = "override"
    SAFE = "safe"


class Shown(Message):
    """display.shown: what the display shows from now on. ``frame_sha256`` is the hash of the rendered PNG, uploaded over HTTPS."""

    source: ShownSource
    item: ShortText | None = None
    cls: Annotated[int, Field(ge=0, le=7, alias="class")]
    epoch: Seq
    frame_sha256: Sha256
    text: Annotated[str, StringConstraints(max_length=500)] | None = None


class DisplayFault(Message):
    """display.fault: ``fault`` is player, illegible or content."""

    fault: Literal["player", "illegible", "content"]
    active: bool
    detail: ShortText | None = None


class PreviewArgs(Message):
    """Arguments of the command ``display.preview``: render without showing; the result names the uploaded frame."""

    peripheral: PeripheralId
    content: Content
