"""Links that are cut, hang, crawl or repeat themselves: events wait and arrive once, a press finds another way."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


def test_links_that_are_cut_and_reset_at_random_lose_and_double_nothing(
    place: Any, form: Any, dice: random.Random
) -> None:
    field, box = place.far, place.far_box
    field.set(events_a_s=4.0)
    before = place.before()
    for _ in range(form.rounds * 2):
        time.sleep(dice.uniform(0.1, 1.5))
        dice.choice([place.proxy.cut, place.proxy.reset])()
    assert place.whole(before, field=field, box=box).acked > form.rounds * 10


def test_batches_that_arrive_twice_and_in_another_order_are_stored_once(place: Any) -> None:
    field, before = place.far, place.before()
    field.set(events_a_s=10.0, echo=0.7, shuffle=True)
    time.sleep(3)
    balance = place.whole(before, field=field)
    field.set(echo=0.0, shuffle=False)
    assert balance.stored == balance.made


def test_a_slow_link_delays_and_loses_nothing(place: Any) -> None:
    field, box = place.far, place.far_box
    field.set(events_a_s=1.0)
    before = place.before()
    place.proxy.weather.delay_s, place.proxy.weather.jitter_s, place.proxy.weather.bytes_a_s = (
        0.15,
        0.2,
        30_000,
    )
    try:
        place.press(box, within_s=20)
        time.sleep(2)
    finally:
        place.proxy.weather.delay_s, place.proxy.weather.jitter_s, place.proxy.weather.bytes_a_s = 0, 0, None
    place.whole(before, field=field, box=box)


def test_a_pulled_cable_makes_a_box_suspect_and_its_press_arrives_when_it_is_back(place: Any) -> None:
    field, box = place.far, place.far_box
    place.all_online(field, box)
    field.set(events_a_s=2.0)
    before, pressed = place.before(), place.stored(box, "callbox.press") + 1
    place.proxy.weather.dead = True
    try:
        place.eventually(lambda: place.presences()[box.device] == "suspect", "the box to be missed")
        place.ask_press(box)
    finally:
        place.proxy.weather.dead = False
    place.eventually(
        lambda: place.stored(box, "callbox.press") == pressed,
        "the press to arrive",
    )
    place.whole(before, field=field, box=box)


def test_a_press_leaves_a_connection_that_nobody_answers(place: Any) -> None:
    """A router forgot the connection: nothing comes back, no error either. The box takes a new one."""
    box = place.far_box
    place.all_online(place.nobody, box)
    before, pressed = place.before(), place.stored(box, "callbox.press") + 1
    place.proxy.forget()
    started = time.monotonic()
    place.ask_press(box)
    place.eventually(
        lambda: place.stored(box, "callbox.press") == pressed,
        "the press to arrive",
    )
    took_s = time.monotonic() - started
    assert took_s < 40, f"the press took {took_s:.0f} s"
    place.whole(before, box=box)
