"""Heads of chains that boxes told of: once the hub has one, the box cannot tell another story of the day up to there.

A day's pins are a few bytes each beside its coverage. A head is kept when it is first told and never moved: a chain that a transfer
brings must lead through every one that says something of its segments (``prahari_wire.evidence.rewritten``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import sqlalchemy as sa
from prahari_wire.evidence import ChainHead, Pin
from sqlalchemy import Connection

from prahari_hub.evidence.spans import number, numbers
from prahari_hub.evidence.tables import coverage_cameras, coverage_days

EPOCH = date(1970, 1, 1)
VERSION = 1
HALF = 16
"""Bytes of a hash that are kept: nobody finds another chain that shares them."""
MOST = 64
"""Of one day, which is told of by the hour and at gaps; where it is told of more often the newest takes the place of the one before."""


def pinned(day: str, packed: bytes | None, head: ChainHead | None, now: datetime) -> bytes | None:
    """``packed`` with ``head`` behind the others; unchanged where the box tells of no more segments than before."""
    if head is None:
        return packed
    pins = unpack(day, packed)
    if pins and head.position <= pins[-1].position:
        return packed
    told_at = now.astimezone(UTC).replace(microsecond=0)
    fresh = Pin(day=day, position=head.position, hash=head.hash[: 2 * HALF], told_at=told_at)
    return pack([*pins[: MOST - 1], fresh])


def pack(pins: Sequence[Pin]) -> bytes:
    """A version, then of each pin how many segments and seconds it is after the one before, and its hash."""
    found, position, told_s = bytearray([VERSION]), 0, 0
    for pin in pins:
        at_s = max(told_s, int(pin.told_at.timestamp()))
        found += number(pin.position - position) + number(at_s - told_s) + bytes.fromhex(pin.hash)
        position, told_s = pin.position, at_s
    return bytes(found)


def unpack(day: str, packed: bytes | None) -> list[Pin]:
    """ValueError where a newer hub wrote it."""
    if packed is None:
        return []
    if packed[:1] != bytes([VERSION]):
        raise ValueError(f"pins of a day begin with {packed[:1]!r}: they were written by a newer hub")
    found, at, position, told_s = [], 1, 0, 0
    while at < len(packed):
        more, at = _number(packed, at)
        later_s, at = _number(packed, at)
        position, told_s = position + more, told_s + later_s
        half, at = packed[at : at + HALF].hex(), at + HALF
        found.append(Pin(day=day, position=position, hash=half, told_at=datetime.fromtimestamp(told_s, UTC)))
    return found


def _number(packed: bytes, at: int) -> tuple[int, int]:
    """A number of ``spans.number``, and where it ends."""
    end = at
    while packed[end] >= 0x80:
        end += 1
    return numbers(packed[at : end + 1], 0)[0], end + 1


def pins_of(conn: Connection, device: str, camera: str, days: Iterable[str]) -> dict[str, list[Pin]]:
    """By day, in order; a day of which no head was told is left out."""
    numbers = {(date.fromisoformat(day) - EPOCH).days: day for day in days}
    query = (
        sa.select(coverage_days.c.day, coverage_days.c.pins)
        .join(coverage_cameras, coverage_cameras.c.id == coverage_days.c.camera_id)
        .where(
            coverage_cameras.c.device_id == device,
            coverage_cameras.c.camera == camera,
            coverage_days.c.day.in_(sorted(numbers)),
            coverage_days.c.pins.is_not(None),
        )
    )
    return {numbers[day]: unpack(numbers[day], packed) for day, packed in conn.execute(query)}
