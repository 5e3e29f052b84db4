"""The camera as the core sees it: a real process that looks, crashes, starts again and is stopped."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from prahari_agent.camera.camera import Camera
from prahari_agent.camera.supervisor import pause_s, rest_s
from prahari_agent.camera.verdict import verdict
from prahari_agent.errors import ConfigRefused, Rejected
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig, ContentFault, Region, RulePhase, TrackPhase
from prahari_wire.events import AGENT_FAULT, CAMERA_FAULT, RULE, TRACK
from prahari_wire.health import State
from prahari_wire.rules import ObjectsInside

PASSWORD = "s3cret-pass"
EVERYWHERE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
STREET = Region(id="road", name="Road", polygon=EVERYWHERE, classes=["person", "motion"])

Run = Callable[..., Camera]


@pytest.fixture
def run(kept: Any) -> Iterator[Run]:
    """run(source=…) starts a camera; it is stopped at the end."""
    started: list[Camera] = []

    def start(**config: Any) -> Camera:
        camera = Camera("cam1", kept.surroundings())
        camera.configure(CameraConfig(**config))
        camera.start()
        started.append(camera)
        return camera

    yield start
    for camera in started:
        camera.stop()
        assert camera.pid is None


def note(camera: Camera) -> str:
    return camera.health().note or ""


def test_motion_becomes_tracks_with_pictures_uploaded_after_their_event(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip), realtime=False, loop=False, regions=[STREET])
    eventually(lambda: "played to its end" in note(camera), within_s=40)
    started = [track for track in kept.all(TRACK) if track.phase is TrackPhase.STARTED]
    ended = [track for track in kept.all(TRACK) if track.phase is TrackPhase.ENDED]
    assert len(started) >= 5
    assert {track.track for track in started} == {track.track for track in ended}
    for place, (kind, body) in enumerate(kept.said):
        if kind == TRACK and body.snapshot is not None:
            after, jpeg = kept.said[place + 1]
            assert after == "upload"
            assert hashlib.sha256(jpeg).hexdigest() == body.snapshot.sha256
    assert camera.health().state is State.OK
    assert "motion only: no model" in note(camera)


def test_a_snapshot_by_command_is_uploaded_and_named_by_its_hash(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip))
    eventually(lambda: "fps" in note(camera))
    result = camera.commands()["camera.snapshot"]({})
    jpeg = kept.all("upload")[-1]
    assert result == {"snapshot": {"sha256": hashlib.sha256(jpeg).hexdigest(), "size": len(jpeg)}}
    assert jpeg.startswith(b"\xff\xd8")
    with pytest.raises(Rejected, match="colour"):
        camera.commands()["camera.snapshot"]({"colour": "red"})


def raised(kept: Any) -> list[Any]:
    return [fault for fault in kept.all(AGENT_FAULT) if fault.active]


def test_a_camera_that_works_clears_once_what_an_agent_before_may_have_left_open(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    run(source=str(clip))
    eventually(lambda: len(kept.all(AGENT_FAULT)) >= 2)
    time.sleep(2)
    told = [(fault.part, fault.active) for fault in kept.all(AGENT_FAULT)]
    assert sorted(told) == [("camera model", False), ("camera process", False)]


def test_a_killed_process_starts_again_and_closes_what_was_open(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip), regions=[STREET])
    eventually(lambda: kept.all(TRACK), why="a track begins")
    first = camera.pid
    os.kill(first, signal.SIGKILL)
    (fault,) = eventually(lambda: raised(kept), why="the crash is told")
    assert (fault.part, fault.active, fault.peripheral) == ("camera process", True, "cam1")
    assert "signal 9" in fault.detail
    eventually(lambda: kept.all(TRACK)[-1].phase is TrackPhase.ENDED, why="what was open is closed")
    eventually(lambda: camera.pid not in (None, first), why="a new process")
    eventually(lambda: camera.health().state is State.OK, why=note(camera))
    eventually(lambda: not kept.all(AGENT_FAULT)[-1].active, why="the fault is cleared")


def test_a_process_that_dies_before_it_hears_that_its_event_is_kept_is_told_and_starts_again(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    def strike(kind: str) -> None:
        if kind == TRACK and not killed:
            killed.append(camera.pid)
            os.kill(killed[0], signal.SIGKILL)
            eventually(lambda: psutil.Process(killed[0]).status() == psutil.STATUS_ZOMBIE)

    killed: list[int] = []
    kept.on_emit = strike
    camera = run(source=str(clip), regions=[STREET])
    (fault,) = eventually(lambda: raised(kept), why="the crash is told")
    assert (fault.part, fault.active) == ("camera process", True)
    assert "signal 9" in fault.detail
    eventually(lambda: kept.all(TRACK)[-1].phase is TrackPhase.ENDED, why="what was open is closed")
    eventually(lambda: camera.pid not in (None, *killed), why="a new process")


def test_a_camera_whose_events_cannot_be_taken_says_so_and_starts_again(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    def fail_once(kind: str) -> None:
        if kind == TRACK and not failed:
            failed.append(kind)
            raise RuntimeError("a fault of the agent's own")

    failed: list[str] = []
    kept.on_emit = fail_once
    camera = run(source=str(clip), regions=[STREET])
    first = eventually(lambda: camera.pid)
    (fault,) = eventually(lambda: raised(kept), why="it is told")
    assert (fault.part, fault.active) == ("camera process", True)
    assert "a fault of the agent's own" in fault.detail
    assert not psutil.pid_exists(first)
    eventually(lambda: camera.pid not in (None, first), why="a new process")
    eventually(lambda: len(kept.all(TRACK)) > 1, why="tracks go on")


def test_a_crash_inside_the_model_starts_again_with_motion_alone_and_says_so(
    run: Run, kept: Any, clip: Path, write_model: Callable[..., Path], eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip), model=str(write_model()), regions=[STREET])
    eventually(lambda: "model tiny" in note(camera))
    camera._supervisor._mark[0] = 1  # what the process leaves behind while its model runs
    os.kill(camera.pid, signal.SIGSEGV)
    eventually(lambda: "motion only: the model crashed" in note(camera), why=note(camera))
    assert camera.health().state is State.WARN
    fault = raised(kept)[0]
    assert (fault.part, fault.active) == ("camera model", True)
    assert "without its model" in fault.detail


def test_a_model_that_cannot_be_used_leaves_the_motion_gate_and_says_why(
    run: Run, kept: Any, clip: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip), model=str(tmp_path / "none.toml"))
    eventually(lambda: "none.toml is missing" in note(camera) or "manifest" in note(camera))
    assert note(camera).startswith("motion only:")
    assert camera.health().state is State.WARN
    (fault,) = eventually(lambda: raised(kept))
    assert (fault.part, fault.active) == ("camera model", True)
    assert "none.toml" in fault.detail


def test_a_source_that_refuses_is_signal_loss_without_its_password_anywhere(
    run: Run, kept: Any, eventually: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    kept.credentials = ("admin", PASSWORD)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        camera = run(source=f"rtsp://127.0.0.1:{taken.getsockname()[1]}/main", signal_loss_after_s=1)
        (fault,) = eventually(lambda: kept.all(CAMERA_FAULT))
        eventually(lambda: camera.health().state is State.FAIL)
        health = camera.health()
        arguments = psutil.Process(camera.pid).cmdline()
        with pytest.raises(Rejected, match="refuses the connection"):
            camera.commands()["camera.snapshot"]({})
        camera.stop()
    assert (fault.fault, fault.active) == (ContentFault.SIGNAL_LOSS, True)
    assert "refuses the connection" in fault.detail
    assert health.faults == ["SignalLoss"]
    for text in (str(health), str(fault), *arguments, *capfd.readouterr()):
        assert PASSWORD not in text


def test_signal_loss_ends_when_pictures_come_and_not_before(
    run: Run, kept: Any, clip: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    late = tmp_path / "late.mp4"
    camera = run(source=str(late), signal_loss_after_s=1)
    eventually(lambda: kept.all(CAMERA_FAULT))
    os.kill(camera.pid, signal.SIGKILL)  # the next process knows what the last one told
    late.write_bytes(clip.read_bytes())
    eventually(lambda: len(kept.all(CAMERA_FAULT)) == 2, within_s=40)
    raised, cleared = kept.all(CAMERA_FAULT)
    assert (raised.active, cleared.active, cleared.since) == (True, False, raised.since)


def test_an_event_that_the_full_disk_refused_is_kept_and_said_again(
    run: Run, kept: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    kept.full = True
    run(source=str(tmp_path / "none.mp4"), signal_loss_after_s=1)
    with pytest.raises(AssertionError):
        eventually(lambda: kept.all(CAMERA_FAULT), within_s=4)
    kept.full = False
    assert len(eventually(lambda: kept.all(CAMERA_FAULT), within_s=15)) == 1


def test_other_rules_are_applied_without_a_new_process(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip))
    eventually(lambda: "fps" in note(camera))
    first = camera.pid
    rule = ObjectsInside(id="anybody", name="Anybody", region=EVERYWHERE, classes=["motion"])
    camera.configure(CameraConfig(source=str(clip), rules=[rule]))
    told = eventually(lambda: kept.all(RULE), why="the new rule tells something")
    assert (told[0].rule, told[0].phase) == ("anybody", RulePhase.STARTED)
    camera.configure(CameraConfig(source=str(clip)))
    eventually(lambda: kept.all(RULE)[-1].phase is RulePhase.ENDED, within_s=10, why="its cases end")
    assert {body.event for body in kept.all(RULE)} == {
        body.event for body in kept.all(RULE) if body.phase is RulePhase.ENDED
    }
    assert camera.pid == first


def test_a_new_configuration_replaces_the_process_and_an_equal_one_does_not(
    run: Run, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip))
    first = eventually(lambda: camera.pid)
    camera.configure(CameraConfig(source=str(clip)))
    assert camera.pid == first
    camera.configure(CameraConfig(source=str(clip), fps=2))
    eventually(lambda: camera.pid not in (None, first), within_s=20)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (CallboxConfig(), "type"),
        (CameraConfig(source="ftp://10.0.0.5/clip"), "source"),
        (CameraConfig(source="/clip.mp4", regions=[STREET, STREET]), "regions"),
    ],
    ids=["no camera", "scheme", "region twice"],
)
def test_a_configuration_that_cannot_be_applied_names_the_field(kept: Any, config: Any, field: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        Camera("cam1", kept.surroundings()).configure(config)
    assert caught.value.errors[0][0] == field


def test_an_agent_that_died_closes_its_open_tracks_when_it_starts_again(
    run: Run, kept: Any, clip: Path, eventually: Callable[..., Any]
) -> None:
    camera = run(source=str(clip), regions=[STREET])
    eventually((kept.home / "open.json").exists, why="a track begins")
    left_open = (kept.home / "open.json").read_bytes()
    opened = kept.all(TRACK)[-1]
    camera.stop()
    kept.said.clear()
    (kept.home / "open.json").write_bytes(left_open)
    run(source=str(clip), regions=[STREET])
    assert [(track.track, track.phase) for track in kept.all(TRACK)] == [(opened.track, TrackPhase.ENDED)]


def test_the_agents_own_process_loads_nothing_heavy() -> None:
    code = (
        "import sys, prahari_agent.camera.camera; "
        "print([name for name in ('numpy', 'cv2', 'av', 'ai_edge_litert') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_pauses_after_crashes_grow_to_a_minute_and_rests_of_the_model_to_an_hour() -> None:
    assert [pause_s(crashes, 0.5) for crashes in (1, 2, 3, 20)] == [1, 2, 4, 60]
    assert [rest_s(crashes) for crashes in (1, 2, 20)] == [60, 120, 3600]


FACTS = {
    "faults": [],
    "problem": None,
    "frames": 10,
    "without_model": None,
    "model": "ssd",
    "detector_ms": 7.2,
    "fps": 5.0,
    "dropped": 3,
    "stalls": 0,
    "reconnections": 0,
    "ended": False,
}


@pytest.mark.parametrize(
    ("changes", "down", "state", "says"),
    [
        ({}, None, State.OK, "model ssd, 7 ms; 5.0 fps, 3 dropped"),
        ({"without_model": "no model"}, None, State.OK, "motion only: no model; 5.0 fps"),
        ({"stalls": 4}, None, State.OK, "model ssd, 7 ms; 5.0 fps, 3 dropped; 4 stalls an hour"),
        (
            {"without_model": "the model file is missing"},
            None,
            State.WARN,
            "motion only: the model file is missing",
        ),
        ({"faults": ["SignalLoss"], "problem": "refused"}, None, State.FAIL, "refused"),
        ({"faults": ["Frozen"]}, None, State.FAIL, "Frozen"),
        ({"problem": "refused"}, None, State.WARN, "refused"),
        ({"frames": 0}, None, State.UNKNOWN, "waiting for the first picture"),
        (None, None, State.UNKNOWN, "starting"),
        (None, "it died", State.FAIL, "it died"),
    ],
)
def test_health_is_one_line_that_says_what_is_wrong(
    changes: dict[str, Any] | None, down: str | None, state: State, says: str
) -> None:
    found, _, text = verdict(None if changes is None else {**FACTS, **changes}, down)
    assert found is state
    assert text.startswith(says)
    assert len(text) <= 120
