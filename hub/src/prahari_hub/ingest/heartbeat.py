"""A heartbeat from bytes to a small object, in about a third of the time that the wire's own model takes.

``read`` accepts exactly what ``prahari_wire.health.HealthMessage`` accepts. msgspec takes what it is sure of; all else goes to the
wire's model, which accepts it after all or says why not. See docs/adr/0010-heartbeats-by-msgspec.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct
from prahari_wire.base import MAX_MESSAGE, parse
from prahari_wire.health import HealthMessage
from prahari_wire.topics import PERIPHERAL_ID

Count = Annotated[int, Meta(ge=0, lt=2**53)]
ShortText = Annotated[str, Meta(max_length=120)]
State = Literal["ok", "warn", "fail", "unknown"]

WORST = {"ok": 0, "unknown": 1, "warn": 2, "fail": 3}
STATES = ("ok", "unknown", "warn", "fail")
"""By rank in WORST."""
NOTHING = Raw(b"[]")
KEPT_SERVED = 20_000


class Check(Struct, forbid_unknown_fields=True, gc=False):
    name: ShortText
    state: State
    value: float | None = None
    text: ShortText | None = None


class Body(Struct, forbid_unknown_fields=True, gc=False):
    """``peripherals`` stay bytes: they are the same from one heartbeat to the next, and are read once."""

    uptime_s: Count
    checks: Annotated[list[Check], Meta(max_length=32)] = []
    peripherals: Raw = NOTHING


class Heartbeat(Struct, forbid_unknown_fields=True, gc=False):
    """``boot`` is the text that was sent: canonical when it is a boot that the hub knows."""

    boot: str
    conn: Count
    at: Annotated[datetime, Meta(tz=True)]
    mono_ms: Count
    clock: Literal["synced", "floor", "unsynced"]
    id: str
    body: Body
    v: Literal[1] = 1


class Item(Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """What a heartbeat says of one peripheral."""

    id: str
    state: State
    faults: Annotated[list[ShortText], Meta(max_length=16)] = []
    note: ShortText | None = None


class Served(NamedTuple):
    """``rank`` is the worst state's in WORST, 0 without peripherals."""

    raw: bytes
    items: tuple[Item, ...]
    rank: int


class Shape(NamedTuple):
    """What a heartbeat's checks say but their values. ``said`` is (name, state, text) of each."""

    said: tuple[tuple[str, str, str | None], ...]
    rank: int


_decoder = msgspec.json.Decoder(Heartbeat)
_items = msgspec.json.Decoder(Annotated[list[Item], Meta(max_length=64)])
_is_ulid: Callable[[str], Any] = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}").fullmatch
_is_peripheral: Callable[[str], Any] = re.compile(PERIPHERAL_ID.removeprefix("^").removesuffix("$")).fullmatch
_is_boot: Callable[[str], Any] = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
).fullmatch
_said = attrgetter("name", "state", "text")
_value = attrgetter("value")
_NO_RANK = 1
_served: dict[bytes, Served] = {}


def read(payload: bytes, known_boot: str | None) -> tuple[Heartbeat, Served]:
    """Refused as ``parse(HealthMessage, …)`` raises it. A boot that is not ``known_boot`` is looked at closely."""
    if len(payload) <= MAX_MESSAGE and b"\\u0000" not in payload:
        try:
            found = _decoder.decode(payload)
            if (found.boot == known_boot or _is_boot(found.boot)) and _is_ulid(found.id):
                if not 1 < found.at.year < 9999:
                    return _exactly(payload)
                return found, served(bytes(found.body.peripherals))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
    return _exactly(payload)


def said(beat: Heartbeat) -> tuple[tuple[str, str, str | None], ...]:
    """What the checks say but their values: equal from one heartbeat to the next, as long as nothing changes."""
    return tuple(map(_said, beat.body.checks))


def values(beat: Heartbeat) -> list[float | None]:
    return list(map(_value, beat.body.checks))


def shape(of: tuple[tuple[str, str, str | None], ...]) -> Shape:
    return Shape(of, max((WORST[state] for _, state, _ in of), default=-1))


def served(raw: bytes) -> Served:
    """The peripherals of a heartbeat; msgspec.ValidationError where only the wire's model may judge."""
    found = _served.get(raw)
    if found is None:
        if len(_served) >= KEPT_SERVED:
            _served.clear()
        found = _served[raw] = _read_served(raw)
    return found


def _read_served(raw: bytes) -> Served:
    items = tuple(_items.decode(raw))
    if not all(_is_peripheral(item.id) for item in items):
        raise msgspec.ValidationError("the id of a peripheral")
    return Served(raw, items, max((WORST[item.state] for item in items), default=-1))


def rank_of(shape: Shape, served: Served) -> int:
    """Of a device: the worst of its checks and peripherals, unknown if it has none."""
    worst = max(shape.rank, served.rank)
    return _NO_RANK if worst < 0 else worst


def _exactly(payload: bytes) -> tuple[Heartbeat, Served]:
    """As the wire's model reads it; rare, and therefore slow."""
    message = parse(HealthMessage, payload, limit=MAX_MESSAGE)
    body = message.body
    checks = [Check(c.name, str(c.state), c.value, c.text) for c in body.checks]  # type: ignore[arg-type]
    items = [item.model_dump(mode="json") for item in body.peripherals]
    raw = msgspec.json.encode(items)
    beat = Heartbeat(
        boot=str(message.boot),
        conn=message.conn,
        at=message.at.astimezone(UTC),
        mono_ms=message.mono_ms,
        clock=str(message.clock),  # type: ignore[arg-type]
        id=message.id,
        body=Body(body.uptime_s, checks, Raw(raw)),
    )
    return beat, served(raw)
