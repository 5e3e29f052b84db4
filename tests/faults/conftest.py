"""Faults: the short form runs with every other test, the long one by ``make faults``. Each test says its seed; PRAHARI_SEED repeats it."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.clockshim import Hands
from tests.faults.place import Place

LONG = os.environ.get("PRAHARI_FAULTS") == "long"


class Form(NamedTuple):
    """How much a test does: ``rounds`` of a fault, ``devices`` under load."""

    long: bool
    rounds: int
    devices: int


@pytest.fixture(scope="session")
def form() -> Form:
    return Form(True, 12, 40) if LONG else Form(False, 2, 12)


@pytest.fixture
def seed(request: pytest.FixtureRequest, root: Path) -> Iterator[int]:
    """Printed, and kept in .prahari/faults/seeds.txt with what became of the test."""
    chosen = int(os.environ.get("PRAHARI_SEED") or random.randrange(10**9))
    print(f"PRAHARI_SEED={chosen}")
    failed_before = request.session.testsfailed
    yield chosen
    outcome = "failed" if request.session.testsfailed > failed_before else "passed"
    folder = root / ".prahari" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seeds.txt").open("a") as file:
        file.write(
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {chosen} {outcome} {request.node.nodeid}\n"
        )


@pytest.fixture
def dice(seed: int) -> random.Random:
    return random.Random(seed)


def lend(request: pytest.FixtureRequest, offset: int, **settings: str) -> Iterator[Place]:
    """A place for as long as its fixture lives; its logs are shown where a test fails."""
    failed_before = request.session.testsfailed
    folder = Path(tempfile.mkdtemp(prefix="prahari-"))
    place = Place(
        folder, offset, settings, random.randrange(10**9), Hands(folder) if Hands.possible() else None
    )
    try:
        place.build()
        yield place
    finally:
        place.close()
        if request.session.testsfailed > failed_before:
            print(place.logs())
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, find_port_offset: Callable[[], int]) -> Iterator[Place]:
    """One for all tests of a file: each leaves it whole."""
    yield from lend(request, find_port_offset(), PRAHARI_OFFLINE_AFTER_S="8")


@pytest.fixture
def own_place(request: pytest.FixtureRequest, port_offset: int) -> Iterator[Place]:
    """One for a test that leaves it in ruins; settings of the hub come by indirect parametrisation."""
    yield from lend(request, port_offset, **getattr(request, "param", {}))
