"""Tell people of incidents that nobody acknowledges, step by step by a table of delays, until somebody does.

What is to be told is a row first: it survives a restart, is sent again with back-off, and is dropped once somebody has the
incident. A fault that cleared by itself before its time is not told. While work is planned, what it explains waits.

Thousands may come due in one moment. They are planned some at a time, so that events are stored meanwhile; the worst are told
first, also of those that came due while others were told; and presses of call boxes go a way of their own, beside what is told slowly.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

import sqlalchemy as sa
from prahari_wire import events
from sqlalchemy import Connection

from prahari_hub import metrics
from prahari_hub.errors import Unavailable
from prahari_hub.incidents import holds, queries
from prahari_hub.incidents.service import tell, write_log
from prahari_hub.incidents.tables import incidents, notifications
from prahari_hub.scheduler.channels import Call, NotTold, channels
from prahari_hub.settings import Settings
from prahari_hub.store import Store, Unit
from prahari_hub.store.schema import UtcDateTime

TICK_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
ATTEMPTS = 10
PLANNED_AT_ONCE = 50
"""Incidents in one transaction: nothing else is written while it lasts, neither an event of a device."""
AT_ONCE = 20
"""Calls by one way in a tick, so that a receiver that refuses is not stormed."""
ACTOR = "system:escalation"
log = logging.getLogger(__name__)

Delays = Mapping[str, Sequence[float]]
Steps = Mapping[str, Sequence[tuple[int, float]]]
"""By severity: the steps in which anybody is told, and after how many seconds."""


class Way(Enum):
    """Two ways of each channel: a press waits behind other presses alone."""

    PRESSES = "presses"
    REST = "rest"


@dataclass(frozen=True)
class Due:
    """Steps ``first`` to ``last`` of an incident are to be planned."""

    incident: str
    round: int
    first: int
    last: int


class Escalation:
    """``run`` plans and delivers until it is cancelled; ``plan`` and ``deliver`` are one round of each."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.delays: Delays = {str(severity): steps for severity, steps in settings.escalation.items()}
        self.channels = channels(settings)
        self._planned = 0

    async def run(self) -> None:
        """A channel that hangs holds up neither the others nor the planning, and a call about anything else holds up no press."""
        if not self.channels:
            log.info("nobody is told of unacknowledged incidents: neither webhook_url nor smtp_url is set")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever(self.plan, "escalation.plan"))
            for name in self.channels:
                for way in Way:
                    deliver = partial(self.deliver, name, way)
                    group.create_task(self._forever(deliver, f"escalation.{name}.{way.value}"))

    async def plan(self) -> bool:
        """Write a row for each step that has come due, of the worst PLANNED_AT_ONCE incidents; whether there may be more."""
        now = self.store.clock()
        found = await self.store.read(lambda conn: self._due(conn, now))
        if not found:
            return False
        added = await self.store.write(lambda unit: self._plan(unit, [due.incident for due in found]))
        self._planned += added
        return added > 0 and len(found) == PLANNED_AT_ONCE

    async def deliver(self, channel: str, way: Way) -> None:
        """Send AT_ONCE of what is due on one way of a channel, the worst first."""
        left = AT_ONCE
        while left > 0:
            tried, more = await self._in_order(channel, way, left)
            left -= tried
            if not more:
                return

    async def _in_order(self, channel: str, way: Way, most: int) -> tuple[int, bool]:
        """How many were tried, and whether to look again: steps were planned meanwhile, or it took long, so that a worse one may be due."""
        now, planned = self.store.clock(), self._planned
        until = asyncio.get_running_loop().time() + TICK_S
        numbers = await self.store.read(lambda conn: waiting(conn, channel, way, now))
        for tried, number in enumerate(numbers[:most], 1):
            await self._deliver(channel, number)
            if self._planned != planned or asyncio.get_running_loop().time() > until:
                return tried, True
        return len(numbers), False

    async def _deliver(self, channel: str, number: int) -> None:
        found = await self.store.read(lambda conn: call_of(conn, number, self.store.clock()))
        if found is None:
            return
        call, target = found
        reason = await self._send(channel, call, target)
        metrics.NOTIFICATIONS.labels(channel, "failed" if reason else "sent").inc()
        await self.store.write(lambda unit: failed(unit, number, reason) if reason else sent(unit, number))

    async def _send(self, channel: str, call: Call, target: str) -> str | None:
        """Why it could not be told, None if it was. A message that cannot even be made holds up no other."""
        try:
            await self.channels[channel].send(call, target)
        except NotTold as error:
            return str(error)
        except Exception:
            metrics.WORKER_FAILURES.labels(f"escalation.{channel}").inc()
            log.exception("notification %d by %s could not be made", call.delivery, channel)
            return f"the message for {target} could not be made: the hub's log says why"
        return None

    def _due(self, conn: Connection, now: datetime, among: Sequence[str] | None = None) -> list[Due]:
        """What ``steps_due`` gives of the steps that anybody is told of, without what waits for planned work."""
        found = steps_due(conn, now, self._steps(), among=among)
        held = holds.held_among(conn, [due.incident for due in found], now) if found else set()
        return [due for due in found if due.incident not in held]

    def _steps(self) -> Steps:
        return {
            severity: [(step, delay) for step, delay in enumerate(sorted(delays), 1) if self._anybody(step)]
            for severity, delays in self.delays.items()
        }

    def _anybody(self, step: int) -> bool:
        return any(channel.target(step) is not None for channel in self.channels.values())

    def _plan(self, unit: Unit, ids: Sequence[str]) -> int:
        """Look again at these, now that nobody else writes; how many rows were written."""
        added = [
            _row(due, step, name, target, unit.now)
            for due in self._due(unit.conn, unit.now, ids)
            for step in range(due.first, due.last + 1)
            for name, channel in self.channels.items()
            if (target := channel.target(step)) is not None
        ]
        if added:
            unit.conn.execute(notifications.insert(), added)
        return len(added)

    async def _forever(self, work: Callable[[], Awaitable[bool | None]], name: str) -> None:
        """Again each tick; at once while ``work`` says that there is more."""
        while True:
            more: bool | None = False
            try:
                more = await work()
            except Unavailable as error:
                log.warning("%s waits: %s", name, error)
            except Exception:
                metrics.WORKER_FAILURES.labels(name).inc()
                log.exception("%s failed and goes on", name)
            if not more:
                await asyncio.sleep(TICK_S)


_SINCE = sa.func.coalesce(incidents.c.waits_since, incidents.c.opened_at, type_=UtcDateTime())
_NO_PRESS = incidents.c.kind != events.PRESS


def steps_due(
    conn: Connection, now: datetime, steps: Steps, *, among: Sequence[str] | None = None
) -> list[Due]:
    """The steps that have come due and have no row yet, of at most PLANNED_AT_ONCE incidents: presses, then the worst, then the oldest."""
    planned = sa.func.coalesce(sa.func.max(notifications.c.step), 0)
    of_this_round = sa.and_(
        notifications.c.incident_id == incidents.c.id, notifications.c.round == incidents.c.round
    )
    columns = (incidents.c.id, incidents.c.severity, incidents.c.round)
    query = (
        sa.select(*columns, _SINCE.label("since"), planned.label("planned"))
        .outerjoin(notifications, of_this_round)
        .where(queries.nobody_has(), sa.true() if among is None else incidents.c.id.in_(among))
        .group_by(
            *columns, incidents.c.kind, incidents.c.rank, incidents.c.opened_at, incidents.c.waits_since
        )
        .having(sa.or_(sa.false(), *_without_row(planned, now, steps)))
        .order_by(_NO_PRESS, incidents.c.rank, _SINCE, incidents.c.id)
        .limit(PLANNED_AT_ONCE)
    )
    found = []
    for row in conn.execute(query):
        age = now - row.since
        last = max(step for step, delay in steps[row.severity] if age >= timedelta(seconds=delay))
        found.append(Due(row.id, row.round, row.planned + 1, last))
    return found


def _without_row(
    planned: sa.ColumnElement[int], now: datetime, steps: Steps
) -> Iterator[sa.ColumnElement[bool]]:
    for severity, delays in steps.items():
        for step, delay in delays:
            old_enough = now - timedelta(seconds=delay) >= _SINCE
            yield sa.and_(incidents.c.severity == severity, planned < step, old_enough)


def _row(due: Due, step: int, channel: str, target: str, now: datetime) -> dict[str, Any]:
    row = {"incident_id": due.incident, "round": due.round, "step": step, "channel": channel}
    return row | {"target": target, "due_at": now, "state": "waiting", "attempts": 0}


def waiting(conn: Connection, channel: str, way: Way, now: datetime) -> list[int]:
    """What is due and nobody has, the worst first, of those that are as bad the oldest."""
    query = (
        sa.select(notifications.c.id)
        .join(incidents, incidents.c.id == notifications.c.incident_id)
        .where(
            notifications.c.state == "waiting",
            notifications.c.channel == channel,
            notifications.c.due_at <= now,
            queries.nobody_has(),
            _NO_PRESS if way is Way.REST else sa.not_(_NO_PRESS),
        )
        .order_by(incidents.c.rank, notifications.c.due_at, notifications.c.id)
        .limit(AT_ONCE)
    )
    return list(conn.execute(query).scalars())


def call_of(conn: Connection, number: int, now: datetime) -> tuple[Call, str] | None:
    """What to send and to whom; None if it was dropped meanwhile, or if its incident is on hold or a fault that is over by now: then it
    is sent when that has changed."""
    query = (
        sa.select(notifications)
        .join(incidents, incidents.c.id == notifications.c.incident_id)
        .where(notifications.c.id == number, notifications.c.state == "waiting", queries.nobody_has())
    )
    row = conn.execute(query).one_or_none()
    if row is None or holds.held_among(conn, [row.incident_id], now):
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
