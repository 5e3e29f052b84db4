"""Footage on the box: how a camera is recorded, what is told of it, and the commands that keep and fetch it.

    up/event   recording.coverage    the intervals that a camera has footage for, one document a camera and UTC day
    up/event   recording.sent        how a transfer ended
    command    recording.hold        keep what lies in an interval, whatever retention says, until released
    command    recording.release     end a hold
    command    recording.send        bring an interval to the hub, by the HTTPS routes below

    PUT  /device/v1/transfers/{transfer}                       TransferManifest, at most 12 MiB
    HEAD /device/v1/transfers/{transfer}/segments/{sha256}     200 with Upload-Offset: the bytes that the hub has
    PUT  /device/v1/transfers/{transfer}/segments/{sha256}     the bytes from the header Upload-Offset on

A manifest is answered with 201, 200 the same again, 409 where another one stands, 422 where it is not valid. Bytes are answered
with 201 once the segment is whole and has its hash, 200 if it was before, 202 with the new Upload-Offset where a part is kept, 409
with the Upload-Offset to go on from, 422 where the hash is wrong (the hub forgets the part). Any of them: 404 while the hub does not
know this transfer of this device, 410 once it is not wanted any more, 429 or 503 with Retry-After.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from prahari_wire.base import Message, PeripheralId, ShortText, Ulid, Utc
from prahari_wire.evidence import ChainHead, ChainProof, Day

DAY_MS = 86_400_000
MOST_RUNS = 600
"""Spans, and gaps, that one coverage holds; a worse day is told with its longest."""
LONGEST_SEND_S = 6 * 3600
MOST_SENT = 4000
"""Segments of one transfer."""
MOST_STRETCHES = 64
"""Proofs of one transfer: one a day, and one more for each place where the box's record of a day is damaged."""


class GapCause(StrEnum):
    """Why there is no footage. ``fault``: the recorder itself failed; ``clock``: time that the box's clock leapt over;
    ``record``: the journal of the footage is damaged there, so that nothing proves what was recorded.
    """

    POWER = "power"
    SIGNAL = "signal"
    DISK = "disk"
    CLOCK = "clock"
    MAINTENANCE = "maintenance"
    OVERWRITTEN = "overwritten"
    OFF = "off"
    FAULT = "fault"
    RECORD = "record"


class RecordingConfig(Message):
    """Continuous recording on the box, without sound. The older footage goes first, by age and by size, but never what is held.

    ``where``: an existing folder on the box, such as a mounted disk; the agent's home if left out.
    ``segment_s``: a segment ends at the first key frame after so long.
    """

    enabled: bool = False
    retention_days: Annotated[int, Field(ge=1, le=400)] = 15
    max_mb: Annotated[int, Field(ge=50, le=100_000_000)] = 20_000
    where: Annotated[str, StringConstraints(pattern=r"^/[^\x00]{0,400}$")] | None = None
    segment_s: Annotated[int, Field(ge=2, le=60)] = 10


OffsetMs = Annotated[int, Field(ge=0, le=DAY_MS)]
"""Milliseconds since the day's midnight, UTC."""


class Coverage(Message):
    """recording.coverage: what the camera of the envelope has of one UTC day, whole in each telling; the highest ``version`` counts.

    ``spans`` and ``gaps`` are disjoint, in order, and together reach from when the camera was first served to ``until_ms``; what lies
    outside is not known. ``growing``: at ``until_ms`` the camera was being recorded, so that footage goes on until more is told.
    ``head`` is the end of the day's chain now, absent before the first segment; ``closed``: the day is over and its chain complete.
    """

    day: Day
    version: Annotated[int, Field(ge=1, lt=2**53)]
    spans: Annotated[list[tuple[OffsetMs, OffsetMs]], Field(max_length=MOST_RUNS)] = []
    gaps: Annotated[list[tuple[OffsetMs, OffsetMs, GapCause]], Field(max_length=MOST_RUNS)] = []
    until_ms: OffsetMs
    growing: bool = False
    closed: bool = False
    size: Annotated[int, Field(ge=0)] = 0
    head: ChainHead | None = None


class HoldArgs(Message):
    """Arguments of ``recording.hold``; ``hold`` names it, the same again with another interval replaces it. ``end`` may lie ahead.

    The result: {"spans": [[start_ms, end_ms]…] in Unix time, "segments": n, "size": bytes}, all that is there now.
    """

    peripheral: PeripheralId
    hold: Ulid
    start: Utc
    end: Utc

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the end must lie after the start")
        return self


class ReleaseArgs(Message):
    """Arguments of ``recording.release``; a hold that is not known counts as released."""

    peripheral: PeripheralId
    hold: Ulid


class SendArgs(Message):
    """Arguments of ``recording.send``: bring what there is of an interval (at most six hours) to the hub.

    ``rate_kbit_s``: at most so fast. What is sent is held until the transfer ends. The same ``transfer`` again begins no second one.
    The result: {"segments": n, "size": bytes}.
    """

    peripheral: PeripheralId
    transfer: Ulid
    start: Utc
    end: Utc
    rate_kbit_s: Annotated[int, Field(ge=16, le=10_000_000)] = 2000

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the end must lie after the start")
        if (self.end - self.start).total_seconds() > LONGEST_SEND_S:
            raise ValueError("one transfer takes at most six hours: ask for the rest by another")
        return self


class SentDay(Message):
    """``sent``: positions in ``proof`` whose bytes follow; ``missing``: those in the interval that are gone from the box or damaged."""

    proof: ChainProof
    sent: Annotated[list[int], Field(max_length=MOST_SENT)]
    missing: Annotated[list[int], Field(max_length=MOST_SENT)] = []


class TransferManifest(Message):
    """What a transfer brings: for each UTC day a chain that ends in a signed head, and which of its segments come with their bytes.

    Two or more of the same day, in order, are what the box can still prove of a day whose record is damaged in between.
    ``certificate``: PEM of the device's certificate and its issuer, by which the heads' signatures can be checked.
    """

    transfer: Ulid
    camera: PeripheralId
    days: Annotated[list[SentDay], Field(max_length=MOST_STRETCHES)]
    certificate: Annotated[str, StringConstraints(max_length=16_384)]

    def by_day(self) -> dict[str, list[SentDay]]:
        """What can be proved of each day: one stretch, or more where the box's record is damaged in between."""
        found: dict[str, list[SentDay]] = {}
        for one in self.days:
            found.setdefault(one.proof.head.day, []).append(one)
        return found


class SentOutcome(StrEnum):
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


class Sent(Message):
    """recording.sent: how a transfer ended, after its last segment was acknowledged or could not be given."""

    transfer: Ulid
    outcome: SentOutcome
    segments: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=0)]
    detail: ShortText | None = None
