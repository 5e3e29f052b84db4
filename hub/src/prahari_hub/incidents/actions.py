"""What people do with an incident: acknowledge, resolve, assign, comment. Each leaves who, when and why in its log and the audit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from prahari_wire import events
from prahari_wire.base import Severity
from prahari_wire.callbox import Lamp
from sqlalchemy import Row

from prahari_hub.access import users
from prahari_hub.access.audit import record
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import lamp
from prahari_hub.incidents.rules import SELF_CLOSING
from prahari_hub.incidents.service import drop_notifications, tell, write_log
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Unit
from prahari_hub.texts import N_


def acknowledge(unit: Unit, actor: Actor, incident: str, *, comment: str | None = None) -> None:
    """Somebody has seen it. Again by anyone changes nothing: the first one's name stays."""
    row = _row(unit, incident)
    if row.acked_at is not None or row.resolved_at is not None:
        return
    values: dict[str, Any] = {"acked_at": unit.now, "acked_by": actor.name}
    over = row.cleared_at is not None and row.kind in SELF_CLOSING
    if over:
        values |= {"resolved_at": unit.now, "resolved_by": actor.name}
    _note(unit, actor, row, "acknowledged", comment, **values)
    if over:
        write_log(unit, row.id, actor.name, "resolved")
    drop_notifications(unit, row.id)
    if row.kind == events.PRESS:
        lamp.light(unit, row.device_id, row.peripheral, incident=row.id, state=Lamp.STEADY)


def resolve(unit: Unit, actor: Actor, incident: str, *, comment: str | None = None) -> None:
    """It is dealt with. One that is critical and that nobody acknowledged needs a word on why."""
    row = _row(unit, incident)
    if row.resolved_at is not None:
        return
    if row.severity == Severity.CRITICAL and row.acked_at is None and not (comment or "").strip():
        raise Invalid(
            N_(
                "Nobody has acknowledged this critical incident: acknowledge it first, or say why it can be closed."
            ),
            ("comment", "needed here"),
        )
    values: dict[str, Any] = {"resolved_at": unit.now, "resolved_by": actor.name}
    if row.acked_at is None:
        values |= {"acked_at": unit.now, "acked_by": actor.name}
    _note(unit, actor, row, "resolved", comment, **values)
    drop_notifications(unit, row.id)
    if row.kind == events.PRESS:
        lamp.light(unit, row.device_id, row.peripheral, incident=row.id, state=Lamp.OFF)


def assign(
    unit: Unit, actor: Actor, incident: str, *, assignee: str | None, comment: str | None = None
) -> None:
    """Give it to a user who may act on it, or to nobody."""
    row = _row(unit, incident)
    if row.resolved_at is not None:
        raise Conflict(N_("This incident is closed; comment on it, or wait for the next one."))
    if assignee is not None:
        user = users.find(unit.conn, assignee)
        if user is None or user.disabled or user.role not in (Role.ADMIN, Role.OPERATOR, Role.TECHNICIAN):
            raise Invalid(
                N_("{assignee!r} cannot take incidents; name an operator, technician or admin."),
                ("assignee", "name of an active user"),
                assignee=assignee[:40],
            )
    if row.assignee == assignee:
        return
    text = assignee if assignee is not None else "nobody"
    _note(unit, actor, row, "assigned", f"{text}: {comment}" if comment else text, assignee=assignee)


def comment(unit: Unit, actor: Actor, incident: str, *, text: str) -> None:
    """A word for whoever reads next; also after it was closed."""
    row = _row(unit, incident)
    if not text.strip():
        raise Invalid(N_("A comment needs words."), ("text", "1 to 2000 characters"))
    _note(unit, actor, row, "commented", text.strip())


def _row(unit: Unit, incident: str) -> Row[Any]:
    row = unit.conn.execute(sa.select(incidents).where(incidents.c.id == incident)).one_or_none()
    if row is None:
        raise NotFound(N_("There is no incident {incident!r}."), incident=incident[:40])
    return row


VERBS = {"acknowledged": "acknowledge", "resolved": "resolve", "assigned": "assign", "commented": "comment"}


def _note(unit: Unit, actor: Actor, row: Row[Any], action: str, text: str | None, **values: Any) -> None:
    unit.conn.execute(
        incidents.update().where(incidents.c.id == row.id).values(**values, version=row.version + 1)
    )
    write_log(unit, row.id, actor.name, action, text=text)
    detail = {"kind": row.kind, "device": row.device_id}
    record(unit, actor, f"incident.{VERBS[action]}", f"incident:{row.id}", reason=text, detail=detail)
    tell(unit, row.id, action)
