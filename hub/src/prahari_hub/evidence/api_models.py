"""What the routes of footage requests take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from prahari_hub.evidence.places import AnyPlace, CameraName
from prahari_hub.evidence.reasons import CameraState, Outcome, State
from prahari_hub.fleet.api_models import Clean, In, Name, Out, Reason


class SpanOut(BaseModel):
    start: datetime
    end: datetime


class GapOut(SpanOut):
    """``cause``: power, signal, disk, clock, maintenance, overwritten, off, fault or record (the box's record is damaged there)."""

    cause: str


class CoveringOut(BaseModel):
    """A camera at the place and what it has of the time. ``told`` is false where it never told of any footage.

    ``owner``: of a camera that is not the city's; ``ruled_out``: events_only or owner_consent, where the owner's terms allow no footage.
    """

    device: str
    camera: str
    name: str | None
    site: str | None
    lat: float | None
    lon: float | None
    metres: float | None
    presence: str
    told: bool
    share: float
    owner: str | None
    ruled_out: str | None
    spans: list[SpanOut]
    gaps: list[GapOut]


class CoveringList(BaseModel):
    items: list[CoveringOut]


class RequestIn(In):
    """``cameras`` leaves out the other cameras of the place."""

    authority: Annotated[str, Field(min_length=1, max_length=200), Clean]
    case_number: Annotated[str, Field(min_length=1, max_length=100), Clean]
    purpose: Annotated[str, Field(min_length=1, max_length=500), Clean]
    place: AnyPlace
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    cameras: Annotated[list[CameraName], Field(max_length=200)] | None = None


class RequestOut(Out):
    """``outcome`` is null while it runs; ``reason`` one of the fixed list, where it is not fulfilled."""

    id: str
    authority: str
    case_number: str
    purpose: str
    place: dict[str, Any]
    starts_at: datetime
    ends_at: datetime
    state: State
    outcome: Outcome | None
    reason: str | None
    note: str | None
    submitted_by: str
    submitted_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    due_at: datetime
    ended_at: datetime | None
    cameras: int
    received: int


class RequestList(BaseModel):
    items: list[RequestOut]
    next: str | None


class CameraOut(Out):
    device: str
    camera: str
    name: str | None
    site: str | None
    presence: str | None
    state: CameraState
    reason: str | None
    note: str | None
    asked_s: int
    known_s: int
    received_s: int
    segments_all: int
    segments_here: int
    bytes_all: int
    bytes_here: int


class SealedOut(Out):
    id: str
    sealed_at: datetime
    manifest_sha256: str
    key: str
    size: int
    segments: int


class LinkOut(Out):
    id: str
    recipient: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    most_uses: int
    uses: int
    revoked_at: datetime | None
    live: bool


class WholeOut(Out):
    summary: RequestOut
    cameras: list[CameraOut]
    sealed: SealedOut | None
    links: list[LinkOut]


class RefuseIn(In):
    reason: Literal["not_entitled", "no_purpose", "too_wide", "duplicate"]
    note: Reason | None = None


class LinkIn(In):
    recipient: Name
    days: Annotated[float, Field(gt=0, le=30, allow_inf_nan=False)] = 7
    most_uses: Annotated[int, Field(ge=1, le=50)] = 3


class NewLink(BaseModel):
    """``path`` is the link's address on this hub; it is shown once."""

    id: str
    path: str


class StepOut(Out):
    id: int
    at: datetime
    actor: str
    action: str
    reason: str | None
    detail: dict[str, Any]
    sealed: bool


class StepList(BaseModel):
    items: list[StepOut]
    next: str | None


class TallyOut(Out):
    """``share`` is fulfilled of fulfilled, partial and impossible."""

    key: str
    name: str
    fulfilled: int
    partial: int
    impossible: int
    refused: int
    open: int
    share: float | None
    median_h: float | None
    p95_h: float | None


class CauseOut(BaseModel):
    reason: str
    requests: int


class CostlyOut(Out):
    device: str
    camera: str
    requests: int
    missing_h: float
    reason: str


class FiguresOut(BaseModel):
    since: datetime
    until: datetime
    total: TallyOut
    items: list[TallyOut]
    causes: list[CauseOut]
    worst: list[CostlyOut]


class TrustOut(BaseModel):
    """The city's root certificate (PEM) and the hub's keys (base64url): what the stand-alone verifier is given."""

    model_config = ConfigDict(extra="forbid")

    city: str
    root: str
    keys: dict[str, str]
