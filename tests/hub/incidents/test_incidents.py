"""From what a device says to what an operator handles, on a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from prahari_hub.access.tables import audit
from prahari_hub.errors import Conflict, Invalid, NotFound
from prahari_hub.fleet import intake, registry
from prahari_hub.fleet.tables import commands, devices
from prahari_hub.http.actor import Actor, Role, system
from prahari_hub.incidents import actions, lamp, queries, quiet
from prahari_hub.incidents.queries import Filter, Incident
from prahari_hub.incidents.rootcause import Bars, Flapping
from prahari_hub.scheduler.silence import Silence
from prahari_hub.scheduler.transitions import tell_incidents
from prahari_hub.store import Store
from prahari_wire.base import Severity
from prahari_wire.command import CommandState
from prahari_wire.ids import ulid


def listed(store: Store, **wanted) -> list[Incident]:
    return store.read_sync(lambda conn: queries.page(conn, Filter(**wanted))).items


def only(store: Store, **wanted) -> Incident:
    (found,) = listed(store, **wanted)
    return found


def history(store: Store, incident: str) -> list[str]:
    return [entry.action for entry in store.read_sync(lambda conn: queries.log_of(conn, incident))]


def test_a_press_opens_a_critical_incident_and_repeats_join_it(store: Store, field, clock) -> None:
    field.press()
    clock.pass_(seconds=5)
    field.press()
    incident = only(store)
    assert (incident.severity, incident.kind, incident.device) == (
        Severity.CRITICAL,
        "callbox.press",
        "pune-ecb-01",
    )
    assert incident.count == 2 and incident.active and incident.site == "wada"
    assert incident.last_at - incident.opened_at == timedelta(seconds=5)
    assert history(store, incident.id) == ["opened", "repeated"]


def test_a_late_event_raises_nothing_and_joins_nothing(store: Store, field) -> None:
    field.press(late=True)
    assert listed(store) == []
    field.press()
    field.press(late=True)
    assert only(store).count == 1


def test_the_lamp_follows_the_operator(store: Store, field, do) -> None:
    field.press()
    assert field.lamps() == []
    incident = only(store).id
    do(actions.acknowledge, incident)
    assert field.lamps() == ["steady"]
    do(actions.resolve, incident)
    assert field.lamps() == ["steady", "off"]


def test_a_device_that_is_back_gets_its_lamp_set_again(store: Store, field, do, clock) -> None:
    field.press()
    incident = only(store).id
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    do(actions.acknowledge, incident)
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    do(actions.resolve, incident)
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    clock.pass_(days=2)
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    assert field.lamps() == ["blinking", "steady", "steady", "off", "off"]


def test_the_lamp_of_a_closed_call_that_has_been_turned_off_is_left_alone(store: Store, field, do) -> None:
    """Somebody may have pressed while the device was away: the lamp blinks for them."""
    field.press()
    do(actions.resolve, only(store).id, comment="a test")
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    assert field.lamps() == ["off", "off"]
    store.write_sync(
        lambda unit: unit.conn.execute(commands.update().values(state=str(CommandState.SUCCEEDED)))
    )
    store.write_sync(lambda unit: lamp.on_birth(unit, "pune-ecb-01"))
    assert field.lamps() == ["off", "off"]


def test_a_press_on_an_acknowledged_call_stays_acknowledged_and_turns_the_lamp_steady_again(
    store: Store, field, do
) -> None:
    field.press()
    do(actions.acknowledge, only(store).id)
    field.press()
    assert only(store).acknowledged and field.lamps() == ["steady", "steady"]


def test_a_call_long_after_the_acknowledgement_has_to_be_acknowledged_again(
    store: Store, field, do, clock
) -> None:
    field.press()
    incident = only(store).id
    do(actions.acknowledge, incident)
    clock.pass_(minutes=5)
    field.press()
    assert only(store).acknowledged
    clock.pass_(minutes=7)
    field.press()
    found = only(store)
    assert (found.id, found.acknowledged, found.acked_by, found.count) == (incident, False, None, 3)
    assert field.lamps() == ["steady", "steady", "blinking"]
    last = store.read_sync(lambda conn: queries.log_of(conn, incident))[-1]
    assert last.action == "unacknowledged" and "acknowledged by asha 12 minutes before" in last.text
    do(actions.acknowledge, incident)
    assert only(store).acknowledged and field.lamps()[-1] == "steady"


def test_another_person_long_after_the_acknowledgement_has_to_be_acknowledged_again(
    store: Store, field, do, clock
) -> None:
    first = ulid()
    field.track(first, "started", "road")
    do(actions.acknowledge, only(store).id)
    clock.pass_(minutes=6)
    field.track(first, "ended", "road")
    assert only(store).acknowledged
    field.track(ulid(), "started", "road")
    assert not only(store).acknowledged


def test_a_fault_that_goes_on_stays_acknowledged(store: Store, field, do, clock) -> None:
    field.camera_fault(active=True)
    do(actions.acknowledge, only(store).id)
    clock.pass_(minutes=30)
    field.camera_fault(active=True)
    assert only(store).acknowledged


def test_a_person_is_as_grave_as_the_region_says(store: Store, field) -> None:
    field.track(ulid(), "started", "road")
    field.track(ulid(), "started", "gate")
    assert {(found.detail["region"], found.severity) for found in listed(store)} == {
        ("Road", Severity.MINOR),
        ("Gate", Severity.CRITICAL),
    }


@pytest.mark.parametrize(
    ("label", "regions", "expected"),
    [("car", ("road",), 0), ("car", ("gate",), 1), ("person", (), 0), ("person", ("elsewhere",), 0)],
    ids=["class-not-watched", "every-class", "in-no-region", "region-not-in-twin"],
)
def test_a_track_that_no_region_watches_raises_nothing(store: Store, field, label, regions, expected) -> None:
    field.track(ulid(), "started", *regions, label=label)
    assert len(listed(store)) == expected


def test_a_person_counts_once_and_the_incident_clears_when_the_last_one_left(store: Store, field) -> None:
    first, second = ulid(), ulid()
    field.track(first, "started", "road")
    field.track(second, "started", "road")
    field.track(first, "ended", "road", snapshot={"sha256": "a" * 64, "size": 100})
    found = only(store)
    assert found.count == 2 and found.active and found.snapshot == "a" * 64
    field.track(second, "ended", "road")
    found = only(store)
    assert found.count == 2 and not found.active and found.open and found.snapshot == "a" * 64
    field.track(ulid(), "started", "road")
    assert only(store).active


def test_a_person_who_entered_the_region_later_counts_when_the_track_ends(store: Store, field) -> None:
    track = ulid()
    field.track(track, "started")
    assert listed(store) == []
    field.track(track, "ended", "road")
    found = only(store)
    assert found.count == 1 and not found.active


def test_a_person_who_leaves_after_the_incident_was_closed_opens_no_other(store: Store, field, do) -> None:
    first, second = ulid(), ulid()
    field.track(first, "started", "road")
    field.track(second, "started", "road")
    do(actions.resolve, only(store).id)
    field.track(second, "ended", "road")
    field.track(first, "ended", "road")
    assert listed(store) == []
    field.track(ulid(), "started", "road")
    assert only(store).count == 1


@pytest.mark.parametrize(
    ("device", "peripheral", "kind", "body", "severity"),
    [
        (
            "pune-cam-01",
            "cam1",
            "camera.fault",
            {"fault": "SignalLoss", "since": "2026-11-20T06:00:00Z"},
            "warning",
        ),
        ("pune-vms-01", "sign1", "display.fault", {"fault": "player"}, "major"),
        ("pune-ecb-01", "box1", "callbox.stuck", {"held_s": 31.0}, "major"),
        ("pune-cam-01", "cam1", "agent.fault", {"part": "decoder"}, "warning"),
        ("pune-cam-01", None, "agent.fault", {"part": "outbox"}, "major"),
    ],
    ids=["camera", "display", "stuck", "part-of-a-peripheral", "part-of-the-agent"],
)
def test_a_fault_is_as_grave_as_its_peripheral_says_and_clears_when_it_ends(
    store: Store, field, do, device, peripheral, kind, body, severity
) -> None:
    field.event(device, peripheral, kind, active=True, **body)
    assert only(store).severity == severity
    field.event(device, peripheral, kind, active=False, **body)
    found = only(store)
    assert not found.active and not found.acknowledged
    do(actions.acknowledge, found.id)
    assert listed(store) == []
    assert history(store, found.id) == ["opened", "cleared", "acknowledged", "resolved"]


def test_a_failed_self_test_opens_and_a_passed_one_clears(store: Store, field) -> None:
    field.event("pune-ecb-01", "box1", "callbox.selftest", passed=False, lamp=False, button=True)
    assert only(store).severity is Severity.MAJOR
    field.event("pune-ecb-01", "box1", "callbox.selftest", passed=True, lamp=True, button=True)
    assert not only(store).active


def test_a_fault_that_was_acknowledged_closes_when_it_ends_and_the_next_one_is_new(
    store: Store, field, do
) -> None:
    field.camera_fault(active=True)
    first = only(store)
    do(actions.acknowledge, first.id)
    field.camera_fault(active=False)
    assert listed(store) == []
    field.camera_fault(active=True)
    assert only(store).id != first.id


def test_a_late_end_is_compared_by_the_journal_whatever_the_devices_clock_says(
    store: Store, field, clock
) -> None:
    field.camera_fault(active=True, seq=7)
    long_ago = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    field.camera_fault(active=False, late=True, at=clock.now + timedelta(days=1), seq=6)
    assert only(store).active
    field.camera_fault(active=False, late=True, at=long_ago, seq=8)
    assert not only(store).active


def test_a_clone_alarm_that_nobody_reports_any_more_clears_after_a_restart(
    store: Store, field, clock
) -> None:
    field.transition("clone", "single", "clone")
    clock.pass_(minutes=90)
    field.transition("clone", "clone", "clone")
    clock.pass_(minutes=90)
    store.write_sync(quiet.end_clones)
    assert only(store).active and only(store).count == 2
    clock.pass_(minutes=31)
    store.write_sync(quiet.end_clones)
    assert not only(store).active


def test_a_flood_is_one_incident_however_often_its_device_is_shut_out_and_ends_when_it_is_over(
    store: Store, field, clock
) -> None:
    field.transition("device.flood", "quiet", "alarm")
    clock.pass_(minutes=16)
    field.transition("device.flood", "quiet", "alarm")
    store.write_sync(quiet.end_floods)
    assert only(store).active and only(store).count == 2
    clock.pass_(minutes=21)
    store.write_sync(quiet.end_floods)
    assert not only(store).active


def test_a_late_end_clears_unless_the_fault_began_again_after_it(store: Store, field, clock) -> None:
    field.camera_fault(active=True)
    ended = clock.now + timedelta(seconds=10)
    clock.pass_(minutes=5)
    field.camera_fault(active=True)
    field.camera_fault(active=False, late=True, at=ended)
    assert only(store).active
    field.camera_fault(active=False, late=True, at=clock.now)
    assert not only(store).active


def test_a_live_end_clears_although_the_device_lost_its_clock(store: Store, field) -> None:
    field.camera_fault(active=True)
    field.camera_fault(active=False, at=datetime(1970, 1, 1, tzinfo=UTC))
    assert not only(store).active


def test_offline_raises_and_unknown_does_not(store: Store, field) -> None:
    field.transition("presence", "online", "unknown")
    field.transition("presence", "online", "suspect")
    assert listed(store) == []
    field.transition("presence", "suspect", "offline")
    assert only(store).kind == "device.offline"
    field.transition("presence", "offline", "unknown")
    assert only(store).active
    field.transition("presence", "unknown", "online")
    assert not only(store).active


@pytest.mark.parametrize(
    ("device", "severity"),
    [
        ("pune-cam-01", "warning"),
        ("pune-vms-01", "major"),
        ("pune-ecb-01", "critical"),
        ("pune-new-01", "major"),
    ],
    ids=["camera", "display", "call-box", "nothing-known"],
)
def test_a_silent_device_is_as_grave_as_the_worst_that_it_serves(
    store: Store, field, device, severity
) -> None:
    if device == "pune-new-01":
        store.write_sync(lambda unit: registry.create_device(unit, system("test"), device))
    field.transition("presence", "suspect", "offline", device)
    assert only(store).severity == severity


def test_a_cloned_identity_is_critical(store: Store, field) -> None:
    field.transition("clone", "single", "clone")
    assert only(store).severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("kind", "severity"), [("device.stranger", "critical"), ("claim.second_key", "major")]
)
def test_an_alarm_of_identity_raises_also_for_a_retired_device(
    store: Store, field, do, kind, severity
) -> None:
    store.write_sync(lambda unit: unit.conn.execute(devices.update().values(service="retired")))
    store.write_sync(lambda unit: intake.alarm(unit, kind, "pune-cam-01", "certificate 1f"))
    store.write_sync(lambda unit: intake.alarm(unit, kind, "pune-no-such", "certificate 1f"))
    store.write_sync(lambda unit: tell_incidents(unit, Silence(Bars(), Flapping())))
    found = only(store)
    assert (found.kind, found.severity, found.device) == (kind, severity, "pune-cam-01")
    assert found.detail["note"] == "certificate 1f" and found.active


def test_a_device_in_maintenance_raises_nothing_but_a_call(store: Store, field) -> None:
    store.write_sync(lambda unit: unit.conn.execute(devices.update().values(service="maintenance")))
    field.camera_fault(active=True)
    field.transition("presence", "suspect", "offline")
    assert listed(store) == []
    field.press()
    assert only(store).kind == "callbox.press"


def test_acknowledging_twice_keeps_the_first_name_and_writes_once(store: Store, field, do) -> None:
    field.press()
    incident = only(store).id
    do(actions.acknowledge, incident, comment="on my way")
    do(actions.acknowledge, incident, actor=Actor("ravi", Role.OPERATOR))
    assert only(store).acked_by == "asha"
    assert history(store, incident) == ["opened", "acknowledged"]
    query = sa.select(audit.c.actor, audit.c.action, audit.c.reason).where(audit.c.action.like("incident.%"))
    rows = [tuple(row) for row in store.read_sync(lambda conn: conn.execute(query).all())]
    assert rows == [("asha", "incident.acknowledge", "on my way")]


def test_closing_a_critical_incident_that_nobody_acknowledged_needs_a_word(store: Store, field, do) -> None:
    field.press()
    incident = only(store).id
    with pytest.raises(Invalid, match="acknowledge"):
        do(actions.resolve, incident)
    with pytest.raises(Invalid, match="acknowledge"):
        do(actions.resolve, incident, comment="  ")
    do(actions.resolve, incident, comment="test press by the technician")
    found = only(store, state="closed")
    assert found.resolved_by == "asha" and found.acked_by == "asha"


def test_an_incident_goes_to_who_may_act_on_it(store: Store, field, do) -> None:
    field.press()
    incident = only(store).id
    for name in ("audi", "nobody"):
        with pytest.raises(Invalid, match="cannot take"):
            do(actions.assign, incident, assignee=name)
    do(actions.assign, incident, assignee="ravi")
    assert only(store, assignee="ravi").id == incident
    do(actions.assign, incident, assignee=None)
    assert only(store).assignee is None
    do(actions.resolve, incident, comment="done")
    with pytest.raises(Conflict):
        do(actions.assign, incident, assignee="ravi")
    do(actions.comment, incident, text="the caller was fine")
    assert history(store, incident) == ["opened", "assigned", "assigned", "resolved", "commented"]


def test_what_does_not_exist_is_said_so(do) -> None:
    with pytest.raises(NotFound):
        do(actions.acknowledge, ulid())


def test_the_queue_pages_unacknowledged_first_then_by_severity_then_newest(
    store: Store, field, do, clock
) -> None:
    field.transition("presence", "suspect", "offline", "pune-vms-01")
    for fault in ("Frozen", "SignalLoss", "ImageTooDark"):
        clock.pass_(seconds=1)
        field.camera_fault(active=True, fault=fault)
    field.press()
    do(actions.acknowledge, only(store, kind="callbox.press").id)
    seen, cursor = [], None
    while True:
        page = store.read_sync(lambda conn, c=cursor: queries.page(conn, Filter(), limit=2, cursor=c))
        seen += [found.title for found in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [
        "Device offline",
        "Camera fault: Picture too dark",
        "Camera fault: No picture",
        "Camera fault: Picture frozen",
        "Emergency call",
    ]
    assert store.read_sync(queries.counts) == {"critical": 0, "major": 1, "minor": 0, "warning": 3}


def test_browsers_are_told_of_each_change(store: Store, field, do) -> None:
    told = []
    store.on_changes = told.extend
    field.press()
    do(actions.acknowledge, only(store).id)
    actions_told = [change.data["action"] for change in told if change.topic == "incidents"]
    assert actions_told == ["opened", "acknowledged"]
