"""Frames become events: on the real clip with the real model, and on the drawn street without one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from prahari_agent.camera.detector import Detector
from prahari_agent.camera.manifest import load_model
from prahari_agent.camera.pipeline import Outgoing, Pipeline
from prahari_agent.camera.source import Address, Frame, Source
from prahari_wire.camera import CameraConfig, ContentFault, Region, RulePhase, Track, TrackPhase
from prahari_wire.events import RULE, TRACK, parse_body
from prahari_wire.rules import Mask, ObjectsInside

PASSAGES = [(60, 202), (227, 452), (502, 703), (745, 873), (921, 1205), (1234, 1365)]
"""Frames of the real clip, ten a second, in which a person is in view."""
EVERYWHERE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


def region(*classes: str, polygon: list[tuple[float, float]] = EVERYWHERE) -> Region:
    return Region(id="gate", name="Gate", polygon=polygon, classes=list(classes))


def frames(path: Path, fps: float = 5) -> Iterable[Frame]:
    return Source(Address.of(str(path)), fps=fps, loop=False, realtime=False).frames()


def play(pipeline: Pipeline, shown: Iterable[Frame]) -> list[Outgoing]:
    told = [event for frame in shown for event in pipeline.see(frame)]
    told += pipeline.end()
    for event in told:
        assert parse_body(event.kind, event.body.model_dump(mode="json", by_alias=True)) == event.body
    return told


def tracks(told: list[Outgoing], phase: TrackPhase) -> list[Track]:
    bodies: list[Any] = [event.body for event in told if event.kind == TRACK]
    return [body for body in bodies if body.phase is phase]


@pytest.mark.needs("media")
def test_six_passages_of_a_real_clip_give_six_person_tracks_and_nothing_between(
    media: Path, manifest: Path
) -> None:
    clip = media / "one-by-one-person-detection.mp4"
    pipeline = Pipeline(
        CameraConfig(source=str(clip), regions=[region("person")]), Detector(load_model(manifest))
    )
    shown = list(frames(clip, fps=2.5))
    told = play(pipeline, shown)
    ended = tracks(told, TrackPhase.ENDED)
    assert [track.label for track in ended] == ["person"] * 6
    assert len(told) == 12
    for track, (first, last) in zip(ended, PASSAGES, strict=True):
        assert track.ended_at is not None
        begin, end = ((at - shown[0].at).total_seconds() * 10 for at in (track.started_at, track.ended_at))
        assert first - 2 <= begin <= first + 15
        assert last - 15 <= end <= last + 2
        assert track.regions == ["gate"]
        assert track.score >= 0.5
    assert [track.track for track in tracks(told, TrackPhase.STARTED)] == [track.track for track in ended]
    seconds = (shown[-1].at - shown[0].at).total_seconds()
    assert pipeline.counters.inferences <= 1.4 * seconds


@pytest.mark.needs("media")
def test_the_passages_stay_six_on_a_box_that_manages_one_frame_a_second(media: Path, manifest: Path) -> None:
    clip = media / "one-by-one-person-detection.mp4"
    pipeline = Pipeline(
        CameraConfig(source=str(clip), regions=[region("person")]), Detector(load_model(manifest))
    )
    assert len(tracks(play(pipeline, frames(clip, fps=1)), TrackPhase.ENDED)) == 6


def far_away(clip: Path, first: int, last: int) -> Iterator[Frame]:
    """Frames of the real clip as a part of a picture of 2304 x 1296, so that a person in it is small."""
    wall = np.random.default_rng(1).integers(90, 110, (1296, 2304, 3), np.uint8)
    for number, frame in enumerate(islice(frames(clip), last)):
        if number >= first:
            picture = wall.copy()
            picture[700:916, 1200:1584] = frame.bgr(216)
            yield Frame(frame.at, frame.time_s, VideoFrame.from_ndarray(picture, format="bgr24"))


@pytest.mark.needs("media")
def test_a_person_who_is_small_in_a_large_picture_is_found_in_a_part_of_it(
    media: Path, manifest: Path
) -> None:
    detector = Detector(load_model(manifest))
    pipeline = Pipeline(CameraConfig(source="x", regions=[region("person")]), detector)
    shown = list(far_away(media / "one-by-one-person-detection.mp4", 108, 138))
    told = play(pipeline, shown)
    (ended,) = tracks(told, TrackPhase.ENDED)
    assert 0.51 <= ended.box.left < ended.box.right <= 0.7
    assert 0.53 <= ended.box.top < ended.box.bottom <= 0.72
    whole = [detector.detect(frame.rgb(detector.width, detector.height)) for frame in shown[14:29:7]]
    assert not any(one.label == "person" and one.score >= 0.5 for found in whole for one in found)
    assert pipeline.counters.put_off == 0


def test_a_budget_of_inferences_is_kept_and_no_frame_is_left_out_for_it(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    nowhere = [(0.0, 0.0), (0.05, 0.0), (0.05, 0.05)]
    config = CameraConfig(source="x", regions=[region(polygon=nowhere)], inferences_per_s=2)
    pipeline = Pipeline(config, sees_person_and_tv(side="64"))
    assert play(pipeline, islice(frames(clip), 60)) == []
    assert pipeline.counters.frames == 60
    assert pipeline.counters.put_off > 0
    assert 20 <= pipeline.counters.inferences <= 2 * 12 + 2


def test_what_is_told_says_of_which_frame_it_is_and_how_old_its_box(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    shown = list(islice(frames(clip), 10))
    told = play(Pipeline(CameraConfig(source="x", score=0.75), sees_person_and_tv()), shown)
    (started,) = tracks(told, TrackPhase.STARTED)
    assert started.frame_at in [frame.at for frame in shown]
    assert started.box_age_s == 0.0
    (ended,) = tracks(told, TrackPhase.ENDED)
    assert ended.frame_at is None


def model_that_sees(
    write_model: Callable[..., Path],
    tiny_tflite: Callable[..., bytes],
    outputs: list[Any],
    **changes: str,
) -> Detector:
    side = int(changes.pop("side", "320"))
    taken = f'input = {{ width = {side}, height = {side}, dtype = "uint8" }}'
    return Detector(load_model(write_model(tiny_tflite(*outputs, side=side), **{"input": taken, **changes})))


@pytest.fixture
def sees_person_and_tv(
    write_model: Callable[..., Path], tiny_tflite: Callable[..., bytes], ssd_outputs: Callable[..., list[Any]]
) -> Callable[..., Detector]:
    """A model that always sees a person at the left, standing at (0.2, 0.9), and a tv at the right."""
    outputs = ssd_outputs(([0.4, 0.1, 0.9, 0.3], 0, 0.8), ([0.1, 0.7, 0.4, 0.9], 1, 0.7))
    return lambda **changes: model_that_sees(write_model, tiny_tflite, outputs, **changes)


@pytest.mark.parametrize(
    ("regions", "allowed", "labels"),
    [
        ([region("person")], "", ["person"]),
        ([region("tv")], "", ["tv"]),
        ([region()], "", ["person", "tv"]),
        ([], "", ["person", "tv"]),
        ([], 'allowed = ["person"]', ["person"]),
        ([region()], 'allowed = ["person"]', ["person"]),
        ([region("motion")], "", []),
    ],
    ids=[
        "wanted",
        "other wanted",
        "any class",
        "no region",
        "allowed",
        "any class allowed",
        "nobody wants it",
    ],
)
def test_only_wanted_and_allowed_labels_become_tracks(
    sees_person_and_tv: Callable[..., Detector],
    clip: Path,
    regions: list[Region],
    allowed: str,
    labels: list[str],
) -> None:
    detector = sees_person_and_tv(allowed=allowed)
    told = play(Pipeline(CameraConfig(source="x", regions=regions), detector), islice(frames(clip), 10))
    assert sorted(track.label for track in tracks(told, TrackPhase.STARTED)) == labels


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([(0.0, 0.8), (0.5, 0.8), (0.5, 1.0), (0.0, 1.0)], 1),
        ([(0.0, 0.3), (0.5, 0.3), (0.5, 0.8), (0.0, 0.8)], 0),
    ],
    ids=["feet in it", "only the body in it"],
)
def test_the_feet_decide_in_which_region_a_person_is(
    sees_person_and_tv: Callable[..., Detector], clip: Path, polygon: list[tuple[float, float]], expected: int
) -> None:
    config = CameraConfig(source="x", regions=[region("person", polygon=polygon)])
    told = play(Pipeline(config, sees_person_and_tv()), islice(frames(clip), 10))
    assert len(tracks(told, TrackPhase.STARTED)) == len(tracks(told, TrackPhase.ENDED)) == expected


def test_the_configured_score_replaces_the_manifests(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    config = CameraConfig(source="x", score=0.75, regions=[region()])
    told = play(Pipeline(config, sees_person_and_tv()), islice(frames(clip), 10))
    assert [track.label for track in tracks(told, TrackPhase.STARTED)] == ["person"]


def test_a_started_track_carries_the_hash_of_its_picture_and_an_ended_one_none(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    told = play(
        Pipeline(CameraConfig(source="x", regions=[region("person")]), sees_person_and_tv()),
        islice(frames(clip), 10),
    )
    started, ended = told
    assert started.jpeg is not None
    assert started.jpeg.startswith(b"\xff\xd8")
    body: Any = started.body
    assert body.snapshot.sha256 == hashlib.sha256(started.jpeg).hexdigest()
    assert body.snapshot.size == len(started.jpeg)
    assert body.frames == 3
    assert ended.jpeg is None
    ended_body: Any = ended.body
    assert ended_body.snapshot is None


def test_without_a_model_what_moves_on_the_drawn_street_becomes_motion_tracks(clip: Path) -> None:
    pipeline = Pipeline(CameraConfig(source="x", regions=[region("person", "motion")]), None)
    told = play(pipeline, frames(clip))
    started, ended = tracks(told, TrackPhase.STARTED), tracks(told, TrackPhase.ENDED)
    assert {track.label for track in started} == {"motion"}
    assert 5 <= len(started) == len(ended) <= 10
    assert pipeline.counters.inferences == 0


def test_without_a_model_a_region_that_asks_for_persons_hears_nothing(clip: Path) -> None:
    told = play(Pipeline(CameraConfig(source="x", regions=[region("person")]), None), frames(clip))
    assert told == []


def test_a_picture_that_stands_still_is_frozen_and_a_living_one_clears_it(clip: Path) -> None:
    pipeline = Pipeline(CameraConfig(source="x", frozen_after_s=2, regions=[region("person")]), None)
    shown = list(islice(frames(clip), 30))
    stuck = [
        Frame(shown[0].at + timedelta(seconds=number / 5), shown[0].time_s + number / 5, shown[0].image)
        for number in range(20)
    ]
    later = [Frame(f.at + timedelta(seconds=10), f.time_s + 10, f.image) for f in shown[1:]]
    faults: list[Any] = [event.body for event in play(pipeline, [*stuck, *later])]
    assert [(fault.fault, fault.active) for fault in faults] == [
        (ContentFault.FROZEN, True),
        (ContentFault.FROZEN, False),
    ]
    assert faults[0].since == shown[0].at


def test_a_rule_tells_its_cases_with_a_picture_and_no_other_track(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    left = [(0.0, 0.8), (0.5, 0.8), (0.5, 1.0), (0.0, 1.0)]
    rules = [
        ObjectsInside(id="left", name="Left", region=left),
        ObjectsInside(id="right", name="Right", region=[(1 - x, y) for x, y in left]),
    ]
    config = CameraConfig(source="x", rules=rules)
    told = play(Pipeline(config, sees_person_and_tv()), islice(frames(clip), 10))
    bodies: list[Any] = [event.body for event in told]
    assert [(event.kind, body.rule, body.phase) for event, body in zip(told, bodies, strict=True)] == [
        (RULE, "left", RulePhase.STARTED),
        (RULE, "left", RulePhase.ENDED),
    ]
    assert told[0].jpeg is not None
    assert bodies[0].snapshot.sha256 == hashlib.sha256(told[0].jpeg).hexdigest()
    assert (bodies[0].label, bodies[0].score, bodies[0].event) == ("person", 0.8, bodies[1].event)
    assert told[1].jpeg is None


def test_an_object_in_a_mask_is_neither_tracked_nor_told(
    sees_person_and_tv: Callable[..., Detector], clip: Path
) -> None:
    mask = Mask(polygon=[(0.5, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5)], classes=["tv"])
    told = play(
        Pipeline(CameraConfig(source="x", regions=[region()], masks=[mask]), sees_person_and_tv()),
        islice(frames(clip), 10),
    )
    assert [track.label for track in tracks(told, TrackPhase.STARTED)] == ["person"]
