"""The gate's arithmetic, and what a device sees of it at a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prahari_hub.broker import callout
from prahari_hub.broker.gate import MOST_WAIT_S, Gate, reconnect_window_s
from prahari_hub.broker.role import bench_allowed
from prahari_hub.errors import SetupError
from prahari_hub.settings import load
from prahari_wire.topics import BENCH_FILTER, Up, mapped_subject, up


def test_a_burst_comes_in_at_once_and_the_rest_in_a_line_at_the_rate() -> None:
    gate = Gate(10)
    waits = [gate.wait_s(f"dev-{number}", 100.0, urgent=False) for number in range(40)]
    assert waits[:10] == [0.0] * 10
    assert waits[10:13] == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.3)]


def test_who_would_wait_too_long_is_to_come_later_and_takes_no_place() -> None:
    gate = Gate(10)
    waits = [gate.wait_s(f"dev-{number}", 100.0, urgent=False) for number in range(300)]
    assert waits[-1] is None
    served = [wait for wait in waits if wait is not None]
    assert len(served) == 10 + 10 * MOST_WAIT_S
    assert gate.wait_s("dev-99", 100.0 + MOST_WAIT_S + 1.1, urgent=False) == 0.0


def test_an_urgent_device_finds_a_place_in_the_storm_but_not_again_and_again() -> None:
    gate = Gate(10)
    for number in range(300):
        gate.wait_s(f"dev-{number}", 100.0, urgent=False)
    assert gate.wait_s("call-1", 100.0, urgent=True) == 0.0
    assert gate.wait_s("call-1", 101.0, urgent=True) is not None  # the line has moved by one second
    assert gate.wait_s("call-2", 101.0, urgent=True) == 0.0


@pytest.mark.parametrize(("devices", "window_s"), [(1, 0.0), (500, 0.0), (15_000, 50.0), (400_000, 120.0)])
def test_the_window_follows_from_the_size_of_the_fleet(devices: int, window_s: float) -> None:
    assert reconnect_window_s(devices, 300.0) == window_s


async def test_a_storm_is_told_to_come_later_and_never_that_it_is_not_authorized(site) -> None:
    gate = site.broker.callout._gate = Gate(1)
    assert gate.wait_s("someone", asyncio.get_running_loop().time(), urgent=False) == 0.0
    for _ in range(30):
        gate.wait_s("someone", site.broker.callout._mono(), urgent=False)
    device = await asyncio.to_thread(site.fleet.device, "pune-cam-01", site.issue("pune-cam-01"))
    assert await asyncio.to_thread(device.lost.wait, 5)
    assert not device.connected.is_set()
    assert not device.refused_by_code
    urgent = await asyncio.to_thread(
        site.fleet.device, "pune-ecb-01", site.issue("pune-ecb-01"), user=callout.URGENT
    )
    assert await asyncio.to_thread(urgent.connected.wait, 5)


async def test_a_device_waits_for_its_turn_and_comes_in(site) -> None:
    gate = site.broker.callout._gate = Gate(1)
    gate.wait_s("someone", site.broker.callout._mono(), urgent=False)
    device = await asyncio.to_thread(site.fleet.device, "pune-cam-01", site.issue("pune-cam-01"))
    assert await asyncio.to_thread(device.connected.wait, 5)


@pytest.mark.parametrize("allowed", [True, False], ids=["bench", "no-bench"])
async def test_a_load_generator_speaks_for_others_only_where_the_setting_says_so(site, allowed: bool) -> None:
    site.broker.callout._bench = allowed
    heard: list[str] = []

    async def note(subject: str, _payload: bytes) -> None:
        heard.append(subject)

    await site.broker.bus.subscribe("prahari.in.>", note)
    name = f"{callout.BENCH_PREFIX}1"
    device = await asyncio.to_thread(site.fleet.device, name, site.issue(name))
    assert await asyncio.to_thread(device.connected.wait, 5)
    granted = await asyncio.to_thread(device.subscribe, BENCH_FILTER)
    assert ("Granted" in granted[0]) is allowed
    if device.lost.is_set():
        return
    device.publish(up("swarm-000001", Up.HEALTH), b"beat")
    device.publish(up(name, Up.HEALTH), b"fence")
    await asyncio.sleep(0.5)
    assert (mapped_subject("swarm-000001", Up.HEALTH) in heard) is allowed


@pytest.mark.parametrize(
    "away",
    [{"listen": "0.0.0.0"}, {"nats_url": "tls://nats.example:4222"}],
    ids=["devices-from-everywhere", "broker-elsewhere"],
)
def test_the_hub_refuses_to_start_with_bench_where_others_reach_it(
    tmp_path: Path, away: dict[str, str]
) -> None:
    with pytest.raises(SetupError, match="bench is on"):
        bench_allowed(load(home=tmp_path, bench=True, **away))
    assert bench_allowed(load(home=tmp_path, bench=True)) is True
    assert bench_allowed(load(home=tmp_path, **away)) is False


def test_a_crowd_is_told_from_devices_that_come_now_and_then() -> None:
    gate = Gate(100)
    now_and_then = [gate.crowded(float(second), 0.0) for second in range(60)]
    assert not any(now_and_then)
    crowd = [gate.crowded(100 + number / 50, 0.0) for number in range(200)]
    assert sum(crowd) > 50
    assert gate.crowded(500.0, 0.3)
    assert gate.crowded(500.0, None)


async def test_every_process_hears_that_devices_come_in_numbers(site) -> None:
    heard = asyncio.Event()
    site.broker.crowd.heard = heard.set
    site.broker.callout._gate = Gate(1)
    for number in range(3):
        await asyncio.to_thread(site.fleet.device, f"pune-cam-0{number}", site.issue(f"pune-cam-0{number}"))
    await asyncio.wait_for(heard.wait(), 10)


async def test_a_press_is_asked_before_those_who_stand_in_line_unread(site, monkeypatch) -> None:
    answered: list[str] = []
    decide = site.broker.callout._decide
    hold = asyncio.Event()

    async def slow(asked) -> None:
        if not asked.urgent:
            await hold.wait()
        answered.append(asked.request["client_info"]["mqtt_id"])
        await decide(asked)

    monkeypatch.setattr(site.broker.callout, "_decide", slow)
    camera = await asyncio.to_thread(site.fleet.device, "pune-cam-01", site.issue("pune-cam-01"))
    pressed = await asyncio.to_thread(
        site.fleet.device, "pune-ecb-01", site.issue("pune-ecb-01"), user=callout.URGENT
    )
    assert await asyncio.to_thread(pressed.connected.wait, 10)
    hold.set()
    assert await asyncio.to_thread(camera.connected.wait, 10)
    assert answered == ["pune-ecb-01", "pune-cam-01"]


async def test_who_asked_too_long_ago_is_not_answered_any_more(site) -> None:
    late = iter([0.0, 0.0, 60.0])
    site.broker.callout._mono = lambda: next(late, 120.0)
    device = await asyncio.to_thread(site.fleet.device, "pune-cam-01", site.issue("pune-cam-01"))
    assert not await asyncio.to_thread(device.connected.wait, 1)
