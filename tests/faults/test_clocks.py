"""Clocks that step by a year or to 1970, at box and hub: nobody turns offline, nothing is deleted, a doubtful time is called so."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.faults.clockshim import YEAR_S
from tests.faults.place import LONG

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(600),
    pytest.mark.needs("gcc"),
]
STEPS = [
    pytest.param(lambda: YEAR_S, id="a year ahead"),
    pytest.param(lambda: -YEAR_S, id="a year behind"),
    pytest.param(lambda: 60 - int(time.time()), id="1970"),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_box_whose_clock_steps_goes_on_and_says_that_its_time_is_doubtful(place: Any, step: Any) -> None:
    box = place.box
    place.all_online(place.nobody, box)
    before = place.before()
    place.hands.turn(box.device, step())
    try:
        place.press(box)
        row = place.rows(
            "SELECT at, clock, received_at FROM events WHERE device_id = :d AND kind = 'callbox.press' ORDER BY id DESC LIMIT 1",
            d=box.device,
        )[0]
        assert row[1] != "synced" or str(row[0])[:4] == str(datetime.now(UTC).year)
        assert abs((datetime.now(UTC) - _utc(row[2])).total_seconds()) < 60, (
            "the hub's own time stands beside it"
        )
        box.kill()
        box.start()
        place.wait_for_control(box)
        place.press(box, within_s=60)
    finally:
        place.hands.turn(box.device, 0)
    place.whole(before, box=box)


@pytest.mark.parametrize("step", STEPS)
def test_a_hub_whose_clock_steps_loses_nothing_and_calls_nobody_offline(place: Any, step: Any) -> None:
    box, field = place.box, place.near
    place.all_online(field, box)
    field.set(events_a_s=2.0)
    before, kept = place.before(), place.rows("SELECT count(*) FROM events")[0][0]
    place.hands.turn("hub", step())
    try:
        place.light_press(field.devices[0])
        time.sleep(2)
    finally:
        place.hands.turn("hub", 0)
    place.whole(before, field=field, box=box)
    assert place.rows("SELECT count(*) FROM events")[0][0] > kept, "nothing was taken for too old"


def test_a_sign_keeps_its_override_while_the_hubs_clock_is_ahead_and_after_it_was_put_right(
    place: Any,
) -> None:
    """The lease is so short that the sign would drop it within the test."""
    field = place.field(1, sign=True, events_a_s=0.0)
    (sign,) = field.devices
    place.eventually(lambda: place.presences().get(sign.id) == "online", "the sign to be called online")
    text = {"text": "ROAD CLOSED"}
    wanted = {"class": 6, "content": text, "reason": "water main burst", "minutes": 60, "lease_s": 10}
    made = place.post("/overrides", {"display": f"{sign.id}:sign1", **wanted})["id"]
    place.eventually(lambda: sign.told, "the set to go out")
    for by_s in (YEAR_S, 0):
        place.hands.turn("hub", by_s)
        try:
            for _ in range(2):
                _renewed(place, sign, made)
        finally:
            place.hands.turn("hub", 0)


def _renewed(place: Any, sign: Any, override: str) -> None:
    """The sign gets a newer set with the override in it."""
    epoch = sign.told[-1].epoch
    place.eventually(lambda: sign.told[-1].epoch > epoch, "the set to be renewed", within_s=10)
    assert [one.id for one in sign.told[-1].overrides] == [override]


@pytest.mark.parametrize("step", STEPS if LONG else STEPS[:1])
def test_a_hub_that_was_started_with_a_wrong_clock_keeps_nobody_out_once_it_is_right(
    place: Any, step: Any
) -> None:
    """Put right while the hub runs, then by the next start after it was killed."""
    box, field = place.box, place.near
    place.all_online(field, box)
    field.set(events_a_s=2.0)
    before, kept = place.before(), place.rows("SELECT count(*) FROM events")[0][0]
    for running in (True, False):
        place.kill_hub()
        place.hands.turn("hub", step())
        try:
            place.start_hub()
            time.sleep(2)
            if not running:
                place.kill_hub()
        finally:
            place.hands.turn("hub", 0)
        if not running:
            place.start_hub()
        place.whole(before, field=field, box=box)
        field.set(events_a_s=2.0)
    assert place.rows("SELECT count(*) FROM events")[0][0] > kept, "nothing was taken for too old"


def _utc(value: Any) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
