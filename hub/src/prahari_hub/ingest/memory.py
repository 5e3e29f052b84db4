"""What ingest knows of every device in service: folds heartbeats into columns, and moves presence by the machine in fleet/presence.py.

Lives on the event loop; times are given. A heartbeat of a device that is ONLINE in the same session touches columns alone; whatever
changes presence goes through ``Link``, one device at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prahari_wire.base import Refused
from prahari_wire.envelope import Session as WireSession
from prahari_wire.topics import PARTITIONS

from prahari_hub.fleet.cells import CELLS_A_PARTITION
from prahari_hub.fleet.intake import Known
from prahari_hub.fleet.presence import Limits, Link, Session, Step, may_move
from prahari_hub.ingest.bucket import Bucket, start_of
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
from prahari_hub.ingest.heartbeat import Heartbeat, Served, Shape, rank_of, read, said, shape, values
from prahari_hub.ingest.limits import HEARTBEAT_BURST_S, HEARTBEAT_EVERY_S

Arrived = tuple[bytes, bytes]
PREFIX, SUFFIX = len(b"prahari.in."), -len(b".health")
KEPT_SHAPES = 20_000
Rows = NDArray[np.intp]


@dataclass(slots=True)
class Told:
    """A transition that is not on disk yet. ``seen_at`` is when the device had been heard last."""

    device: str
    step: Step
    at: datetime
    seen_at: float


class Group:
    """Heartbeats of one fold whose checks have the same names: their rows, and their values one after the other."""

    __slots__ = ("columns", "names", "rows", "take", "values")

    def __init__(self, names: tuple[str, ...], columns: Sequence[int | None]) -> None:
        self.names = names
        self.take = np.array([at for at, column in enumerate(columns) if column is not None], np.intp)
        self.columns = np.array([column for column in columns if column is not None], np.intp)
        self.rows: list[int] = []
        self.values: list[float | None] = []


class Gathered:
    """What one fold has read so far: rows, when each was sent (Unix time), uptimes, and the groups that hold their values."""

    __slots__ = ("groups", "rows", "sent_at", "uptimes")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.sent_at: list[float] = []
        self.uptimes: list[int] = []
        self.groups: list[Group] = []

    def clear(self) -> None:
        for group in self.groups:
            group.rows.clear()
            group.values.clear()
        self.groups.clear()
        self.rows.clear()
        self.sent_at.clear()
        self.uptimes.clear()


class Memory:
    """Every device of the partitions that are owned.

    ``refuse(subject, payload, why)`` is told of each heartbeat that is not accepted. ``changed`` are rows whose health or peripherals are
    to be written, ``pending`` the transitions.
    """

    def __init__(self, limits: Limits, *, refuse: Callable[[bytes, bytes, Refused], None]) -> None:
        self.limits = limits
        self.columns = Columns()
        self.sighted_s: list[float | None] = [None] * PARTITIONS
        self.pending: list[Told] = []
        self.changed: set[int] = set()
        self.rare: dict[int, Link] = {}
        self.bucket = Bucket(0.0, 0, 0)
        self.closed: list[Bucket] = []
        self.shed = 0
        self.shapes: dict[tuple[tuple[str, str, str | None], ...], tuple[Shape, Group]] = {}
        self._groups: dict[tuple[str, ...], Group] = {}
        self._refuse = refuse

    def __len__(self) -> int:
        return len(self.columns)

    # -- devices

    def load(self, known: Iterable[Known]) -> None:
        """Take up devices: new ones, or new facts on those already here."""
        columns = self.columns
        found = list(known)
        new = [device for device in found if not len(columns) or columns.row(device.id) is None]
        rows = columns.add([device.id for device in new])
        presence = np.array([CODE[device.presence] for device in new], np.uint8)
        columns.written[rows] = presence
        columns.before[rows] = np.where(presence == UNKNOWN, NO_STATE, presence)
        columns.heard_s[rows] = [-np.inf if device.seen else np.nan for device in new]
        columns.conn[rows] = [-1 if device.conn is None else device.conn for device in new]
        columns.rank[rows] = [_RANK.get(device.health_state, 1) for device in new]
        for row, device in zip(rows.tolist(), new, strict=True):
            columns.boots[row] = device.boot
        usual = self.limits.for_heartbeat(None)
        columns.suspect_s[rows], columns.offline_s[rows] = usual.suspect_s, usual.offline_s
        old = set() if len(new) == len(found) else {device.id for device in found} - {d.id for d in new}
        for device in found:
            if device.heartbeat_s is not None or device.id in old:
                row = columns.row(device.id)
                limits = self.limits.for_heartbeat(device.heartbeat_s)
                columns.suspect_s[row], columns.offline_s[row] = limits.suspect_s, limits.offline_s

    def drop(self, device: str) -> None:
        row = self.columns.row(device)
        if row is None:
            return
        self.columns.drop(device)
        self.changed.discard(row)
        self.rare.pop(row, None)
        for bucket in (self.bucket, *self.closed):
            bucket.forget(row)
        self.pending = [told for told in self.pending if told.device != device]

    def doubt(self, devices: Iterable[str]) -> None:
        """Something else has written of these devices' peripherals: their next heartbeat is written whatever it says."""
        for device in devices:
            row = self.columns.row(device)
            if row is not None:
                self.columns.served[row] = None

    # -- heartbeats

    def fold(self, beats: Sequence[Arrived], now_s: float, now: datetime) -> list[Arrived]:
        """Fold heartbeats in, those of earlier sessions ignored; gives back those of devices that are not known here."""
        self.turn_bucket(now.timestamp())
        got = Gathered()
        try:
            strangers = self._gather(beats, got, now_s, now)
            self._write(got, now_s, now)
        finally:
            if got.rows:  # it was not written
                got.clear()
                self.columns.taken[:] = 0
        return strangers

    def _gather(self, beats: Sequence[Arrived], got: Gathered, now_s: float, now: datetime) -> list[Arrived]:
        """The loop over heartbeats: it is most of what a heartbeat costs."""
        columns, shapes = self.columns, self.shapes
        rows_of, boots = columns.rows.get, columns.boots
        due_s: Any = columns.due_s.data
        conn, state = columns.conn.data, columns.state.data
        taken, ranks = columns.taken.data, columns.rank.data
        strangers: list[Arrived] = []
        latest = now_s + HEARTBEAT_BURST_S
        for beat_of in beats:
            subject, payload = beat_of
            row = rows_of(subject[PREFIX:SUFFIX])
            if row is None:
                strangers.append(beat_of)
                continue
            due = due_s[row]
            if due > latest:
                self.shed += 1
                continue
            due_s[row] = (due if due > now_s else now_s) + HEARTBEAT_EVERY_S
            try:
                beat, served = read(payload, boots[row])
            except Refused as refused:
                self._refuse(subject, payload, refused)
                continue
            if (
                state[row] != ONLINE or conn[row] != beat.conn or boots[row] != beat.boot
            ) and not self._speaks(row, beat.boot, beat.conn, now_s, now):
                continue
            if taken[row]:
                self._write(got, now_s, now)
            taken[row] = 1
            what = said(beat)
            found = shapes.get(what) or self._learn(what)
            if found[0] is not columns.shapes[row] or served is not columns.served[row]:
                self._note(row, found[0], served, ranks[row])
            group = found[1]
            if not group.rows:
                got.groups.append(group)
            group.rows.append(row)
            group.values += values(beat)
            got.rows.append(row)
            got.sent_at.append(beat.at.timestamp())
            got.uptimes.append(beat.body.uptime_s)
            if beat.clock != "synced" or row in columns.clocks:
                self._clock(row, beat)
        return strangers

    def _clock(self, row: int, beat: Heartbeat) -> None:
        clocks = self.columns.clocks
        if clocks.get(row, "synced") != beat.clock:
            self.changed.add(row)
        if beat.clock == "synced":
            del clocks[row]
        else:
            clocks[row] = beat.clock

    def _learn(self, what: tuple[tuple[str, str, str | None], ...]) -> tuple[Shape, Group]:
        """A shape that was not seen yet; shapes of the same names share their group."""
        if len(self.shapes) >= KEPT_SHAPES:
            self.shapes.clear()
        names = tuple(name for name, _, _ in what)
        group = self._groups.get(names)
        if group is None:
            if len(self._groups) >= KEPT_SHAPES:
                self._groups.clear()
            group = self._groups[names] = Group(names, [self.columns.column(name) for name in names])
        found = self.shapes[what] = shape(what), group
        return found

    def shape_of(self, what: tuple[tuple[str, str, str | None], ...]) -> Shape:
        """The one object for all devices whose checks say this."""
        return (self.shapes.get(what) or self._learn(what))[0]

    def _note(self, row: int, new: Shape, served: Served, rank: int) -> None:
        """The checks say something else than before, or the peripherals."""
        columns = self.columns
        before = columns.served[row]
        columns.shapes[row], columns.served[row] = new, served
        now_rank = rank_of(new, served)
        if now_rank != rank or before is None or before.items != served.items:
            columns.rank[row] = now_rank
            self.changed.add(row)

    def _write(self, got: Gathered, now_s: float, now: datetime) -> None:
        """What a fold has gathered goes into the columns at once; each row stands at most once in it."""
        if not got.rows:
            return
        columns, at = self.columns, now.timestamp()
        here = np.array(got.rows, np.intp)
        columns.heard_s[here] = now_s
        columns.seen_at[here] = columns.beat_at[here] = at
        columns.offset_ms[here] = (np.array(got.sent_at) - at) * 1000
        columns.uptime_s[here] = got.uptimes
        columns.taken[here] = 0
        columns.dirty[columns.cell[here]] = True
        self.bucket.fit(columns.room, columns.values.shape[1])
        for group in got.groups:
            if group.names:
                found = np.array(group.values, np.float64).reshape(len(group.rows), len(group.names))
                self._beyond(group, found)
                found = found[:, group.take]
                which = np.array(group.rows, np.intp)
                columns.values[which[:, None], group.columns] = found
                self.bucket.fold(which, group.columns, found)
        got.clear()

    def _beyond(self, group: Group, found: NDArray[np.float64]) -> None:
        """Values of checks that have no column are kept beside, for the device's page alone."""
        if len(group.take) == len(group.names):
            return
        beside = [at for at in range(len(group.names)) if at not in set(group.take.tolist())]
        for number, row in enumerate(group.rows):
            self.columns.extra[row] = {group.names[at]: float(found[number, at]) for at in beside}

    def turn_bucket(self, at: float) -> None:
        """At the end of five minutes the sums stand closed, and others begin."""
        if start_of(at) != self.bucket.start_s:
            self.close_bucket(start_of(at))

    def close_bucket(self, start_s: float | None = None) -> None:
        """Let the sums so far be written; what comes is added to them there, or begins another bucket."""
        if not self.bucket.empty:
            self.closed.append(self.bucket)
        start_s = self.bucket.start_s if start_s is None else start_s
        self.bucket = Bucket(start_s, self.columns.room, self.columns.values.shape[1])

    # -- presence

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
        boot, heard_s, before = columns.boots[row], float(columns.heard_s[row]), int(columns.before[row])
        rare = self.rare.get(row)
        return Link(
            state=PRESENCES[columns.state[row]],
            session=None if boot is None else Session(boot, int(columns.conn[row])),
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
            columns.boots[row], columns.conn[row] = link.session
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
        if not sighted:
            self.blind(partitions)

    def hard_of_hearing(self, now_s: float) -> None:
        """Devices may have spoken unheard until now: silence counts for nothing until a full grace has passed again."""
        self.sighted_s = [None if since is None else now_s for since in self.sighted_s]

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
        sighted = np.array([np.nan if since is None else since for since in self.sighted_s])
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
        sighted_s = self.sighted_s[int(self.columns.cell[row]) // CELLS_A_PARTITION]
        self._moved(row, link, link.swept(now_s, sighted_s=sighted_s, limits=limits), now)

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

    def take_changed(self, most: int) -> list[int]:
        """Rows whose health is to be written."""
        if len(self.changed) <= most:
            taken, self.changed = list(self.changed), set()
            return taken
        return [self.changed.pop() for _ in range(most)]


_RANK = {"ok": 0, "unknown": 1, "warn": 2, "fail": 3}


def session_of(message: WireSession) -> Session:
    return Session(str(message.boot), message.conn)
