"""Who is there: presence of every device, kept in columns and moved by the machine in fleet/presence.py, one device at a time.

Lives on the event loop; times are given. What can be told of many devices at once, the sweep and the hub's blindness, is told in columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from prahari_wire.envelope import Session as WireSession
from prahari_wire.topics import PARTITIONS

from prahari_hub.fleet.cells import CELLS_A_PARTITION
from prahari_hub.fleet.presence import Limits, Link, Session, Step, may_move
from prahari_hub.ingest.chance import Chance, Spread
from prahari_hub.ingest.columns import (
    ALL_PARTITIONS,
    CODE,
    NO_STATE,
    OFFLINE,
    ONLINE,
    PRESENCES,
    UNKNOWN,
    Columns,
)


@dataclass(slots=True)
class Told:
    """A transition that is not on disk yet. ``seen_at`` is when the device had been heard last."""

    device: str
    step: Step
    at: datetime
    seen_at: float


class Links:
    """The links of the devices in ``columns``. ``pending`` are the transitions that are not on disk yet."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.columns = Columns()
        self.sighted_s: list[float | None] = [None] * PARTITIONS
        self.spread: Callable[[], Spread] = Spread
        """How the fleet comes back after the broker was away; the composition root knows."""
        self._chance = Chance()
        self.pending: list[Told] = []
        self.rare: dict[int, Link] = {}

    def _speaks(self, row: int, boot: str, conn: int, now_s: float, now: datetime) -> bool:
        """A message of a session that is not the known one, or of a device that is not ONLINE; False if it is of an earlier one."""
        session = Session(boot, conn)
        link = self.link(row)
        if link.is_stale(session):
            return False
        self._moved(row, link, link.heard(session, now_s), now)
        return True

    def heard(self, device: str, message: WireSession, now_s: float, now: datetime) -> None:
        """Any message but birth and heartbeat."""
        self._heard(device, session_of(message), now_s, now)

    def _heard(self, device: str, session: Session, now_s: float, now: datetime) -> None:
        row = self.columns.row(device)
        if row is not None and self._speaks(row, session.boot, session.conn, now_s, now):
            self._seen(row, now_s, now)

    def born(self, device: str, message: WireSession, now_s: float, now: datetime) -> bool:
        """A birth; False if it is a late repeat of an earlier connection."""
        row = self.columns.row(device)
        if row is None:
            return False
        link, session = self.link(row), session_of(message)
        stale = link.is_stale(session)
        self._moved(row, link, link.born(session, now_s), now)
        if not stale:
            self._seen(row, now_s, now)
        return not stale

    def died(self, device: str, message: WireSession, reason: str, now: datetime) -> None:
        """A last will or a goodbye."""
        row = self.columns.row(device)
        if row is not None:
            link = self.link(row)
            self._moved(row, link, link.died(session_of(message), reason), now)

    def _seen(self, row: int, now_s: float, now: datetime) -> None:
        columns = self.columns
        columns.heard_s[row] = now_s
        columns.seen_at[row] = now.timestamp()
        columns.dirty[columns.cell[row]] = True

    def link(self, row: int) -> Link:
        """The machine of one device, as the columns have it."""
        columns = self.columns
        boot, heard_s, before = (
            bytes(columns.boot[row]),
            float(columns.heard_s[row]),
            int(columns.before[row]),
        )
        rare = self.rare.get(row)
        return Link(
            state=PRESENCES[columns.state[row]],
            session=Session(boot.decode(), int(columns.conn[row])) if boot else None,
            heard_s=None if np.isnan(heard_s) else heard_s,
            dead=bool(columns.dead[row]),
            superseded=rare.superseded if rare else (),
            clone_s=rare.clone_s if rare else None,
            clone_told_s=rare.clone_told_s if rare else None,
            before=None if before == NO_STATE else PRESENCES[before],
        )

    def _moved(self, row: int, link: Link, steps: Iterable[Step], now: datetime) -> None:
        """Put a machine back into the columns and keep its transitions until they are written."""
        columns = self.columns
        device, seen_at = columns.ids[row], float(columns.seen_at[row])
        for step in steps:
            if not step.quiet:
                self.pending.append(Told(device, step, now, seen_at))
        columns.state[row] = CODE[link.state]
        columns.before[row] = NO_STATE if link.before is None else CODE[link.before]
        columns.dead[row] = link.dead
        columns.heard_s[row] = np.nan if link.heard_s is None else link.heard_s
        if link.session is not None:
            columns.boot[row], columns.conn[row] = link.session.boot.encode(), link.session.conn
        if link.superseded or link.clone_s is not None:
            self.rare[row] = link
        else:
            self.rare.pop(row, None)

    # -- sight

    def sees(self, sighted: bool, now_s: float, partitions: Iterable[int] = ALL_PARTITIONS) -> None:
        """The hub regained sight of the broker, or lost it."""
        partitions = list(partitions)
        for partition in partitions:
            self.sighted_s[partition] = now_s if sighted else None
        if sighted:
            self._chance.begins(now_s, self.spread())
        else:
            self.blind(partitions)

    def crowded(self, now_s: float) -> None:
        """Devices wait before the gate: whoever is silent now may be one of them."""
        self._chance.crowded(now_s, self.spread())

    def hard_of_hearing(self, now_s: float) -> None:
        """Devices may have spoken unheard until now: silence counts for nothing until a full grace has passed again."""
        self.sighted_s = [None if since is None else max(since, now_s) for since in self.sighted_s]

    def blind(self, partitions: Iterable[int]) -> None:
        """Nobody can tell how the devices of these partitions are: all at once, as ``Link.blinded`` has it for one."""
        columns = self.columns
        count = len(columns.ids)
        state = columns.state[:count]
        here = np.isin(columns.partitions(), list(partitions)) & (state != UNKNOWN)
        columns.before[:count][here] = state[here]
        state[here] = UNKNOWN

    def sweep(self, now_s: float, now: datetime) -> Iterator[int]:
        """Judge the silence of every device; yields now and then, for the event loop's breath."""
        columns = self.columns
        count = len(columns.ids)
        if unseen := [number for number, since in enumerate(self.sighted_s) if since is None]:
            self.blind(unseen)
        sighted = np.array(
            [np.nan if since is None else since for since in map(self._counts_s, range(PARTITIONS))]
        )
        since = sighted[columns.partitions()]
        due = may_move(
            columns.state[:count] == ONLINE,
            (columns.state[:count] != OFFLINE) & (columns.state[:count] != ONLINE),
            now_s - np.maximum(columns.heard_s[:count], since),
            columns.suspect_s[:count],
            columns.offline_s[:count],
        )
        rows = set(np.flatnonzero(due & (columns.used[:count] == 1)).tolist())
        rows.update(row for row, link in self.rare.items() if link.clone_s is not None)
        for number, row in enumerate(sorted(rows)):
            if columns.used[row]:
                self._judge(row, now_s, now)
            if number % 500 == 499:
                yield number

    def _judge(self, row: int, now_s: float, now: datetime) -> None:
        link = self.link(row)
        limits = Limits(float(self.columns.suspect_s[row]), float(self.columns.offline_s[row]))
        sighted_s = self._counts_s(int(self.columns.cell[row]) // CELLS_A_PARTITION)
        self._moved(row, link, link.swept(now_s, sighted_s=sighted_s, limits=limits), now)

    def _counts_s(self, partition: int) -> float | None:
        """Since when silence in this partition counts, which may be a moment that is still to come; None while it is not seen."""
        since_s = self.sighted_s[partition]
        return None if since_s is None else max(since_s, self._chance.counts_s)

    def last_heard(self, partitions: Iterable[int], now: datetime) -> dict[int, datetime]:
        """When any device of each partition was heard last, not after ``now``; without partitions that nobody ever spoke in."""
        columns = self.columns
        count = len(columns.ids)
        seen_at, of = columns.seen_at[:count], columns.partitions()
        known = ~np.isnan(columns.heard_s[:count])
        found: dict[int, datetime] = {}
        for partition in partitions:
            here = known & (of == partition)
            if here.any():
                last = np.nanmax(seen_at[here], initial=0.0)
                found[partition] = datetime.fromtimestamp(last, UTC) if 0 < last < now.timestamp() else now
        return found

    def in_doubt(self) -> set[int]:
        """Partitions that have devices which were ONLINE before the hub was blind and have not been judged since."""
        columns = self.columns
        count = len(columns.ids)
        waits = (columns.state[:count] == UNKNOWN) & (columns.before[:count] == ONLINE)
        return set(np.unique(columns.partitions()[waits]).tolist())

    def take_pending(self, most: int | None = None) -> list[Told]:
        """All of them; none where there are more than ``most``: then they do not go along with something that is in a hurry."""
        if most is not None and len(self.pending) > most:
            return []
        taken, self.pending = self.pending, []
        return taken

    def wrote_presence(self, presences: Mapping[str, str]) -> None:
        """{device: what its row says now}."""
        for device, presence in presences.items():
            row = self.columns.row(device)
            if row is not None:
                self.columns.written[row] = CODE[presence]


def session_of(message: WireSession) -> Session:
    return Session(str(message.boot), message.conn)
