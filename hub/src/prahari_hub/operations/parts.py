"""Uploads that were cut off by the end of the process: files ``*.part`` that nobody finishes any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from prahari_hub.fleet.blobs import FOOTAGE
from prahari_hub.settings import Settings

OLD_S = 86400.0
"""No upload lasts so long: a picture has five minutes, a map layer of half a gigabyte an hour on a slow line."""
EVERY_S = 15.0
"""A folder each time: all of them in two hours or so, and none holds the hub's writer up."""
PLACES = (
    *(f"{folder}/{number:02x}" for number in range(256) for folder in ("blobs", FOOTAGE)),
    "map-layers",
    "spool",
)


def abandoned(settings: Settings) -> Iterator[Path]:
    """Those that were not written to for OLD_S."""
    for place in PLACES:
        yield from _abandoned_in(settings.home / place)


def sweeper(settings: Settings) -> Callable[[object], int]:
    """A job: each call deletes those in the next folder and gives how many."""
    places = cycle(PLACES)

    def sweep(_unit: object) -> int:
        found = list(_abandoned_in(settings.home / next(places)))
        for file in found:
            file.unlink(missing_ok=True)
        return len(found)

    return sweep


def _abandoned_in(folder: Path) -> Iterator[Path]:
    """In the spool every file is one; elsewhere finished files lie beside them."""
    before_s = time.time() - OLD_S
    for file in folder.glob("*" if folder.name == "spool" else "*.part"):
        try:
            if file.is_file() and file.stat().st_mtime < before_s:
                yield file
        except FileNotFoundError:
            continue
