"""What every message is built from: strict models, common field types, refusal with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from prahari_wire.topics import DEVICE_ID, PERIPHERAL_ID

VERSION = 1
MAX_MESSAGE = 16 * 1024
MAX_EVENT_BATCH = 64 * 1024
MAX_DEPTH = 16

Ulid = Annotated[str, StringConstraints(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DeviceId = Annotated[str, StringConstraints(pattern=DEVICE_ID)]
PeripheralId = Annotated[str, StringConstraints(pattern=PERIPHERAL_ID)]
ShortText = Annotated[str, StringConstraints(max_length=120)]
Text = Annotated[str, StringConstraints(max_length=1000)]


def _as_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside of the years 1 to 9999") from None


Utc = Annotated[AwareDatetime, AfterValidator(_as_utc)]
Seq = Annotated[int, Field(ge=0, lt=2**53)]


class Message(BaseModel):
    """Base of all messages: unknown fields, wrong types and NaN are refused; values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Clock(StrEnum):
    """How far a device's own time can be trusted."""

    SYNCED = "synced"
    FLOOR = "floor"
    UNSYNCED = "unsynced"


class Severity(StrEnum):
    """Severity of an incident (ISA-18.2 style), highest first."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    WARNING = "warning"


class Reason(StrEnum):
    """Why a message was refused."""

    OVERSIZE = "oversize"
    NOT_JSON = "not-json"
    VERSION = "version"
    DEPTH = "depth"
    DUPLICATE_KEY = "duplicate-key"
    INVALID = "invalid"
    UNKNOWN_KIND = "unknown-kind"
    SUBJECT = "subject"


class Refused(Exception):
    """A message that is not accepted: ``reason`` is counted, ``detail`` is one sentence for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


M = TypeVar("M", bound=BaseModel)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_VERSION_FIELD = re.compile(rb'"v"\s*:\s*(\d{1,9})')


def parse(
    model: type[M],
    payload: bytes,
    *,
    limit: int = MAX_MESSAGE,
    strict_scan: bool = False,
    allow_nul: bool = False,
) -> M:
    """Parse one message or raise Refused.

    ``strict_scan`` adds the check for nesting deeper than 16 and for duplicate keys (events, births and twins).
    ``allow_nul`` leaves the refusal of NUL in texts, which not every database can keep, to whoever reads the parts.
    """
    if len(payload) > limit:
        raise Refused(Reason.OVERSIZE, f"{len(payload)} bytes, at most {limit} are accepted")
    if strict_scan:
        scan(payload)
    if not allow_nul:
        _refuse_nul(payload)
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise _refusal(error, payload) from None


def validate(model: type[M], value: object) -> M:
    """Validate already parsed JSON (a part of a message) as strictly as ``parse`` does, or raise Refused."""
    try:
        text = json.dumps(value, allow_nan=False)
        _refuse_nul(text.encode())
        return model.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(error, b"") from None
    except ValueError as error:
        raise Refused(Reason.INVALID, str(error)) from None


def _refuse_nul(payload: bytes) -> None:
    if b"\\u0000" in payload and _NUL.search(payload):
        raise Refused(Reason.INVALID, "(document): a text holds the character NUL; send it without")


def field_errors(error: ValidationError) -> list[tuple[str, str]]:
    """(path of the field, what was expected) for each error, without the input's values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(".".join(str(part) for part in item["loc"]) or "(document)", item["msg"]) for item in found]


def _refusal(error: ValidationError, payload: bytes) -> Refused:
    errors = field_errors(error)
    path, message = errors[0]
    if error.errors()[0]["type"] == "json_invalid":
        return Refused(Reason.NOT_JSON, message[:200])
    if any(where == "v" for where, _ in errors) and (found := _VERSION_FIELD.search(payload)):
        return Refused(Reason.VERSION, f"schema version {found[1].decode()} is not known here, {VERSION} is")
    return Refused(Reason.INVALID, f"{path}: {message}"[:300])


def scan(payload: bytes) -> None:
    """Refuse nesting deeper than MAX_DEPTH, duplicate keys, NaN and anything that is not JSON in UTF-8."""
    if _depth(payload) > MAX_DEPTH:
        raise Refused(Reason.DEPTH, f"nested deeper than {MAX_DEPTH}")
    try:
        json.loads(payload, object_pairs_hook=_unique, parse_constant=_no_constant)
    except Refused:
        raise
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.NOT_JSON, str(error)[:200]) from None


def _depth(payload: bytes) -> int:
    """Deepest nesting of arrays and objects, strings skipped; linear in the size of the payload."""
    deepest = level = 0
    for bracket in _STRING.sub(b"", payload).translate(None, _NO_BRACKETS):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise Refused(Reason.DUPLICATE_KEY, f"the key {double[:40]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise Refused(Reason.INVALID, f"{name} is not a number that JSON knows")


def canonical(value: object) -> bytes:
    """Deterministic JSON: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def now_utc() -> datetime:
    return datetime.now(UTC)


Wall = Callable[[], datetime]
