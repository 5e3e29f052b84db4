"""signing_bytes(): what the hub signs is what the device checks, whatever the way the message took."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from prahari_wire.base import parse
from prahari_wire.camera import CameraConfig
from prahari_wire.command import Command, CommandName
from prahari_wire.display import Override, OverrideSet, TextContent
from prahari_wire.signing import SignedMessage, signing_bytes
from prahari_wire.twin import Desired, TwinDown, document_bytes

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
AT = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
COMMAND = Command(
    id=ID,
    name=CommandName.LAMP,
    args={"b": 1.0, "a": "प्रहरी"},
    issued_at=AT,
    expires_at=AT,
    safe=True,
    key="k1",
)
TWIN = TwinDown(
    id=ID,
    version=3,
    sha256="0" * 64,
    document=Desired(peripherals={"cam1": CameraConfig(source="a.mp4")}),
    key="k1",
)
OVERRIDES = OverrideSet(
    id=ID,
    display="sign1",
    epoch=4,
    overrides=[
        Override(id=ID, cls=6, issued_at=AT, expires_at=AT, lease_s=60, content=TextContent(text="पुल बंद"))
    ],
    key="k1",
)
MESSAGES = pytest.mark.parametrize("message", [COMMAND, TWIN, OVERRIDES], ids=["command", "twin", "override"])


@MESSAGES
def test_the_bytes_are_the_same_after_the_way_over_the_wire(message: SignedMessage):
    sent = message.model_dump_json().encode()
    spaced = json.dumps(json.loads(sent), indent=3, sort_keys=True).encode()
    for received in (sent, spaced):
        assert signing_bytes("cam-1", parse(type(message), received)) == signing_bytes("cam-1", message)


@MESSAGES
def test_the_signature_itself_is_left_out(message: SignedMessage):
    assert signing_bytes("cam-1", message.model_copy(update={"sig": "x"})) == signing_bytes("cam-1", message)


@MESSAGES
def test_another_device_or_key_is_other_bytes(message: SignedMessage):
    own = signing_bytes("cam-1", message)
    assert signing_bytes("cam-2", message) != own
    assert signing_bytes("cam-1", message.model_copy(update={"key": "k2"})) != own


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (COMMAND, {"expires_at": datetime(2030, 1, 1, tzinfo=UTC)}),
        (COMMAND, {"safe": False}),
        (COMMAND, {"args": {}}),
        (TWIN, {"version": 4}),
        (TWIN, {"sha256": "1" * 64}),
        (OVERRIDES, {"epoch": 5}),
        (OVERRIDES, {"overrides": []}),
        (OVERRIDES, {"display": "sign2"}),
    ],
    ids=str,
)
def test_whatever_the_hub_orders_is_signed(message: SignedMessage, change: dict[str, Any]):
    assert signing_bytes("cam-1", message.model_copy(update=change)) != signing_bytes("cam-1", message)


def test_a_twin_is_signed_over_its_hash_so_that_a_fetched_document_counts_too():
    fetched = TWIN.model_copy(update={"document": None})
    assert signing_bytes("cam-1", fetched) == signing_bytes("cam-1", TWIN)


def test_the_signed_bytes_never_change_by_accident():
    assert signing_bytes("cam-1", TWIN) == (
        b'{"body":{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","key":"k1","sha256":"'
        + b"0" * 64
        + b'","v":1,"version":3}'
        b',"device":"cam-1","kind":"twin"}'
    )
    assert signing_bytes("cam-1", OVERRIDES).decode() == (
        '{"body":{"display":"sign1","epoch":4,"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","key":"k1","overrides":[{"class":6,"content":'
        '{"align":"centre","background":"#000000","colour":"#FFB000","size_px":null,"text":"पुल बंद","type":"text"},'
        '"expires_at":"2026-11-21T10:00:00.123456Z","id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","issued_at":"2026-11-21T10:00:00.123456Z",'
        '"lease_s":60,"priority":2}],"v":1},"device":"cam-1","kind":"override"}'
    )


def test_a_document_has_one_spelling():
    desired = TWIN.document
    assert desired is not None
    again = parse(Desired, json.dumps(json.loads(document_bytes(desired)), indent=1).encode())
    assert document_bytes(again) == document_bytes(desired)
