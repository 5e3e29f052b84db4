"""Leases: names that one process holds at a time, kept alive by renewing them, and a fence for whatever their holder writes.

PostgreSQL's own clock counts, so the workers' clocks may differ. A lease passes on only in a transaction that raises its epoch;
``fence`` reads the epochs inside the holder's own transactions and locks them until the commit, so that nothing of a worker
that has lost a lease gets in after its successor has begun to read.

That clock may step back. A lease that ends later than any could is then cut to one lease from now: who lives renews it as always,
and the dead hold nothing, and count for nobody, longer than they ever do.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from prahari_hub.errors import Unavailable
from prahari_hub.store import postgres
from prahari_hub.store.engine import Unit
from prahari_hub.store.tables import leases
from prahari_hub.store.upsert import insert, upsert

LEASE = timedelta(seconds=6)
SLACK = timedelta(seconds=1)
"""A lease may seem to end so much later than one that is taken now: the clock is read before the row is."""
FORGET = timedelta(minutes=1)
"""A worker's own row goes so long after its end."""
STALLED = "5s"
"""PostgreSQL ends a fenced transaction whose process stands still so long between two statements."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NOBODY = ""
log = logging.getLogger(__name__)

Held = dict[str, int]
"""Name → epoch."""


class LeaseLost(Unavailable):
    """Another process has taken over what this transaction was about; nothing of it was committed."""


@dataclass(frozen=True)
class Standing:
    """Who holds what, as one round saw it. ``until``: when the first lease of somebody else ends; None if there is none."""

    held: Held
    lost: frozenset[str]
    workers: Mapping[str, int]
    free: frozenset[str]
    next_end_s: float | None


def database_now(unit: Unit) -> datetime:
    """The clock that all processes share: PostgreSQL's; with SQLite there is one process, and its own counts."""
    return clock_of(unit.conn, unit.now)


def clock_of(conn: Connection, own: datetime) -> datetime:
    """What that clock says; ``own`` where the database has none."""
    if conn.dialect.name != "postgresql":
        return own
    now: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def unheld(conn: Connection, names: Collection[str], own_now: datetime) -> set[str]:
    """Those of ``names`` that nobody holds now; ``own_now`` counts where the database has no clock."""
    held = leases.c.name.in_(names) & alive(clock_of(conn, own_now))
    return set(names) - set(conn.scalars(sa.select(leases.c.name).where(held)))


def alive(now: datetime) -> ColumnElement[bool]:
    """That somebody holds it by the clock that all processes share; one that ends too late was taken before that clock stepped back."""
    return (leases.c.holder != NOBODY) & leases.c.until.between(now, now + LEASE + SLACK)


def keep(
    unit: Unit, group: str, holder: str, names: Collection[str], held: Held, *, counts: bool = True
) -> Standing:
    """Say that this worker lives, renew what it holds, and tell how all of ``names`` stand; end what a worker that hangs has locked.

    ``counts`` is whether others leave this worker its share; without, it only goes on holding what it holds.
    """
    if unit.conn.dialect.name == "postgresql":
        _end_stalled(unit)
    kept = renew(unit, group, holder, held, counts=counts)
    rows = unit.conn.execute(
        sa.select(leases).where(
            leases.c.name.in_(names) | leases.c.name.startswith(_worker(group, ""), autoescape=True)
        )
    ).all()
    now = database_now(unit)
    _cut(unit, {row.name for row in rows if row.until > now + LEASE + SLACK}, now)
    prefix = _worker(group, "")
    living = [row for row in rows if row.holder != NOBODY and row.until > now]
    workers = {row.holder: 0 for row in living if row.name.startswith(prefix)}
    taken = {row.name: row.holder for row in living if not row.name.startswith(prefix)}
    for taker in taken.values():
        if taker in workers:
            workers[taker] += 1
    ends = [min(row.until, now + LEASE) for row in living if row.holder != holder]
    unit.conn.execute(
        leases.delete().where(
            leases.c.name.startswith(prefix, autoescape=True), leases.c.until < now - FORGET
        )
    )
    return Standing(
        held=kept,
        lost=frozenset(held) - frozenset(kept),
        workers=workers,
        free=frozenset(names) - taken.keys() - frozenset(kept),
        next_end_s=min(((end - now).total_seconds() for end in ends), default=None),
    )


def renew(unit: Unit, group: str, holder: str, held: Held, *, counts: bool = True) -> Held:
    """Say that this worker lives and go on holding what it holds; what of it is still its own."""
    until = database_now(unit) + LEASE
    if counts:
        alive = {"name": _worker(group, holder), "holder": holder, "epoch": 0, "until": until}
        upsert(unit.conn, leases, alive, keys=("name",))
    else:
        unit.conn.execute(leases.delete().where(leases.c.name == _worker(group, holder)))
    return _renew(unit.conn, holder, held, until)


def claim(unit: Unit, holder: str, names: Sequence[str]) -> Held:
    """Take those of ``names`` that are free; one whose old holder is just committing is left for the next round."""
    if not names:
        return {}
    now = database_now(unit)
    rows = [{"name": name, "holder": NOBODY, "epoch": 0, "until": LONG_AGO} for name in sorted(names)]
    unit.conn.execute(insert(unit.conn, leases).on_conflict_do_nothing(index_elements=["name"]), rows)
    free = unit.conn.scalars(
        sa.select(leases.c.name)
        .where(leases.c.name.in_(names), leases.c.until <= now)
        .order_by(leases.c.name)
        .with_for_update(skip_locked=True)
    ).all()
    unit.conn.execute(
        leases.update()
        .where(leases.c.name.in_(free), leases.c.until <= now)
        .values(holder=holder, epoch=leases.c.epoch + 1, until=now + LEASE)
    )
    found = unit.conn.execute(
        sa.select(leases.c.name, leases.c.epoch).where(leases.c.name.in_(free), leases.c.holder == holder)
    )
    return {row.name: row.epoch for row in found}


def release(unit: Unit, holder: str, names: Collection[str]) -> None:
    """Give leases back: whoever asks next has them."""
    unit.conn.execute(
        leases.update()
        .where(leases.c.name.in_(names), leases.c.holder == holder)
        .values(holder=NOBODY, until=LONG_AGO)
    )


def leave(unit: Unit, group: str, holder: str) -> None:
    """This worker takes no share any more, and holds nothing."""
    unit.conn.execute(
        leases.update()
        .where(leases.c.holder == holder, leases.c.name != _worker(group, holder))
        .values(holder=NOBODY, until=LONG_AGO)
    )
    unit.conn.execute(leases.delete().where(leases.c.name == _worker(group, holder)))


def clear(unit: Unit) -> None:
    """Forget every lease: for the only process that may have one, so that it need not wait for those of its killed self."""
    unit.conn.execute(leases.update().values(holder=NOBODY, until=LONG_AGO))
    unit.conn.execute(leases.delete().where(leases.c.name.startswith("worker/")))


def fence(unit: Unit, holder: str, held: Held) -> None:
    """LeaseLost unless ``holder`` has all of ``held`` with these epochs until this transaction ends."""
    if not held:
        return
    if unit.conn.dialect.name == "postgresql":
        unit.conn.execute(sa.select(sa.func.set_config("idle_in_transaction_session_timeout", STALLED, True)))
    rows = unit.conn.execute(_FENCE, {"names": list(held), "holder": holder})
    if {row.name: row.epoch for row in rows} != held:
        raise LeaseLost("another worker has taken over; what was not committed is sent again")


_FENCE = (
    sa.select(leases.c.name, leases.c.epoch)
    .where(
        leases.c.name.in_(sa.bindparam("names", expanding=True)), leases.c.holder == sa.bindparam("holder")
    )
    .with_for_update(read=True)
)


def _renew(conn: Connection, holder: str, held: Held, until: datetime) -> Held:
    if not held:
        return {}
    conn.execute(
        leases.update().where(leases.c.name.in_(held), leases.c.holder == holder).values(until=until)
    )
    found = conn.execute(
        sa.select(leases.c.name, leases.c.epoch).where(leases.c.name.in_(held), leases.c.holder == holder)
    )
    return {row.name: row.epoch for row in found if held[row.name] == row.epoch}


def _cut(unit: Unit, late: Collection[str], now: datetime) -> None:
    """Let these end one lease from now, unless their holders renew them; who is just writing lives, and is not waited for."""
    if not late:
        return
    found = unit.conn.scalars(
        sa.select(leases.c.name)
        .where(leases.c.name.in_(late), leases.c.until > now + LEASE)
        .order_by(leases.c.name)
        .with_for_update(skip_locked=True)
    ).all()
    unit.conn.execute(leases.update().where(leases.c.name.in_(found)).values(until=now + LEASE))
    log.warning(
        "the database's clock stepped back: leases that would have ended too late end in %d s unless they are renewed",
        LEASE.total_seconds(),
    )


def _end_stalled(unit: Unit) -> None:
    ended = postgres.end_stalled(unit.conn)
    if ended:
        log.warning("%d transactions of processes that stand still were ended, others waited for them", ended)


def _worker(group: str, holder: str) -> str:
    return f"worker/{group}/{holder}"
