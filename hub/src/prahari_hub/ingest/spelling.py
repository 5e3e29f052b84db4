"""Heartbeats that are spelt as others were: read many at once, in a third of the time that reading each alone takes.

A program spells its heartbeats the same way each time: between them only the session, times, ids and values differ. ``Spellings`` learns
such a way from heartbeats that ``heartbeat.read`` accepted, and proves it: the same text with other words in those places must be read
as exactly those words. ``Spelling.read`` then accepts only what differs from it in nothing but such words, each in its plainest form; all
else is for ``heartbeat.read`` to judge, so that nothing is accepted here that would not be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from prahari_wire.base import Refused

from prahari_hub.ingest.heartbeat import Heartbeat, Served, Shape, read, said, values

LONGEST = 8 * 1024
"""Well below what a message may have: numbers may grow by some digits each."""
MOST = 250
SEEN_BEFORE = 4
"""Heartbeats with a spelling before it is learnt."""
LEARN_EVERY_S = 0.25
"""Compiling one takes some 2 ms."""
UNUSED_S = 120.0
KEPT_COUNTS = 10_000
KEPT_TIMES = 20_000

_VARIES = re.compile(
    rb'("boot":"|"at":"|"id":"(?=[0-7][0-9A-HJKMNP-TV-Z]{25}")|"conn":|"mono_ms":|"uptime_s":|"value":)[0-9A-Za-z.:-]*'
)
_NUMBER = rb"0|[1-9][0-9]{0,14}+"
_WORDS = {
    b'"boot":"': rb'([^"\\\n]{36}+)',
    b'"at":"': rb"([0-9T:-]{19})(\.[0-9]{1,6}+|)Z",
    b'"id":"': rb"[0-7][0-9A-HJKMNP-TV-Z]{25}",
    b'"conn":': rb"(" + _NUMBER + rb")",
    b'"mono_ms":': rb"(?:" + _NUMBER + rb")",
    b'"uptime_s":': rb"(" + _NUMBER + rb")",
    b'"value":': rb"(-?(?:" + _NUMBER + rb")(?:\.[0-9]{1,15}+)?+|null)",
}
_PROBE = {
    b'"boot":"': b"0badcafe-0000-4000-8000-000000000000",
    b'"at":"': b"2001-02-03T04:05:06.789Z",
    b'"id":"': b"01ARZ3NDEKTSV4RRFFQ69G5FAV",
    b'"conn":': b"1000001",
    b'"mono_ms":': b"1000002",
    b'"uptime_s":': b"1000003",
}
_VALUE = b'"value":'
_BOOT, _ID = "0badcafe-0000-4000-8000-000000000000", "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_AT = datetime(2001, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
_TAKEN = (b'"boot":"', b'"at":"', b'"at":"', b'"conn":', b'"uptime_s":')
"""What the pattern captures but values, two pieces of a time; in the spelling's own order."""
_is_time = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}").fullmatch
_counts = msgspec.json.Decoder(list[int])
_numbers = msgspec.json.Decoder(list[float | None])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Seconds(dict[bytes, float]):
    """Unix time of a text to the second; NaN for what only the wire's model may judge."""

    def __missing__(self, text: bytes) -> float:
        if len(self) >= KEPT_TIMES:
            self.clear()
        self[text] = found = _seconds(text)
        return found


class _Micros(dict[bytes, int]):
    """Microseconds of the fraction of a second."""

    def __missing__(self, text: bytes) -> int:
        if len(self) >= KEPT_TIMES:
            self.clear()
        self[text] = found = int(text[1:].ljust(6, b"0"))
        return found


def _seconds(text: bytes) -> float:
    try:
        at = datetime.fromisoformat(text.decode() + "+00:00") if _is_time(text) else None
    except ValueError:
        at = None
    return float("nan") if at is None or not 1 < at.year < 9999 else (at - _EPOCH).total_seconds()


class Alike(NamedTuple):
    """Heartbeats of one spelling. ``good`` says of each that was given whether it was read; the rest is of those alone.

    ``sent_at`` is Unix time; ``values`` has a row a heartbeat and a column a check, NaN for none.
    """

    good: NDArray[np.bool_]
    sent_at: NDArray[np.float64]
    uptime_s: NDArray[np.int64]
    values: NDArray[np.float64]


class Spelling:
    """One way to spell a heartbeat, with all that it says but words that vary. ``used_s`` is when it was of use last."""

    def __init__(self, pieces: Sequence[bytes], shape: Shape, served: Served, now_s: float) -> None:
        self.shape, self.served, self.used_s = shape, served, now_s
        keys = pieces[1::2]
        text = b"".join(
            re.escape(piece) if at % 2 == 0 else re.escape(piece) + _WORDS[piece]
            for at, piece in enumerate(pieces)
        )
        self._pattern = re.compile(b"^" + text + b"$|^.*$", re.MULTILINE)
        order = [key for key in keys for _ in range(_TAKEN.count(key) or key == _VALUE)]
        place = {key: order.index(key) for key in _TAKEN}
        self._boot, self._at = place[b'"boot":"'], place[b'"at":"']
        self._conn, self._uptime = place[b'"conn":'], place[b'"uptime_s":']
        self._values = [at for at, key in enumerate(order) if key == _VALUE]

    def read(self, payloads: Sequence[bytes], boots: NDArray[np.bytes_], conns: NDArray[np.int64]) -> Alike:
        """Those that are of the sessions ``boots`` and ``conns``."""
        found, good = self._find(payloads)
        columns = list(zip(*found, strict=True))
        if b"" in columns[self._boot] or not good.all():
            good &= [bool(boot) for boot in columns[self._boot]]
            found = [words for words, one in zip(found, good.tolist(), strict=True) if one]
            if not found:
                return Alike(good, np.empty(0), np.empty(0, np.int64), np.empty((0, len(self._values))))
            columns = list(zip(*found, strict=True))
        same = np.frombuffer(b"".join(columns[self._boot]), "S36") == boots[good]
        same &= np.array(_counts.decode(_listed(columns[self._conn])), np.int64) == conns[good]
        sent_at = _sent_at(columns[self._at], columns[self._at + 1])
        uptime_s = np.array(_counts.decode(_listed(columns[self._uptime])), np.int64)
        measured = self._measured(columns, len(found))
        same &= ~np.isnan(sent_at)
        if not same.all():
            good[np.flatnonzero(good)[~same]] = False
            sent_at, uptime_s, measured = sent_at[same], uptime_s[same], measured[same]
        return Alike(good, sent_at, uptime_s, measured)

    def _find(self, payloads: Sequence[bytes]) -> tuple[list[tuple[bytes, ...]], NDArray[np.bool_]]:
        """The words of each, empty ones where it is spelt differently. A line is a heartbeat, so none may have a line's end in it."""
        good = np.ones(len(payloads), np.bool_)
        text = b"\n".join(payloads)
        if text.count(b"\n") != len(payloads) - 1:
            good[:] = [b"\n" not in payload for payload in payloads]
            text = b"\n".join(payload.replace(b"\n", b"") for payload in payloads)
        return self._pattern.findall(text), good

    def _measured(self, columns: Sequence[Sequence[bytes]], count: int) -> NDArray[np.float64]:
        if not self._values:
            return np.empty((count, 0))
        flat = b",".join([b",".join(columns[at]) for at in self._values])
        found = np.array(_numbers.decode(b"[" + flat + b"]"), np.float64)
        return found.reshape(len(self._values), count).T


class Spellings:
    """Those that are known, by number; 0 is none. ``forget(number)`` is told of one that gives its number to another."""

    def __init__(
        self, forget: Callable[[int], None], *, most: int = MOST, seen_before: int = SEEN_BEFORE
    ) -> None:
        self._table: list[Spelling] = []
        self._keys: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._seen: dict[int, int] = {}
        self._most, self._seen_before = most, seen_before
        self._forget = forget
        self._learnt_s = float("-inf")

    def __getitem__(self, number: int) -> Spelling:
        return self._table[number - 1]

    def of(self, payload: bytes, beat: Heartbeat, shape: Shape, served: Served, now_s: float) -> int:
        """The number of the spelling of a heartbeat that was read; 0 for one that is not learnt, or not yet."""
        if len(payload) > LONGEST or not self._most:
            return 0
        pieces = _VARIES.split(payload)
        key = b"\n".join(pieces)
        number = self._numbers.get(key)
        if number is not None:
            return number
        if not self._frequent(key) or now_s - self._learnt_s < LEARN_EVERY_S:
            return 0
        self._learnt_s = now_s
        if b"\n" in payload or not _proven(pieces, beat, shape, served):
            return 0
        spelling = Spelling(pieces, shape, served, now_s)
        session = np.array([beat.boot.encode()], "S36"), np.array([beat.conn])
        itself = spelling.read([payload], *session)
        return self._take_up(key, spelling, now_s) if itself.good.all() else 0

    def _frequent(self, key: bytes) -> bool:
        if len(self._seen) >= KEPT_COUNTS:
            self._seen.clear()
        digest = hash(key)
        seen = self._seen.get(digest, 0) + 1
        self._seen[digest] = 0 if seen >= self._seen_before else seen
        return seen >= self._seen_before

    def _take_up(self, key: bytes, spelling: Spelling, now_s: float) -> int:
        if len(self._table) < self._most:
            self._table.append(spelling)
            self._keys.append(key)
            number = len(self._table)
        else:
            oldest = min(range(len(self._table)), key=lambda at: self._table[at].used_s)
            if now_s - self._table[oldest].used_s < UNUSED_S:
                return 0
            number = oldest + 1
            del self._numbers[self._keys[oldest]]
            self._forget(number)
            self._table[oldest], self._keys[oldest] = spelling, key
        self._numbers[key] = number
        return number


def _proven(pieces: Sequence[bytes], beat: Heartbeat, shape: Shape, served: Served) -> bool:
    """Whether words in the places that vary are read as what they are put for, and all else as it was."""
    keys = pieces[1::2]
    measured = [1000.5 + at for at in range(len(shape.said))]
    if any(keys.count(key) != 1 for key in _PROBE) or keys.count(_VALUE) != len(measured):
        return False
    given = iter(measured)
    words = [b"%.1f" % next(given) if key == _VALUE else _PROBE[key] for key in keys]
    text = b"".join(piece for parts in zip(pieces[::2], keys, words, strict=False) for piece in parts)
    try:
        probe, also = read(text + pieces[-1], None)
    except Refused:
        return False
    return (
        (probe.boot, probe.conn, probe.mono_ms, probe.body.uptime_s, probe.id, probe.at)
        == (_BOOT, 1000001, 1000002, 1000003, _ID, _AT)
        and (probe.clock, said(probe), also.raw) == (beat.clock, shape.said, served.raw)
        and values(probe) == measured
    )


def _listed(words: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(words) + b"]"


def _sent_at(seconds: Sequence[bytes], fractions: Sequence[bytes]) -> NDArray[np.float64]:
    """Unix times, as exact as ``datetime.timestamp``."""
    whole = np.fromiter(map(_seconds_of.__getitem__, seconds), np.float64, len(seconds))
    micros = np.fromiter(map(_micros_of.__getitem__, fractions), np.float64, len(seconds))
    found: NDArray[np.float64] = (whole * 1e6 + micros) / 1e6
    return found


_seconds_of, _micros_of = _Seconds(), _Micros()
