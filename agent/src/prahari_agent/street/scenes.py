"""Scenes by name, for the command line, demos and measurements."""

from __future__ import annotations

from collections.abc import Callable

from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.faults import FaultName, fault
from prahari_agent.street.scenario import NIGHT, Scenario
from prahari_agent.street.traffic import PER_MINUTE, busy, passages, traffic

INCIDENTS_S = 180.0
COVERED_S = (140.0, 165.0)
_RED, _BLUE, _GREY = (60, 60, 190), (160, 90, 40), (110, 110, 115)


def incidents(seed: int) -> Scenario:
    """Three minutes by day in which one of each happens: a cow on the road, a scooter the wrong way, a loiterer, a crowd, a car that
    parks on the kerb, a bag that is left; then the lens is covered for a while.
    """
    quiet = {"person": 1.5, "scooter": 2.0, "car": 2.0, "rickshaw": 1.0}
    passing = traffic(seed, INCIDENTS_S, per_minute=quiet, first_id=100)
    crowd = [
        Actor(
            10 + n,
            "person",
            (
                Stop(58 + 2 * n, -9.5, 17 + n),
                Stop(61 + 2 * n, -6.6 + 0.1 * n, 17 + n),
                Stop(118 - n, -6.5 + 0.1 * n, 17 + n),
                Stop(122 - n, -10.0, 17 + n),
            ),
            _BLUE if n % 2 else _RED,
        )
        for n in range(7)
    ]
    staged = [
        Actor(1, "cow", way(0.7, 6, (-8, 20), (-1, 20.5), (-1, 20.5), (9, 21), pause_s=8), (150, 165, 180)),
        Actor(2, "scooter", way(6, 34, (3.2, 8), (3.2, 62)), _BLUE),
        Actor(3, "person", way(1.2, 18, (9, 22), (6.4, 22), (6.4, 22), (9.5, 22), pause_s=62), _RED),
        Actor(4, "car", (Stop(42, 3.9, 62), Stop(50, 4.0, 24), Stop(105, 4.0, 24), Stop(111, 3.6, 6)), _GREY),
        Actor(5, "person", way(1.2, 108, (9, 27), (6.3, 27), (6.3, 27), (9.5, 27), pause_s=4), _BLUE),
        Actor(6, "bag", (Stop(113, 6.2, 27), Stop(INCIDENTS_S, 6.2, 27)), (40, 40, 120)),
    ]
    return Scenario(seed, INCIDENTS_S, [*staged, *crowd, *passing], faults=[fault("cover", *COVERED_S)])


def evening(seed: int) -> Scenario:
    """Ten minutes from day to night, with a shower in the middle."""
    light = ((0.0, 1.0), (60.0, 1.0), (480.0, 0.0))
    return busy(
        seed, 600, light=light, rain=((0.0, 0.0), (200.0, 0.0), (230.0, 1.0), (330.0, 0.6), (360.0, 0.0))
    )


def failing(seed: int) -> Scenario:
    """Nine minutes by day: each fault of a camera for half a minute, half a minute apart."""
    names: tuple[FaultName, ...] = (
        "freeze",
        "loss",
        "drop",
        "blur",
        "dark",
        "glare",
        "cover",
        "turn",
        "flicker",
    )
    spoiled = [fault(name, 30 + 60 * n, 60 + 60 * n) for n, name in enumerate(names)]
    calm = {kind: 0.5 * rate for kind, rate in PER_MINUTE.items()}
    return Scenario(
        seed, 60.0 * len(names) + 30, traffic(seed, 60.0 * len(names) + 30, per_minute=calm), faults=spoiled
    )


SCENES: dict[str, Callable[[int], Scenario]] = {
    "passages": passages,
    "incidents": incidents,
    "day": lambda seed: busy(seed, 300),
    "night": lambda seed: busy(seed, 300, light=NIGHT),
    "rain": lambda seed: busy(seed, 300, rain=((0.0, 1.0),)),
    "evening": evening,
    "failing": failing,
}
