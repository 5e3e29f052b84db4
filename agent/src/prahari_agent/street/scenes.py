"""Scenes by name, for the command line, demos and measurements."""

from __future__ import annotations

from collections.abc import Callable

from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.faults import FaultName, fault
from prahari_agent.street.scenario import NIGHT, Scenario
from prahari_agent.street.traffic import PER_MINUTE, busy, passages, traffic

INCIDENTS_S = 120.0
COVERED_S = (88.0, 112.0)
_RED, _BLUE, _GREY = (60, 60, 190), (160, 90, 40), (110, 110, 115)


def incidents(seed: int) -> Scenario:
    """Two minutes by day in which one of each happens: a cow on the road, scooters the wrong way, a loiterer, a car that parks on the
    kerb, a crowd, somebody who walks over the carriageway; then the lens is covered for a while.
    """
    quiet = {"person": 1.0, "scooter": 2.0, "car": 2.0, "rickshaw": 1.0}
    passing = traffic(seed, INCIDENTS_S, per_minute=quiet, first_id=100)
    staged = [
        Actor(1, "cow", way(0.7, 4, (-9, 20), (-1, 20.5), (-1, 20.5), (9, 21), pause_s=8), (150, 165, 180)),
        Actor(2, "scooter", way(6, 18, (3.2, 8), (3.2, 62)), _BLUE),
        Actor(3, "person", way(1.2, 10, (9, 22), (6.6, 22), (6.6, 22), (9.5, 22), pause_s=56), _RED),
        Actor(4, "car", (Stop(38, 3.9, 62), Stop(45, 4.0, 24), Stop(82, 4.0, 24), Stop(88, 3.6, 6)), _GREY),
        Actor(5, "person", way(1.1, 60, (-9, 29), (9, 29)), _BLUE),
        Actor(6, "scooter", way(6, 74, (2.6, 8), (2.6, 62)), _RED),
    ]
    spoiled = [fault("cover", *COVERED_S)]
    return Scenario(seed, INCIDENTS_S, [*staged, *_gathering(10), *passing], faults=spoiled)


def _gathering(first_id: int) -> list[Actor]:
    """Seven people who come together on the left footpath and part again."""
    return [
        Actor(
            first_id + n,
            "person",
            (
                Stop(38 + 2 * n, -9.5, 16 + 1.5 * n),
                Stop(41 + 2 * n, -6.6 + 0.1 * n, 16 + 1.5 * n),
                Stop(82 - n, -6.5 + 0.1 * n, 16 + 1.5 * n),
                Stop(86 - n, -10.0, 16 + 1.5 * n),
            ),
            _BLUE if n % 2 else _RED,
        )
        for n in range(7)
    ]


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
