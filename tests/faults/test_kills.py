"""Programs killed at random moments under load: nothing acknowledged is lost or doubled, nobody is called offline wrongly."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def loaded(place: Any, form: Any) -> Any:
    """A field under load and one real call box."""
    return place, place.field(form.devices), place.callbox("ecb-01")


def test_nothing_acknowledged_is_lost_when_the_hub_is_killed_at_random(
    loaded: Any, form: Any, dice: random.Random
) -> None:
    place, field, box = loaded
    field.set(events_a_s=4.0)
    since = place.last_transition()
    for _ in range(form.rounds):
        time.sleep(dice.uniform(0.3, 2.5))
        place.kill_hub()
        time.sleep(dice.uniform(0, 1.0))
        place.start_hub()
    balance = place.settle(field)
    assert balance.acked > form.rounds * 10
    place.all_online(field, box)
    assert place.called_offline(since) == []
    place.press(box)


def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_at_random(
    loaded: Any, form: Any, dice: random.Random
) -> None:
    place, field, box = loaded
    field.set(events_a_s=4.0)
    since = place.last_transition()
    for _ in range(form.rounds):
        time.sleep(dice.uniform(0.3, 2.5))
        place.kill_broker()
    place.all_online(field, box, within_s=60)
    place.settle(field)
    assert place.called_offline(since) == []
    place.press(box)
