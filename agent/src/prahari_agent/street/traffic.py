"""Who comes along: traffic by chance for training and long looks, a short clip for demos, and staged scenes in which one thing happens.

India drives on the left: what comes towards the camera is on the right of the picture.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from prahari_agent.street.actors import KINDS, Actor, Colour, Stop, way
from prahari_agent.street.backdrop import CLOTHES
from prahari_agent.street.scenario import DAY, DRY, VIEW, Course, Scenario
from prahari_agent.street.view import Ground, View

PAINTS: list[Colour] = [
    (190, 190, 195),
    (60, 60, 160),
    (130, 80, 40),
    (45, 45, 50),
    (90, 110, 120),
    (225, 225, 228),
]
_HIDES: list[Colour] = [(150, 165, 180), (60, 80, 110), (215, 220, 225), (40, 45, 50)]
_COATS: list[Colour] = [(70, 110, 150), (40, 45, 50), (160, 180, 200), (90, 120, 165)]
PER_MINUTE: Mapping[str, float] = {
    "person": 14,
    "scooter": 9,
    "car": 7,
    "rickshaw": 4,
    "bus": 1.2,
    "cow": 0.8,
    "dog": 1.5,
}
_SPEED: Mapping[str, tuple[float, float]] = {
    "person": (0.9, 1.7),
    "scooter": (5, 11),
    "car": (5, 12),
    "rickshaw": (4, 8),
    "bus": (4, 8),
    "cow": (0.4, 0.9),
    "dog": (0.8, 3.0),
}


def traffic(
    seed: int,
    length_s: float,
    *,
    per_minute: Mapping[str, float] = PER_MINUTE,
    begin_s: float = 0.0,
    first_id: int = 1,
) -> list[Actor]:
    """Independent passers-by until ``length_s``; some are in the picture from the first second."""
    chance = random.Random(f"traffic {seed}")  # noqa: S311
    actors: list[Actor] = []
    for kind in sorted(per_minute):
        at_s = begin_s - 20.0
        while per_minute[kind] and (at_s := at_s + chance.expovariate(per_minute[kind] / 60)) < length_s:
            actors.append(passer(chance, first_id + len(actors), kind, at_s))
    return actors


def passer(chance: random.Random, number: int, kind: str, from_s: float) -> Actor:
    """One that comes, passes, and goes."""
    speed = chance.uniform(*_SPEED[kind])
    side = chance.choice((-1, 1))
    if KINDS[kind].label in ("car", "two-wheeler"):
        x = side * chance.uniform(1.2, 3.6)
        ends = [(x, 75.0), (x + chance.uniform(-0.3, 0.3), 6.5)]
        points = ends if side > 0 else ends[::-1]
    elif kind == "person" and chance.random() < 0.6:
        x = side * chance.uniform(5.7, 7.8)
        ends = [(x, chance.uniform(35, 60)), (x + chance.uniform(-0.4, 0.4), 8.0)]
        points = ends if chance.random() < 0.5 else ends[::-1]
    else:
        z = (
            chance.uniform(15.8, 19.2)
            if kind == "person" and chance.random() < 0.5
            else chance.uniform(13, 34)
        )
        reach = 0.65 * z
        points = [(-side * reach, z), (side * reach, z + chance.uniform(-1.5, 1.5))]
        if chance.random() < 0.3:
            middle = (chance.uniform(-4, 4), z)
            points = [points[0], middle, middle, points[1]]
    colours = {"person": CLOTHES, "cow": _HIDES, "dog": _COATS}.get(kind, PAINTS)
    size = chance.uniform(0.88, 1.08)
    pause_s = chance.uniform(2, 12)
    return Actor(number, kind, way(speed, from_s, *points, pause_s=pause_s), chance.choice(colours), size)


def busy(
    seed: int,
    length_s: float,
    *,
    light: Course = DAY,
    rain: Course = DRY,
    share: float = 1.0,
    fps: float = 10.0,
    view: View | None = None,
) -> Scenario:
    """An ordinary street; ``share`` of the usual traffic."""
    rate = {kind: share * value for kind, value in PER_MINUTE.items()}
    return Scenario(
        seed,
        length_s,
        traffic(seed, length_s, per_minute=rate),
        light=light,
        rain=rain,
        fps=fps,
        view=view or VIEW,
    )


def passages(seed: int) -> Scenario:
    """36 seconds by day: six passages with seconds of emptiness between them. The seed turns directions, colours and order."""
    chance = random.Random(seed)  # noqa: S311
    vehicles = ["rickshaw", "car", "bus"]
    chance.shuffle(vehicles)
    side = chance.choice((-1, 1))
    plan: list[tuple[str, float, float, Ground, Ground]] = [
        ("person", 2.0, 8.5, (-side * 11.5, 17), (side * 11.5, 17.5)),
        (vehicles[0], 10.5, 15.5, (2.2, 75), (2.2, 5)),
        ("person", 17.0, 22.5, (6.8, 27), (6.8, 10)),
        ("person", 17.6, 22.5, (7.7, 28), (7.6, 10.5)),
        (vehicles[1], 24.0, 29.0, (-2.4, 5), (-2.4, 75)),
        ("person", 30.5, 35.0, (side * 12.5, 19), (-side * 4.6, 18.5)),
        (vehicles[2], 31.0, 35.5, (2.2, 75), (2.2, 5)),
    ]
    actors = [
        Actor(
            number,
            kind,
            (Stop(from_s, *start), Stop(to_s, *end)),
            chance.choice(CLOTHES if kind == "person" else PAINTS),
        )
        for number, (kind, from_s, to_s, start, end) in enumerate(plan, start=1)
    ]
    return Scenario(seed, 36.0, actors)


def staged(seed: int, length_s: float, actors: Sequence[Actor], *, light: Course = DAY) -> Scenario:
    """These actors alone."""
    return Scenario(seed, length_s, actors, light=light)
