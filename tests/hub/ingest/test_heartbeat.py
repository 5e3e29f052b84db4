"""The hub's reading of heartbeats accepts and refuses what the wire's model does, and gives the same values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prahari_hub.ingest import heartbeat
from prahari_wire.base import MAX_MESSAGE, Reason, Refused, parse
from prahari_wire.health import HealthMessage

from tests.form import examples

BOOT = "6f1c9d1e-0000-4000-8000-00000000000a"
GOOD: dict[str, Any] = {
    "v": 1,
    "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "boot": BOOT,
    "conn": 3,
    "at": "2026-03-01T12:00:00.250+05:30",
    "mono_ms": 5,
    "clock": "synced",
    "body": {
        "uptime_s": 5,
        "checks": [{"name": "cpu", "state": "ok", "value": 20.5}, {"name": "disk", "state": "warn", "text": "full"}],
        "peripherals": [{"id": "cam1", "state": "fail", "faults": ["Frozen"], "note": "no light"}],
    },
}  # fmt: skip

TIMES = st.sampled_from(
    [
        "2026-03-01T12:00:00Z", "2026-03-01 12:00:00z", "2026-03-01T12:00Z", "2026-03-01T12:00:00", "2026-03-01",
        "2026-02-30T00:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z", "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00", "2026-03-01T12:00:00.1234567Z", "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00+0530", "2026-03-01T12:00:00,5Z", "1767225600", "2026-03-01T12:00:00-00:00", "",
    ]
)  # fmt: skip
BOOTS = st.sampled_from(
    [
        BOOT.upper(),
        BOOT.replace("-", ""),
        f"urn:uuid:{BOOT}",
        f"{{{BOOT}}}",
        BOOT[:-1],
        BOOT + "0",
        "",
        " " + BOOT,
    ]
)
NUMBERS = st.sampled_from(
    [0, -0.0, 1.0, 1.5, -1, 2**53 - 1, 2**53, 2**63, 2**64, 10**40, 1e308, 1e-400, True, "5", None]
)
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["x" * 120, "x" * 121, "é" * 120, "\0", "\\u0000", "\ud800", "\N{PILE OF POO}" * 120, "ok", "OK"]
    ),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    TIMES,
    BOOTS,
    st.just([]),
    st.just({}),
    st.lists(st.none(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good heartbeat with one to three things in it changed, removed, added or doubled."""
    value: Any = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(value)[1:]))
        holder = value
        for key in above:
            holder = holder[key]
        match draw(st.sampled_from(["change", "remove", "add", "repeat"])):
            case "change":
                holder[last] = draw(ODD)
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(TEXTS)] = draw(ODD)
            case _ if isinstance(holder, list):
                holder += [holder[last]] * draw(st.sampled_from([1, 16, 32, 64]))
        if not places(value)[1:]:
            break
    return json.dumps(value).encode()


def twice(field: str, first: str, then: str) -> bytes:
    """The field stands twice in one object."""
    text = json.dumps(GOOD, separators=(",", ":"))
    said = json.dumps(GOOD[field]) if field in GOOD else ""
    return text.replace(f'"{field}":{said}', f'"{field}":{first},"{field}":{then}', 1).encode()


def bytes_of(change: str, to: str) -> bytes:
    return json.dumps(GOOD).replace(change, to).encode()


def by_wire(payload: bytes) -> tuple[Any, ...] | Reason:
    try:
        found = parse(HealthMessage, payload, limit=MAX_MESSAGE)
    except Refused as refused:
        return refused.reason
    body = found.body
    return (
        (str(found.boot), found.conn, found.at, found.mono_ms, str(found.clock), found.id, body.uptime_s),
        [(c.name, str(c.state), c.value, c.text) for c in body.checks],
        [(p.id, str(p.state), list(p.faults), p.note) for p in body.peripherals],
    )


def by_hub(payload: bytes) -> tuple[Any, ...] | Reason:
    try:
        found, served = heartbeat.read(payload, BOOT)
    except Refused as refused:
        return refused.reason
    body = found.body
    return (
        (found.boot, found.conn, found.at, found.mono_ms, found.clock, found.id, body.uptime_s),
        [(c.name, c.state, c.value, c.text) for c in body.checks],
        [(p.id, p.state, list(p.faults), p.note) for p in served.items],
    )


@settings(max_examples=examples(600), deadline=None)
@given(spoilt())
@example(json.dumps(GOOD).encode())
def test_what_the_wire_accepts_the_hub_accepts_with_the_same_values_and_nothing_else(payload: bytes) -> None:
    assert by_hub(payload) == by_wire(payload)


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_heartbeat_cut_or_with_foreign_bytes_is_judged_as_the_wire_does(data: st.DataObject) -> None:
    good = json.dumps(GOOD).encode()
    at = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(at, min(len(good), at + 3)))
    payload = good[:at] + data.draw(st.binary(max_size=3)) + good[end:]
    assert by_hub(payload) == by_wire(payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(twice("conn", "1", "2"), id="a key twice"),
        pytest.param(twice("conn", '"x"', "2"), id="a key twice, the first one wrong"),
        pytest.param(twice("conn", "2", '"x"'), id="a key twice, the last one wrong"),
        pytest.param(bytes_of("20.5", "NaN"), id="NaN"),
        pytest.param(bytes_of("20.5", "Infinity"), id="Infinity"),
        pytest.param(bytes_of("20.5", "1e999"), id="beyond a double"),
        pytest.param(bytes_of("20.5", "123456789012345678901234567890"), id="a huge integer"),
        pytest.param(bytes_of("20.5", "1E2"), id="an exponent"),
        pytest.param(bytes_of("20.5", "-0"), id="minus zero"),
        pytest.param(bytes_of('"conn": 3', '"conn": 3.0'), id="an integer as a float"),
        pytest.param(bytes_of('"conn": 3', '"conn": -0'), id="minus zero as a count"),
        pytest.param(bytes_of('"conn": 3', '"conn": 3e0'), id="an integer with an exponent"),
        pytest.param(bytes_of('"v": 1', '"v": 1.0'), id="version as a float"),
        pytest.param(bytes_of('"v": 1', '"v": 2'), id="version 2"),
        pytest.param(bytes_of('"v": 1', '"v": true'), id="version true"),
        pytest.param(bytes_of('"v": 1, ', ""), id="no version"),
        pytest.param(bytes_of("full", "\\u0000"), id="a NUL"),
        pytest.param(bytes_of("full", "\\\\u0000"), id="a backslash and u0000"),
        pytest.param(bytes_of("full", "\\ud800"), id="half a surrogate"),
        pytest.param(bytes_of("no light", "\\udc00"), id="half a surrogate in a peripheral"),
        pytest.param(bytes_of("cam1", "-cam"), id="a wrong peripheral"),
        pytest.param(bytes_of("cam1", "cam1\\n"), id="a peripheral with a line end"),
        pytest.param(bytes_of(GOOD["id"], GOOD["id"] + "\\n"), id="an id with a line end"),
        pytest.param(bytes_of(GOOD["id"], "8" + GOOD["id"][1:]), id="an id beyond 128 bits"),
        pytest.param(b"[" * 100_000, id="oversize"),
        pytest.param(b"[" * 15_000, id="deep"),
        pytest.param(bytes_of("no light", "x").replace(b'"x"', b"[" * 9000 + b"]" * 9000), id="deep in it"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), id="a byte order mark"),
        pytest.param(json.dumps(GOOD).encode() + b" \n", id="space after it"),
        pytest.param(json.dumps(GOOD).encode() + b"\n{}", id="another value after it"),
    ],
)
def test_the_edges_of_json_are_the_wires(payload: bytes) -> None:
    assert by_hub(payload) == by_wire(payload)
