"""PostgreSQL killed under load: what was acknowledged was on its disk, and the hub goes on by itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server import Server

pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(600),
    pytest.mark.needs("initdb"),
]


@pytest.fixture
def server(program: Callable[[str], str], free_port: Callable[[], int]) -> Iterator[Server]:
    made = Server(Path(program("initdb")), free_port())
    made.start()
    yield made
    made.close()


def test_nothing_acknowledged_is_lost_when_postgresql_is_killed_at_random(
    server: Server, places: Any, form: Any, seed: int, dice: random.Random
) -> None:
    place = places.bare(seed, PRAHARI_OFFLINE_AFTER_S="90", PRAHARI_DATABASE_URL=server.url)
    try:
        place.build()
        field = place.field(6, events_a_s=4.0)
        before = place.before()
        for _ in range(form.rounds // 2):
            time.sleep(dice.uniform(0.5, 2.5))
            server.kill()
            time.sleep(dice.uniform(0, 1.5))
            assert place.hub.ended is None
            server.start()
        assert place.whole(before, field=field).acked > 20
    except BaseException:
        print(place.logs())
        raise
    finally:
        places.end(place)
