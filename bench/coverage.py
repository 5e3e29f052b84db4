"""How long the search for footage takes over a state: 400,000 cameras, thirty days of coverage each, on SQLite.

    python -m bench coverage [--short]

The index is built as boxes would have told it: most days whole, some with up to five gaps, the heads of each day's chain pinned by
the hour. ``--short`` takes a tenth of the cameras. Each figure is of twenty searches and more at places and times drawn anew, after
one that warms nothing but the process.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from prahari_hub.evidence import coverage, pins, requests
from prahari_hub.evidence.places import AtSite, CameraName, Named, Point
from prahari_hub.evidence.spans import DAY_MS, Day, Gap, pack
from prahari_hub.store import Store
from prahari_hub.store.migrate import migrate
from prahari_wire.evidence import Pin

from bench.results import Results, say

CAMERAS, SHORT_CAMERAS, DAYS = 400_000, 40_000, 30
TOWNS, LARGEST = 1300, 25_000
KINDS = 200
"""Days that differ in their gaps."""
TIMES = 30
MOST_MS = 100.0
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = int(NOW.timestamp() // 86_400)


def build(file: Path, cameras: int, dice: random.Random) -> None:
    """The hub's database with ``cameras`` cameras at sites of their own and what they told of DAYS days."""
    store = Store.open(f"sqlite:///{file}")
    migrate(store.engine)
    store.close()
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA synchronous=OFF")
    database.execute("BEGIN")
    at = NOW.strftime("%Y-%m-%d %H:%M:%S.000000")
    database.executemany(
        "INSERT INTO sites (id, name, lat, lon) VALUES (?, ?, ?, ?)",
        ((f"s-{n:06d}", f"Site {n}", *place) for n, place in enumerate(places(cameras, dice))),
    )
    database.executemany(
        "INSERT INTO devices (id, site_id, created_at) VALUES (?, ?, ?)",
        ((f"d-{n:06d}", f"s-{n:06d}", at) for n in range(cameras)),
    )
    database.executemany(
        "INSERT INTO peripherals (device_id, id, type, faults, updated_at) VALUES (?, 'front', 'camera', '[]', ?)",
        ((f"d-{n:06d}", at) for n in range(cameras)),
    )
    database.executemany(
        "INSERT INTO coverage_cameras (id, device_id, camera) VALUES (?, ?, 'front')",
        ((n + 1, f"d-{n:06d}") for n in range(cameras)),
    )
    database.executemany(
        "INSERT INTO coverage_days (camera_id, day, version, packed, pins) VALUES (?, ?, 1, ?, ?)",
        days(cameras, dice),
    )
    database.execute("COMMIT")
    database.execute("ANALYZE")
    database.close()


def places(cameras: int, dice: random.Random) -> Iterator[tuple[float, float]]:
    """Towns all over a state, the first much larger than the others."""
    towns = [(dice.uniform(9, 32), dice.uniform(70, 92)) for _ in range(TOWNS)]
    for number in range(cameras):
        lat, lon = towns[0] if number < LARGEST * cameras // CAMERAS else dice.choice(towns[1:])
        yield lat + dice.gauss(0, 0.05), lon + dice.gauss(0, 0.05)


def days(cameras: int, dice: random.Random) -> Iterator[tuple[int, int, bytes, bytes]]:
    gaps = [
        sorted(dice.sample(range(0, DAY_MS, 1000), 2 * dice.choice([0, 0, 0, 1, 2, 5]))) for _ in range(KINDS)
    ]
    dates = range(TODAY - DAYS, TODAY)
    packed = {
        (day, kind): pack(day, with_gaps(day * DAY_MS, marks))
        for day in dates
        for kind, marks in enumerate(gaps)
    }
    pinned = {day: heads(day, dice) for day in dates}
    for number in range(cameras):
        for day in dates:
            yield number + 1, day, packed[day, (number * 31 + day) % KINDS], pinned[day]


def with_gaps(origin: int, marks: list[int]) -> Day:
    edges = [0, *marks, DAY_MS]
    spans = [
        (origin + start, origin + end)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if start < end
    ]
    gaps = [
        Gap(origin + start, origin + end, "power") for start, end in zip(marks[::2], marks[1::2], strict=True)
    ]
    return Day(spans, gaps)


def heads(day: int, dice: random.Random) -> bytes:
    """Told by the hour, 360 segments each."""
    midnight = datetime.fromtimestamp(day * 86_400, UTC)
    return pins.pack(
        [
            Pin(
                day=f"{midnight:%Y-%m-%d}", position=360 * hour, hash=dice.randbytes(16).hex(),
                told_at=midnight + timedelta(hours=hour),
            )
            for hour in range(1, 25)
        ]
    )  # fmt: skip


class Searches:
    """``search(place, hours)`` at a time that is drawn anew each time."""

    def __init__(self, file: Path, cameras: int, dice: random.Random, results: Results) -> None:
        self.store, self.cameras, self.dice, self.results = (
            Store.open(f"sqlite:///{file}"),
            cameras,
            dice,
            results,
        )

    def near(self, metres: float) -> Callable[[], Point]:
        """A point beside a camera of the largest town."""

        def draw() -> Point:
            site = f"s-{self.dice.randrange(LARGEST * self.cameras // CAMERAS):06d}"
            lat, lon = self.store.read_sync(
                lambda conn: conn.exec_driver_sql("SELECT lat, lon FROM sites WHERE id = ?", (site,)).one()
            )
            return Point(lat=lat, lon=lon, radius_m=metres)

        return draw

    def named(self) -> Named:
        chosen = self.dice.sample(range(self.cameras), 200)
        return Named(cameras=[CameraName(device=f"d-{number:06d}", camera="front") for number in chosen])

    def site(self) -> AtSite:
        return AtSite(site=f"s-{self.dice.randrange(self.cameras):06d}")

    def take(self, what: str, draw: Callable[[], Any], hours: int) -> None:
        """A search as a person makes it: places, then what is known of them."""
        found, counts = [], []
        for _ in range(TIMES + 1):
            place = draw()
            start = NOW - timedelta(days=self.dice.uniform(2, DAYS - 1))
            end = start + timedelta(hours=hours)
            search = partial(requests.search, place=place, starts_at=start, ends_at=end, now=NOW)
            began_s = time.perf_counter()
            cameras = self.store.read_sync(search)
            found.append((time.perf_counter() - began_s) * 1000)
            counts.append(len(cameras))
        self.note(what, found[1:], f"{round(statistics.median(counts))} cameras")

    def month(self) -> None:
        """All thirty days of two hundred cameras: more than a request may ask for."""
        found = []
        for _ in range(TIMES + 1):
            chosen = [(f"d-{number:06d}", "front") for number in self.dice.sample(range(self.cameras), 200)]
            span = (TODAY - DAYS) * DAY_MS, TODAY * DAY_MS
            look = partial(coverage.known, cameras=chosen, start_ms=span[0], end_ms=span[1], now_ms=span[1])
            began_s = time.perf_counter()
            self.store.read_sync(look)
            found.append((time.perf_counter() - began_s) * 1000)
        self.note("200 cameras all over the state, all 30 days", found[1:], "200 cameras")

    def note(self, what: str, found: list[float], counted: str) -> None:
        found.sort()
        median, worst = found[len(found) // 2], found[-1]
        ninety_fifth = found[int(len(found) * 0.95)]
        self.results.details[what] = [round(value, 1) for value in found]
        self.results.row(
            f"Search for footage, {what}",
            f"{median:.0f} ms, 95 of 100 within {ninety_fifth:.0f}, worst {worst:.0f} (n {len(found)}, {counted})",
            aim=f"{MOST_MS:.0f} ms",
            met=ninety_fifth <= MOST_MS,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a tenth of the cameras")
    parser.add_argument(
        "--keep", type=Path, help="a folder that the database is kept in, and taken from again"
    )
    given = parser.parse_args()
    cameras, dice, results = SHORT_CAMERAS if given.short else CAMERAS, random.Random(7), Results("coverage")
    try:
        with tempfile.TemporaryDirectory(prefix="prahari-bench-") as folder:
            file = (given.keep or Path(folder)) / f"coverage-{cameras}.db"
            if not file.exists():
                began_s = time.monotonic()
                build(file, cameras, dice)
                say(
                    f"{cameras} cameras, {DAYS} days: built in {time.monotonic() - began_s:.0f} s, {file.stat().st_size >> 20} MiB"
                )
            results.row(
                "Size of the index and its fleet",
                f"{file.stat().st_size / 2**30:.1f} GiB, {cameras:,} cameras, {DAYS} days",
            )
            searches = Searches(file, cameras, dice, results)
            for what, draw, hours in (
                ("200 m around a point, 1 h", searches.near(200), 1),
                ("500 m around a point, 24 h", searches.near(500), 24),
                ("one site, 24 h", searches.site, 24),
                ("200 named cameras all over the state, 24 h", searches.named, 24),
            ):
                results.take(what, partial(searches.take, what, draw, hours))
            results.take("a month", searches.month)
            searches.store.close()
    finally:
        results.print()


if __name__ == "__main__":
    main()
