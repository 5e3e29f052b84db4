"""The coverage index: which camera has footage of which times, as the devices told, so that it is known while they are offline.

One row a camera and UTC day, a few bytes each: a state's month of 400,000 cameras is twelve million of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from prahari_wire.recording import Coverage
from sqlalchemy import Connection

from prahari_hub.evidence.pins import EPOCH, pinned
from prahari_hub.evidence.spans import DAY_MS, SEAM_MS, Day, Gap, Span, clipped, days_of, merged, pack, unpack
from prahari_hub.evidence.tables import coverage_cameras, coverage_days
from prahari_hub.fleet.facts import Fact
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert_new, upsert

IN_CLAUSE = 400
Camera = tuple[str, str]
"""Device and peripheral."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one camera within an interval. ``growing_from``: since then it was being recorded on."""

    spans: list[Span]
    gaps: list[Gap]
    growing_from: int | None = None
    told: bool = True


UNTOLD = Known([], [], told=False)
"""Of a camera that never told of any footage."""


def noted(unit: Unit, fact: Fact) -> None:
    """recording.coverage: the day as the device has it; an older version than what stands changes nothing."""
    body = fact.body
    assert isinstance(body, Coverage)
    if fact.peripheral is None:
        return
    day = (date.fromisoformat(body.day) - EPOCH).days
    camera = _number(unit, fact.device, fact.peripheral)
    where = (coverage_days.c.camera_id == camera) & (coverage_days.c.day == day)
    known = unit.conn.execute(sa.select(coverage_days.c.version, coverage_days.c.pins).where(where)).first()
    if known is not None and known.version >= body.version:
        return
    head = body.head if _is_of(body, fact.device, fact.peripheral) else None
    row = {
        "camera_id": camera,
        "day": day,
        "version": body.version,
        "packed": pack(day, day_of(body, day * DAY_MS)),
        "pins": pinned(body.day, known.pins if known else None, head, unit.now),
    }
    upsert(unit.conn, coverage_days, row, keys=("camera_id", "day"))
    unit.tell("coverage", device=fact.device, camera=fact.peripheral)


def _is_of(body: Coverage, device: str, camera: str) -> bool:
    """Whether the head that is told is one of this chain: a box pins what is its own alone."""
    head = body.head
    return head is not None and (head.device, head.camera, head.day) == (device, camera, body.day)


def day_of(body: Coverage, origin: int) -> Day:
    """The device's account as the index keeps it."""
    spans = merged((origin + start, origin + end) for start, end in body.spans)
    gaps = sorted(
        Gap(origin + start, origin + end, str(cause)) for start, end, cause in body.gaps if start < end
    )
    kept: list[Gap] = []
    for gap in gaps:
        start = max(gap.start_ms, kept[-1].end_ms) if kept else gap.start_ms
        if start < gap.end_ms:
            kept.append(Gap(start, gap.end_ms, gap.cause))
    return Day(spans, kept, origin + body.until_ms if body.growing else None)


def _number(unit: Unit, device: str, camera: str) -> int:
    row = {"device_id": device, "camera": camera}
    query = sa.select(coverage_cameras.c.id).filter_by(**row)
    found = unit.conn.scalar(query)
    if found is None:
        insert_new(unit.conn, coverage_cameras, row, keys=("device_id", "camera"))
        found = unit.conn.scalar(query)
    assert found is not None
    return int(found)


def known(
    conn: Connection, cameras: Collection[Camera], start_ms: int, end_ms: int, *, now_ms: int
) -> dict[Camera, Known]:
    """For each of ``cameras`` what it has of the interval; where it was being recorded when it last told, up to ``now_ms``."""
    numbers = _numbers(conn, cameras)
    found = dict.fromkeys(cameras, UNTOLD)
    days: dict[int, list[tuple[int, bytes]]] = {number: [] for number in numbers}
    for part in _parts(list(numbers)):
        wanted = days_of(start_ms, end_ms)
        query = sa.select(coverage_days.c.camera_id, coverage_days.c.day, coverage_days.c.packed).where(
            coverage_days.c.camera_id.in_(part), coverage_days.c.day.between(wanted.start, wanted.stop - 1)
        )
        for camera, day, packed in conn.execute(query):
            days[camera].append((day, packed))
    for number, camera in numbers.items():
        found[camera] = _of_days(days[number], start_ms, end_ms, now_ms)
    return found


def _of_days(days: Iterable[tuple[int, bytes]], start_ms: int, end_ms: int, now_ms: int) -> Known:
    spans: list[Span] = []
    gaps: list[Gap] = []
    growing: int | None = None
    for day, packed in sorted(days):
        content = unpack(day, packed)
        spans += content.spans
        gaps += content.gaps
        growing = content.growing_from
    if growing is not None and growing < now_ms:
        spans.append((growing, now_ms))
    within = merged(clipped(spans, start_ms, end_ms), seam_ms=SEAM_MS)
    missing = [
        Gap(max(gap.start_ms, start_ms), min(gap.end_ms, end_ms), gap.cause)
        for gap in gaps
        if gap.start_ms < end_ms and gap.end_ms > start_ms
    ]
    return Known(within, missing, growing if growing is not None and growing < end_ms else None)


def first_ms(conn: Connection, camera: Camera) -> int | None:
    """Since when the camera has told of itself: its first footage, or the first gap that it explains; None where it never told."""
    query = (
        sa.select(coverage_days.c.day, coverage_days.c.packed)
        .join(coverage_cameras, coverage_cameras.c.id == coverage_days.c.camera_id)
        .where(coverage_cameras.c.device_id == camera[0], coverage_cameras.c.camera == camera[1])
        .order_by(coverage_days.c.day)
        .limit(1)
    )
    first = conn.execute(query).first()
    if first is None:
        return None
    content = unpack(first.day, first.packed)
    starts = [span[0] for span in content.spans[:1]] + [gap.start_ms for gap in content.gaps[:1]]
    starts += [] if content.growing_from is None else [content.growing_from]
    return min(starts, default=first.day * DAY_MS)


def _numbers(conn: Connection, cameras: Collection[Camera]) -> dict[int, Camera]:
    found: dict[int, Camera] = {}
    wanted = set(cameras)
    for part in _parts(sorted({device for device, _ in cameras})):
        query = sa.select(coverage_cameras).where(coverage_cameras.c.device_id.in_(part))
        for row in conn.execute(query):
            if (row.device_id, row.camera) in wanted:
                found[row.id] = row.device_id, row.camera
    return found


def cameras_of(conn: Connection, devices: Sequence[str]) -> set[Camera]:
    """Those cameras of ``devices`` that ever told of footage."""
    found: set[Camera] = set()
    for part in _parts(devices):
        query = sa.select(coverage_cameras.c.device_id, coverage_cameras.c.camera)
        found |= {
            (device, camera)
            for device, camera in conn.execute(query.where(coverage_cameras.c.device_id.in_(part)))
        }
    return found


def forget(unit: Unit, *, before: datetime, limit: int = 20_000) -> bool:
    """Days that are so long over that no device has them; whether there may be more."""
    last = (before.astimezone(UTC).date() - EPOCH).days
    old = (
        sa.select(coverage_days.c.camera_id, coverage_days.c.day)
        .where(coverage_days.c.day < last)
        .limit(limit)
    )
    rows = unit.conn.execute(old).all()
    for day in {row.day for row in rows}:
        unit.conn.execute(coverage_days.delete().where(coverage_days.c.day == day))
    return len(rows) == limit


def _parts(values: Sequence[str] | Sequence[int]) -> Iterable[Sequence[str] | Sequence[int]]:
    return (values[at : at + IN_CLAUSE] for at in range(0, len(values), IN_CLAUSE))


def ms(at: datetime) -> int:
    """Unix time in milliseconds."""
    return int(at.timestamp() * 1000)


def at_ms(value: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
