"""An event becomes an incident: open, join, clear, and light the call box's lamp.

``on_event`` and ``on_transition`` run inside the transaction that stores what they are told. A late event never opens
nor raises; it may clear what was raised before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from prahari_wire import events
from prahari_wire.base import Severity, canonical
from prahari_wire.callbox import Lamp
from prahari_wire.ids import ulid
from prahari_wire.twin import Desired
from pydantic import ValidationError
from sqlalchemy import Connection, Row

from prahari_hub import metrics
from prahari_hub.fleet import windows
from prahari_hub.fleet.facts import Fact, Transition
from prahari_hub.fleet.tables import devices, twins
from prahari_hub.incidents import lamp
from prahari_hub.incidents.rules import (
    ALWAYS,
    NEEDS_CONFIG,
    RANK,
    SELF_CLOSING,
    Clear,
    Config,
    Raise,
    Verdict,
    judge,
    judge_transition,
    suppresses,
)
from prahari_hub.incidents.tables import incident_log, incidents, notifications
from prahari_hub.store import Unit

HUB = "system:incidents"
MAX_SOURCES = 50
LOG_REPEATS_EVERY = timedelta(minutes=1)
ACK_COVERS = timedelta(minutes=5)
"""A new call or person so long after the acknowledgement may be another matter: somebody has to look again."""
_OPEN = sa.select(incidents).where(
    incidents.c.key == sa.bindparam("b_key"), incidents.c.resolved_at.is_(None)
)
_LAST = (
    sa.select(incidents.c.detail)
    .where(incidents.c.key == sa.bindparam("b_key"))
    .order_by(incidents.c.id.desc())
    .limit(1)
)
_TWIN = sa.select(twins.c.document).where(twins.c.device_id == sa.bindparam("b_device"))
_SERVICE = sa.select(devices.c.service).where(devices.c.id == sa.bindparam("b_device"))
_NEW, _LOG = incidents.insert(), incident_log.insert()
_CHANGE = incidents.update().where(incidents.c.id == sa.bindparam("b_id"))
"""Built once: an event costs a handful of statements, and building one costs as much as running it."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Cause:
    """Where a verdict comes from. ``at`` is the time of the cause by the clock that made it, ``place`` where it stands in a device's
    journal (the journal's id, the number in it), which no clock can disturb."""

    device: str
    peripheral: str | None
    site: str | None
    at: datetime
    late: bool = False
    ulid: str | None = None
    place: tuple[str, int] | None = None

    def as_detail(self) -> dict[str, Any]:
        """What a later end is compared with."""
        found: dict[str, Any] = {"caused_at": self.at.isoformat()}
        return found | ({"caused_by": list(self.place)} if self.place else {})

    def is_before(self, detail: dict[str, Any]) -> bool:
        """Whether it happened before what ``detail`` was raised for: by the journal where both are of one, else by the clocks."""
        raised = detail.get("caused_by")
        if self.place and raised and raised[0] == self.place[0]:
            return bool(self.place[1] < raised[1])
        return self.at < datetime.fromisoformat(detail["caused_at"])


def on_event(unit: Unit, fact: Fact) -> None:
    """One committed event of a device."""
    config = _config(unit.conn, fact) if fact.kind in NEEDS_CONFIG else None
    place = (fact.journal, fact.seq) if fact.journal is not None and fact.seq is not None else None
    cause = Cause(fact.device, fact.peripheral, fact.site_id, fact.at, fact.late, fact.ulid, place)
    apply(unit, cause, judge(fact, config))


def on_transition(unit: Unit, transition: Transition) -> None:
    """Something that the hub found by itself."""
    apply(unit, cause_of(transition), judge_transition(transition, desired_of(unit.conn, transition.device)))


def cause_of(transition: Transition) -> Cause:
    return Cause(transition.device, transition.peripheral, transition.site_id, transition.at)


def _config(conn: Connection, fact: Fact) -> Config:
    """What the twin says of the event's peripheral; None if it says nothing that can be read."""
    if fact.peripheral is None:
        return None
    desired = desired_of(conn, fact.device)
    return desired.peripherals.get(fact.peripheral) if desired else None


def desired_of(conn: Connection, device: str) -> Desired | None:
    """The device's twin; None if it has none that can be read."""
    document = conn.execute(_TWIN, {"b_device": device}).scalar()
    if document is None:
        return None
    try:
        return Desired.model_validate_json(canonical(document))
    except ValidationError:
        log.warning("a twin in the store does not parse", device=device)
        return None


def apply(unit: Unit, cause: Cause, verdicts: list[Verdict]) -> None:
    """Open, join and clear what the verdicts say."""
    for verdict in verdicts:
        row = _open_row(unit.conn, verdict.key)
        match verdict:
            case Clear():
                if row is not None:
                    _clear(unit, cause, verdict, row)
            case Raise() if cause.late:
                continue
            case Raise() if row is not None:
                _join(unit, cause, verdict, row)
            case Raise():
                if not _had_its_incident(unit.conn, verdict):
                    _open(unit, cause, verdict)


def _had_its_incident(conn: Connection, verdict: Raise) -> bool:
    """Whether this very source was part of the last incident under its key, which somebody has closed meanwhile."""
    if verdict.source is None:
        return False
    detail = conn.execute(_LAST, {"b_key": verdict.key}).scalar() or {}
    return verdict.source == detail.get("track") or verdict.source in detail.get("active", [])


def _open_row(conn: Connection, key: str) -> Row[Any] | None:
    return conn.execute(_OPEN, {"b_key": key}).first()


def _open(unit: Unit, cause: Cause, verdict: Raise) -> None:
    if _is_planned(unit, cause.device, verdict.kind):
        return
    incident = ulid(int(unit.now.timestamp() * 1000))
    detail = verdict.detail | cause.as_detail()
    if verdict.source:
        detail["active"] = [verdict.source]
    values = {
        "id": incident,
        "key": verdict.key,
        "kind": verdict.kind,
        "severity": str(verdict.severity),
        "rank": RANK[verdict.severity],
        "device_id": cause.device,
        "peripheral": cause.peripheral,
        "site_id": cause.site,
        "title": verdict.title,
        "detail": detail,
        "opened_at": unit.now,
        "last_at": unit.now,
        "count": 1,
        "snapshot": verdict.snapshot,
        "version": 1,
    }
    unit.conn.execute(_NEW, values)
    write_log(unit, incident, HUB, "opened", event=cause.ulid)
    _tell(unit, {"acked_at": None, "cleared_at": None, "resolved_at": None} | values, "opened")


def _is_planned(unit: Unit, device: str, kind: str) -> bool:
    """Whether the device is out of service or under a window that explains it."""
    if kind in ALWAYS:
        return False
    if unit.conn.execute(_SERVICE, {"b_device": device}).scalar() in ("maintenance", "retired"):
        return True
    if not unit.once("windows", lambda: windows.holding(unit.conn, unit.now)):
        return False
    return any(suppresses(one.kind, kind) for one in windows.covering(unit.conn, device, unit.now))


def _join(unit: Unit, cause: Cause, verdict: Raise, row: Row[Any]) -> None:
    """The same again: the open incident counts it, becomes active again, and takes the higher severity."""
    active: list[str] = row.detail.get("active", [])
    known = verdict.source is not None and verdict.source in active
    if verdict.source and not known:
        if verdict.source == row.detail.get("track") and row.cleared_at is not None:
            return
        active = [*active, verdict.source][-MAX_SOURCES:]
    severity = min(Severity(row.severity), verdict.severity, key=RANK.__getitem__)
    detail = row.detail | verdict.detail | cause.as_detail()
    if verdict.source:
        detail["active"] = active
    news = verdict.kind == events.PRESS or (verdict.source is not None and not known)
    again = news and row.acked_at is not None and unit.now - row.acked_at > ACK_COVERS
    now = _update(
        unit,
        row,
        detail=detail,
        severity=str(severity),
        rank=RANK[severity],
        title=verdict.title,
        last_at=unit.now,
        count=row._mapping["count"] + (0 if known else 1),
        cleared_at=None,
        snapshot=verdict.snapshot or row.snapshot,
        **(_unacknowledged(unit, row) if again else {}),
    )
    if known:
        return
    if again:
        write_log(unit, row.id, HUB, "unacknowledged", event=cause.ulid, text=_why(unit, row))
    elif verdict.kind == events.PRESS or row.cleared_at or unit.now - row.last_at > LOG_REPEATS_EVERY:
        write_log(unit, row.id, HUB, "repeated", event=cause.ulid)
    if verdict.kind == events.PRESS and row.acked_at is not None:
        state = Lamp.BLINKING if again else Lamp.STEADY
        lamp.light(unit, cause.device, cause.peripheral, incident=row.id, state=state)
    _tell(unit, now, "repeated")


def _unacknowledged(unit: Unit, row: Row[Any]) -> dict[str, Any]:
    """Nobody has it any more: escalation begins anew."""
    return {"acked_at": None, "acked_by": None, "round": row.round + 1, "waits_since": unit.now}


def _why(unit: Unit, row: Row[Any]) -> str:
    minutes = int((unit.now - row.acked_at).total_seconds() // 60)
    return f"acknowledged by {row.acked_by} {minutes} minutes before"


def _clear(unit: Unit, cause: Cause, verdict: Clear, row: Row[Any]) -> None:
    """The cause is over, unless this is old news of an earlier end. Live news counts whatever the device's clock says."""
    if row.cleared_at is not None:
        return
    if cause.late and cause.is_before(row.detail):
        return
    values: dict[str, Any] = {"snapshot": verdict.snapshot or row.snapshot}
    if verdict.source is not None:
        active = [source for source in row.detail.get("active", []) if source != verdict.source]
        values["detail"] = row.detail | {"active": active}
        if active:
            _update(unit, row, **values)
            return
    values["cleared_at"] = unit.now
    if row.kind in SELF_CLOSING and row.acked_at is not None:
        values |= {"resolved_at": unit.now, "resolved_by": HUB}
    now = _update(unit, row, **values)
    write_log(unit, row.id, HUB, "cleared", event=cause.ulid)
    if "resolved_at" in values:
        write_log(unit, row.id, HUB, "resolved")
    _tell(unit, now, "cleared")


def _update(unit: Unit, row: Row[Any], **values: Any) -> dict[str, Any]:
    """Change these columns; the whole row as it is now."""
    changed = values | {"version": row.version + 1}
    unit.conn.execute(_CHANGE, changed | {"b_id": row.id})
    return {**row._mapping, **changed}


def write_log(
    unit: Unit, incident: str, actor: str, action: str, *, text: str | None = None, event: str | None = None
) -> None:
    row = {"incident_id": incident, "at": unit.now, "actor": actor, "action": action, "text": text}
    unit.conn.execute(_LOG, row | {"event_ulid": event or None})


def tell(unit: Unit, incident: str, action: str) -> None:
    """Tell browsers what a queue needs to decide whether to fetch."""
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one()
    _tell(unit, row._mapping, action)


def _tell(unit: Unit, row: Mapping[Any, Any], action: str) -> None:
    unit.tell(
        "incidents",
        id=row["id"],
        action=action,
        kind=row["kind"],
        severity=row["severity"],
        device=row["device_id"],
        title=row["title"],
        opened_at=row["opened_at"].isoformat(),
        acknowledged=row["acked_at"] is not None,
        active=row["cleared_at"] is None,
        open=row["resolved_at"] is None,
        version=row["version"],
    )


def drop_notifications(unit: Unit, incident: str) -> None:
    """Somebody has it: nobody else is called."""
    waiting = sa.and_(notifications.c.incident_id == incident, notifications.c.state == "waiting")
    unit.conn.execute(notifications.update().where(waiting).values(state="dropped"))


def count_open(conn: Connection) -> None:
    """The gauge of open incidents, set when /metrics is read."""
    acked = incidents.c.acked_at.is_not(None)
    query = (
        sa.select(incidents.c.severity, acked.label("acked"), sa.func.count())
        .where(incidents.c.resolved_at.is_(None))
        .group_by(incidents.c.severity, acked)
    )
    metrics.OPEN_INCIDENTS.clear()
    for severity, is_acked, count in conn.execute(query):
        metrics.OPEN_INCIDENTS.labels(severity, str(bool(is_acked)).lower()).set(count)
