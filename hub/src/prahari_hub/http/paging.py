"""Keyset paging: a cursor names the last row of a page, so that rows which come or go meanwhile neither repeat nor hide others."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from prahari_hub.errors import Invalid
from prahari_hub.texts import N_

T = TypeVar("T")
MAX_CURSOR = 400


@dataclass(frozen=True)
class Page(Generic[T]):
    """``next`` is the cursor of the following page, None on the last one."""

    items: list[T]
    next: str | None


def encode(*parts: str | int | float | datetime) -> str:
    values = [part.isoformat() if isinstance(part, datetime) else part for part in parts]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode(cursor: str, *types: type) -> list[Any]:
    """The parts of a cursor, each of its given type; Invalid for anything that ``encode`` did not write."""
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError("too long")
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        found = json.loads(raw.decode("utf-8"))
        if not isinstance(found, list) or len(found) != len(types):
            raise ValueError("another shape")
        return [_typed(value, wanted) for value, wanted in zip(found, types, strict=True)]
    except (ValueError, RecursionError, binascii.Error):
        raise Invalid(
            N_("the cursor is not one of this list; begin again without it"),
            ("query.cursor", "a value of next"),
        ) from None


def _typed(value: Any, wanted: type) -> Any:
    if wanted is datetime and isinstance(value, str):
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            raise ValueError("naive")
        return found
    if wanted is int and (type(value) is not int or not -(2**63) <= value < 2**63):
        raise ValueError("not a 64-bit number")
    if type(value) is not wanted:
        raise ValueError("another type")
    if isinstance(value, str):
        checked_text(value)
    return value


def checked_text(text: str) -> str:
    """``text`` if any database can take it; ValueError for NUL and lone surrogates."""
    if "\0" in text:
        raise ValueError("a NUL character")
    text.encode("utf-8")
    return text


def after(
    sort: sa.ColumnElement[Any], key: sa.ColumnElement[str], value: Any, last: str, *, descending: bool
) -> sa.ColumnElement[bool]:
    """The rows that follow (value, last) in the order of ``order``."""
    beyond = sort < value if descending else sort > value
    return sa.or_(beyond, sa.and_(sort == value, key > last))


def order(
    sort: sa.ColumnElement[Any], key: sa.ColumnElement[str], *, descending: bool
) -> Sequence[sa.ColumnElement[Any]]:
    return [sort.desc() if descending else sort.asc(), key.asc()]
