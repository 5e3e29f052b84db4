"""Faults: the short form runs with every other test, the long one by ``make faults``. Each test says its seed; PRAHARI_SEED repeats it."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.clockshim import Hands
from tests.faults.place import LONG, Place
from tests.system.conftest import initialise

GRACE_S = "90"
"""As by default: longer than the longest wait of a box until its next try."""


class Form(NamedTuple):
    """How much a test does: ``rounds`` of a fault."""

    long: bool
    rounds: int


@pytest.fixture(scope="session")
def form() -> Form:
    return Form(True, 8) if LONG else Form(False, 2)


@pytest.fixture(scope="session")
def chosen() -> int:
    """One for all tests of a run, because they share a place."""
    return int(os.environ.get("PRAHARI_SEED") or random.randrange(10**9))


@pytest.fixture(autouse=True)
def seed(chosen: int, request: pytest.FixtureRequest, root: Path) -> Iterator[int]:
    """Printed, and kept in .prahari/faults/seeds.txt with what became of the test."""
    print(f"PRAHARI_SEED={chosen}")
    yield chosen
    outcome = request.node.stash.get(OUTCOME, "passed")
    folder = root / ".prahari" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seeds.txt").open("a") as file:
        file.write(
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {chosen} {outcome} {request.node.nodeid}\n"
        )


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The same for a test whichever others run with it."""
    return random.Random(f"{seed} {request.node.name}")


class Places:
    """The place that tests share; after a test that failed in it the next one gets a new one."""

    def __init__(self, template: Path, find_offset: Callable[[], int]) -> None:
        self._template, self._find_offset = template, find_offset
        self._kept: Place | None = None

    def bare(self, seed: int, **settings: str) -> Place:
        """One that is still to be built."""
        folder = Path(tempfile.mkdtemp(prefix="prahari-"))
        return Place(folder, self._find_offset(), settings, seed, Hands(folder) if Hands.possible() else None)

    def make(self, seed: int, *, start: bool = True, **settings: str) -> Place:
        place = self.bare(seed, **settings)
        try:
            place.build_from(self._template, start=start)
        except BaseException:
            print(place.logs())
            self.end(place)
            raise
        return place

    def shared(self, seed: int) -> Place:
        self._kept = self._kept or self.make(seed, PRAHARI_OFFLINE_AFTER_S=GRACE_S)
        return self._kept

    def forget(self) -> None:
        if self._kept is not None:
            self.end(self._kept)
            self._kept = None

    def end(self, place: Place) -> None:
        place.close()
        shutil.rmtree(place.folder, ignore_errors=True)


PLACES = pytest.StashKey[Places]()


@pytest.fixture(scope="session")
def places(
    pytestconfig: pytest.Config,
    made_once: Callable[[str, Callable[[Path], object]], Path],
    find_port_offset: Callable[[], int],
) -> Iterator[Places]:
    made = pytestconfig.stash[PLACES] = Places(made_once("town", initialise), find_port_offset)
    yield made
    made.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """After the last of these tests the shared place ends: hub and boxes cost a tenth of a core while others run."""
    yield
    places = item.config.stash.get(PLACES, None)
    if places is not None and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        places.forget()


@pytest.fixture
def place(request: pytest.FixtureRequest, places: Places, seed: int) -> Iterator[Place]:
    """The shared one: a test leaves it whole."""
    found = places.shared(seed)
    yield found
    if _failed(request):
        print(found.logs())
        places.forget()


@pytest.fixture
def resting_place(places: Places, seed: int) -> Iterator[Place]:
    """One whose hub has not been started."""
    place = places.make(seed, start=False)
    yield place
    places.end(place)


OUTCOME = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not report.passed:
        item.stash[OUTCOME] = report.outcome
    return report


def _failed(request: pytest.FixtureRequest) -> bool:
    return request.node.stash.get(OUTCOME, "passed") == "failed"
