"""Twins: versions, refusals, what is sent and until when."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import queries, twins
from prahari_hub.fleet.tables import devices
from prahari_wire.callbox import CallboxConfig
from prahari_wire.camera import CameraConfig
from prahari_wire.display import DisplayConfig, PlaylistItem, TextContent
from prahari_wire.topics import Down
from prahari_wire.twin import Desired, FieldError, TwinOutcome, TwinReport, document_bytes

DEVICE = "pune-ecb-01"
BOX = Desired(heartbeat_s=10, peripherals={"box1": CallboxConfig(name="Gate")})


def put(store: Any, asha: Any, desired: Desired = BOX, *, if_version: int = 0, device: str = DEVICE) -> Any:
    return store.write_sync(lambda unit: twins.put(unit, asha, device, desired, if_version=if_version))


def due(store: Any) -> list[Any]:
    return list(store.write_sync(twins.take_due))


def get(store: Any) -> twins.Twin:
    return store.read_sync(lambda conn: twins.get(conn, DEVICE))  # type: ignore[no-any-return]


def report(store: Any, fact: Any, **body: Any) -> None:
    store.write_sync(lambda unit: twins.reported(unit, fact(DEVICE, "twin.report", TwinReport(**body))))


def test_every_device_begins_with_the_empty_document_at_version_0(store: Any) -> None:
    assert get(store).version == 0
    assert get(store).desired == Desired()
    assert get(store).in_sync


def test_a_write_on_a_stale_version_is_refused_and_changes_nothing(store: Any, asha: Any) -> None:
    put(store, asha)
    with pytest.raises(Conflict, match="at version 1, not 0"):
        put(store, asha, Desired(heartbeat_s=5))
    assert get(store).desired == BOX


def test_each_version_is_kept_with_its_author(store: Any, asha: Any) -> None:
    put(store, asha)
    put(store, asha, Desired(heartbeat_s=5), if_version=1)
    found = store.read_sync(lambda conn: twins.history(conn, DEVICE))
    assert [(row["version"], row["by"]) for row in found] == [(2, "asha"), (1, "asha")]
    assert store.read_sync(lambda conn: twins.document(conn, DEVICE, 1)) == document_bytes(BOX)
    with pytest.raises(NotFound):
        store.read_sync(lambda conn: twins.document(conn, DEVICE, 3))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param({"heartbeat_s": 0}, "heartbeat_s", id="range"),
        pytest.param({"heartbeats_s": 5}, "heartbeats_s", id="typo"),
        pytest.param({"peripherals": {"box1": {"type": "toaster"}}}, "peripherals.box1", id="type"),
        pytest.param(
            {"peripherals": {"c": {"type": "camera", "source": "rtsp://a:b@c/"}}},
            "peripherals.c.camera.source",
            id="password",
        ),
        pytest.param([], "(document)", id="list"),
        pytest.param({"heartbeat_s": float("nan")}, "", id="NaN"),
    ],
)
def test_a_wrong_document_is_refused_with_the_path_of_the_field(value: Any, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        twins.parse_desired(value)
    assert refused.value.fields[0][0].startswith(path)
    assert "a:b" not in str(refused.value)


def test_a_document_that_is_too_large_is_refused(store: Any, asha: Any) -> None:
    items = [PlaylistItem(id=f"i{n}", content=TextContent(text="x" * 500)) for n in range(100)]
    sign = DisplayConfig(playlist=items)
    with pytest.raises(Invalid, match="at most 262144"):
        put(store, asha, Desired(peripherals={f"s{n}": sign for n in range(5)}))


def test_a_twin_is_sent_with_backoff_until_the_device_reports_on_it(
    store: Any, asha: Any, born: Any, fact: Any, time: Any
) -> None:
    born(DEVICE)
    put(store, asha)
    (message,) = due(store)
    assert (message.device, message.channel) == (DEVICE, Down.TWIN)
    assert (message.message.version, message.message.document) == (1, BOX)
    assert message.message.sha256 == hashlib.sha256(document_bytes(BOX)).hexdigest()
    assert due(store) == []
    time.pass_s(5)
    assert len(due(store)) == 1
    time.pass_s(5)
    assert due(store) == []
    time.pass_s(5)
    assert len(due(store)) == 1
    report(store, fact, version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    time.pass_s(3600)
    assert due(store) == []
    assert get(store).in_sync


def test_a_rejected_twin_leaves_the_last_good_one_and_is_not_repeated(
    store: Any, asha: Any, born: Any, fact: Any, time: Any
) -> None:
    born(DEVICE)
    put(store, asha)
    report(store, fact, version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    put(store, asha, Desired(peripherals={"cam1": CameraConfig(source="x.mp4")}), if_version=1)
    due(store)
    errors = [FieldError(path="peripherals.cam1.source", message="no such file x.mp4")]
    report(store, fact, version=2, outcome=TwinOutcome.REJECTED, applied_version=1, errors=errors)
    time.pass_s(3600)
    assert due(store) == []
    twin = get(store)
    assert (twin.version, twin.applied_version, twin.outcome) == (2, 1, "rejected")
    assert twin.errors[0]["path"] == "peripherals.cam1.source"
    verdict = store.read_sync(lambda conn: queries.device(conn, DEVICE)).verdict
    assert verdict.code == "twin-rejected"


def test_a_report_on_an_older_version_changes_nothing(store: Any, asha: Any, born: Any, fact: Any) -> None:
    born(DEVICE)
    put(store, asha)
    put(store, asha, Desired(heartbeat_s=5), if_version=1)
    report(store, fact, version=2, outcome=TwinOutcome.APPLIED, applied_version=2)
    report(store, fact, version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    assert get(store).applied_version == 2


def test_a_birth_with_another_version_brings_the_twin_at_once(
    store: Any, asha: Any, born: Any, fact: Any
) -> None:
    born(DEVICE)
    put(store, asha)
    due(store)
    report(store, fact, version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    born(DEVICE, twin_version=1)
    assert due(store) == []
    born(DEVICE, twin_version=None)
    assert len(due(store)) == 1


def test_nothing_is_sent_to_a_device_that_is_offline_or_was_never_there(
    store: Any, asha: Any, born: Any
) -> None:
    put(store, asha)
    assert due(store) == []
    born(DEVICE)
    store.write_sync(lambda unit: unit.conn.execute(devices.update().values(presence="offline")))
    assert due(store) == []


def test_a_large_document_is_fetched_not_sent(store: Any, asha: Any, born: Any) -> None:
    items = [PlaylistItem(id=f"i{n}", content=TextContent(text="x" * 400)) for n in range(40)]
    born(DEVICE)
    put(store, asha, Desired(peripherals={"sign1": DisplayConfig(playlist=items)}))
    (message,) = due(store)
    assert message.message.document is None
    document = store.read_sync(lambda conn: twins.document(conn, DEVICE, 1))
    assert hashlib.sha256(document).hexdigest() == message.message.sha256


def test_the_heartbeat_of_the_applied_document_is_what_presence_is_judged_by(
    store: Any, asha: Any, born: Any, fact: Any
) -> None:
    born(DEVICE)
    put(store, asha)
    assert store.read_sync(lambda conn: queries.device(conn, DEVICE)).heartbeat_s is None
    report(store, fact, version=1, outcome=TwinOutcome.APPLIED, applied_version=1)
    found = store.read_sync(lambda conn: queries.device(conn, DEVICE))
    assert found.heartbeat_s == 10
    assert [(item.id, item.type, item.name) for item in found.peripherals] == [("box1", "callbox", "Gate")]


def test_a_device_ahead_of_a_restored_hub_gets_the_hubs_document_as_the_next_version(
    store: Any, asha: Any, born: Any, fact: Any
) -> None:
    put(store, asha)
    born(DEVICE, twin_version=5)
    assert not get(store).in_sync
    due(store)
    report(store, fact, version=5, outcome=TwinOutcome.APPLIED, applied_version=5)
    assert (get(store).version, get(store).desired, get(store).in_sync) == (6, BOX, False)
    (item,) = due(store)
    assert item.message.version == 6
    report(store, fact, version=6, outcome=TwinOutcome.APPLIED, applied_version=6)
    assert get(store).in_sync
    assert store.read_sync(lambda conn: twins.document(conn, DEVICE, 6)) == document_bytes(BOX)


def test_a_version_that_no_hub_ever_gave_out_changes_nothing(
    store: Any, asha: Any, born: Any, fact: Any
) -> None:
    put(store, asha)
    born(DEVICE)
    report(store, fact, version=2**53 - 1, outcome=TwinOutcome.APPLIED)
    assert (get(store).version, get(store).applied_version) == (1, None)


def test_a_device_whose_configuration_the_hub_does_not_know_is_out_of_sync_and_keeps_it(
    store: Any, asha: Any, born: Any, fact: Any
) -> None:
    born(DEVICE, twin_version=5)
    report(store, fact, version=5, outcome=TwinOutcome.APPLIED, applied_version=5)
    assert (get(store).version, get(store).in_sync, due(store)) == (0, False, [])
    put(store, asha)
    due(store)
    report(store, fact, version=5, outcome=TwinOutcome.APPLIED, applied_version=5)
    assert [item.message.version for item in due(store)] == [6]
