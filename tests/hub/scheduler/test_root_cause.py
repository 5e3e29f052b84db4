"""Devices that fall silent become one incident a cause; planned work raises none; flapping is damped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prahari_hub.fleet import intake, registry, topology, windows
from prahari_hub.fleet.facts import Fact
from prahari_hub.fleet.tables import devices, peripherals, sites, transitions, zones
from prahari_hub.fleet.topology import Link
from prahari_hub.http.actor import Actor, Role
from prahari_hub.incidents import actions, of_place, queries, service
from prahari_hub.incidents.queries import Filter, Incident
from prahari_hub.incidents.rootcause import Bars, Flapping
from prahari_hub.scheduler.silence import Silence
from prahari_hub.scheduler.transitions import tell_incidents
from prahari_hub.store import Store, Unit
from prahari_wire.callbox import Press
from prahari_wire.ids import ulid

START = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
ASHA = Actor("asha", Role.OPERATOR)
A, B, C, D = (tuple(f"{site}-{n}" for n in range(4)) for site in ("s1-a", "s1-b", "s2-c", "s2-d"))
FEEDER = (*A, *B, *C, *D)
FAR = tuple(f"far-{n}" for n in range(40))


class City:
    """Feeder f1 with switches s1 (sites s1-a, s1-b) and s2 (s2-c, s2-d), four devices a site; forty devices elsewhere."""

    def __init__(self, url: str) -> None:
        self.now = START
        self.store = Store.open(url, clock=lambda: self.now)
        self.silence = Silence(Bars(), Flapping())
        self.store.write_sync(self._build)

    def _build(self, unit: Unit) -> None:
        unit.conn.execute(zones.insert(), [{"id": "pune", "name": "Pune"}, {"id": "far", "name": "Far"}])
        places = [("s1-a", "pune"), ("s1-b", "pune"), ("s2-c", "pune"), ("s2-d", "pune"), ("far", "far")]
        unit.conn.execute(
            sites.insert(),
            [{"id": s, "name": s.upper(), "zone_id": z, "lat": 0, "lon": 0} for s, z in places],
        )
        links = [
            Link("s1", "switch", "Switch 1", "f1"),
            Link("s2", "switch", "Switch 2", "f1"),
            Link("f1", "feeder", "Feeder 1", None, "pune"),
        ]
        hangs = {site: site[:2] for site, _ in places[:4]}
        topology.bring(unit, ASHA, links, hangs)
        rows = [
            {
                "id": device,
                "site_id": device.rpartition("-")[0],
                "service": "active",
                "created_at": START,
                "presence": "online",
                "last_seen": START,
            }
            for device in (*FEEDER, *FAR)
        ]
        unit.conn.execute(devices.insert(), rows)

    def say(self, after: str, names: Iterable[str], *, heard: datetime | None = None) -> None:
        """Presence changes as ingest writes them; ``heard``: when the devices were last heard, now if left out."""

        def work(unit: Unit) -> None:
            rows = [
                {
                    "device_id": device,
                    "kind": "presence",
                    "before": "online",
                    "after": after,
                    "at": unit.now,
                    "detail": "silent",
                }
                for device in names
            ]
            unit.conn.execute(transitions.insert(), rows)
            values: dict[str, Any] = {"presence": after, "presence_since": unit.now}
            values["last_seen"] = heard or unit.now
            unit.conn.execute(
                devices.update().where(devices.c.id.in_([row["device_id"] for row in rows])).values(values)
            )

        self.store.write_sync(work)

    def fall(self, names: Iterable[str], *, ago_s: float = 90) -> None:
        self.say("offline", names, heard=self.now - timedelta(seconds=ago_s))
        self.tell()

    def back(self, names: Iterable[str]) -> None:
        self.say("online", names)
        self.tell()

    def blind(self, names: Iterable[str]) -> None:
        """The hub cannot tell how these devices are."""
        self.store.write_sync(lambda unit: intake.put_presence(unit, "unknown", list(names)))

    def found_silent(self, names: Iterable[str]) -> None:
        """The hub sees again, and these devices are still as they were when they had been offline before."""
        self.store.write_sync(lambda unit: intake.put_presence(unit, "offline", list(names)))
        self.tell()

    def tell(self) -> None:
        self.store.write_sync(lambda unit: tell_incidents(unit, self.silence))

    def settle(self, **parts: float) -> None:
        self.now += timedelta(**parts)
        self.store.write_sync(self.silence.settle)

    def open(self, **wanted: Any) -> list[Incident]:
        found = self.store.read_sync(lambda conn: queries.page(conn, Filter(**wanted), limit=200)).items
        return sorted(found, key=lambda one: one.id)

    def shown(self) -> list[tuple[str, str | None, int]]:
        """(kind, device or place, children) of what is open and holds."""
        return [(one.kind, one.device or one.scope, one.children) for one in self.open() if one.active]

    def only(self) -> Incident:
        (found,) = self.open()
        return found


@pytest.fixture
def city(database_url: str) -> Iterator[City]:
    found = City(database_url)
    yield found
    found.store.close()


def test_a_switch_that_dies_is_one_incident_with_its_devices_as_children(city: City) -> None:
    city.fall((*A, *B))
    assert city.shown() == [("place.outage", "s1", 8)]
    found = city.only()
    assert found.title == "Switch 1: 8 of 8 devices silent" and found.device is None
    listed = city.store.read_sync(lambda conn: of_place.children(conn, found.id, limit=5))
    assert [child.device for child in listed.items] == list((*A, *B)[:5]) and listed.next
    rest = city.store.read_sync(lambda conn: of_place.children(conn, found.id, limit=5, cursor=listed.next))
    assert [child.device for child in rest.items] == list((*A, *B)[5:]) and rest.next is None


def test_suspects_speak_for_the_cause_before_they_are_offline_themselves(city: City) -> None:
    city.say("suspect", (*A[1:], *B), heard=START - timedelta(seconds=60))
    city.fall(A[:1])
    assert city.shown() == [("place.outage", "s1", 1)]
    city.settle(seconds=5)
    city.fall((*A[1:], *B))
    assert city.shown() == [("place.outage", "s1", 8)]


def test_an_incident_of_a_child_is_taken_in_when_the_place_is_found_later(city: City) -> None:
    city.fall(A[:2])
    first = [one.id for one in city.open()]
    assert sorted(city.shown()) == [("device.offline", A[0], 0), ("device.offline", A[1], 0)]
    city.now += timedelta(seconds=20)
    city.fall(A[2:])
    assert city.shown() == [("place.outage", "s1-a", 4)]
    parent = city.only().id
    taken = city.store.read_sync(lambda conn: [queries.get(conn, one) for one in first])
    assert [one.parent for one in taken] == [parent, parent] and not any(one.open for one in taken)


def test_a_feeder_takes_over_from_its_switch_and_nothing_is_doubled(city: City) -> None:
    city.fall((*A, *B))
    switch = city.only().id
    city.now += timedelta(seconds=30)
    city.fall((*C, *D))
    assert city.shown() == [("place.outage", "f1", 16)]
    assert city.store.read_sync(lambda conn: queries.get(conn, switch)).parent == city.only().id


def test_devices_that_fall_hours_apart_are_incidents_of_their_own(city: City) -> None:
    for device in A:
        city.fall([device])
        city.now += timedelta(hours=1)
    assert [kind for kind, _, _ in city.shown()] == ["device.offline"] * 4


def test_here_and_there_is_not_one_cause(city: City) -> None:
    city.fall((A[0], B[0], C[0], FAR[0]))
    assert [kind for kind, _, _ in city.shown()] == ["device.offline"] * 4


def test_children_leave_one_by_one_and_the_outage_ends_with_the_last(city: City) -> None:
    city.fall((*A, *B))
    for left, device in enumerate(reversed((*A, *B))):
        city.now += timedelta(seconds=1)
        city.back([(*A, *B)[left]])
        assert city.only().children == 7 - left, device
    city.settle(seconds=5)
    assert not city.only().active


def test_what_stays_dead_becomes_its_own_incident_once_nothing_else_comes_back(city: City) -> None:
    city.fall((*A, *B))
    city.back((*A[1:], *B[1:]))
    city.settle(seconds=30)
    assert city.shown() == [("place.outage", "s1", 2)]
    city.settle(minutes=3)
    assert sorted(city.shown()) == [("device.offline", A[0], 0), ("device.offline", B[0], 0)]
    city.settle(minutes=3)
    city.back([A[0], B[0]])
    assert city.shown() == []


def test_a_part_that_stays_dark_becomes_a_smaller_outage(city: City) -> None:
    city.fall(FEEDER)
    city.back((*B, *C, *D))
    city.settle(minutes=3)
    assert city.shown() == [("place.outage", "s1-a", 4)]


def test_a_device_that_falls_later_below_a_dead_feeder_joins_its_outage(city: City) -> None:
    city.fall((*A, *B, *C))
    assert city.shown() == [("place.outage", "f1", 12)]
    city.now += timedelta(hours=1)
    city.fall(D[:1])
    assert city.shown() == [("place.outage", "f1", 13)]


def test_an_outage_that_returns_while_it_is_in_the_queue_is_the_same_incident(city: City) -> None:
    city.fall((*A, *B))
    first = city.only().id
    city.back((*A, *B))
    city.settle(seconds=5)
    city.now += timedelta(minutes=10)
    city.fall((*A, *B))
    assert city.only().id == first and city.only().count == 2


def test_an_outage_that_somebody_has_closes_itself_when_it_is_over(city: City) -> None:
    city.fall((*A, *B))
    incident = city.only().id
    city.store.write_sync(lambda unit: actions.acknowledge(unit, ASHA, incident))
    city.back((*A, *B))
    city.settle(seconds=5)
    assert city.open() == []


def test_a_third_of_the_fleet_at_once_is_the_hub_or_its_uplink(city: City) -> None:
    city.fall((*FAR[:15], *A[:2], *C[:2], *D[:2]))
    (found,) = city.open()
    assert (found.kind, found.children, found.severity) == ("fleet.outage", 21, "critical")
    assert "uplink" in found.title


def test_a_call_box_out_of_reach_makes_an_outage_critical(city: City) -> None:
    row = {"device_id": A[0], "id": "box1", "type": "callbox", "faults": [], "updated_at": START}
    city.store.write_sync(lambda unit: unit.conn.execute(peripherals.insert().values(row)))
    city.fall(A)
    assert city.only().severity == "critical"


def test_a_press_is_never_swallowed_by_an_outage(city: City) -> None:
    city.fall(A)
    press(city, A[0])
    assert sorted(kind for kind, _, _ in city.shown()) == ["callbox.press", "place.outage"]


def press(city: City, device: str) -> None:
    body = Press(press=ulid(), count=1)
    fact = Fact(device, None, "box1", "callbox", "callbox.press", body, city.now, False, ulid(), city.now)
    city.store.write_sync(lambda unit: service.on_event(unit, fact))


def test_a_hub_that_restarts_goes_on_with_the_outages_of_its_store(city: City) -> None:
    city.fall((*A, *B))
    city.silence = Silence(Bars(), Flapping())
    city.fall(C[:1])
    city.back((*A, *B))
    city.settle(seconds=5)
    assert city.shown() == [("device.offline", C[0], 0)]


# windows


def window(city: City, scope: tuple[str, str], kind: str = windows.PLANNED_POWER, **parts: float) -> str:
    begins, ends = city.now, city.now + timedelta(**(parts or {"hours": 2}))
    return city.store.write_sync(
        lambda unit: windows.plan(
            unit, ASHA, kind=kind, scope=scope, starts_at=begins, ends_at=ends, reason="transformer works"
        )
    ).id


def follow(city: City, **parts: float) -> None:
    city.now += timedelta(**parts)
    city.store.write_sync(city.silence.follow)


@pytest.mark.parametrize(
    "scope",
    [("asset", "f1"), ("zone", "pune"), ("asset", "s1")],
    ids=["feeder", "zone", "switch"],
)
def test_a_planned_cut_raises_nothing_for_what_it_covers(city: City, scope: tuple[str, str]) -> None:
    window(city, scope)
    city.fall((*A, *B))
    assert city.shown() == []
    city.fall((FAR[0],))
    assert city.shown() == [("device.offline", FAR[0], 0)]


def test_a_planned_cut_of_a_large_zone_is_no_fleet_outage(city: City) -> None:
    window(city, ("zone", "far"))
    city.fall(FAR)
    assert city.shown() == []


def test_what_is_still_silent_after_a_window_and_its_grace_raises_its_alarm_then(city: City) -> None:
    window(city, ("asset", "f1"), hours=2)
    city.now += timedelta(minutes=1)
    city.fall(FEEDER)
    follow(city, hours=2)
    city.back((*C, *D, *B[1:]))
    assert city.shown() == []
    follow(city, minutes=6)
    assert sorted(city.shown()) == [("device.offline", B[0], 0), ("place.outage", "s1-a", 4)]
    before = city.shown()
    follow(city, minutes=6)
    assert city.shown() == before


def test_a_window_that_ends_while_the_hub_is_blind_does_not_forget_who_stayed_dead(city: City) -> None:
    window(city, ("asset", "f1"), hours=2)
    city.now += timedelta(minutes=1)
    city.fall(FEEDER)
    follow(city, hours=2)
    city.back((*A, *C, *D, *B[2:]))
    city.blind(FEEDER)
    follow(city, minutes=6)
    assert city.shown() == []
    city.say("online", (*A, *C, *D, *B[1:]))
    city.found_silent(B[:1])
    assert city.shown() == [("device.offline", B[0], 0)]


def test_an_outage_that_ends_while_the_hub_is_blind_does_not_forget_who_stayed_dead(city: City) -> None:
    city.fall(FEEDER)
    city.back((*A, *C, *D, *B[2:]))
    city.blind(FEEDER)
    city.settle(minutes=3)
    assert city.shown() == []
    city.say("online", (*A, *C, *D, *B[1:]))
    city.found_silent(B[:1])
    assert city.shown() == [("device.offline", B[0], 0)]


def test_a_hub_that_was_blind_says_nothing_new_of_who_was_offline_before(city: City) -> None:
    city.fall(FAR[:1])
    (found,) = city.open()
    city.store.write_sync(lambda unit: actions.resolve(unit, ASHA, found.id))
    city.blind(FAR)
    city.settle(minutes=3)
    city.found_silent(FAR[:1])
    assert city.open() == []


def test_a_window_that_is_ended_early_counts_its_grace_from_then(city: City) -> None:
    found = window(city, ("device", FAR[0]), hours=8)
    city.fall((FAR[0],))
    city.now += timedelta(minutes=10)
    city.store.write_sync(lambda unit: windows.end(unit, ASHA, found))
    follow(city, minutes=4)
    assert city.shown() == []
    follow(city, minutes=2)
    assert city.shown() == [("device.offline", FAR[0], 0)]


def test_a_fault_that_began_in_a_window_and_still_holds_is_raised_after_it(city: City) -> None:
    window(city, ("site", "s1-a"), windows.MAINTENANCE, hours=1)
    row = {
        "device_id": A[0],
        "id": "cam1",
        "type": "camera",
        "state": "fail",
        "faults": ["SignalLoss"],
        "updated_at": START,
    }
    city.store.write_sync(lambda unit: unit.conn.execute(peripherals.insert().values(row)))
    follow(city, minutes=30)
    assert city.shown() == []
    follow(city, minutes=36)
    assert city.shown() == [("camera.fault", A[0], 0)]


@pytest.mark.parametrize("blind", [False, True], ids=["the hub sees", "the hub is blind"])
def test_a_device_that_leaves_maintenance_and_is_still_silent_raises_its_alarm_then(
    city: City, *, blind: bool
) -> None:
    def serve(service: str) -> None:
        city.store.write_sync(lambda unit: registry.change_device(unit, ASHA, FAR[0], {"service": service}))
        city.tell()

    serve("maintenance")
    city.fall((FAR[0],))
    assert city.shown() == []
    if blind:
        city.blind(FAR)
    serve("active")
    if blind:
        assert city.shown() == []
        city.found_silent(FAR[:1])
    assert city.shown() == [("device.offline", FAR[0], 0)]


def test_a_child_that_is_taken_into_maintenance_leaves_its_outage(city: City) -> None:
    city.fall(A)
    city.store.write_sync(lambda unit: registry.change_device(unit, ASHA, A[0], {"service": "maintenance"}))
    city.tell()
    assert city.shown() == [("place.outage", "s1-a", 3)]


def test_a_press_in_a_window_is_an_incident(city: City) -> None:
    window(city, ("zone", "pune"), windows.MAINTENANCE)
    press(city, A[0])
    assert [kind for kind, _, _ in city.shown()] == ["callbox.press"]


# flapping


def flap(city: City, device: str, times: int, *, every_min: float = 5) -> None:
    for _ in range(times):
        city.fall([device])
        city.now += timedelta(minutes=every_min / 2)
        city.back([device])
        city.now += timedelta(minutes=every_min / 2)


def test_a_device_that_comes_and_goes_is_one_incident_with_a_count(city: City) -> None:
    flap(city, FAR[0], 9)
    (found,) = (one for one in city.open() if one.active)
    assert (found.kind, found.count) == ("device.flapping", 4)
    assert [one.kind for one in city.open()] == ["device.offline", "device.flapping"]
    assert found.detail["falls"] >= 6


def test_flapping_ends_after_an_hour_of_quiet(city: City) -> None:
    flap(city, FAR[0], 6)
    city.settle(minutes=30)
    assert city.shown() == [("device.flapping", FAR[0], 0)]
    city.settle(minutes=31)
    assert city.shown() == []


def test_a_device_that_stays_down_after_flapping_is_offline(city: City) -> None:
    flap(city, FAR[0], 6)
    city.fall([FAR[0]])
    city.settle(minutes=61)
    assert city.shown() == [("device.offline", FAR[0], 0)]


def test_five_falls_in_an_hour_are_not_flapping_yet(city: City) -> None:
    flap(city, FAR[0], 5)
    assert {one.kind for one in city.open()} == {"device.offline"}
