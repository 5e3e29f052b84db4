"""What may be left undecoded while nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prahari_agent.camera.drowse import ANYWAY_S, AT_TIMES_S, AWAKE_S, KEYS, Drowse


def packets(
    seconds: float, *, gop_s: float = 1.0, size: Callable[[float], int] = lambda at_s: 100
) -> Iterator[tuple[bool, int, float]]:
    """(key frame, size, second) of ten packets a second."""
    for number in range(round(seconds * 10)):
        key = number % round(gop_s * 10) == 0
        yield key, 20_000 if key else size(number / 10), number / 10


def spared(drowse: Drowse, shown: Iterator[tuple[bool, int, float]], *, idle: bool = True) -> list[float]:
    return [at_s for key, size, at_s in shown if drowse.spares(key=key, size=size, at_s=at_s, idle=idle)]


def test_a_quiet_street_is_decoded_by_key_frames_alone_but_for_a_while_at_times() -> None:
    seconds = 100
    left = spared(Drowse(), packets(seconds))
    assert all(round(at_s * 10) % 10 for at_s in left)
    assert min(left) >= KEYS
    awake = [at_s for _, _, at_s in packets(seconds) if at_s > KEYS and at_s not in left and at_s % 1]
    assert len(awake) == 9 * (seconds - 5) / AT_TIMES_S
    assert all(at_s % AT_TIMES_S < ANYWAY_S for at_s in awake)


def test_everything_is_decoded_while_something_is_followed() -> None:
    assert spared(Drowse(), packets(60), idle=False) == []


def test_rare_key_frames_are_not_looked_at_alone() -> None:
    assert spared(Drowse(), packets(60, gop_s=2.0)) == []


def test_a_packet_that_grows_wakes_at_once_and_for_a_while() -> None:
    at = 37.4
    left = spared(Drowse(), packets(60, size=lambda at_s: 1500 if at_s == at else 100))
    assert at - 0.1 in left
    assert not [at_s for at_s in left if at <= at_s < at + AWAKE_S]
    assert [at_s for at_s in left if at + AWAKE_S + 1 < at_s < 45]


def test_packets_that_always_differ_much_do_not_wake() -> None:
    left = spared(Drowse(), packets(60, size=lambda at_s: 1000 if round(at_s * 10) % 10 == 5 else 30))
    assert len(left) > 250


def test_after_a_stir_of_the_scene_the_packets_are_learned_anew() -> None:
    drowse = Drowse()
    assert spared(drowse, packets(30))
    spared(drowse, packets(10, size=lambda at_s: 4000), idle=False)
    rain = [at_s for at_s in spared(drowse, packets(30, size=lambda at_s: 3000)) if at_s > KEYS]
    assert len(rain) > 100


def test_a_stream_that_begins_anew_is_learned_anew() -> None:
    drowse = Drowse()
    assert spared(drowse, packets(30))
    assert min(spared(drowse, packets(30))) >= KEYS
