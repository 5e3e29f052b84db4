"""Tell people of incidents that nobody acknowledges, step by step by a table of delays, until somebody does.

What is to be told is a row first: it survives a restart, is sent again with back-off, and is dropped once somebody has the
incident. A fault that cleared by itself before its time is not told. While work is planned, what it explains waits.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.incidents import holds, queries
from prahari_hub.incidents.rules import SELF_CLOSING
from prahari_hub.incidents.service import tell, write_log
from prahari_hub.incidents.tables import incidents, notifications
from prahari_hub.scheduler.channels import Call, NotTold, channels
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.store.schema import UtcDateTime

TICK_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
ATTEMPTS = 10
AT_ONCE = 20
ACTOR = "system:escalation"
log = logging.getLogger(__name__)

Delays = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Due:
    """Steps ``first`` to ``last`` of an incident are to be planned."""

    incident: str
    first: int
    last: int


class Escalation:
    """``run`` plans and delivers until it is cancelled; ``plan`` and ``deliver`` are one round of each."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.delays: Delays = {str(severity): steps for severity, steps in settings.escalation.items()}
        self.channels = channels(settings)

    async def run(self) -> None:
        """A channel that hangs holds up neither the others nor the planning."""
        if not self.channels:
            log.info("nobody is told of unacknowledged incidents: neither webhook_url nor smtp_url is set")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever(self.plan, "escalation.plan"))
            for name in self.channels:
                group.create_task(self._forever(partial(self.deliver, name), f"escalation.{name}"))

    async def plan(self) -> None:
        """Write a row for each step that has come due."""
        now = self.store.clock()
        found = await self.store.read(lambda conn: steps_due(conn, now, self.delays))
        if found:
            await self.store.write(lambda unit: self._plan(unit, found))

    async def deliver(self, channel: str) -> None:
        """Send what is due on one channel, each row once."""
        now = self.store.clock()
        for number in await self.store.read(lambda conn: waiting(conn, channel, now)):
            await self._deliver(channel, number)

    async def _deliver(self, channel: str, number: int) -> None:
        found = await self.store.read(lambda conn: call_of(conn, number, self.store.clock()))
        if found is None:
            return
        call, target = found
        try:
            await self.channels[channel].send(call, target)
        except NotTold as error:
            reason = str(error)
            metrics.NOTIFICATIONS.labels(channel, "failed").inc()
            await self.store.write(lambda unit: failed(unit, number, reason))
            return
        metrics.NOTIFICATIONS.labels(channel, "sent").inc()
        await self.store.write(lambda unit: sent(unit, number))

    def _plan(self, unit: Unit, found: list[Due]) -> None:
        for due in found:
            if not _still_waits(unit.conn, due) or holds.is_held(unit.conn, due.incident, unit.now):
                continue
            for step in range(due.first, due.last + 1):
                for name, channel in self.channels.items():
                    target = channel.target(step)
                    if target is not None:
                        _add(unit, due.incident, step, name, target)

    async def _forever(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("%s waits: %s", name, error)
            except Exception:
                metrics.WORKER_FAILURES.labels(name).inc()
                log.exception("%s failed and goes on", name)
            await asyncio.sleep(TICK_S)


_SINCE = sa.func.coalesce(incidents.c.waits_since, incidents.c.opened_at, type_=UtcDateTime()).label("since")


def _nobody_has_it() -> sa.ColumnElement[bool]:
    """Open, unacknowledged, not a fault that is over, and not on hold."""
    over = sa.and_(incidents.c.cleared_at.is_not(None), incidents.c.kind.in_(SELF_CLOSING))
    return sa.and_(
        incidents.c.acked_at.is_(None),
        incidents.c.resolved_at.is_(None),
        incidents.c.hold.is_(None),
        sa.not_(over),
    )


def steps_due(conn: Connection, now: datetime, delays: Delays) -> list[Due]:
    """The steps that have come due and have no row yet."""
    planned = sa.func.coalesce(sa.func.max(notifications.c.step), 0).label("planned")
    of_this_round = sa.and_(
        notifications.c.incident_id == incidents.c.id, notifications.c.round == incidents.c.round
    )
    query = (
        sa.select(incidents.c.id, incidents.c.severity, _SINCE, planned)
        .outerjoin(notifications, of_this_round)
        .where(_nobody_has_it())
        .group_by(incidents.c.id, incidents.c.severity, incidents.c.opened_at, incidents.c.waits_since)
    )
    found = []
    for row in conn.execute(query):
        age_s = (now - row.since).total_seconds()
        last = sum(age_s >= delay for delay in delays.get(row.severity, ()))
        if last > row.planned:
            found.append(Due(row.id, row.planned + 1, last))
    return found


def _still_waits(conn: Connection, due: Due) -> bool:
    query = sa.select(incidents.c.id).where(incidents.c.id == due.incident, _nobody_has_it())
    return conn.execute(query).first() is not None


def _add(unit: Unit, incident: str, step: int, channel: str, target: str) -> None:
    unit.conn.execute(
        notifications.insert().values(
            incident_id=incident,
            round=sa.select(incidents.c.round).where(incidents.c.id == incident).scalar_subquery(),
            step=step,
            channel=channel,
            target=target,
            due_at=unit.now,
            state="waiting",
            attempts=0,
        )
    )


def waiting(conn: Connection, channel: str, now: datetime) -> list[int]:
    query = (
        sa.select(notifications.c.id)
        .join(incidents, incidents.c.id == notifications.c.incident_id)
        .where(
            notifications.c.state == "waiting",
            notifications.c.channel == channel,
            notifications.c.due_at <= now,
            incidents.c.hold.is_(None),
        )
        .order_by(notifications.c.due_at, notifications.c.id)
        .limit(AT_ONCE)
    )
    return list(conn.execute(query).scalars())


def call_of(conn: Connection, number: int, now: datetime) -> tuple[Call, str] | None:
    """What to send and to whom; None if it was dropped meanwhile, or if its incident is on hold: then it is sent afterwards."""
    query = sa.select(notifications).where(notifications.c.id == number, notifications.c.state == "waiting")
    row = conn.execute(query).one_or_none()
    if row is None or holds.is_held(conn, row.incident_id, now):
        return None
    return Call(row.id, row.step, queries.get(conn, row.incident_id), now), row.target


def sent(unit: Unit, number: int) -> None:
    row = unit.conn.execute(sa.select(notifications).where(notifications.c.id == number)).one()
    since = unit.conn.execute(sa.select(_SINCE).where(incidents.c.id == row.incident_id)).scalar_one()
    took_s = (unit.now - since).total_seconds()
    values = {"state": "sent", "attempts": row.attempts + 1, "error": None, "took_s": took_s}
    unit.conn.execute(notifications.update().where(notifications.c.id == number).values(**values))
    write_log(unit, row.incident_id, ACTOR, "told", text=f"{row.channel}: {row.target}")
    tell(unit, row.incident_id, "told")


def failed(unit: Unit, number: int, reason: str) -> None:
    """Again later, twice as late each time; after ATTEMPTS the incident's log says that it was given up."""
    row = unit.conn.execute(sa.select(notifications).where(notifications.c.id == number)).one()
    if row.state != "waiting":
        return
    attempts = row.attempts + 1
    values = {"attempts": attempts, "error": reason[:300], "due_at": unit.now + back_off(attempts)}
    if attempts >= ATTEMPTS:
        values["state"] = "failed"
        write_log(unit, row.incident_id, ACTOR, "told", text=f"{row.channel}: given up, {reason[:300]}")
    unit.conn.execute(notifications.update().where(notifications.c.id == number).values(**values))
    log.warning(
        "notification %d by %s failed (%d of %d): %s", number, row.channel, attempts, ATTEMPTS, reason
    )


def back_off(attempts: int) -> timedelta:
    """5, 10, 20 … 300 s, a tenth more or less so that many do not come at once."""
    wait_s = min(FIRST_WAIT_S * 2 ** (attempts - 1), LONGEST_WAIT_S)
    return timedelta(seconds=wait_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
