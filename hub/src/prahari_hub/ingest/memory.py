"""What ingest knows of every device in service: folds heartbeats into columns.

Lives on the event loop; times are given. A heartbeat of a device that is ONLINE in the same session touches columns alone; whatever
changes presence goes through ``Links``, one device at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prahari_wire.base import Refused

from prahari_hub.fleet.intake import Known
from prahari_hub.fleet.presence import Limits
from prahari_hub.ingest.bucket import Bucket, start_of
from prahari_hub.ingest.columns import CODE, NO_STATE, ONLINE, UNKNOWN
from prahari_hub.ingest.heartbeat import WORST, Heartbeat, Served, Shape, rank_of, read, said, shape, values
from prahari_hub.ingest.limits import HEARTBEAT_BURST_S, HEARTBEAT_EVERY_S
from prahari_hub.ingest.links import Links

Arrived = tuple[bytes, bytes]
PREFIX, SUFFIX = len(b"prahari.in."), -len(b".health")
KEPT_SHAPES = 20_000


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


class Memory(Links):
    """Every device of the partitions that are owned.

    ``refuse(subject, payload, why)`` is told of each heartbeat that is not accepted. ``changed`` are rows whose health or peripherals are
    to be written.
    """

    def __init__(self, limits: Limits, *, refuse: Callable[[bytes, bytes, Refused], None]) -> None:
        super().__init__(limits)
        self.changed: set[int] = set()
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
        columns.rank[rows] = [WORST.get(device.health_state, 1) for device in new]
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

    def take_changed(self, most: int) -> list[int]:
        """Rows whose health is to be written."""
        if len(self.changed) <= most:
            taken, self.changed = list(self.changed), set()
            return taken
        return [self.changed.pop() for _ in range(most)]
