"""Intervals of time as (start_ms, end_ms), UTC milliseconds since 1970, end excluded; and a camera's day as a few bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

DAY_MS = 86_400_000
SEAM_MS = 2_000
"""Two segments so near each other are one piece of footage: a camera's key frames do not fall on whole seconds."""
VERSION = 1
CAUSES = ("power", "signal", "disk", "clock", "maintenance", "overwritten", "off", "fault", "record")
"""In this order their numbers stand in packed days: add at the end alone."""

Span = tuple[int, int]


class Gap(NamedTuple):
    """A time without footage and why."""

    start_ms: int
    end_ms: int
    cause: str


class Day(NamedTuple):
    """What there is of one camera's day, and what is missing of it. ``growing_from``: since then it is being recorded on."""

    spans: list[Span]
    gaps: list[Gap]
    growing_from: int | None = None


def merged(spans: Iterable[Span], *, seam_ms: int = 0) -> list[Span]:
    """In order, without overlaps; what lies at most ``seam_ms`` apart becomes one."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1] + seam_ms:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def clipped(spans: Iterable[Span], start_ms: int, end_ms: int) -> list[Span]:
    """What of ``spans`` lies in the interval."""
    cut = ((max(start, start_ms), min(end, end_ms)) for start, end in spans)
    return [(start, end) for start, end in cut if start < end]


def without(start_ms: int, end_ms: int, spans: Sequence[Span]) -> list[Span]:
    """What the interval has that ``spans`` (merged) do not."""
    found, at = [], start_ms
    for start, end in clipped(spans, start_ms, end_ms):
        if at < start:
            found.append((at, start))
        at = end
    return [*found, (at, end_ms)] if at < end_ms else found


def total_ms(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def days_of(start_ms: int, end_ms: int) -> range:
    """The days since 1970 that the interval touches."""
    return range(start_ms // DAY_MS, (max(end_ms, start_ms + 1) - 1) // DAY_MS + 1)


def pack(day: int, content: Day) -> bytes:
    """Numbers of seven bits a byte: since when it grows, how many spans, how far each begins after the end before and how long it is;
    the gaps likewise, then their causes."""
    origin = day * DAY_MS
    growing = content.growing_from
    numbers = [0 if growing is None else growing - origin + 1, len(content.spans)]
    numbers += _steps(origin, content.spans)
    numbers.append(len(content.gaps))
    numbers += _steps(origin, [(gap.start_ms, gap.end_ms) for gap in content.gaps])
    causes = bytes(CAUSES.index(gap.cause) for gap in content.gaps)
    return bytes([VERSION]) + b"".join(number(value) for value in numbers) + causes


def unpack(day: int, packed: bytes) -> Day:
    """ValueError where a newer hub wrote it."""
    if packed[:1] != bytes([VERSION]):
        raise ValueError(f"a day of coverage begins with {packed[:1]!r}: it was written by a newer hub")
    values = numbers(packed, 1)
    origin, count = day * DAY_MS, values[1]
    end = 2 + 2 * count
    spans = _spans(origin, values[2:end])
    behind = end + 1 + 2 * values[end]
    gaps = _spans(origin, values[end + 1 : behind])
    causes = values[behind:]
    return Day(
        spans,
        [Gap(*gap, CAUSES[cause]) for gap, cause in zip(gaps, causes, strict=True)],
        values[0] - 1 + origin if values[0] else None,
    )


def numbers(packed: bytes, at: int) -> list[int]:
    """What ``number`` wrote from byte ``at`` on; a byte below 128 is a number by itself."""
    found, value, shift = [], 0, 0
    for byte in packed[at:]:
        if byte < 0x80:
            found.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
    return found


def _spans(at: int, steps: Sequence[int]) -> list[Span]:
    """Where ``_steps`` came from."""
    found = []
    for ahead, length in zip(steps[::2], steps[1::2], strict=True):
        start = at + ahead
        at = start + length
        found.append((start, at))
    return found


def _steps(origin: int, spans: Iterable[Span]) -> Iterator[int]:
    at = origin
    for start, end in spans:
        yield start - at
        yield end - start
        at = end


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    if value < 0:
        raise ValueError("spans of a day must be in order, within it and must not overlap")
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
