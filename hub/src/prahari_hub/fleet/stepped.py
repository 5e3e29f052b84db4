"""After the hub's clock was put back: what it wrote while it ran ahead waits for a time that comes no more."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from prahari_hub.fleet.commands import OPEN, UNANSWERED
from prahari_hub.fleet.outgoing import PUT_OFF
from prahari_hub.fleet.tables import commands, live_views, twins
from prahari_hub.fleet.windows import follow_again
from prahari_hub.store import Unit


def sooner(unit: Unit) -> int:
    """What would be sent again later than it ever is, is sent now; how many."""
    late = unit.now + PUT_OFF
    waits = [
        twins.update().where(twins.c.next_send_at > late),
        commands.update().where(
            commands.c.state.in_(sorted(map(str, UNANSWERED))), commands.c.next_send_at > late
        ),
    ]
    return sum(unit.conn.execute(one.values(next_send_at=unit.now)).rowcount for one in waits)


def righted(unit: Unit, later: datetime) -> int:
    """What was begun ``later`` than can be, begins now and lasts as long as it was meant to; how many."""
    return _commands(unit, later) + _views(unit, later) + follow_again(unit, later)


def _commands(unit: Unit, later: datetime) -> int:
    still_open = commands.c.state.in_(sorted(map(str, OPEN)))
    rows = unit.conn.execute(sa.select(commands).where(still_open, commands.c.issued_at > later)).all()
    for row in rows:
        values = {"issued_at": unit.now, "expires_at": unit.now + (row.expires_at - row.issued_at)}
        unit.conn.execute(commands.update().where(commands.c.id == row.id).values(values))
    said = commands.update().where(still_open, commands.c.state_at > later)
    return len(rows) + unit.conn.execute(said.values(state_at=unit.now)).rowcount


def _views(unit: Unit, later: datetime) -> int:
    still_open = live_views.c.ended_at.is_(None)
    rows = unit.conn.execute(sa.select(live_views).where(still_open, live_views.c.started_at > later)).all()
    for row in rows:
        values = {"started_at": unit.now, "ends_at": unit.now + (row.ends_at - row.started_at)}
        unit.conn.execute(live_views.update().where(live_views.c.id == row.id).values(values))
    return len(rows)
