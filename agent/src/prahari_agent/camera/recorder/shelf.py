"""What footage of a camera lies on the box: the index read from the journals, the ring that makes room, and the holds that stop it.

Lives in the agent's process, which stays light: a segment takes 17 bytes here. A file that is not there although its line is, was
overwritten by the ring, or lost by the disk where older footage still stands. A segment whose line is damaged has the size 0 here and is
no footage: nothing proves it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import RLock
from typing import Any

from prahari_agent.camera.recorder.daybook import (
    SUFFIX,
    day_of,
    days_in,
    make_folder,
    open_path,
    segment_path,
)
from prahari_agent.camera.recorder.index import FRESH_MS, NEVER_MS, Day, Found, Interval, latest_of, stretches
from prahari_agent.camera.recorder.journal import (
    JOURNAL,
    Chain,
    Entry,
    Lost,
    Mark,
    Place,
    whole_lines,
)
from prahari_agent.camera.recorder.runs import TOLERANCE_MS, Carry, Run, merged, runs_of
from prahari_agent.files import sync_folder, write_atomic
from prahari_agent.log import get_logger

log = get_logger("recorder")

KEPT = "kept.json"
FREE_SHARE, FREE_BYTES = 0.05, 500 * 2**20
"""So much of the disk stays free: the smaller of the two."""
NEWEST_KEPT = 2
"""The ring never takes the last segments: a full disk must leave the newest footage."""
DAY_MS = 86_400_000


class Shelf:
    """``device`` and ``camera`` name the chain. ``retention_days``, ``max_bytes``: what the ring keeps. Thread-safe."""

    def __init__(
        self, folder: Path, *, device: str, camera: str, retention_days: int, max_bytes: int
    ) -> None:
        self._folder, self._device, self._camera = folder, device, camera
        self._retention_ms, self._max_bytes = retention_days * DAY_MS, max_bytes
        self._lock = RLock()
        self._days: dict[str, Day] = {}
        self._bytes = 0
        self._news = False
        self.forgotten = False
        kept = self._read_kept()
        self._holds = {name: Interval(*span) for name, span in kept.get("holds", {}).items()}
        self._told: dict[str, tuple[int, str]] = {
            day: (int(version), str(digest)) for day, (version, digest) in kept.get("told", {}).items()
        }
        self._ahead: dict[str, int] = {day: int(found) for day, found in kept.get("ahead", {}).items()}
        self.trouble: str | None = None

    # The index

    def refresh(self) -> bool:
        """Read what the camera's process has written since; whether it is more than that footage goes on."""
        with self._lock:
            found = [
                self._read_day(self._days.setdefault(name, Day(name, self._chain(name))))
                for name in days_in(self._folder)
            ]
            news, self._news = self._news, False
            return any(found) or news

    def _chain(self, day: str) -> Chain:
        return Chain(self._device, self._camera, day)

    def _journal(self, day: str) -> Path:
        return self._folder / day / JOURNAL

    def _reread(self, day: Day) -> Day:
        """The index of the day as its journal is now."""
        self._bytes -= day.size()
        fresh = self._days[day.name] = Day(day.name, self._chain(day.name))
        self._read_day(fresh)
        self._news = True
        return fresh

    def _read_day(self, day: Day) -> bool:
        lines, offset = whole_lines(self._journal(day.name), day.offset)
        if not lines:
            return False
        first = notable = day.offset == 0
        names = {path.name for path in (self._folder / day.name).iterdir()} if first else None
        for raw in lines:
            for item in day.chain.take(raw):
                notable |= self._take(day, item, names)
        day.offset = offset
        return notable

    def _take(self, day: Day, item: Entry | Lost | Mark, names: set[str] | None) -> bool:
        """Add it to the index; whether it is more than that footage goes on. ``names``: the files, where the day is read first."""
        if isinstance(item, Lost):
            day.add_lost(item)
            log.error(
                "the record of footage is damaged",
                camera=self._camera,
                day=day.name,
                first=item.first,
                last=item.last,
            )
            return True
        if not isinstance(item, Entry):
            day.marks.append((len(day.starts), item))
            return True
        segment = item.segment
        notable = bool(day.starts) and abs(segment.start_ms - day.interval(-1).end_ms) > TOLERANCE_MS
        here = names is None or self._stands(day.name, segment.position, names)
        day.add(segment, here=here)
        self._bytes += segment.size if here else 0
        return notable

    def _stands(self, day: str, position: int, names: set[str]) -> bool:
        """Whether a segment's file is there; the newest may just be getting its name."""
        if f"{position:05d}{SUFFIX}" in names:
            return True
        before = open_path(self._folder, day, position)
        return before.name in names or segment_path(self._folder, day, position).exists()

    @property
    def bytes(self) -> int:
        return self._bytes

    def days(self) -> list[str]:
        with self._lock:
            return sorted(self._days)

    def judge(self, now_ms: int, *, sure: bool) -> bool:
        """Set aside the days that begin after now if that is ``sure``: a clock that was ahead named them. A day that has begun counts
        again. Whether anything changed.
        """
        with self._lock:
            today, latest = day_of(now_ms), day_of(now_ms + FRESH_MS)
            ahead = {day: found for day, found in self._ahead.items() if day > today and day in self._days}
            if sure:
                ahead = {day: ahead.get(day, now_ms) for day in self._days if day > latest} | ahead
            if ahead == self._ahead:
                return False
            if more := sorted(ahead.keys() - self._ahead.keys()):
                log.warning("footage has dates to come: a clock was ahead", camera=self._camera, days=more)
            self._ahead = ahead
            try:
                self._write_kept()
            except OSError as error:
                log.error("what a wrong clock dated cannot be noted", camera=self._camera, error=str(error))
            return True

    def _counting(self) -> list[Day]:
        """The days in order, without those that a wrong clock named."""
        return [self._days[name] for name in sorted(self._days) if name not in self._ahead]

    def last_end_ms(self, now_ms: int | None = None) -> int | None:
        """Where the newest footage ends. ``now_ms``: the time if it is sure, else no date within a day counts as wrong."""
        with self._lock:
            ends = (day.last_end_ms(latest_of(now_ms)) for day in self._counting())
            return max((end for end in ends if end is not None), default=None)

    def runs(self, now_ms: int | None = None) -> tuple[list[Run], Carry]:
        """All that is known of the camera's time, in order and disjoint, and what follows the last of it. ``now_ms``: as above."""
        with self._lock:
            oldest_ms = self._oldest_free_ms()
            carry, found = Carry(), []
            for day in self._counting():
                more, carry = runs_of(day.items(oldest_ms, latest_of(now_ms)), carry)
                found += more
            return merged(found), carry

    def day_size(self, name: str) -> int:
        with self._lock:
            return self._days[name].size() if name in self._days else 0

    def unsigned_head(self, name: str) -> Place | None:
        """Position and hash at the end of a day's chain; None before its first segment."""
        with self._lock:
            day = self._days.get(name)
            return day.chain.proved if day is not None and day.starts else None

    def _oldest_free_ms(self) -> int:
        """Where the oldest footage begins that the ring may take: what is gone before that, it took."""
        for day in self._counting():
            index = day.here.find(1)
            while index >= 0:
                if not self._held(day.interval(index)):
                    return day.starts[index]
                index = day.here.find(1, index + 1)
        return NEVER_MS

    # The ring

    def trim(self, now_ms: int | None) -> int:
        """Make room; how many segments went. ``now_ms``: the time if it is trusted, else nothing goes by age."""
        with self._lock:
            gone = 0
            free = self._missing_bytes()
            over = self._bytes - self._max_bytes
            for day, index in self._oldest_first():
                found_ms = self._ahead.get(day.name)
                dated_ms = day.interval(index).end_ms if found_ms is None else found_ms
                old = now_ms is not None and dated_ms < now_ms - self._retention_ms
                if not old and over <= 0 and free <= 0:
                    if found_ms is None:
                        break
                    continue
                self._remove(day, index)
                gone += 1
                over, free = over - day.sizes[index], free - day.sizes[index]
            self.trouble = (
                "what is kept for requests fills the place for footage: nothing older can give way"
                if over > 0 or free > 0
                else None
            )
            self._forget_empty_days()
            return gone

    def clear(self, *, writing: bool) -> int:
        """Delete all footage that is not held, also the newest and what nothing proves; how many segments went.

        ``writing``: the camera's process may still be at work; a file that it names after its line was deleted stays until it is not.
        """
        with self._lock:
            gone = 0
            for day in self._days.values():
                for index in range(len(day.starts)):
                    if not day.sizes[index]:
                        self._remove(day, index)
                    elif day.here[index] and not self._held(day.interval(index)):
                        self._remove(day, index)
                        gone += 1
            return gone if writing else gone + self._clear_strays()

    def _clear_strays(self) -> int:
        """Delete the files that the index does not have: named after their line was deleted, or open when a process was killed."""
        gone = 0
        for day in self._days.values():
            for path in (self._folder / day.name).glob(f"*{SUFFIX}*"):
                number = path.name.removeprefix(".").partition(".")[0]
                index = int(number) - 1 if number.isdecimal() else -1
                if not (0 <= index < len(day.starts) and day.here[index]):
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

    def _oldest_first(self) -> Iterator[tuple[Day, int]]:
        """Segments that may go, without the newest few. What has a date ahead is as old as the day when that was found out."""
        left = sum(day.here.count(1) for day in self._days.values()) - NEWEST_KEPT
        dated = {day: day_of(found_ms) for day, found_ms in self._ahead.items()}
        for name in sorted(self._days, key=lambda day: (dated.get(day, day), day not in dated)):
            day = self._days[name]
            index = day.here.find(1)
            while index >= 0 and left > 0:
                left -= 1
                if not self._held(day.interval(index)):
                    yield day, index
                index = day.here.find(1, index + 1)

    def _missing_bytes(self) -> int:
        """How much must go so that the disk keeps its reserve."""
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return 0
        return int(min(FREE_BYTES, FREE_SHARE * usage.total)) - usage.free

    def _remove(self, day: Day, index: int) -> None:
        segment_path(self._folder, day.name, index + 1).unlink(missing_ok=True)
        day.here[index] = 0
        self._bytes -= day.sizes[index]

    def _forget_empty_days(self) -> None:
        """Remove the journals of days of which nothing is left and that the hub was told of so; the last two stay."""
        for day in self._counting()[:-2]:
            if any(day.here) or not self._told.get(day.name, (0, ""))[1].startswith("gone"):
                continue
            shutil.rmtree(self._folder / day.name, ignore_errors=True)
            del self._days[day.name]

    # Holds

    def _held(self, interval: Interval) -> bool:
        return any(hold.meets(*interval) for hold in self._holds.values())

    def hold(self, name: str, interval: Interval) -> list[Interval]:
        """Keep what meets ``interval``, now and as it comes; the footage that is there now. OSError where that cannot be written."""
        with self._lock:
            self.refresh()
            before = dict(self._holds)
            self._holds[name] = interval
            try:
                self._write_kept()
            except OSError:
                self._holds = before
                raise
            return self.spans(interval)

    def release(self, name: str) -> None:
        with self._lock:
            if self._holds.pop(name, None) is not None:
                self._write_kept()

    def holds(self) -> Mapping[str, Interval]:
        with self._lock:
            return dict(self._holds)

    def spans(self, interval: Interval) -> list[Interval]:
        """The footage within ``interval``."""
        return [
            Interval(max(run.start_ms, interval.start_ms), min(run.end_ms, interval.end_ms))
            for run in self.runs()[0]
            if run.cause is None and interval.meets(run.start_ms, run.end_ms)
        ]

    def tally(self, interval: Interval) -> tuple[int, int]:
        """Segments and bytes of the footage that meets ``interval``."""
        with self._lock:
            sizes = [
                day.sizes[index]
                for day in self._days.values()
                for index in day.meeting(interval)
                if day.here[index]
            ]
            return len(sizes), sum(sizes)

    # Finding footage

    def find(self, interval: Interval) -> list[Found]:
        """The footage that meets ``interval``, with what proves it: a day each, or more where a day's journal is damaged."""
        with self._lock:
            self.refresh()
            return [one for name in sorted(self._days) for one in self._find_in(self._days[name], interval)]

    def _find_in(self, day: Day, interval: Interval) -> list[Found]:
        places = {index + 1: day.here[index] for index in day.meeting(interval)}
        if not any(places.values()):
            return []
        # Also of damage at the interval's begin the account has to tell: by the segment before it.
        first = min(*places, day.last_before_damage(interval) or len(day.starts))
        journal = self._journal(day.name)
        found, chain, lost = stretches(day.name, self._chain(day.name), journal, places, first=first)
        if chain.proved.position < day.chain.proved.position or lost != day.sizes.count(0):
            log.error(
                "the record of footage was damaged since it was read", camera=self._camera, day=day.name
            )
            return self._find_in(self._reread(day), interval)
        return found

    def path(self, day: str, position: int) -> Path:
        return segment_path(self._folder, day, position)

    # What was told

    def told(self, day: str) -> tuple[int, str]:
        """Version and digest of the last coverage told of a day; (0, "") before the first."""
        with self._lock:
            return self._told.get(day, (0, ""))

    def note_told(self, news: Iterable[tuple[str, int, str]]) -> None:
        """(day, version, digest) of what was told; kept, so that a version is never used twice."""
        with self._lock:
            self._told.update({day: (version, digest) for day, version, digest in news})
            self._write_kept()

    def _read_kept(self) -> dict[str, Any]:
        try:
            kept = json.loads((self._folder / KEPT).read_bytes())
        except FileNotFoundError:
            self.forgotten = bool(days_in(self._folder))
            return {}
        except (OSError, ValueError) as error:
            return self._forget(str(error))
        return kept if isinstance(kept, dict) else self._forget("it is no JSON object")

    def _forget(self, why: str) -> dict[str, Any]:
        """``forgotten``: what was told of each day is not known any more, so that it is told under versions that nobody has seen."""
        log.error("the list of holds cannot be read: what was kept may be overwritten", error=why)
        self.forgotten = True
        return {}

    def _write_kept(self) -> None:
        holds = {name: list(span) for name, span in self._holds.items()}
        kept = {"holds": holds, "told": self._told, "ahead": self._ahead}
        make_folder(self._folder)
        write_atomic(self._folder / KEPT, json.dumps(kept).encode())
        sync_folder(self._folder)
