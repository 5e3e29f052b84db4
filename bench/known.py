"""A store that knows a whole state, each device as after its birth: registered once in a run of the bench, copied by each part.

``make bench`` names the folder of the copies in PRAHARI_BENCH_KNOWN; a part that runs alone, or on PostgreSQL, registers for itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from prahari_hub.settings import Settings
from prahari_hub.store import Store
from prahari_hub.store.migrate import migrate

from bench.results import say
from bench.swarm.identities import register

FOLDER = "PRAHARI_BENCH_KNOWN"
FILE = "hub.db"


class Known(NamedTuple):
    """``epoch`` belongs to the devices' sessions (``payloads.boot_of``); ``took_s`` is what registering took, whenever that was."""

    epoch: int
    took_s: float


def fill(settings: Settings, count: int) -> Known:
    """Make the empty store of ``settings`` know ``count`` devices."""
    folder = os.environ.get(FOLDER)
    if not folder or settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _register(settings.store_url, count)
    kept = Path(folder) / str(count)
    about = kept / "about"
    if not about.exists():
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        made = _register(f"sqlite:///{kept / FILE}", count)
        about.write_text(f"{made.epoch} {made.took_s}")
    epoch, took_s = about.read_text().split()
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in kept.glob(f"{FILE}*"):
        shutil.copyfile(file, settings.home / file.name)
    return Known(int(epoch), float(took_s))


def _register(url: str, count: int) -> Known:
    begun_s, epoch = time.monotonic(), secrets.randbits(31)
    store = Store.open(url)
    try:
        migrate(store.engine)
        register(store, range(count), born_epoch=epoch)
    finally:
        store.close()
    took_s = time.monotonic() - begun_s
    say(f"{count:,} devices registered in {took_s:.0f} s")
    return Known(epoch, took_s)
