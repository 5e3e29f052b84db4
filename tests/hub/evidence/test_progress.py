"""What happens to an approved request by itself, also when devices are away, fail, or have only a part."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prahari_hub.errors import HubError
from prahari_hub.evidence import receiving
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import commands, devices
from prahari_hub.store import Unit
from prahari_wire import verifier
from prahari_wire.command import CommandName
from prahari_wire.ids import ulid
from prahari_wire.recording import Sent, SentOutcome

from .conftest import NOON, Box, City

START = NOON - timedelta(minutes=30)


def presence(city: City, box: Box, value: str) -> None:
    here = devices.update().where(devices.c.id == box.name).values(presence=value)
    city.store.write_sync(lambda unit: unit.conn.execute(here) and None)


async def test_a_device_that_is_offline_is_asked_when_it_returns_even_after_its_commands_expired(
    city: City,
) -> None:
    box = await city.box("pune-cam-01", "front", presence="offline")
    box.cameras["front"].record(START, 600)
    box.cameras["front"].tell()
    request = city.submit(START, 2)
    city.approve(request)
    city.advance()
    (first,) = box.asked(CommandName.HOLD)
    expired = commands.update().where(commands.c.id == first.id).values(state="EXPIRED")
    city.pass_time(days=8)
    city.store.write_sync(lambda unit: unit.conn.execute(expired) and None)
    city.advance()
    (second,) = box.asked(CommandName.HOLD)
    assert second.id != first.id and second.args == first.args
    presence(city, box, "online")
    box.hold()
    city.advance()
    await box.send()
    city.advance()
    assert city.request(request).outcome == "fulfilled"


@pytest.mark.parametrize(("present", "reason"), [("offline", "device_lost"), ("online", "out_of_time")])
async def test_what_has_not_come_in_a_month_is_given_up(city: City, present: str, reason: str) -> None:
    box = await city.box("pune-cam-01", "front", presence=present)
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 2)
    city.approve(request)
    city.advance()
    city.pass_time(days=29)
    city.advance()
    assert city.request(request).outcome is None
    city.pass_time(days=2)
    city.advance()
    row = city.request(request)
    assert (row.state, row.outcome, row.reason) == ("closed", "impossible", reason)


async def test_a_device_out_of_service_is_lost_at_once(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    retired = devices.update().where(devices.c.id == box.name).values(service="retired")
    request = city.submit(START, 2)
    city.store.write_sync(lambda unit: unit.conn.execute(retired) and None)
    city.approve(request)
    city.advance()
    assert city.request(request).reason == "device_lost"


async def test_where_a_camera_has_only_a_part_the_request_is_partly_fulfilled_for_the_reason_of_the_gap(
    city: City,
) -> None:
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"]
    camera.record(START, 60)
    camera.record(START + timedelta(minutes=4), 60)
    gap = (41_460_000, 41_640_000, "power")
    camera.tell(gaps=[gap])
    request = city.submit(START, 5)
    await city.carry_out(request)
    row = city.request(request)
    assert (row.outcome, row.reason) == ("partial", "power")
    assert city.cameras(request)["front"].sealed_ms == 120_000
    assert verifier.verify(await city.package(request))[0] == 0


async def test_a_camera_that_recorded_nothing_makes_the_request_impossible(city: City) -> None:
    box = await city.box("pune-cam-01", "front")
    request = city.submit(START, 2)
    city.approve(request)
    city.advance()
    box.hold()
    city.advance()
    row = city.request(request)
    assert (row.outcome, row.reason) == ("impossible", "not_recording")


@pytest.mark.parametrize(
    ("ahead", "gaps", "ended"),
    [
        pytest.param(timedelta(days=2), [], ("impossible", "not_recording"), id="days-before"),
        pytest.param(timedelta(minutes=4), [], ("partial", "not_recording"), id="minutes-before"),
        pytest.param(timedelta(minutes=1), [(41_460_000, 41_640_000, "power")], ("partial", "power"), id="less-than-the-gap"),
        pytest.param(timedelta(0), [], ("partial", "overwritten"), id="not-before"),
    ],
)  # fmt: skip
async def test_time_before_the_first_footage_of_a_camera_was_not_recorded_and_is_not_called_overwritten(
    city: City, ahead: timedelta, gaps: list[tuple[int, int, str]], ended: tuple[str, str]
) -> None:
    """It has the first minute; what follows it lacks for a reason that it told, or for none."""
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 60)
    box.cameras["front"].tell(gaps=gaps)
    request = city.submit(START - ahead, 5)
    await city.carry_out(request)
    row = city.request(request)
    assert (row.outcome, row.reason) == ended


async def test_a_request_up_to_this_moment_waits_until_the_box_has_closed_the_last_segment(
    city: City,
) -> None:
    box = await city.box("pune-cam-01", "front")
    camera = box.cameras["front"]
    camera.record(NOON - timedelta(minutes=2), 110)
    request = city.submit(NOON - timedelta(minutes=2), 2)
    city.approve(request)
    city.advance()
    box.hold()
    city.advance()
    assert not city.transfers(request)
    camera.record(NOON - timedelta(seconds=10), 10)
    city.pass_time(seconds=30)
    city.advance()
    box.hold()
    city.advance()
    await box.send()
    city.advance()
    assert city.request(request).outcome == "fulfilled"


async def test_one_pole_sends_one_camera_after_the_other_and_poles_do_not_wait_for_each_other(
    city: City,
) -> None:
    pole = await city.box("pune-cam-01", "front", "rear")
    alone = await city.box("pune-cam-02", "front", site=None)
    for box in (pole, alone):
        for camera in box.cameras.values():
            camera.record(START, 600)
    first, second = city.submit(START, 2), city.submit(START, 2, place=named("pune-cam-02", "front"))
    for request in (first, second):
        city.approve(request)
    city.advance()
    for box in (pole, alone):
        box.hold()
    city.advance()
    assert len(pole.asked(CommandName.SEND)) == 1 and len(alone.asked(CommandName.SEND)) == 1
    await pole.send()
    city.advance()
    assert len(pole.asked(CommandName.SEND)) == 1
    await pole.send()
    city.advance()
    assert city.request(first).outcome == "fulfilled"


def named(device: str, camera: str):
    from prahari_hub.evidence.places import CameraName, Named

    return Named(cameras=[CameraName(device=device, camera=camera)])


async def under_way(city: City, *, upto: int | None = None) -> tuple[Box, str]:
    """A request whose box was asked to send; with ``upto`` it has sent so many segments."""
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 2)
    city.approve(request)
    city.advance()
    box.hold()
    city.advance()
    if upto is not None:
        await box.send(upto=upto)
    return box, request


async def test_a_box_that_refuses_is_asked_again_later_and_not_for_ever(city: City) -> None:
    box, request = await under_way(city)
    for _ in range(20):
        for row in box.asked(CommandName.SEND):
            box.answer(row.id, "FAILED", error="the disk does not answer")
        city.advance()
        city.pass_time(hours=4)
        city.advance()
    row = city.request(request)
    assert (row.outcome, row.reason) == ("impossible", "device_failed")
    assert city.transfers(request)[0].tries == 6


async def test_a_transfer_that_stands_still_is_asked_for_again_once_the_box_is_there(city: City) -> None:
    box, request = await under_way(city, upto=3)
    (command,) = box.asked(CommandName.SEND)
    box.answer(command.id, result={"segments": 12, "size": 1})
    presence(city, box, "offline")
    city.pass_time(hours=5)
    city.advance()
    assert not box.asked(CommandName.SEND)
    presence(city, box, "online")
    city.advance()
    city.pass_time(minutes=1)
    city.advance()
    (again,) = box.asked(CommandName.SEND)
    assert again.args == command.args
    await box.send()
    city.advance()
    assert city.request(request).outcome == "fulfilled"


async def test_what_the_box_could_not_read_any_more_is_absent_from_a_package_that_verifies(
    city: City,
) -> None:
    box, request = await under_way(city, upto=5)
    (command,) = box.asked(CommandName.SEND)
    transfer = command.args["transfer"]
    body = Sent(
        transfer=transfer, outcome=SentOutcome.PARTIAL, segments=5, size=1, detail="7 files are damaged"
    )
    fact = Fact(box.name, None, "front", "camera", "recording.sent", body, city.now, False, ulid(), city.now)
    city.store.write_sync(lambda unit: receiving.ended(unit, fact))
    city.advance()
    row = city.request(request)
    assert (row.outcome, row.reason) == ("partial", "overwritten")
    assert verifier.verify(await city.package(request))[0] == 0


async def test_a_hub_that_dies_between_two_steps_takes_the_next_one(city: City) -> None:
    """Each step of a request is its own: whatever was undone with the hub's transaction is done again."""
    box = await city.box("pune-cam-01", "front")
    box.cameras["front"].record(START, 600)
    request = city.submit(START, 1)
    city.approve(request)

    def dies(unit: Unit, _request: str) -> None:
        raise Killed("the hub was killed")

    for _ in range(8):
        real, city.sealer = city.sealer, Dying(dies)
        try:
            city.advance()
        except Killed:
            pass
        finally:
            city.sealer = real
        box.hold()
        await box.send()
    assert city.request(request).outcome is None
    city.advance()
    assert city.request(request).outcome == "fulfilled"


class Killed(HubError):
    pass


class Dying:
    def __init__(self, seal) -> None:
        self.seal = seal
