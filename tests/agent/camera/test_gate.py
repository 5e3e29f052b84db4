from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from prahari_agent.camera.gate import WARM_UP_S, Look, MotionGate

SHAPE = (180, 320)
STEP_S = 0.2


def street(noise: int = 0) -> NDArray[np.uint8]:
    """A textured picture, with grain of its own for each ``noise``."""
    base = np.random.default_rng(1).integers(60, 180, SHAPE)
    grain = np.random.default_rng(100 + noise).normal(0, 3, SHAPE)
    return np.clip(base + grain, 0, 255).astype(np.uint8)


def with_block(picture: NDArray[np.uint8], left: int, *, wobble: int = 0) -> NDArray[np.uint8]:
    found = picture.copy()
    found[60 + wobble : 140 + wobble, left : left + 30] = 240
    found[60 + wobble : 140 + wobble : 8, left : left + 30] = 20
    return found


class Played:
    """A gate that has learned the street, played frame by frame."""

    def __init__(self) -> None:
        self.gate, self.number = MotionGate(), 0
        for _ in range(int(WARM_UP_S / STEP_S) + 5):
            self.still()

    def show(self, picture: NDArray[np.uint8]) -> Look:
        self.number += 1
        return self.gate.look(picture, self.number * STEP_S)

    def still(self) -> Look:
        return self.show(street(self.number))


def test_it_is_open_at_the_start_because_someone_may_stand_there_already() -> None:
    gate = MotionGate()
    assert gate.look(street(), 0.0).open
    assert gate.look(street(), WARM_UP_S / 2).open
    assert not gate.look(street(), WARM_UP_S + 1).open


def test_grain_alone_does_not_open_it() -> None:
    played = Played()
    assert not any(played.still().open for _ in range(50))


def test_it_opens_on_the_first_frame_in_which_something_moves_and_says_where() -> None:
    look = (played := Played()).show(with_block(street(played.number), 100))
    assert look.open
    (box,) = look.boxes
    assert box.left <= 100 / 320 <= box.right
    assert box.left <= 130 / 320 <= box.right + 0.02
    assert (box.top, box.bottom) == pytest.approx((60 / 180, 140 / 180), abs=0.04)


def test_what_stops_moving_closes_it_and_is_absorbed() -> None:
    played = Played()
    parked = [played.show(with_block(street(played.number), 100)) for _ in range(300)]
    assert parked[0].open
    assert not any(look.open for look in parked[25:])
    passing = played.show(with_block(with_block(street(played.number), 100), 200))
    assert [box.left > 0.5 for box in passing.boxes] == [True]


def test_what_moves_on_keeps_it_open() -> None:
    played = Played()
    assert all(played.show(with_block(street(played.number), 20 + 4 * step)).open for step in range(60))


def test_lightning_gives_no_boxes_and_the_street_is_known_again_soon_after() -> None:
    played = Played()
    flash = np.full(SHAPE, 250, np.uint8)
    looks = [played.show(flash) for _ in range(3)]
    assert all(look.lightning and look.open and not look.boxes for look in looks)
    after = [played.still() for _ in range(40)]
    assert not any(look.boxes for look in after)
    assert not after[-1].open


def test_a_picture_of_another_size_begins_anew() -> None:
    gate = MotionGate()
    gate.look(street(), 0.0)
    assert gate.look(np.zeros((180, 240), np.uint8), 10.0) == Look(open=True)
