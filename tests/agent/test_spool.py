"""Uploads that wait on disk until the hub has them, over a real TLS socket."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.clock import Clock
from prahari_agent.enrolment import prepare
from prahari_agent.identity import Identity
from prahari_agent.pulse import Pulses
from prahari_agent.settings import Settings
from prahari_agent.spool import Spool
from prahari_agent.transfer import Hub
from prahari_wire.seed import SEED_FILE


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Rig:
    def __init__(self, home: Path, hub: Hub, identity: Identity) -> None:
        self.home, self.hub, self.identity, self.now_s = home, hub, identity, 0.0
        self.pulses = Pulses(now_s=lambda: self.now_s)

    def spool(self, *, max_bytes: int = 10**6, hub: Hub | None = None) -> Spool:
        return Spool(
            self.home, hub or self.hub, self.pulses, max_bytes=max_bytes, now_s=lambda: self.now_s,
            rng=random.Random(1),
        )  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path, seed: Callable[..., bytes]) -> Rig:
    home = tmp_path / "home"
    home.mkdir()
    (home / SEED_FILE).write_bytes(seed())
    identity = Identity(home)
    record = prepare(home, identity, Settings(), Clock())
    return Rig(home, Hub(record.hub, identity), identity)


def test_a_file_is_carried_over_once_it_is_announced_and_then_forgotten(rig: Rig, https: Any) -> None:
    spool, data = rig.spool(), b"jpeg" * 100
    assert spool.upload(data, "image/jpeg") == sha(data)
    spool.step()
    assert https.blobs == {}
    assert len(spool.waiting()) == 1
    https.announced.add(sha(data))
    spool.step()
    assert https.blobs == {}, "not before its time"
    spool.nudge()
    spool.step()
    assert https.blobs == {sha(data): data}
    assert list((rig.home / "spool").iterdir()) == []
    assert https.asked[-1][2] == "test-ecb-01"


def test_a_file_waits_on_disk_for_a_hub_that_is_away(rig: Rig, https: Any) -> None:
    data = b"x" * 1000
    https.announced.add(sha(data))
    away = rig.spool(hub=Hub("https://127.0.0.1:1", rig.identity))
    away.upload(data, "image/png")
    away.step()
    assert "Nothing answers" in (away.trouble or "")
    restarted = rig.spool()
    restarted.step()
    assert https.blobs == {sha(data): data}


def test_the_pauses_between_tries_grow(rig: Rig, https: Any) -> None:
    spool = rig.spool()
    spool.upload(b"never announced", "image/png")
    tries = []
    for _ in range(600):
        before = len(https.asked)
        spool.step()
        tries += [rig.now_s] * (len(https.asked) - before)
        rig.now_s += 0.25
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert gaps[0] <= 1.0
    assert gaps[-1] > 20


def test_what_the_hub_never_takes_is_given_up(rig: Rig, https: Any) -> None:
    spool = rig.spool()
    spool.upload(b"too large", "image/png")
    https.fail_with = 413
    spool.step()
    assert (spool.waiting(), spool.dropped) == ([], 1)


def test_a_full_spool_gives_up_its_oldest_file(rig: Rig) -> None:
    spool = rig.spool(max_bytes=2500)
    shas = [spool.upload(bytes([n]) * 1000, "image/png") for n in range(3)]
    assert [path.name for path in spool.waiting()] == shas[1:]


def test_the_thread_carries_files_over_by_itself(
    rig: Rig, https: Any, eventually: Callable[..., Any]
) -> None:
    spool = rig.spool()
    spool.start()
    try:
        https.announced.add(sha(b"soon"))
        spool.upload(b"soon", "image/png")
        eventually(lambda: https.blobs, within_s=10)
    finally:
        spool.stop()
