"""Uploads that wait on disk until the hub has them, over a real TLS socket."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prahari_agent import spool as spool_module
from prahari_agent.identity import Identity
from prahari_agent.pulse import Pulses
from prahari_agent.spool import Spool
from prahari_agent.transfer import Hub


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
def rig(enrolled: Any) -> Rig:
    return Rig(*enrolled)


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
    assert spool.loss is None
    spool.step()
    assert (spool.waiting(), spool.dropped) == ([], 1)
    assert str(spool.loss).startswith("will not reach the hub: 1 file: ")
    rig.now_s += 86_401
    assert spool.loss is None, "a day later it is history"


def test_a_full_spool_gives_up_its_oldest_file(rig: Rig) -> None:
    spool = rig.spool(max_bytes=2500)
    shas = [spool.upload(bytes([n]) * 1000, "image/png") for n in range(3)]
    assert [path.name for path in spool.waiting()] == shas[1:]
    assert "the spool was full" in str(spool.loss)


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


def test_a_step_through_many_files_is_no_silence_and_takes_one_connection(rig: Rig, https: Any) -> None:
    spool, silent = rig.spool(), []
    for n in range(40):
        https.announced.add(spool.upload(b"%d" % n, "image/png"))

    def asking() -> None:
        rig.now_s += 10
        silent.extend(rig.pulses.silent())

    https.asking, before = asking, https.connections
    rig.pulses.beat("upload", limit_s=300)
    spool.step()
    assert (len(https.blobs), silent) == (40, [])
    assert https.connections - before == 1


@pytest.mark.parametrize("status", [None, 429, 503])
def test_however_much_waits_a_hub_that_is_away_is_tried_no_more_often(
    rig: Rig, https: Any, status: int | None
) -> None:
    away = Hub("https://127.0.0.1:1", rig.identity) if status is None else None
    spool, tries = rig.spool(hub=away), 0
    https.fail_with = status
    spool.upload(b"first", "image/png")
    while rig.now_s < 3600:
        spool.trouble = None
        wait_s = spool.step()
        tries += spool.trouble is not None
        if int(rig.now_s / 60) != int((rig.now_s + wait_s) / 60):
            spool.upload(b"%f" % rig.now_s, "image/png")
        rig.now_s += wait_s
    assert tries < 40, "a back-off that doubles up to five minutes"
    assert len(spool.waiting()) > 50


def test_a_hub_that_says_when_to_come_again_is_left_alone_until_then(rig: Rig, https: Any) -> None:
    spool, data = rig.spool(), b"over the day's quota"
    https.announced.add(spool.upload(data, "image/png"))
    https.fail_with, https.more = 429, {"Retry-After": "3600"}
    asked = len(https.asked)
    assert spool.step() >= 60
    https.fail_with = None
    for rig.now_s in (60, 1800, 3599):
        spool.nudge()
        spool.nudge(every=True)
        spool.step()
    assert len(https.asked) == asked + 1
    assert "as the test wants" in (spool.trouble or ""), "the hub's own sentence"
    rig.now_s = 5000
    spool.step()
    assert (https.blobs, spool.trouble) == ({sha(data): data}, None)


def test_a_file_that_the_hub_chokes_on_does_not_hold_up_the_others(rig: Rig, https: Any) -> None:
    spool = rig.spool()
    bad, *good = [spool.upload(b"%d" % n, "image/png") for n in range(4)]
    https.announced.update([bad, *good])
    answer = https.answer

    def choking(method: str, path: str, *rest: Any) -> tuple[int, bytes]:
        return (500, b"{}") if path.endswith(bad) else answer(method, path, *rest)

    https.answer = choking
    for _ in range(5):
        rig.now_s += spool.step()
    assert [path.name for path in spool.waiting()] == [bad]
    assert "500" in (spool.trouble or "")


def test_a_file_that_was_given_up_while_it_was_tried_is_waited_for_no_more(rig: Rig, https: Any) -> None:
    spool = rig.spool(max_bytes=2500)
    for n in range(2):
        spool.upload(bytes([n]) * 1000, "image/png")
    newest = bytes([9]) * 1000
    https.asking = lambda: rig.now_s < 1 and (setattr(rig, "now_s", 1.0), spool.upload(newest, "image/png"))
    spool.step()
    assert spool.dropped == 1
    https.announced.update(path.name for path in spool.waiting())
    rig.now_s += 1000
    spool.nudge(every=True)
    spool.step()
    assert spool.waiting() == []
    assert spool.step() == 60


def pass_by(rig: Rig, spool: Spool, seconds: float, *, commits: bool = True) -> None:
    """Time goes by; the hub commits something of this box now and then, or nothing."""
    end_s = rig.now_s + seconds
    while rig.now_s < end_s:
        if commits:
            spool.nudge()
        rig.now_s += spool.step()


@pytest.fixture
def short_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours stand for the three days: a real request every five minutes."""
    monkeypatch.setattr(spool_module, "GIVE_UP_S", 7200.0)
    monkeypatch.setattr(spool_module, "COMMITS_S", 2000.0)


@pytest.mark.usefixtures("short_days")
def test_a_file_that_no_event_names_for_days_is_given_up(rig: Rig, https: Any) -> None:
    spool = rig.spool()
    spool.upload(b"its event was shed", "image/png")
    pass_by(rig, spool, 6000)
    assert (len(spool.waiting()), spool.dropped) == (1, 0)
    pass_by(rig, spool, 4000)
    assert (spool.waiting(), spool.dropped) == ([], 1)


@pytest.mark.usefixtures("short_days")
def test_a_file_whose_event_still_waits_on_the_box_is_not_given_up(rig: Rig, https: Any) -> None:
    """The broker is away for a week while HTTPS answers: nothing can have been announced."""
    spool = rig.spool()
    spool.upload(b"its event waits in the outbox", "image/png")
    pass_by(rig, spool, 12_000, commits=False)
    spool.nudge(every=True)
    spool.nudge()
    spool.step()
    assert (len(spool.waiting()), spool.dropped) == (1, 0)


def test_on_a_card_that_turned_read_only_each_file_is_sent_once(
    rig: Rig, https: Any, mounted: Callable[..., None]
) -> None:
    mounted(rig.home / "spool")
    spool = rig.spool()
    https.announced.update(spool.upload(b"%d" % n, "image/png") for n in range(3))
    mounted(rig.home / "spool", "remount,ro")
    asked = len(https.asked)
    spool.step()
    assert len(https.blobs) == 3, "a file that cannot be removed does not hold up the next"
    spool.nudge(every=True)
    spool.step()
    assert (len(https.asked) - asked, spool.waiting()) == (3, [])
    assert "mount the card writable" in (spool.trouble or "")
    mounted(rig.home / "spool", "remount,rw")
    spool.step()
    assert (list((rig.home / "spool").iterdir()), spool.trouble) == ([], None)
