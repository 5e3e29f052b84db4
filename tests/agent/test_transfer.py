"""Uploads that wait on disk and downloads that are verified, over a real TLS socket."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.clock import Clock
from prahari_agent.enrolment import prepare
from prahari_agent.errors import HubUnreachable, Rejected
from prahari_agent.identity import Identity
from prahari_agent.pulse import Pulses
from prahari_agent.settings import Settings
from prahari_agent.transfer import Cache, Hub, Spool, twin_document
from prahari_wire.seed import SEED_FILE


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Rig:
    def __init__(self, home: Path, hub: Hub, identity: Identity) -> None:
        self.home, self.hub, self.identity, self.now_s = home, hub, identity, 0.0

    def spool(self, *, max_bytes: int = 10**6) -> Spool:
        return Spool(self.home, self.hub, Pulses(), max_bytes=max_bytes, now_s=lambda: self.now_s)

    def cache(self, *, max_bytes: int = 10**6) -> Cache:
        return Cache(self.home, self.hub, max_bytes=max_bytes)


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
    Spool(
        rig.home, Hub("https://127.0.0.1:1", rig.identity), Pulses(), max_bytes=10**6, now_s=lambda: 0
    ).upload(data, "image/png")
    away = Spool(
        rig.home, Hub("https://127.0.0.1:1", rig.identity), Pulses(), max_bytes=10**6, now_s=lambda: 0
    )
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


def test_a_fetched_file_is_verified_and_kept(rig: Rig, https: Any) -> None:
    cache, data = rig.cache(), b"creative" * 30_000
    https.blobs[sha(data)] = data
    path = cache.fetch(sha(data), len(data))
    assert path.read_bytes() == data
    asked = len(https.asked)
    assert cache.fetch(sha(data), len(data)) == path
    assert len(https.asked) == asked


def test_a_broken_download_is_continued(rig: Rig, https: Any) -> None:
    data = b"0123456789" * 10_000
    https.blobs[sha(data)] = data
    cache = rig.cache()
    (rig.home / "cache" / f"{sha(data)}.part").write_bytes(data[:40_000])
    assert cache.fetch(sha(data), len(data)).read_bytes() == data


@pytest.mark.parametrize("what", ["other-bytes", "shorter", "longer", "unknown"])
def test_a_file_that_is_not_what_was_asked_for_is_refused(rig: Rig, https: Any, what: str) -> None:
    wanted = b"right" * 1000
    served = {
        "other-bytes": b"wrong" * 1000,
        "shorter": wanted[:99],
        "longer": wanted + b"!",
        "unknown": None,
    }[what]
    if served is not None:
        https.blobs[sha(wanted)] = served
    cache = rig.cache()
    with pytest.raises(HubUnreachable):
        cache.fetch(sha(wanted), len(wanted))
    assert not (rig.home / "cache" / sha(wanted)).exists()


def test_a_name_that_is_no_hash_reaches_no_file(rig: Rig) -> None:
    with pytest.raises(Rejected):
        rig.cache().fetch("../../identity/a/key.pem", 10)


def test_the_cache_keeps_to_its_cap(rig: Rig, https: Any) -> None:
    cache = rig.cache(max_bytes=2500)
    for n in range(4):
        data = bytes([n]) * 1000
        https.blobs[sha(data)] = data
        cache.fetch(sha(data), 1000)
    assert len(list((rig.home / "cache").iterdir())) == 2


def test_a_large_twin_is_fetched_as_this_device(rig: Rig, https: Any) -> None:
    https.twins[7] = b"{}"
    assert twin_document(rig.hub, 7) == b"{}"
    with pytest.raises(HubUnreachable, match="404"):
        twin_document(rig.hub, 8)


def test_a_server_that_is_not_the_hub_is_refused(rig: Rig, tmp_path: Path, pki: Any) -> None:
    (tmp_path / "other").mkdir()
    rig.identity.save_roots([type(pki)(tmp_path / "other").root])
    with pytest.raises(HubUnreachable, match="not the hub of the seed"):
        rig.hub.request("GET", "/device/v1/keys")
