"""Lists: ``{"items": […], "next": cursor or null}``, paged by key so that a page costs the same wherever it lies."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from prahari_hub.errors import Invalid

T = TypeVar("T")
Key = list[str | int | float | None]
Limit = Annotated[int, Query(ge=1, le=500, description="at most this many items")]
Cursor = Annotated[str | None, Query(max_length=400, description="the `next` of the page before")]
NOT_OURS = ("The cursor is not one of this list; begin without it.", ("cursor", "a next of this list"))


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: str | None = None


def encode(key: Key) -> str:
    """The cursor that stands for the last item's sort key."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, *types: type) -> Key:
    """The key behind a cursor, whose parts have these types; Invalid if it is none of ours."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if not isinstance(key, list) or len(key) != len(types):
        raise Invalid(*NOT_OURS)
    if not all(_is(part, kind) for part, kind in zip(key, types, strict=True)):
        raise Invalid(*NOT_OURS)
    return key


def _is(part: object, kind: type) -> bool:
    return type(part) is kind and (not isinstance(part, int) or -(2**63) <= part < 2**63)
