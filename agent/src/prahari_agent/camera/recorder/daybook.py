"""The journal of a camera's footage: one append-only file a UTC day, beside the day's segments.

    FOLDER/2026-11-22/journal.jsonl      one JSON object a line, each on disk before anything relies on it
    FOLDER/2026-11-22/00001.mp4          segment 1 of the day; .00002.mp4.open is being written

Lines: {"begin", "boot"} a recorder starts; {"segment", "hash"} a segment is closed and this is the chain after it; {"gap", "cause"}
from then on there is no footage; {"end", "cause"} the recorder stops in good order; {"anew", "hash"} the lines before are damaged, the
next segment is the one after ``anew`` and follows ``hash``. Times are Unix milliseconds.

The camera's process alone writes. A line comes before its segment's final name: after a power cut the name is given late
(``recover``). Whatever has no line is no footage; a line that is torn at the end counts as not written. What is damaged stays as it is
(journal.py reads around it): nothing that was written is ever cut off or overwritten.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prahari_wire.evidence import Segment, link
from prahari_wire.recording import GapCause

from prahari_agent.camera.recorder.journal import JOURNAL, Chain, Place, whole_lines
from prahari_agent.files import sync_folder

SUFFIX = ".mp4"
DAY_LETTERS = 10


def day_of(at_ms: int) -> str:
    """The UTC day of a Unix time in milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def midnight_ms(day: str) -> int:
    """When ``day`` begins, Unix milliseconds."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000


def days_in(folder: Path) -> list[str]:
    """The days that have a journal, in order; none where there is no folder."""
    try:
        names = [entry.name for entry in os.scandir(folder) if len(entry.name) == DAY_LETTERS]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if (folder / name / JOURNAL).exists())


def make_folder(folder: Path) -> None:
    """The folder of a camera's footage, with the one above it and no more: where a disk is not mounted nothing is made in its place."""
    for path in (folder.parent, folder):
        path.mkdir(exist_ok=True, mode=0o700)


def segment_path(folder: Path, day: str, position: int) -> Path:
    return folder / day / f"{position:05d}{SUFFIX}"


def open_path(folder: Path, day: str, position: int) -> Path:
    """Where a segment is written until it is closed."""
    return folder / day / f".{position:05d}{SUFFIX}.open"


class Daybook:
    """The writing side. OSError where the disk takes nothing; nothing is written then, or a torn line that the next opening cuts off."""

    def __init__(self, folder: Path, *, device: str, camera: str) -> None:
        self._folder, self._device, self._camera = folder, device, camera
        self._ends: dict[str, Place] = {}

    def next_position(self, day: str) -> int:
        """The place of the day's next segment, whose folder then stands."""
        return self._end(day).position + 1

    def begin(self, at_ms: int, boot: str) -> None:
        self._append(day_of(at_ms), {"begin": at_ms, "boot": boot})

    def gap(self, at_ms: int, cause: GapCause) -> None:
        self._append(day_of(at_ms), {"gap": at_ms, "cause": str(cause)})

    def end(self, at_ms: int, cause: GapCause) -> None:
        self._append(day_of(at_ms), {"end": at_ms, "cause": str(cause)})

    def closed(self, day: str, segment: Segment) -> None:
        """The segment's bytes are on disk under their open name: chain it, then give it its name."""
        end = self._end(day)
        after = link(end.hash, segment)
        self._append(day, {"segment": segment.model_dump(mode="json"), "hash": after})
        self._ends[day] = Place(segment.position, after)
        open_path(self._folder, day, segment.position).replace(
            segment_path(self._folder, day, segment.position)
        )

    def recover(self) -> list[str]:
        """After a stop of whatever kind: give names that were not given yet, remove what was open; the days that were touched."""
        touched = []
        for day in days_in(self._folder):
            left = sorted((self._folder / day).glob(f".*{SUFFIX}.open"))
            if left:
                touched.append(day)
                position = self._end(day).position
                for path in left:
                    _settle(path, segment_path(self._folder, day, position), position)
                sync_folder(self._folder / day)
        return touched

    def _end(self, day: str) -> Place:
        if day not in self._ends:
            self._ends[day] = self._opened(day)
            for old in sorted(self._ends)[:-2]:
                del self._ends[old]
        return self._ends[day]

    def _opened(self, day: str) -> Place:
        """Read where the day's chain stands; cut off a torn line."""
        path = self._folder / day / JOURNAL
        if not path.exists():
            make_folder(self._folder)
            path.parent.mkdir(exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            sync_folder(path.parent)
            sync_folder(self._folder)
        lines, good = whole_lines(path)
        if path.stat().st_size > good:
            os.truncate(path, good)
        chain = Chain(self._device, self._camera, day)
        for raw in lines:
            chain.take(raw)
        last = _last_named(path.parent)
        if chain.doubted is not None and chain.doubted.position - last in (0, 1):  # 1: its name is given late
            return chain.doubted
        if last <= chain.proved.position:
            return chain.proved
        _write(path, {"anew": last, "hash": chain.proved.hash})
        return Place(last, chain.proved.hash)

    def _append(self, day: str, line: dict[str, Any]) -> None:
        self._end(day)
        _write(self._folder / day / JOURNAL, line)


def _last_named(folder: Path) -> int:
    """The highest number of a segment that has its name; 0 where there is none."""
    return max((int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal()), default=0)


def _write(path: Path, line: dict[str, Any]) -> None:
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                raise OSError(28, "No space left on device")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _settle(left: Path, final: Path, position: int) -> None:
    """An open file: the last journaled segment gets its name, anything else was never closed and goes."""
    if left.name == f".{position:05d}{SUFFIX}.open" and not final.exists():
        left.replace(final)
    else:
        left.unlink(missing_ok=True)
