"""Every message and body there is: parsed, written and parsed again it is the same, and its schema agrees."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from prahari_wire.base import Refused, parse
from prahari_wire.schemas import named_models, schema_of

ID, ID2 = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"
AT, HASH, UUID = "2026-11-21T10:00:00.500000Z", "ab" * 32, "00000000-0000-0000-0000-000000000007"
SESSION: dict[str, Any] = {"boot": UUID, "conn": 1, "at": AT, "mono_ms": 12, "clock": "floor"}
TEXT = {"type": "text", "text": "पुल बंद है\nBridge closed", "align": "left", "size_px": 12}
IMAGE = {"type": "image", "sha256": HASH, "size": 100, "fit": "cover"}
REGION = {
    "id": "gate",
    "name": "Gate",
    "polygon": [[0, 0], [1.0, 0], [0.5, 1]],
    "classes": [],
    "severity": "critical",
}
SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
RULES = [
    {"id": "in", "name": "In", "type": "ObjectsInside", "region": SQUARE, "dwell_s": 2.5, "min_height": 0.05},
    {
        "id": "stay",
        "name": "Stay",
        "type": "LoiteringDetector",
        "region": SQUARE,
        "after_s": 45,
        "classes": ["person", "dog"],
    },
    {
        "id": "crowd",
        "name": "Crowd",
        "type": "OccupancyCounter",
        "region": SQUARE,
        "most": 5,
        "clear": 3,
        "severity": "major",
    },
    {
        "id": "line",
        "name": "Line",
        "type": "Crossed",
        "line": [[0, 0.5], [1, 0.5]],
        "direction": "to_left",
        "when": {"light": "night", "hours": [{"start": "22:00", "end": "05:00", "days": ["sat", "sun"]}]},
    },
    {"id": "count", "name": "Count", "type": "LineCounting", "line": [[0, 0.5], [1, 0.5]], "every_s": 60},
    {
        "id": "wrong",
        "name": "Wrong",
        "type": "WrongDirection",
        "region": SQUARE,
        "allowed": [[0.5, 0.9], [0.5, 0.1]],
    },
    {"id": "kerb", "name": "Kerb", "type": "StationaryObject", "region": SQUARE, "after_s": 120},
    {"id": "bag", "name": "Bag", "type": "ObjectAbandoned", "region": SQUARE, "owners": ["person", "motion"]},
]
MASK = {"polygon": SQUARE, "classes": ["tv"]}
CAMERA = {
    "type": "camera",
    "source": "rtsp://10.0.0.5/main",
    "fps": 2.5,
    "score": 0.4,
    "regions": [REGION],
    "rules": RULES,
    "masks": [MASK],
}
CALLBOX = {"type": "callbox", "name": "Box at the bridge", "button_pin": 5, "stuck_after_s": 20.5}
DISPLAY = {"type": "display", "player": "mpv", "playlist": [{"id": "a", "content": TEXT}], "safe": IMAGE}
DESIRED = {"heartbeat_s": 10, "peripherals": {"cam1": CAMERA, "box1": CALLBOX, "sign1": DISPLAY}}
TRACK = {
    "phase": "ended", "track": ID, "label": "person", "score": 0.75, "started_at": AT, "ended_at": AT, "frames": 9,
    "box": {"left": 0.1, "top": 0.2, "right": 0.3, "bottom": 1}, "regions": ["gate"], "snapshot": {"sha256": HASH, "size": 1},
}  # fmt: skip
SEGMENT = {
    "position": 4, "start_ms": 1795300000000, "duration_ms": 10000, "size": 900, "sha256": HASH, "codec": "h264", "width": 640,
    "height": 360, "clock": "synced",
}  # fmt: skip
HEAD = {
    "device": "pune-cam-01", "camera": "cam1", "day": "2026-11-22", "position": 4, "hash": HASH, "signed_at": AT, "key": "7f",
    "sig": "c2ln",
}  # fmt: skip
SENT_DAY = {
    "proof": {"before_position": 3, "before": HASH, "segments": [SEGMENT], "head": HEAD},
    "sent": [4],
    "missing": [],
}
INTERVAL = {"peripheral": "cam1", "start": AT, "end": "2026-11-21T10:05:00Z"}
SIGNED = {"v": 1, "id": ID, "key": "k1", "sig": "c2ln"}
OVERRIDE = {
    "id": ID,
    "class": 6,
    "priority": 1,
    "issued_at": AT,
    "expires_at": AT,
    "lease_s": 60,
    "content": TEXT,
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "up.birth": {
        **SESSION, "v": 1, "id": ID,
        "body": {
            "peripherals": [{"id": "cam1", "type": "camera", "model": "X"}, {"id": "box1", "type": "callbox"}],
            "versions": {"agent": "0.1.0", "python": "3.11", "os": "Debian 12", "board": "pi5"},
            "capabilities": ["preview"], "twin_version": 3, "journal": UUID, "low": 0, "boot_reason": "watchdog",
            "seed_sha256": HASH,
        },
    },
    "up.gone": {**SESSION, "id": ID, "body": {"reason": "lost"}},
    "up.health": {
        **SESSION, "id": ID,
        "body": {
            "uptime_s": 5, "checks": [{"name": "cpu", "state": "warn", "value": 91.5, "text": "busy"}],
            "peripherals": [{"id": "cam1", "state": "fail", "faults": ["SignalLoss"], "note": "no picture"}],
        },
    },
    "up.event-batch": {
        "id": ID, "journal": UUID, "low": 4,
        "events": [
            {**SESSION, "id": ID, "seq": 4, "kind": "callbox.press", "peripheral": "box1", "body": {"press": ID2, "count": 1}},
            {**SESSION, "id": ID2, "seq": 5, "kind": "camera.track", "peripheral": "cam1", "late": True, "body": TRACK},
        ],
    },
    "down.ack": {
        "id": ID, "at": AT, "birth": ID2, "batch": ID2, "journal": UUID, "upto": -1, "beyond": [[4, 6], [9, 9]],
        "refused": [{"seq": 7, "reason": "unknown-kind", "detail": "no such kind"}], "problem": "late", "retry_after_s": 1.5,
    },
    "down.twin": {**SIGNED, "version": 3, "sha256": HASH, "document": DESIRED},
    "down.command": {
        **SIGNED, "name": "callbox.lamp", "args": {"state": "steady"}, "issued_at": AT, "expires_at": AT,
        "idempotency": "at_most_once", "safe": True,
    },
    "down.override": {**SIGNED, "display": "sign1", "epoch": 9, "overrides": [OVERRIDE]},
    "event.callbox.press": {"press": ID, "count": 3},
    "event.override.state": {"epoch": 2, "outcome": "refused", "active": [ID], "refused": {ID2: "does not fit"}},
    "event.camera.track": TRACK,
    "event.camera.rule": {
        "phase": "updated", "event": ID2, "rule": "crowd", "type": "OccupancyCounter", "label": "person", "score": 0.5, "started_at": AT,
        "seen_at": AT, "box": {"left": 0.1, "top": 0.2, "right": 0.3, "bottom": 1}, "count": 7, "direction": "to_right", "track": ID,
    },
    "event.camera.count": {
        "rule": "count", "since": AT, "until": AT, "counts": [{"label": "car", "to_right": 3, "to_left": 0}],
    },
    "event.camera.fault": {"fault": "ImageTooBlurry", "active": True, "since": AT, "detail": "clean the lens"},
    "event.callbox.stuck": {"active": True, "held_s": 31.5},
    "event.display.fault": {"fault": "illegible", "active": False},
    "event.agent.fault": {"part": "camera", "active": True, "peripheral": "cam1", "detail": "crashed"},
    "event.outbox.set_aside": {"file": "outbox.db.broken-1", "detail": "malformed"},
    "event.outbox.shed": {"class": 3, "count": 200, "reason": "disk full"},
    "event.command.state": {"command": ID, "state": "FAILED", "result": {"a": [1, None]}, "error": "no lamp"},
    "event.twin.report": {
        "version": 4, "outcome": "rejected", "applied_version": 3, "errors": [{"path": "peripherals.cam1.fps", "message": "≤ 5"}],
    },
    "event.callbox.selftest": {"passed": False, "lamp": False, "button": True, "detail": "lamp line open"},
    "event.display.shown": {"source": "override", "item": ID, "class": 6, "epoch": 9, "frame_sha256": HASH, "text": "X"},
    "event.recording.coverage": {
        "day": "2026-11-22", "version": 7, "spans": [[0, 36000000]], "gaps": [[36000000, 36060000, "power"]], "until_ms": 36060000,
        "growing": False, "closed": True, "size": 5, "head": HEAD,
    },
    "event.recording.sent": {"transfer": ID, "outcome": "partial", "segments": 3, "size": 900, "detail": "one segment is damaged"},
    "event.recording.redacted": {
        "copy_id": ID, "film": {"sha256": HASH, "size": 900}, "segments": [HASH], "frames": 50, "whole": 1, "hidden": 31, "model": "street",
    },
    "command.recording.hold": {**INTERVAL, "hold": ID},
    "command.recording.redact": {**INTERVAL, "copy_id": ID, "end": "2026-11-21T10:01:30Z"},
    "command.camera.live": {"peripheral": "cam1", "view": ID, "seconds": 120},
    "command.recording.release": {"peripheral": "cam1", "hold": ID},
    "command.recording.send": {**INTERVAL, "transfer": ID, "rate_kbit_s": 500},
    "document.transfer": {"transfer": ID, "camera": "cam1", "days": [SENT_DAY], "certificate": "-----BEGIN"},
    "command.callbox.lamp": {"peripheral": "box1", "incident": "inc-1", "state": "blinking"},
    "command.display.preview": {"peripheral": "sign1", "content": IMAGE},
    "document.desired": DESIRED,
    "document.camera": CAMERA,
    "document.callbox": CALLBOX,
    "document.display": DISPLAY,
    "document.seed": {
        "device": "pune-cam-01", "hub": "https://hub.example:8443", "mqtt": "hub.example:8883", "ca_spki_sha256": HASH,
        "token": "FLT1-0123ABCD-0123456789ABCDEFGHJKMNPQ-Z", "city": "Pune",
    },
}  # fmt: skip
MODELS = dict(named_models())


def holds(received: Any, sent: Any) -> bool:
    """``received`` says what was ``sent``, and may say defaults too."""
    match sent:
        case dict():
            return isinstance(received, dict) and all(
                holds(received.get(key), value) for key, value in sent.items()
            )
        case list():
            return len(received) == len(sent) and all(map(holds, received, sent))
    return bool(received == sent)


EACH = pytest.mark.parametrize("name", MODELS)


@EACH
def test_a_message_survives_the_way_there_and_back(name: str):
    first = parse(MODELS[name], json.dumps(EXAMPLES[name]).encode(), strict_scan=True)
    again = parse(MODELS[name], first.model_dump_json().encode(), strict_scan=True)
    assert again == first
    assert holds(json.loads(first.model_dump_json()), EXAMPLES[name])


@EACH
def test_the_schema_accepts_what_the_model_accepts(name: str):
    validator = jsonschema.Draft202012Validator(schema_of(MODELS[name]))
    validator.validate(EXAMPLES[name])
    written = parse(MODELS[name], json.dumps(EXAMPLES[name]).encode())
    validator.validate(json.loads(written.model_dump_json()))


@EACH
def test_the_schema_refuses_what_the_model_refuses(name: str):
    validator = jsonschema.Draft202012Validator(schema_of(MODELS[name]))
    bad = [{**EXAMPLES[name], "surprise": 1}]
    bad += [
        {key: value for key, value in EXAMPLES[name].items() if key != gone}
        for gone in schema_of(MODELS[name]).get("required", [])
    ]
    for document in bad:
        assert not validator.is_valid(document)
        with pytest.raises(Refused):
            parse(MODELS[name], json.dumps(document).encode())


def test_the_schema_of_a_batch_ties_each_body_to_its_kind():
    validator = jsonschema.Draft202012Validator(schema_of(MODELS["up.event-batch"]))
    batch = json.loads(json.dumps(EXAMPLES["up.event-batch"]))
    batch["events"][0]["kind"] = "camera.fault"
    assert not validator.is_valid(batch)


@pytest.mark.parametrize(
    "source",
    ["rtsp://user:pw@10.0.0.5/main", "http://user@cam/", "https://:pw@cam/"],
)
def test_a_camera_address_with_a_password_is_refused_without_telling_it(source: str):
    with pytest.raises(Refused, match=r"secrets\.toml") as caught:
        parse(MODELS["document.camera"], json.dumps({**CAMERA, "source": source}).encode())
    assert "pw" not in str(caught.value)
