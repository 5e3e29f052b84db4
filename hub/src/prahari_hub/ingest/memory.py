"""What ingest knows of every device in service: folds heartbeats into columns.

Lives on the event loop; times are given. A heartbeat of a device that is ONLINE in the same session touches columns alone; whatever
changes presence goes through ``Links``, one device at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prahari_wire.base import Refused

from prahari_hub.fleet.intake import Known
from prahari_hub.fleet.presence import Limits
from prahari_hub.ingest.bucket import Bucket, Rows, start_of
from prahari_hub.ingest.columns import CODE, NO_STATE, ONLINE
from prahari_hub.ingest.heartbeat import WORST, Heartbeat, Served, Shape, rank_of, read, said, shape, values
from prahari_hub.ingest.limits import HEARTBEAT_BURST_S, HEARTBEAT_EVERY_S
from prahari_hub.ingest.links import Links
from prahari_hub.ingest.spelling import Spelling, Spellings

Arrived = tuple[bytes, bytes]
KEPT_SHAPES = 20_000
FEW = 3
"""Heartbeats of one spelling that cost less when each is read alone."""


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
        self.spellings = Spellings(self._unlearn)
        self._groups: dict[tuple[str, ...], Group] = {}
        self._refuse = refuse

    def __len__(self) -> int:
        return len(self.columns)

    # -- devices

    def load(self, known: Iterable[Known]) -> None:
        """Take up devices: new ones, or new facts on those already here."""
        columns = self.columns
        found = list(known)
        present = columns.find([device.id for device in found]) if len(columns) else [None] * len(found)
        new = [device for device, row in zip(found, present, strict=True) if row is None]
        rows = columns.add([device.id for device in new])
        presence = np.array([CODE[device.presence] for device in new], np.uint8)
        columns.written[rows] = presence
        columns.before[rows] = [
            NO_STATE if before == "unknown" else CODE[before]
            for before in (device.before or device.presence for device in new)
        ]
        columns.heard_s[rows] = [-np.inf if device.seen else np.nan for device in new]
        columns.conn[rows] = [-1 if device.conn is None else device.conn for device in new]
        columns.rank[rows] = [WORST.get(device.health_state, 1) for device in new]
        columns.boot[rows] = [(device.boot or "").encode() for device in new]
        usual = self.limits.for_heartbeat(None)
        columns.suspect_s[rows], columns.offline_s[rows] = usual.suspect_s, usual.offline_s
        for device, row in zip(found, present, strict=True):
            if device.heartbeat_s is not None or row is not None:
                here = columns.row(device.id) if row is None else row
                limits = self.limits.for_heartbeat(device.heartbeat_s)
                columns.suspect_s[here], columns.offline_s[here] = limits.suspect_s, limits.offline_s

    def drop(self, device: str) -> None:
        row = self.columns.row(device)
        if row is None:
            return
        self.columns.drop(device)
        self.changed.discard(row)
        self.rare.pop(row, None)
        for bucket in (self.bucket, *self.closed):
            if row < len(bucket.count):
                bucket.forget(row)
        self.pending = [told for told in self.pending if told.device != device]

    def give_up(self, partition: int) -> None:
        """Another worker hears these devices: forget them all."""
        devices = set(self.columns.partition(partition))
        rows = self.columns.give_up(partition)
        self.sighted_s[partition] = None
        self.changed.difference_update(rows.tolist())
        for row in self.rare.keys() & set(rows.tolist()):
            del self.rare[row]
        for bucket in (self.bucket, *self.closed):
            bucket.forget(rows[rows < len(bucket.count)])
        self.pending = [told for told in self.pending if told.device not in devices]

    def doubt(self, devices: Iterable[str]) -> None:
        """Something else has written of these devices' peripherals: their next heartbeat is written whatever it says."""
        for device in devices:
            row = self.columns.row(device)
            if row is not None:
                self.columns.served[row], self.columns.spelling[row] = None, 0

    # -- heartbeats

    def fold(self, beats: Sequence[Arrived], now_s: float, now: datetime) -> list[Arrived]:
        """Fold heartbeats in, those of earlier sessions ignored; gives back those of devices that are not known here."""
        self.turn_bucket(now.timestamp())
        others = self._fold_alike(beats, now_s, now)
        if not others:
            return []
        got = Gathered()
        try:
            strangers = self._gather(others, got, now_s, now)
            self._write(got, now_s, now)
        finally:
            if got.rows:  # it was not written
                got.clear()
                self.columns.taken[:] = 0
        return strangers

    def _fold_alike(self, beats: Sequence[Arrived], now_s: float, now: datetime) -> Sequence[Arrived]:
        """Fold in those that are spelt as the newest of their device was; gives back the others, in their order."""
        columns = self.columns
        subjects = [subject for subject, _ in beats]
        rows = np.fromiter(map(columns.rows.get, subjects, repeat(-1)), np.intp, len(beats))
        numbers = columns.spelling[rows]
        fit = (rows >= 0) & (numbers != 0)
        fit &= columns.due_s[rows] <= now_s + HEARTBEAT_BURST_S
        ordered = np.sort(rows)
        if (again := ordered[1:] == ordered[:-1]).any():
            fit &= ~np.isin(rows, ordered[1:][again])
        for number in np.flatnonzero(np.bincount(numbers[fit])).tolist():
            which = np.flatnonzero(fit & (numbers == number))
            good = np.zeros(0, np.bool_)
            if len(which) >= FEW:
                payloads = [beats[at][1] for at in which.tolist()]
                good = self._fold_spelt(self.spellings[number], rows[which], payloads, now_s, now)
            fit[which[~good] if len(good) else which] = False
        return [] if fit.all() else [beats[at] for at in np.flatnonzero(~fit).tolist()]

    def _fold_spelt(
        self, spelling: Spelling, rows: Rows, payloads: Sequence[bytes], now_s: float, now: datetime
    ) -> NDArray[np.bool_]:
        """Heartbeats of different devices that may have this spelling; says which have it, and are folded in."""
        columns = self.columns
        spelling.used_s = now_s
        found = spelling.read(payloads, columns.boot[rows], columns.conn[rows])
        here = rows if found.good.all() else rows[found.good]
        if len(here):
            for row in here[columns.state[here] != ONLINE].tolist():  # a whole state may come back at once
                self._speaks(row, columns.boot[row].decode(), int(columns.conn[row]), now_s, now)
            columns.due_s[here] = np.maximum(columns.due_s[here], now_s) + HEARTBEAT_EVERY_S
            self._put(here, found.sent_at, found.uptime_s, now_s, now.timestamp())
            group = (self.shapes.get(spelling.shape.said) or self._learn(spelling.shape.said))[1]
            self._measured(group, here, found.values)
        return found.good

    def _gather(self, beats: Sequence[Arrived], got: Gathered, now_s: float, now: datetime) -> list[Arrived]:
        """The loop over the heartbeats that have to be read one by one."""
        columns, shapes = self.columns, self.shapes
        rows_of, boots = columns.rows.get, columns.boot
        due_s: Any = columns.due_s.data
        conn, state = columns.conn.data, columns.state.data
        taken, ranks = columns.taken.data, columns.rank.data
        strangers: list[Arrived] = []
        latest = now_s + HEARTBEAT_BURST_S
        for beat_of in beats:
            subject, payload = beat_of
            row = rows_of(subject)
            if row is None:
                strangers.append(beat_of)
                continue
            due = due_s[row]
            if due > latest:
                self.shed += 1
                continue
            due_s[row] = (due if due > now_s else now_s) + HEARTBEAT_EVERY_S
            known = boots[row].decode()
            try:
                beat, served = read(payload, known)
            except Refused as refused:
                self._refuse(subject, payload, refused)
                continue
            if (state[row] != ONLINE or conn[row] != beat.conn or known != beat.boot) and not self._speaks(
                row, beat.boot, beat.conn, now_s, now
            ):
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
            columns.spelling[row] = self.spellings.of(payload, beat, found[0], served, now_s)
        return strangers

    def _unlearn(self, spelling: int) -> None:
        self.columns.spelling[self.columns.spelling == spelling] = 0

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
        here = np.array(got.rows, np.intp)
        self._put(here, np.array(got.sent_at), np.array(got.uptimes, np.int64), now_s, now.timestamp())
        self.columns.taken[here] = 0
        for group in got.groups:
            found = np.array(group.values, np.float64).reshape(len(group.rows), len(group.names))
            self._measured(group, np.array(group.rows, np.intp), found)
        got.clear()

    def _put(
        self, rows: Rows, sent_at: NDArray[np.float64], uptime_s: NDArray[np.int64], now_s: float, at: float
    ) -> None:
        """When different devices sent, and that they were heard now."""
        columns = self.columns
        columns.heard_s[rows] = now_s
        columns.seen_at[rows] = at
        columns.beat_at[rows] = at
        columns.offset_ms[rows] = (sent_at - at) * 1000
        columns.uptime_s[rows] = uptime_s
        columns.dirty[columns.cell[rows]] = True

    def _measured(self, group: Group, rows: Rows, found: NDArray[np.float64]) -> None:
        """The values of different devices' checks, for the page and for history."""
        if not group.names:
            return
        columns = self.columns
        self.bucket.fit(columns.room, columns.values.shape[1])
        if len(group.take) < len(group.names):
            self._beyond(group, rows, found)
            found = found[:, group.take]
        columns.values[rows[:, None], group.columns] = found
        self.bucket.fold(rows, group.columns, found)

    def _beyond(self, group: Group, rows: Rows, found: NDArray[np.float64]) -> None:
        """Values of checks that have no column are kept beside, for the device's page alone."""
        beside = [at for at in range(len(group.names)) if at not in set(group.take.tolist())]
        for number, row in enumerate(rows.tolist()):
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
