"""parse(): what comes from the network is a message or Refused, never anything else."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prahari_wire.base import (
    MAX_DEPTH,
    MAX_EVENT_BATCH,
    MAX_MESSAGE,
    Message,
    Reason,
    Refused,
    parse,
    scan,
    validate,
)
from prahari_wire.channels import CHANNELS, Channel
from prahari_wire.envelope import EventBatch
from prahari_wire.events import KINDS, PRESS, parse_body
from prahari_wire.health import HealthMessage
from prahari_wire.ids import ulid
from prahari_wire.presence import BirthMessage

from tests.form import examples

ENVELOPE: dict[str, Any] = {
    "v": 1,
    "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "boot": str(uuid.UUID(int=7)),
    "conn": 1,
    "at": "2026-11-21T10:00:00Z",
    "mono_ms": 12,
    "clock": "synced",
}
HEALTH = {**ENVELOPE, "body": {"uptime_s": 5, "checks": [{"name": "cpu", "state": "ok", "value": 12.5}]}}
PRESS_EVENT = {
    key: value
    for key, value in {
        **ENVELOPE,
        "seq": 0,
        "kind": PRESS,
        "peripheral": "box1",
        "body": {"press": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "count": 1},
    }.items()
    if key != "v"
}
BATCH = {"v": 1, "id": ENVELOPE["id"], "journal": str(uuid.UUID(int=8)), "low": 0, "events": [PRESS_EVENT]}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


def refusal(payload: bytes | dict[str, Any], model: type[Message] = HealthMessage, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(model, payload if isinstance(payload, bytes) else json.dumps(payload).encode(), **options)
    return caught.value


def test_a_heartbeat_parses():
    message = parse(HealthMessage, json.dumps(HEALTH).encode())
    assert message.body.checks[0].value == 12.5
    assert message.at.utcoffset().total_seconds() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("version", [0, 2, 99, 999_999_999])
def test_an_unknown_version_is_refused_as_such(version: int):
    error = refusal({**HEALTH, "v": version})
    assert error.reason is Reason.VERSION
    assert str(version) in error.detail


def test_an_unknown_version_whose_fields_are_new_too_is_refused_for_the_version():
    assert refusal({**HEALTH, "v": 2, "new_field": 1}).reason is Reason.VERSION


def test_a_message_without_a_version_counts_as_version_one():
    assert parse(HealthMessage, json.dumps({k: v for k, v in HEALTH.items() if k != "v"}).encode()).v == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"", Reason.NOT_JSON, id="empty"),
        pytest.param(b"\x00", Reason.NOT_JSON, id="nul"),
        pytest.param(b"\xff\xfe{}", Reason.NOT_JSON, id="not-utf8"),
        pytest.param(b'{"v": 1', Reason.NOT_JSON, id="cut-off"),
        pytest.param(b"[]", Reason.INVALID, id="a-list"),
        pytest.param(b"null", Reason.INVALID, id="null"),
        pytest.param(b"1e999", Reason.INVALID, id="infinite"),
        pytest.param(b'"\\ud800"', Reason.NOT_JSON, id="lone-surrogate"),
    ],
)
def test_what_is_no_message_is_refused(payload: bytes, reason: Reason):
    assert refusal(payload).reason is reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"conn": "1"}, id="text-for-number"),
        pytest.param({"conn": 1.5}, id="fraction-for-integer"),
        pytest.param({"conn": True}, id="boolean-for-integer"),
        pytest.param({"conn": -1}, id="negative"),
        pytest.param({"conn": 2**53}, id="beyond-exact-numbers"),
        pytest.param({"conn": 10**400}, id="enormous"),
        pytest.param({"at": "2026-11-21T10:00:00"}, id="time-without-zone"),
        pytest.param({"at": "0000-00-00T00:00:00Z"}, id="no-such-time"),
        pytest.param({"at": "0001-01-01T00:00:00+14:00"}, id="time-before-the-first"),
        pytest.param({"clock": "perfect"}, id="unknown-enum"),
        pytest.param({"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV\n"}, id="trailing-newline"),
        pytest.param({"boot": "x"}, id="no-uuid"),
        pytest.param({"surprise": 1}, id="unknown-field"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, Any]):
    error = refusal({**HEALTH, **change})
    assert error.reason is Reason.INVALID
    assert next(iter(change)) in error.detail


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(number: str):
    payload = json.dumps(HEALTH).replace("12.5", number).encode()
    assert refusal(payload).reason in {Reason.INVALID, Reason.NOT_JSON}
    assert refusal(payload, strict_scan=True).reason in {Reason.INVALID, Reason.NOT_JSON}


@pytest.mark.parametrize(("model", "limit"), [(HealthMessage, MAX_MESSAGE), (EventBatch, MAX_EVENT_BATCH)])
def test_a_message_over_its_limit_is_refused_unread(model: type[Message], limit: int):
    assert refusal(b"x" * (limit + 1), model, limit=limit).reason is Reason.OVERSIZE
    assert refusal(b"x" * limit, model, limit=limit).reason is Reason.NOT_JSON


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


def test_depth_is_counted_outside_of_strings():
    scan(nested(MAX_DEPTH))
    scan(json.dumps({"text": '[[[["\\' * 60}).encode())
    with pytest.raises(Refused) as caught:
        scan(nested(MAX_DEPTH + 1))
    assert caught.value.reason is Reason.DEPTH


@pytest.mark.parametrize(
    "payload", [nested(30_000), b'{"a":' * 12_000, b"[" * 60_000, b'"' * 60_001, b"\\" * 60_000]
)
def test_a_bomb_is_refused(payload: bytes):
    for strict_scan in (False, True):
        refusal(payload, EventBatch, limit=MAX_EVENT_BATCH, strict_scan=strict_scan)


def test_a_key_that_stands_twice_is_refused_in_events_and_births():
    payload = json.dumps(BATCH).replace('"low": 0', '"low": 0, "low": 1').encode()
    assert refusal(payload, EventBatch, strict_scan=True).reason is Reason.DUPLICATE_KEY
    assert (
        refusal(b'{"v":1,"body":{"a":1,"\\u0061":2}}', BirthMessage, strict_scan=True).reason
        is Reason.DUPLICATE_KEY
    )


def test_the_channels_with_free_bodies_are_scanned_and_the_batch_alone_may_be_large():
    scanned = {str(channel) for channel, row in CHANNELS.items() if row.scan}
    assert scanned == {"birth", "event", "twin"}
    assert {str(channel) for channel, row in CHANNELS.items() if row.limit > MAX_MESSAGE} == {"event"}


def _is_message_or_refused(row: Channel, payload: bytes) -> None:
    try:
        message = parse(row.message, payload, limit=row.limit, strict_scan=row.scan)
    except Refused as error:
        assert error.detail
        assert len(error.detail) < 400
    else:
        assert isinstance(message, row.message)


@pytest.mark.parametrize("channel", CHANNELS, ids=str)
@settings(max_examples=examples(50), deadline=None)
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(channel: Any, payload: bytes):
    _is_message_or_refused(CHANNELS[channel], payload)


@pytest.mark.parametrize("channel", CHANNELS, ids=str)
@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_any_json_in_any_known_field_is_a_message_or_refused(channel: Any, data: st.DataObject):
    row = CHANNELS[channel]
    names = st.sampled_from([*row.message.model_fields, "v", "x"])
    plausible = {**ENVELOPE, **{key: BATCH[key] for key in BATCH}, "body": {}}
    changed = data.draw(st.dictionaries(names, JSON_VALUES, max_size=5))
    document = {key: value for key, value in plausible.items() if key in row.message.model_fields} | changed
    _is_message_or_refused(row, json.dumps(document).encode())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_any_event_body_is_typed_or_refused(kind: str, data: st.DataObject):
    names = st.sampled_from([*KINDS[kind].body.model_fields, "x"])
    body = data.draw(st.dictionaries(names, JSON_VALUES, max_size=6))
    try:
        assert isinstance(parse_body(kind, body), KINDS[kind].body)
    except Refused as error:
        assert error.reason is Reason.INVALID


def test_an_unknown_event_kind_is_refused_with_its_name():
    with pytest.raises(Refused, match="camera\\.teleport") as caught:
        parse_body("camera.teleport", {})
    assert caught.value.reason is Reason.UNKNOWN_KIND


@settings(max_examples=examples(50), deadline=None)
@given(value=JSON_VALUES)
def test_validate_gives_a_model_or_refused(value: object):
    try:
        validate(EventBatch, value)
    except Refused as error:
        assert error.reason in {Reason.INVALID, Reason.VERSION}


def test_a_ulid_sorts_by_its_time_and_is_accepted_as_an_id():
    assert ulid(0) < ulid(1) < ulid(2**40)
    assert parse(HealthMessage, json.dumps({**HEALTH, "id": ulid()}).encode()).id


@pytest.mark.parametrize(
    ("name", "refused"),
    [("c\0pu", True), ("\\\0", True), ("\\u0000", False), ("\\\\u0000", False), ("u0000", False)],
)
def test_the_character_nul_is_refused_and_nothing_that_only_looks_like_it(name: str, refused: bool) -> None:
    value = {**ENVELOPE, "body": {"uptime_s": 5, "checks": [{"name": name, "state": "ok"}]}}
    if refused:
        assert refusal(value).reason is Reason.INVALID
        with pytest.raises(Refused, match="NUL"):
            validate(HealthMessage, value)
    else:
        assert parse(HealthMessage, json.dumps(value).encode()).body.checks[0].name == name
