"""A camera that is not the city's: its owner's terms are kept on the box."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.terms import Terms
from prahari_agent.errors import Rejected
from prahari_wire.base import Clock
from prahari_wire.camera import (
    Box,
    CameraConfig,
    CameraFault,
    ContentFault,
    RuleEvent,
    RulePhase,
    Snapshot,
    Track,
    TrackPhase,
)
from prahari_wire.camera import LabelCount as One
from prahari_wire.camera import LineCount as Count
from prahari_wire.envelope import Stamp
from prahari_wire.events import TRACK
from prahari_wire.health import State
from prahari_wire.ids import ulid
from prahari_wire.owner import Consent, Denied, Owner, Tells, Use
from prahari_wire.recording import RecordingConfig
from prahari_wire.rules import Hours

from tests.agent.camera.recorder.conftest import journal_lines

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WHOLE = Box(left=0, top=0, right=1, bottom=1)


def owner(**more: Any) -> Owner:
    return Owner(name="Joshi Jewellers", contact="+91 20 5550 1234", **more)


def terms(clock: Clock = Clock.SYNCED, undisputed: bool = True, **more: Any) -> Terms:
    found = Terms(lambda: Stamp(at=NOW, mono_ms=0, clock=clock), lambda: undisputed)
    found.owner = owner(**more)
    return found


def track(label: str = "person") -> Track:
    shot = Snapshot(sha256="0" * 64, size=9)
    return Track(
        phase=TrackPhase.STARTED, track=ulid(), label=label, score=0.9, started_at=NOW, box=WHOLE, frames=3, snapshot=shot
    )  # fmt: skip


def case(label: str = "person") -> RuleEvent:
    return RuleEvent(
        phase=RulePhase.STARTED, event=ulid(), rule="gate", type="ObjectsInside", label=label, score=0.9, started_at=NOW, seen_at=NOW
    )  # fmt: skip


def test_terms_that_depend_on_the_time_wait_for_a_trusted_clock() -> None:
    assert terms(Clock.FLOOR, until=NOW + timedelta(days=1)).off() is Denied.CLOCK
    assert terms(Clock.UNSYNCED, hours=[Hours(start="00:00", end="23:59")]).off() is Denied.CLOCK
    assert terms(Clock.FLOOR).off() is None
    assert terms(Clock.FLOOR, until=NOW - timedelta(days=1)).off() is Denied.ENDED


def test_footage_is_deleted_by_a_date_only_while_the_clock_is_trusted() -> None:
    ended = {"consent": Consent.FOOTAGE, "until": NOW}
    assert terms(**ended).forgotten()
    assert not terms(Clock.UNSYNCED, **ended).forgotten()
    assert not terms(undisputed=False, **ended).forgotten()
    assert terms(Clock.UNSYNCED, consent=Consent.FOOTAGE, withdrawn_at=NOW).forgotten()
    assert not terms(consent=Consent.FOOTAGE).forgotten()


def test_nothing_is_told_beyond_what_the_owner_allows() -> None:
    fault = CameraFault(fault=ContentFault.FROZEN, active=True, since=NOW)
    narrow = terms(tells=[Tells.RULES], classes=["car"], pictures=False)
    assert narrow.told(track("car")) is None
    assert narrow.told(case("person")) is None
    assert narrow.told(case("car")) is not None
    assert narrow.told(fault) is fault
    without = terms(pictures=False).told(track())
    assert isinstance(without, Track)
    assert without.snapshot is None
    counts = [One(label=label, to_right=1, to_left=0) for label in ("car", "person")]
    some = terms(classes=["car"]).told(Count(rule="line", since=NOW, until=NOW, counts=counts))
    assert isinstance(some, Count)
    assert [one.label for one in some.counts] == ["car"]


def test_recording_is_off_whatever_the_configuration_says_where_the_owner_allows_events_only() -> None:
    wanted = RecordingConfig(enabled=True, max_mb=77)
    assert not terms().recording(wanted).enabled
    assert terms().recording(wanted).max_mb == 77
    assert terms(consent=Consent.FOOTAGE).recording(wanted).enabled
    with pytest.raises(Rejected, match="allows events only"):
        terms().check(Use.FOOTAGE)


@dataclasses.dataclass
class Watch:
    """The box's clock, to be set."""

    at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))

    def stamp(self) -> Stamp:
        return Stamp(at=self.at, mono_ms=int(time.monotonic() * 1000), clock=Clock.SYNCED)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def private(kept: Any, watch: Watch, clip: Path) -> Iterator[Callable[..., Camera]]:
    """private(**terms) starts a recorded camera with these terms."""
    started: list[Camera] = []

    def start(**more: Any) -> Camera:
        camera = Camera("cam1", dataclasses.replace(kept.surroundings(), stamp=watch.stamp))
        recording = RecordingConfig(enabled=True, segment_s=2, max_mb=50)
        camera.configure(CameraConfig(source=str(clip), fps=1, recording=recording, owner=owner(**more)))
        camera.start()
        started.append(camera)
        return camera

    yield start
    for camera in started:
        camera.stop()


def causes(folder: Path) -> list[str]:
    lines = journal_lines(folder)
    return [str(line["cause"]) for line in lines if "cause" in line]


def footage(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/[0-9]*.mp4"))


def test_after_the_consent_has_ended_the_camera_is_off_and_says_so_and_its_footage_is_deleted(
    private: Callable[..., Camera], kept: Any, watch: Watch, eventually: Callable[..., Any]
) -> None:
    camera = private(consent=Consent.FOOTAGE, until=watch.at + timedelta(hours=1))
    folder = kept.home / "footage"
    eventually(lambda: footage(folder), within_s=40)
    watch.at += timedelta(hours=2)
    eventually(lambda: camera.pid is None, within_s=20)
    health = camera.health()
    assert health.state is State.WARN
    assert "the owner's consent ended on" in (health.note or "")
    assert causes(folder)[-1] == "off"
    eventually(lambda: (camera._keeper.nudge(), not footage(folder))[1], within_s=20)
    for command, said in (("camera.snapshot", "has ended"), ("recording.hold", "has ended")):
        start, end = watch.at - timedelta(minutes=5), watch.at
        args = {"peripheral": "cam1", "hold": ulid(), "start": start.isoformat(), "end": end.isoformat()}
        with pytest.raises(Rejected, match=said):
            camera.commands()[command](args if command == "recording.hold" else {})


def test_outside_of_the_owners_hours_there_is_no_process_and_within_them_it_comes_back(
    private: Callable[..., Camera], kept: Any, watch: Watch, eventually: Callable[..., Any]
) -> None:
    local = watch.at.astimezone().replace(hour=3, minute=0)
    watch.at = local.astimezone(UTC)
    camera = private(hours=[Hours(start="09:00", end="21:00")])
    assert camera.health().state is State.OK
    assert camera.health().note == "off: outside of the owner's hours"
    assert camera.footage_age_s is None
    with pytest.raises(Rejected, match="off at this hour"):
        camera.commands()["camera.snapshot"]({})
    assert camera.pid is None
    watch.at += timedelta(hours=7)
    eventually(lambda: camera.pid is not None, within_s=20)
    eventually(lambda: kept.all(TRACK), within_s=40)
    assert not footage(kept.home / "footage")
