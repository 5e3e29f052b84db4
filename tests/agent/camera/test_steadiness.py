from __future__ import annotations

from prahari_agent.camera.steadiness import Steadiness


def test_a_pause_longer_than_usual_is_a_stall_of_the_hour_after_it() -> None:
    steady = Steadiness(period_s=0.2)
    for now_s in (0.0, 0.2, 0.4, 2.9, 3.1, 4.5):
        steady.frame(now_s)
    assert steady.stalls(5.0) == 1
    assert steady.stalls(2.9 + 3601) == 0


def test_a_camera_that_gives_few_pictures_does_not_stall_by_that() -> None:
    steady = Steadiness(period_s=5.0)
    for number in range(10):
        steady.frame(5.0 * number)
    assert steady.stalls(50.0) == 0


def test_reconnections_are_counted_within_the_hour() -> None:
    steady = Steadiness(period_s=0.2)
    steady.opened_again(0.0)
    steady.opened_again(1800.0)
    assert steady.reconnections(1801.0) == 2
    assert steady.reconnections(3700.0) == 1
