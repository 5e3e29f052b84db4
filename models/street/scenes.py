"""Which streets are drawn: one scenario a number, by chance alone, and the frames that are taken of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import recipe
from prahari_agent.street.actors import Actor, Stop, way
from prahari_agent.street.backdrop import CLOTHES
from prahari_agent.street.light import Picture
from prahari_agent.street.scenario import Course, Scenario
from prahari_agent.street.scene import Scene
from prahari_agent.street.traffic import PAINTS, traffic
from prahari_agent.street.truth import Truth
from prahari_agent.street.view import View

PER_MINUTE = {"person": 16, "scooter": 12, "car": 7, "rickshaw": 5, "bus": 1.5, "cow": 6, "dog": 7}
"""More animals and two-wheelers than a street has: each class must be seen often."""
LIGHTS = ("day", "dusk", "night")
_WIDTHS = (640, 640, 800, 960)


def scenario(seed: int, light: str | None = None, rain: float | None = None) -> Scenario:
    """One street; ``light`` and ``rain`` by chance unless they are given."""
    chance = random.Random(f"model {seed}")
    length_s = recipe.FRAMES_A_SCENARIO * recipe.FRAME_EVERY_S
    level = {"day": (0.7, 1.0), "dusk": (0.3, 0.7), "night": (0.0, 0.3)}[light or chance.choice(LIGHTS)]
    course: Course = ((0.0, chance.uniform(*level)), (length_s, chance.uniform(*level)))
    wet = max(0.0, chance.uniform(-1.5, 1.0)) if rain is None else rain
    share = 0.0 if chance.random() < 0.06 else chance.uniform(0.4, 2.2)
    actors = traffic(seed, length_s, per_minute={kind: share * rate for kind, rate in PER_MINUTE.items()})
    standing = _standing(chance, length_s, first_id=1000) if share else []
    width = chance.choice(_WIDTHS)
    return Scenario(
        seed,
        length_s,
        [*actors, *standing],
        light=course,
        rain=((0.0, wet),),
        view=View(width, width * 9 // 16),
        wind_m=chance.uniform(0.02, 0.3),
    )


def _standing(chance: random.Random, length_s: float, first_id: int) -> list[Actor]:
    """What stands: parked vehicles, animals, groups of people; and things that are none of the classes."""

    def stay(kind: str, x: float, z: float, colours: Sequence[tuple[int, int, int]]) -> Actor:
        stops = (Stop(0.0, x, z), Stop(length_s, x, z + 0.01 * chance.choice((-1, 1))))
        number = first_id + len(actors)
        return Actor(number, kind, stops, chance.choice(list(colours)), chance.uniform(0.88, 1.08))

    actors: list[Actor] = []
    for _ in range(chance.choice((0, 0, 1, 2))):
        kind = chance.choice(("car", "car", "rickshaw", "scooter", "bus"))
        actors.append(
            stay(kind, chance.choice((-1, 1)) * chance.uniform(3.4, 5.2), chance.uniform(12, 45), PAINTS)
        )
    for _ in range(chance.choice((0, 0, 1))):
        actors.append(
            stay(chance.choice(("cow", "dog")), chance.uniform(-7, 7), chance.uniform(11, 35), CLOTHES)
        )
    for _ in range(chance.choice((0, 1, 2))):
        actors.append(
            stay(chance.choice(("bag", "cart")), chance.uniform(-8, 8), chance.uniform(9, 35), CLOTHES)
        )
    for _ in range(chance.choice((0, 0, 1))):
        x, z = chance.choice((-1, 1)) * chance.uniform(4, 7.5), chance.uniform(12, 28)
        for _ in range(chance.randint(2, 8)):
            actors.append(stay("person", x + chance.gauss(0, 0.7), z + chance.gauss(0, 0.9), CLOTHES))
    if chance.random() < 0.4:
        z = chance.uniform(12, 30)
        walk = way(1.0, chance.uniform(0, 20), (-0.65 * z, z), (0.65 * z, z))
        actors.append(Actor(first_id + len(actors), "cart", walk, chance.choice(PAINTS)))
    return actors


def frames(
    seed: int, light: str | None = None, rain: float | None = None, count: int = recipe.FRAMES_A_SCENARIO
) -> Iterator[tuple[Picture, Truth]]:
    """Pictures in blue, green, red with their truth, evenly over the scenario of a seed."""
    yield from spread(scenario(seed, light, rain), count)


def spread(one: Scenario, count: int) -> Iterator[tuple[Picture, Truth]]:
    """So many frames of a scenario, evenly over its time."""
    cv2.setNumThreads(1)
    scene = Scene(one)
    for number in range(count):
        picture, truth = scene.frame(number * one.frames // count)
        if picture is not None:
            yield picture, truth


def objects(truth: Truth) -> list[dict[str, Any]]:
    """What is in a frame, farthest first, with boxes in shares of the picture."""
    return [
        {"label": one.label, "box": one.box, "visible": one.visible}
        for one in truth.seen
        if one.visible >= recipe.HIDDEN and one.label in recipe.CLASSES
    ]


def draw(folder: Path, seeds: Sequence[int], workers: int = 1) -> None:
    """Every frame of the scenarios as a JPEG with its objects beside it; scenarios that are there already are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(_draw_one, folder), seeds))


def _draw_one(folder: Path, seed: int) -> None:
    if (folder / f"{seed}.json").exists():
        return
    known: list[list[dict[str, Any]]] = []
    for number, (picture, truth) in enumerate(frames(seed)):
        cv2.imwrite(str(folder / f"{seed}-{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        known.append(objects(truth))
    (folder / f"{seed}.json").write_text(json.dumps(known))
