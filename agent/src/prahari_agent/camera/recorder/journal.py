"""Reading the journal of a camera's day (daybook.py writes it): through which of its lines the chain leads, and where it is damaged.

A line counts once the chain leads to it from the one before. Where one flipped bit stands in the way it is flipped back: that it is the
one is proved by the hash. Else lines are lost: the others wait until one segment follows another again. From there the chain goes on, by
itself; nothing proves the segments in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from prahari_wire.base import Message, Sha256
from prahari_wire.evidence import Segment, genesis, link
from prahari_wire.recording import GapCause
from pydantic import ValidationError

JOURNAL = "journal.jsonl"
Mark: TypeAlias = "dict[str, Any]"
_TIMES = ("begin", "gap", "end")
_MOST_MENDED = 1000
"""Bytes of a line, or of two that a flipped bit has joined, in which each bit is tried: 0.2 s of a processor."""


class Entry(Message):
    """A closed segment; ``hash``: the chain's after it."""

    segment: Segment
    hash: Sha256


class Lost(NamedTuple):
    """Nothing proves the segments ``first`` to ``last``. ``hash``: the chain's after ``last``, from which it goes on."""

    first: int
    last: int
    hash: str


Item: TypeAlias = "Entry | Lost | Mark"


class Place(NamedTuple):
    """Where a chain stands: ``hash`` is its after ``position`` segments."""

    position: int
    hash: str

    def leads_to(self, entry: Entry) -> bool:
        return entry.segment.position == self.position + 1 and link(self.hash, entry.segment) == entry.hash


class Chain:
    """The chain of a camera's day, line after line. ``proved``: its place after the last line that it leads to. ``doubted``: the place
    that a later line claims, to which nothing leads yet; None where there is no such line. ``damaged``: the last lines await another.
    """

    def __init__(self, device: str, camera: str, day: str) -> None:
        self.proved = Place(0, genesis(device, camera, day))
        self.doubted: Place | None = None
        self.damaged = False
        self._waiting: list[Mark] = []

    def take(self, raw: bytes) -> list[Item]:
        """What is known by this line now: itself, with what waited for it, or nothing yet. ``Lost`` comes before the
        marks that stood behind the damage and the ``Entry``."""
        line = parsed(raw)
        if isinstance(line, Entry) and self.proved.leads_to(line):
            return self._prove(line)
        if isinstance(line, Entry | None) and not self.damaged and (mended := _mended(raw, self.proved)):
            return self._prove(*mended)
        if isinstance(line, Entry):
            return self._go_on(line)
        if line is None:
            self.damaged = True
        elif isinstance(line, Place):
            self._doubt(line)
        elif self.damaged:
            self._waiting.append(line)
        else:
            return [line]
        return []

    def _prove(self, *entries: Entry, lost: Sequence[Lost] = ()) -> list[Item]:
        found: list[Item] = [*lost, *self._waiting, *entries]
        self.proved = Place(entries[-1].segment.position, entries[-1].hash)
        self.doubted, self.damaged, self._waiting = None, False, []
        return found

    def _go_on(self, entry: Entry) -> list[Item]:
        """Behind damage: if the one before leads to it, the chain goes on from here."""
        if self.doubted is not None and self.doubted.leads_to(entry):
            return self._prove(entry, lost=[Lost(self.proved.position + 1, *self.doubted)])
        self._doubt(Place(entry.segment.position, entry.hash))
        return []

    def _doubt(self, place: Place) -> None:
        self.damaged = True
        if place.position > self.proved.position:
            self.doubted = place


def _mended(raw: bytes, proved: Place) -> list[Entry]:
    """The segments of ``raw`` with one bit flipped, to which the chain leads from ``proved``; none where no bit does it."""
    if len(raw) > _MOST_MENDED:
        return []
    for at, byte in enumerate(raw):
        for bit in range(8):
            flipped = byte ^ (1 << bit)
            if flipped < 0x80:
                found = _led_to(raw[:at] + bytes([flipped]) + raw[at + 1 :], proved)
                if found:
                    return found
    return []


def _led_to(raw: bytes, place: Place) -> list[Entry]:
    """The segments of these lines if the chain leads through all of them."""
    found: list[Entry] = []
    for line in raw.rstrip(b"\n").split(b"\n"):
        entry = parsed(line)
        if not isinstance(entry, Entry) or not place.leads_to(entry):
            return []
        place = Place(entry.segment.position, entry.hash)
        found.append(entry)
    return found


def parsed(raw: bytes) -> Entry | Place | Mark | None:
    """One line: a segment, where the chain was begun anew after damage, another mark; None for one that is damaged."""
    try:
        if raw.startswith(b'{"segment"'):
            return Entry.model_validate_json(raw)
        line = json.loads(raw)
        if "anew" in line:
            return Place(int(line["anew"]), bytes.fromhex(line["hash"]).hex())
        int(next(line[name] for name in _TIMES if name in line))
        if "begin" in line:
            str(line["boot"])
        else:
            GapCause(line["cause"])
    except (ValidationError, ValueError, TypeError, KeyError, StopIteration):
        return None
    return dict(line)


def whole_lines(path: Path, offset: int = 0) -> tuple[list[bytes], int]:
    """The lines from byte ``offset`` on that end, and where the next begins; none where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], offset + end


def each_item(path: Path, chain: Chain) -> Iterator[Item]:
    """All that ``chain`` leads to, one line after the other: a day's journal in memory is 20 MB."""
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n"):
                yield from chain.take(raw)
