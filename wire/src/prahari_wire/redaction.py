"""A copy of footage in which persons are hidden, drawn by the box, which has the model and the footage.

command   recording.redact         RedactArgs; the box begins, and says by the event how it ended
up/event  recording.redacted       Redacted; its film is uploaded like a picture
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from prahari_wire.base import Message, PeripheralId, Sha256, ShortText, Ulid, Utc

LONGEST_COPY_S = 120
MOST_FILM = 15 * 1024 * 1024


class RedactArgs(Message):
    """Arguments of ``recording.redact``: a copy of an interval of at most two minutes. The same ``copy`` again begins no second one."""

    peripheral: PeripheralId
    copy_id: Ulid
    start: Utc
    end: Utc

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the end must lie after the start")
        if (self.end - self.start).total_seconds() > LONGEST_COPY_S:
            raise ValueError("one copy takes at most two minutes: ask for the rest by another")
        return self


class Film(Message):
    """An MP4 that the device uploads over HTTPS."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MOST_FILM)]


class Redacted(Message):
    """recording.redacted: ``film`` of the ``segments`` (SHA-256 of the originals, in order), or ``detail`` why there is none.

    ``frames`` were drawn; in ``whole`` of them all of the picture is hidden, because nothing could tell persons there; ``hidden``
    boxes were hidden in the others. ``model``: what told them, None where there is none.
    """

    copy_id: Ulid
    film: Film | None = None
    segments: Annotated[list[Sha256], Field(max_length=200)] = []
    frames: Annotated[int, Field(ge=0)] = 0
    whole: Annotated[int, Field(ge=0)] = 0
    hidden: Annotated[int, Field(ge=0)] = 0
    model: ShortText | None = None
    detail: ShortText | None = None
