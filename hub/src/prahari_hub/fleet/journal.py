"""The durable facts of devices: the event rows, the watermark of each journal, and the quarantine of what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from prahari_wire.base import Reason
from prahari_wire.envelope import Event
from sqlalchemy import Connection

from prahari_hub.fleet.tables import events, journals, refusal_counts, refusals
from prahari_hub.fleet.watermark import Watermark, from_json
from prahari_hub.store import Unit
from prahari_hub.store.upsert import insert, upsert

KEPT_BYTES = 4096
KEPT_PER_DEVICE_AND_HOUR = 100


def watermarks(conn: Connection, devices: Iterable[str]) -> dict[tuple[str, str], Watermark]:
    """Of every journal of these devices: {(device, journal): watermark}."""
    rows = conn.execute(_JOURNALS, {"ids": sorted(set(devices))})
    return {(row.device_id, row.journal): from_json(row.upto, row.beyond) for row in rows}


_JOURNALS = sa.select(journals).where(journals.c.device_id.in_(sa.bindparam("ids", expanding=True)))


def save_watermarks(unit: Unit, marks: Mapping[tuple[str, str], Watermark]) -> None:
    rows = [
        {
            "device_id": device,
            "journal": journal,
            "upto": mark.upto,
            "beyond": [list(r) for r in mark.beyond],
        }
        for (device, journal), mark in marks.items()
    ]
    upsert(unit.conn, journals, rows, keys=("device_id", "journal"))


def row_of(device: str, journal: str, event: Event, received_at: datetime) -> dict[str, Any]:
    """What is kept of an event."""
    return {
        "ulid": event.id,
        "device_id": device,
        "journal": journal,
        "seq": event.seq,
        "kind": event.kind,
        "peripheral": event.peripheral,
        "at": event.at,
        "mono_ms": event.mono_ms,
        "boot": str(event.boot),
        "conn": event.conn,
        "clock": event.clock,
        "late": event.late,
        "received_at": received_at,
        "body": event.body,
    }


def add_events(unit: Unit, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of events, as ``row_of`` makes them."""
    if rows:
        unit.conn.execute(_ADD, rows)


_ADD = events.insert()


def quarantine(
    unit: Unit,
    device: str,
    *,
    channel: str,
    reason: Reason,
    detail: str,
    payload: bytes,
    journal: str | None = None,
    event: Event | None = None,
    always: bool = False,
) -> None:
    """Keep what was refused, for whoever repairs the sender: events whole, of other messages their beginning; of a channel at most
    KEPT_PER_DEVICE_AND_HOUR unless ``always``, the rest is only counted."""
    recent = sa.select(sa.func.count()).where(
        refusals.c.device_id == device,
        refusals.c.channel == channel,
        refusals.c.at > unit.now - timedelta(hours=1),
    )
    if not always and (unit.conn.scalar(recent) or 0) >= KEPT_PER_DEVICE_AND_HOUR:
        return
    unit.conn.execute(
        refusals.insert().values(
            device_id=device,
            at=unit.now,
            channel=channel,
            reason=str(reason),
            detail=detail[:300],
            journal=journal,
            seq=event.seq if event else None,
            ulid=event.id if event else None,
            payload=payload if event else payload[:KEPT_BYTES],
        )
    )


def count_refusals(unit: Unit, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the counters by (device, reason)."""
    if not counts:
        return
    statement = insert(unit.conn, refusal_counts)
    statement = statement.on_conflict_do_update(
        index_elements=["device_id", "reason"],
        set_={"count": refusal_counts.c.count + statement.excluded["count"]},
    )
    rows = [{"device_id": device, "reason": reason, "count": n} for (device, reason), n in counts.items()]
    unit.conn.execute(statement, rows)


def forget_refusals(unit: Unit, *, before: datetime) -> int:
    """Delete quarantined messages older than ``before``; how many."""
    return unit.conn.execute(refusals.delete().where(refusals.c.at < before)).rowcount


def refused(conn: Connection, device: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """(count by reason, the newest 20 quarantined without their payload)."""
    by_reason = sa.select(refusal_counts.c.reason, refusal_counts.c.count).where(
        refusal_counts.c.device_id == device
    )
    newest = (
        sa.select(refusals.c.at, refusals.c.channel, refusals.c.reason, refusals.c.detail, refusals.c.seq)
        .where(refusals.c.device_id == device)
        .order_by(refusals.c.id.desc())
        .limit(20)
    )
    counts: dict[str, int] = {reason: count for reason, count in conn.execute(by_reason)}  # noqa: C416
    return counts, [dict(row._mapping) for row in conn.execute(newest)]


def list_events(
    conn: Connection, device: str, *, before: int | None = None, kinds: Iterable[str] = (), limit: int = 50
) -> list[dict[str, Any]]:
    """Newest first; ``before`` is the id of the last one of the page before."""
    query = sa.select(events).where(events.c.device_id == device)
    if before is not None:
        query = query.where(events.c.id < before)
    if wanted := list(kinds):
        query = query.where(events.c.kind.in_(wanted))
    rows = conn.execute(query.order_by(events.c.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
