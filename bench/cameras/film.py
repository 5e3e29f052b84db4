"""The real clip, what is true of it, and how what was told of it is counted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av

NAME = "one-by-one-person-detection.mp4"
FPS, LOOKED_FPS = 10.0, 5.0
FRAMES = 1394
PASSAGES = [(60, 202), (227, 452), (502, 703), (745, 873), (921, 1205), (1234, 1365)]
"""Frames between which somebody is in view; outside of them nobody is."""
SEEN = 0.4
"""A looked-at frame is a person frame when the model, asked at each, gives a person this score."""
EMPTY_FRAMES, QUIET_S = 50, 60.0
SHORT_S, SHORT_QUIET_S = 30.0, 10.0


class Told(NamedTuple):
    """One event, in frames of the clip: first and last frame in which its object was seen, and the frame at which it was told."""

    first: float
    last: float
    announced: float


@dataclass(frozen=True)
class Verdict:
    """``held`` of ``persons`` frames; ``delays`` from a passage's first person frame to its first announcement, in frames of the clip."""

    persons: int
    held: int
    events: int
    false: int
    merged: int
    split: int
    delays: Sequence[float]

    def words(self) -> str:
        odd = [
            f"{n} {word}"
            for word, n in (("false", self.false), ("merged", self.merged), ("split", self.split))
            if n
        ]
        return f"{self.events} ({', '.join(odd)})" if odd else str(self.events)

    def delay(self) -> str:
        return (
            f"{statistics.median(self.delays):.0f} / {max(self.delays):.0f}" if self.delays else "none told"
        )


def person_frames(scores: dict[int, float]) -> list[int]:
    """Of the looked-at frames, each with the model's best score of a person."""
    return sorted(
        number
        for number, score in scores.items()
        if score >= SEEN and any(first <= number <= last for first, last in PASSAGES)
    )


def judge(told: Sequence[Told], persons: Sequence[int]) -> Verdict:
    """Each event by the passages that it overlaps; a person frame is held when an event covers it."""
    touched = [[n for n, (a, b) in enumerate(PASSAGES) if one.first <= b and one.last >= a] for one in told]
    delays = []
    for number, (a, b) in enumerate(PASSAGES):
        begin = min((frame for frame in persons if a <= frame <= b), default=a)
        mine = [one.announced for one, passages in zip(told, touched, strict=True) if number in passages]
        if mine:
            delays.append(max(0.0, min(mine) - begin))
    return Verdict(
        persons=len(persons),
        held=sum(any(one.first - 0.5 <= frame <= one.last + 0.5 for one in told) for frame in persons),
        events=len(told),
        false=sum(not passages for passages in touched),
        merged=sum(len(passages) > 1 for passages in touched),
        split=sum(max(0, sum(passages == [n] for passages in touched) - 1) for n in range(len(PASSAGES))),
        delays=delays,
    )


def write_quiet(clip: Path, to: Path, seconds: float) -> None:
    """The clip's empty beginning again and again, its packets as they are."""
    _write(clip, to, range_of=EMPTY_FRAMES, frames=round(seconds * FPS))


def write_beginning(clip: Path, to: Path, seconds: float) -> None:
    """The clip's first seconds, its packets as they are."""
    _write(clip, to, range_of=FRAMES, frames=round(seconds * FPS))


def _write(clip: Path, to: Path, *, range_of: int, frames: int) -> None:
    """``frames`` of the clip's first ``range_of``, from the beginning again where those are over."""
    with av.open(str(to), "w", format="mp4") as out, av.open(str(clip)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.size][:range_of]
        copy = out.add_stream_from_template(stream)
        assert stream.time_base is not None
        step = round(1 / FPS / stream.time_base)
        for number in range(frames):
            packet = packets[number % len(packets)]
            behind = (packet.pts or 0) - (packet.dts or 0)
            packet.stream = copy
            packet.dts = number * step
            packet.pts = packet.dts + behind
            out.mux(packet)
