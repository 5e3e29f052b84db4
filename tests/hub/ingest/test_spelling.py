"""Reading many heartbeats of one spelling at once leaves a fleet exactly as reading each alone does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_hub.fleet.intake import Known
from prahari_hub.fleet.presence import Limits
from prahari_hub.ingest import spelling
from prahari_hub.ingest.columns import COLUMNS
from prahari_hub.ingest.memory import Memory
from prahari_hub.ingest.spelling import Spellings
from prahari_wire.topics import Up, mapped_subject

from tests.form import examples

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BOOTS = [f"6f1c9d1e-0000-4000-8000-{number:012x}" for number in range(8)]
DEVICES = [f"dev-{number}" for number in range(8)]
REST = ("ids", "extra", "clocks", "checks")

TIMES = st.sampled_from(
    [
        "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.250Z", "2026-03-01T11:59:59.123456Z", "2026-03-01T12:00:00.5Z",
        "2026-02-30T00:00:00Z", "2026-03-01-12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "2026-03-01T24:00:00Z", "2026-03-01T12:00:60Z", "2026-03-01T12:00:00.1234567Z", "2026-03-01T12:00:00+05:30",
        "2026-03-01T12:00:00.Z", "2026-03-01T12:00Z",
    ]
)  # fmt: skip
NUMBERS = st.sampled_from(
    ["0", "-0", "5", "20.5", "-3.25", "null", "007", "1.", ".5", "1e3", "1E-2", "1e400", "9007199254740992", "NaN", "true",
     '"5"', "123456789012345", "1234567890123456", "0.1234567890123456", "1.2.3", "--1", "", "5 ", "+5", "\u0665"]
)  # fmt: skip
CONNS = st.sampled_from(["0", "0", "2", "5", "01", "1.0", "null", "9007199254740993"])
IDS = st.sampled_from(
    [
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FA",
    ]
)
TEXTS = ["null", '"hot"', '"\\"value\\":5"', '"\\u0000"', '"नमस्ते"', '"a\\nb"']
SHAPES = [
    '{{"boot":"{boot}","conn":{conn},"at":"{at}","mono_ms":{mono},"clock":"{clock}","v":1,"id":"{id}","body":{{"uptime_s":{up},'
    '"checks":[{{"name":"cpu","state":"ok","value":{a},"text":{text}}},{{"name":"disk","state":"warn","value":{b},"text":null}}],'
    '"peripherals":[{{"id":"cam1","state":"ok","faults":[],"note":null}}]}}}}',
    '{{"at":"{at}","mono_ms":{mono},"clock":"{clock}","boot":"{boot}","conn":{conn},"v":1,"id":"{id}","body":{{"uptime_s":{up},'
    '"checks":[{{"name":"cpu","state":"ok","value":{a},"value":{b},"text":{text}}}],"peripherals":[]}}}}',
    '{{"at":"{at}","conn":{conn},"mono_ms":{mono},"clock":"{clock}","boot":"{boot}","conn":{a},"v":1,"id":"{id}",'
    '"body":{{"uptime_s":{up}}}}}',
    '{{"boot":"{boot}","conn":{conn},\n"at":"{at}","mono_ms":{mono},"clock":"{clock}","v":1,"id":"{id}","body":{{"uptime_s":{up},'
    '"checks":[{{"name":"fan","state":"ok","value":{a},"text":{text}}},{{"name":"fan","state":"ok","value": {b}}}]}}}}',
    '{{"boot":"{boot}","conn":{conn},"at":"{at}","mono_ms":{mono},"clock":"{clock}","v":1,"id":"{id}","body":{{"uptime_s":{up},'
    '"checks":[{{"name":"x","state":"ok","value":{a}}}],"peripherals":[{{"id":"01234567890123456789012345","state":"fail"}}]}}}}',
]  # fmt: skip
PLAIN = {
    "conn": "1",
    "at": "2026-03-01T12:00:00.250Z",
    "mono": "5",
    "clock": "synced",
    "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
} | {
    "up": "9",
    "a": "20.5",
    "b": "1.5",
    "text": "null",
}


def plain(number: int) -> tuple[bytes, bytes]:
    subject = mapped_subject(DEVICES[number], Up.HEALTH)
    return subject.encode(), SHAPES[0].format(**PLAIN, boot=BOOTS[number]).encode()


@st.composite
def beats(draw: st.DrawFn, number: int) -> tuple[bytes, bytes]:
    """A heartbeat with odd words or bytes in it, of another session or device, or of another shape."""
    words = PLAIN | {"boot": BOOTS[number]}
    odd = {
        "boot": st.sampled_from([*BOOTS[:2], BOOTS[0].upper(), "", "x" * 36, '"' * 36]), "conn": CONNS, "at": TIMES,
        "mono": NUMBERS, "id": IDS, "up": NUMBERS, "a": NUMBERS, "b": NUMBERS, "text": st.sampled_from(TEXTS),
        "clock": st.sampled_from(["synced", "floor"]),
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(odd)), min_size=1, max_size=2)):
        words[name] = draw(odd[name])
    payload = draw(st.sampled_from(SHAPES[:1] * 4 + SHAPES)).format(**words).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(payload)))
        payload = (
            payload[:at]
            + draw(st.sampled_from([b"", b"\n", b"\r", b'"', b",", b"\xff"]))
            + payload[at + draw(st.integers(0, 2)) :]
        )
    device = draw(st.sampled_from([DEVICES[number]] * 9 + [*DEVICES, "dev-unknown"]))
    return mapped_subject(device, Up.HEALTH).encode(), payload


@st.composite
def folds(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """A plain heartbeat of each device, save for a few, of which some speak again."""
    odd = draw(st.sets(st.integers(0, 7), max_size=3))
    again = draw(st.sampled_from([[], [], [3], [3, 3, 5]]))
    return [draw(beats(number)) if number in odd else plain(number) for number in [*range(8), *again]]


class Fleet:
    """A memory and what it refused; with ``most`` = 0 it reads each heartbeat alone."""

    def __init__(self, *, most: int) -> None:
        self.refused: list[Any] = []
        self.memory = Memory(
            Limits(45, 90), refuse=lambda *said: self.refused.append((said[0], said[1], said[2].reason))
        )
        self.memory.spellings = Spellings(self.memory._unlearn, most=most, seen_before=1)
        self.memory.load(
            Known(device, "online", True, boot, 1, None) for device, boot in zip(DEVICES, BOOTS, strict=True)
        )
        self.memory.sees(True, 0.0)

    def state(self) -> dict[str, Any]:
        memory, columns = self.memory, self.memory.columns
        found = {name: getattr(columns, name)[:8].tolist() for name in COLUMNS if name != "spelling"}
        found |= {name: getattr(columns, name) for name in REST}
        found |= {
            name: getattr(memory.bucket, name)[:8].tolist() for name in ("count", "least", "total", "most")
        }
        found["values"] = columns.values[:8].tolist()
        found["dirty"] = np.flatnonzero(columns.dirty).tolist()
        found["said"] = [shape and shape.said for shape in columns.shapes]
        found["served"] = [served and served.raw for served in columns.served]
        found["links"] = [memory.link(row) for row in range(8)]
        found |= {"changed": sorted(memory.changed), "shed": memory.shed}
        found["pending"] = sorted((told.device, *told.step, told.at, told.seen_at) for told in memory.pending)
        found["refused"] = sorted(self.refused)
        return found


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.tuples(folds(), st.sampled_from(["", "", "doubt", "flood", "silence", "absence", "blindness"])),
        min_size=2,
        max_size=5,
    )
)
def test_a_fleet_that_is_read_by_spelling_is_as_one_that_is_read_alone(
    told: list[tuple[list[tuple[bytes, bytes]], str]],
) -> None:
    quick, slow = Fleet(most=3), Fleet(most=0)
    now_s, now = 1000.0, NOW
    for batch, before in [([plain(number) for number in range(8)], ""), *told]:
        passed_s = {"silence": 50.0, "absence": 200.0}.get(before, 7.0)
        now_s, now = now_s + passed_s, now + timedelta(seconds=passed_s)
        for fleet in (quick, slow):
            list(fleet.memory.sweep(now_s, now))
            if before == "absence":  # SUSPECT first, then OFFLINE
                list(fleet.memory.sweep(now_s, now))
            if before == "blindness":
                fleet.memory.sees(False, now_s)
                fleet.memory.sees(True, now_s)
            if before == "doubt":
                fleet.memory.doubt(DEVICES[:3])
            if before == "flood":
                fleet.memory.columns.due_s[:3] = now_s + 5.0
        assert quick.memory.fold(batch, now_s, now) == slow.memory.fold(batch, now_s, now)
        assert repr(quick.state()) == repr(slow.state())


def spelt(fleet: Fleet, device: str) -> int:
    return int(fleet.memory.columns.spelling[fleet.memory.columns.row(device)])


def say(fleet: Fleet, at_s: float, shape: str = SHAPES[0], **words: str) -> None:
    """All devices, at once."""
    fleet.memory.fold(
        [
            (
                mapped_subject(device, Up.HEALTH).encode(),
                shape.format(**PLAIN | words | {"boot": boot}).encode(),
            )
            for device, boot in zip(DEVICES, BOOTS, strict=True)
        ],
        at_s,
        NOW + timedelta(seconds=at_s),
    )


def test_a_spelling_is_learnt_and_values_come_by_it() -> None:
    fleet = Fleet(most=3)
    for turn in range(3):
        say(fleet, 30.0 * turn, a=f"{turn}.5")
    columns = fleet.memory.columns
    assert [spelt(fleet, device) for device in DEVICES] == [1] * 8
    assert columns.values[:8, columns.checks["cpu"]].tolist() == [2.5] * 8


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(SHAPES[1], id="a value twice"),
        pytest.param(SHAPES[2], id="a counter twice"),
        pytest.param(SHAPES[3], id="a line's end, and a value with a space"),
        pytest.param(SHAPES[4], id="a peripheral that is called like a message"),
        pytest.param(
            SHAPES[0].replace("Z", "+00:00").replace("{at}", "2026-03-01T12:00:00+05:30"),
            id="another time zone",
        ),
    ],
)
def test_what_cannot_be_proved_is_read_alone(shape: str) -> None:
    fleet = Fleet(most=3)
    for turn in range(6):
        say(fleet, 30.0 * turn, shape, a=f"{turn + 1}", b=f"{turn + 1}")
    assert [spelt(fleet, device) for device in DEVICES] == [0] * 8
    assert not fleet.refused


def test_a_spelling_that_nobody_uses_makes_room_for_another() -> None:
    fleet = Fleet(most=1)
    say(fleet, 0.0)
    say(fleet, 30.0)
    assert spelt(fleet, "dev-0") == 1
    say(fleet, 60.0, text='"hot"')
    assert spelt(fleet, "dev-0") == 0
    say(fleet, 60.0 + spelling.UNUSED_S, text='"hot"')
    say(fleet, 90.0 + spelling.UNUSED_S, text='"hot"', a="7")
    assert spelt(fleet, "dev-0") == 1
    columns = fleet.memory.columns
    shapes = [shape and shape.said[0] for shape in columns.shapes]
    assert shapes == [("cpu", "ok", "hot")] * 8
    assert columns.values[:8, columns.checks["cpu"]].tolist() == [7.0] * 8
