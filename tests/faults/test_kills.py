"""Programs killed at random moments under load: nothing acknowledged is lost or doubled, nobody is called offline wrongly."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


def test_nothing_acknowledged_is_lost_when_the_hub_is_killed_at_random(
    place: Any, form: Any, dice: random.Random
) -> None:
    field, box = place.near, place.box
    field.set(events_a_s=4.0)
    before = place.before()
    for _ in range(form.rounds):
        time.sleep(dice.uniform(0.3, 2.5))
        place.kill_hub()
        time.sleep(dice.uniform(0, 1.0))
        place.start_hub()
    assert place.whole(before, field=field, box=box).acked > form.rounds * 10


def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_at_random(
    place: Any, form: Any, dice: random.Random
) -> None:
    field, box = place.near, place.box
    field.set(events_a_s=4.0)
    before = place.before()
    for _ in range(form.rounds):
        time.sleep(dice.uniform(0.3, 2.5))
        place.kill_broker()
    place.whole(before, field=field, box=box)


def test_no_press_is_lost_when_its_box_is_killed_at_random(
    place: Any, form: Any, dice: random.Random
) -> None:
    """The press that was stored survives; what the box says it stored is what the outbox's file holds when the power fails."""
    box = place.box
    before = place.before()
    pressed = place.stored(box, "callbox.press")
    for _ in range(form.rounds + 1):
        place.ask_press(box)
        pressed += 1
        place.eventually(lambda least=pressed: place.kept_presses(box) >= least, "the press to be stored")
        time.sleep(dice.uniform(0, 0.4))
        box.kill()
        time.sleep(dice.uniform(0, 0.5))
        box.start()
        place.wait_for_control(box)
    place.eventually(
        lambda: place.stored(box, "callbox.press") >= pressed,
        "every press to arrive",
    )
    assert place.stored(box, "callbox.press") == pressed
    place.whole(before, box=box)
