"""Disks that are full, read-only or damaged, at box and hub: a press still goes out, and what is not on disk is not acknowledged."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.place import largest_file

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@contextmanager
def read_only(folder: Path, process: int) -> Iterator[None]:
    """No file in ``folder`` can be made or opened for writing, and what the process has open does not grow; or skip."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        with full(process):
            yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*options: str) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no folder can be made read-only here: {done.stderr.decode().strip()}")


@contextmanager
def full(process: int) -> Iterator[None]:
    """No file of the process grows any more."""
    largest_file(process, 0)
    try:
        yield
    finally:
        largest_file(process, None)


def test_a_press_goes_out_of_a_box_whose_disk_takes_nothing(place: Any) -> None:
    box, before = place.box, place.before()
    with full(box.program.process.pid):
        place.press(box)
        assert box.program.ended is None
    place.whole(before, box=box)


HUB_DISKS = [
    pytest.param(lambda place: full(place.hub.process.pid), id="full"),
    pytest.param(lambda place: read_only(place.folder / "hub", place.hub.process.pid), id="read-only"),
]


@pytest.mark.parametrize("fault", HUB_DISKS)
def test_a_hub_whose_disk_takes_nothing_acknowledges_nothing_and_goes_on_by_itself(
    place: Any, fault: Callable[[Any], AbstractContextManager[None]]
) -> None:
    field, box = place.near, place.box
    field.set(events_a_s=4.0)
    before = place.before()
    with fault(place):
        time.sleep(2)
        acked = field.acked
        time.sleep(2)
        assert field.acked == acked
        assert place.hub.ended is None
    place.whole(before, field=field, box=box)


def test_a_box_with_a_damaged_outbox_says_so_and_its_presses_go_on(place: Any, dice: random.Random) -> None:
    box, before = place.box, place.before()
    box.kill()
    outbox = box.home / "outbox.db"
    outbox.write_bytes(outbox.read_bytes()[:100] + dice.randbytes(8000))
    for rest in ("-wal", "-shm"):
        outbox.with_name(outbox.name + rest).unlink(missing_ok=True)
    box.start()
    place.wait_for_control(box)
    place.press(box, within_s=60)
    place.eventually(lambda: place.stored(box, "outbox.set_aside"), "the hub to be told of the broken outbox")
    assert list(box.home.glob("outbox.db.broken-*"))
    place.whole(before, box=box)


def test_a_box_whose_card_has_become_read_only_goes_on_pressing(place: Any) -> None:
    box, before = place.box, place.before()
    with read_only(box.home, box.program.process.pid):
        place.press(box)
    place.whole(before, box=box)


def test_a_hub_with_a_damaged_database_refuses_to_start_with_one_sentence(
    resting_place: Any, dice: random.Random
) -> None:
    place = resting_place
    database = place.folder / "hub" / "hub.db"
    for rest in ("-wal", "-shm"):
        database.with_name(database.name + rest).unlink(missing_ok=True)
    whole = database.read_bytes()
    for damaged in (
        dice.randbytes(len(whole)),
        whole[: len(whole) // 2],
        whole[:4096] + dice.randbytes(len(whole) - 4096),
    ):
        database.write_bytes(damaged)
        program = place.launch("hub", *place.serve, log=place.folder / "damaged.log")
        place.eventually(lambda program=program: program.ended is not None, "the hub to refuse")
        assert program.ended != 0
        said = (place.folder / "damaged.log").read_text().strip().splitlines()[-1]
        assert "database" in said and "Traceback" not in (place.folder / "damaged.log").read_text(), said


def test_a_box_whose_card_was_restored_from_an_older_image_loses_no_press(place: Any) -> None:
    """Its next numbers are those that the hub has already."""
    box = place.far_box
    box.stop()
    image = (box.home / "outbox.db").read_bytes()
    box.start()
    place.wait_for_control(box)
    place.press(box, within_s=60)
    place.press(box)
    box.kill()
    for rest in ("-wal", "-shm"):
        (box.home / f"outbox.db{rest}").unlink(missing_ok=True)
    (box.home / "outbox.db").write_bytes(image)
    box.start()
    place.wait_for_control(box)
    place.press(box, within_s=60)
    twice = place.rows("SELECT kind FROM events WHERE device_id = :d GROUP BY ulid, kind HAVING count(*) > 1",
                       d=box.device)  # fmt: skip
    assert all(kind != "callbox.press" for (kind,) in twice), "only what the image still held comes again"
